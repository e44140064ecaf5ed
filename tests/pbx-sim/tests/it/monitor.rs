//! Handles and streams: one per `UserInitialize`, own numbers per connection, running calls.

use serde_json::json;

use crate::client::{Client, start};

#[tokio::test]
async fn every_user_initialize_has_its_own_handle_and_stream() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    let mut other = Client::app(&sim).await;
    other.monitor(&sim, "60").await;
    assert_eq!(other.monitor(&sim, "42").await, 2);
    assert_eq!(client.monitor(&sim, "42").await, 1);
    let again = client.rcc("UserInitialize", json!({"cn": "Thomas De Wilde", "src": "again"})).await;
    assert_eq!((&again["user"], &again["src"]), (&json!(2), &json!("again")));
    assert_eq!(client.rcc("UserInitialize", json!({"cn": "Nobody"})).await["user"], 0);
    sim.control("/call", json!({"from": "60", "to": "42"})).unwrap();
    let (a, b) = (client.call_info().await, client.call_info().await);
    assert_eq!((&a["src"], &b["src"], &a["conf"]), (&json!("42"), &json!("again"), &b["conf"]));
    assert_ne!(a["call"], b["call"]);

    // After UserEnd the stream is silent and its call handles are dead; the other one goes on.
    let ended = client.rcc("UserEnd", json!({"user": 1})).await;
    assert_eq!((&ended["mt"], ended.get("error")), (&json!("UserEndResult"), None));
    assert_eq!(client.rcc("UserConnect", json!({"call": a["call"]})).await["error"], "no such call");
    assert_eq!(client.rcc("UserEnd", json!({"user": 1})).await["error"], "no such call");
    client.rcc("UserConnect", json!({"call": b["call"]})).await;
    let mut heard = Vec::new();
    while heard.last() != Some(&json!("x-conn")) {
        let message = client.call_info().await;
        heard.push(message["msg"].clone());
        assert!(message["src"] == "again" || message["msg"] == "x-alert");
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn a_lost_connection_leaves_the_call_alone_and_a_new_one_finds_it() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "42").await;
    sim.control("/call", json!({"from": "0472591687", "to": "42"})).unwrap();
    sim.control("/answer", json!({"extension": "42"})).unwrap();
    let conf = client.wait_for("42", "x-conn").await["conf"].clone();
    drop(client);

    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "42").await;
    let running = client.next().await;
    assert_eq!((&running["msg"], &running["state"], &running["conf"]), (&json!("update"), &json!(133), &conf));
    assert!(running["time"].is_u64());
    sim.control("/quirks", json!({"report_running": false})).unwrap();
    client.rcc("UserInitialize", json!({"cn": "Thomas De Wilde", "src": "quiet"})).await;
    sim.control("/hangup", json!({"extension": "42"})).unwrap();
    assert_eq!(client.call_info().await["src"], "42");
    // The second stream never knew the call; it learns of it with the next event.
    assert_eq!(client.call_info().await["msg"], "x-rel");
    sim.shutdown().await;
}

#[tokio::test]
async fn the_trunk_is_an_object_like_any_other() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    client.rcc("UserInitialize", json!({"cn": "Trunk", "src": "trunk"})).await;
    sim.control("/call", json!({"from": "42", "to": "+32472591687"})).unwrap();
    let setup = client.call_info().await;
    assert_eq!((&setup["state"], &setup["peer"]["e164"]), (&json!(129), &json!("42")));
    sim.shutdown().await;
}

#[tokio::test]
async fn quirks_change_what_a_client_sees() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    let user = client.monitor(&sim, "42").await;
    let quirks = json!({
        "omit_conf": true, "empty_peer": true, "info_object": true, "skip_alert": true, "double_events": true,
        "del": "flag", "linger_disc": false, "omit_time": true, "omit_result_src": true, "dead_handles": "silent",
    });
    sim.control("/quirks", quirks).unwrap();
    client.send(json!({"api": "RCC", "mt": "UserClear", "call": 99})).await;
    client.send(json!({"api": "RCC", "mt": "UserCall", "user": user, "e164": "44", "src": "gone"})).await;
    let result = client.next().await;
    assert_eq!((&result["mt"], result.get("src")), (&json!("UserCallResult"), None));
    sim.control("/reject", json!({"extension": "44", "cause": 17})).unwrap();
    let mut heard = Vec::new();
    loop {
        let message = client.call_info().await;
        assert!(message.get("time").is_none());
        let first = heard.is_empty();
        assert_eq!(message.get("conf").is_some(), first || heard.len() == 1, "{message}");
        assert_eq!(message["peer"]["e164"] == "44", first || heard.len() == 1, "{message}");
        heard.push(message["msg"].as_str().unwrap_or("-").to_owned());
        if message["del"] == true {
            assert_eq!(message["info"]["vali"], 17);
            break;
        }
    }
    assert_eq!(heard, ["x-setup", "x-setup", "r-call-proc", "r-call-proc", "r-rel", "r-rel", "-"]);

    sim.control("/quirks", json!({"del": "msg", "linger_disc": true, "double_events": false})).unwrap();
    sim.control("/call", json!({"from": "44", "to": "42"})).unwrap();
    sim.control("/answer", json!({"extension": "42"})).unwrap();
    sim.control("/hangup", json!({"extension": "44"})).unwrap();
    assert_eq!(client.wait_for("42", "r-disc").await["state"], 134);
    sim.control("/hangup", json!({"extension": "42"})).unwrap();
    assert!(client.wait_for("42", "del").await.get("del").is_none());

    sim.control("/quirks", json!({"restrict_monitoring": true, "omit_result_src": false})).unwrap();
    assert_eq!(client.rcc("UserInitialize", json!({"cn": "Trunk"})).await["user"], 0);
    sim.shutdown().await;
}

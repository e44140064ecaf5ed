//! Results: when they come, in which order, and what they say.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{like, monitoring};
use crate::client::{Client, cn};

/// The next messages, as `mt src`.
async fn next(client: &mut Client, count: usize) -> Vec<String> {
    let mut heard = Vec::new();
    for _ in 0..count {
        let message = client.next().await;
        heard.push(format!("{} {}", message["mt"].as_str().unwrap(), message["src"].as_str().unwrap_or("-")));
    }
    heard
}

async fn ask_for_devices(client: &mut Client, srcs: &[&str]) {
    for src in srcs {
        client.send(json!({"api": "RCC", "mt": "Devices", "cn": "Sales", "src": src})).await;
    }
}

#[tokio::test]
async fn slow_answers_one_after_the_other() {
    let sim = like(json!({})).await;
    let mut client = Client::app(&sim).await;
    sim.control("/quirks", json!({"answer_ms": 40})).unwrap();
    let begun = Instant::now();
    ask_for_devices(&mut client, &["a", "b", "c"]).await;
    assert_eq!(next(&mut client, 1).await, ["DevicesResult a"]);
    // Nothing overtakes what waits.
    sim.control("/quirks", json!({"answer_ms": 0})).unwrap();
    ask_for_devices(&mut client, &["d"]).await;
    assert_eq!(next(&mut client, 3).await, ["DevicesResult b", "DevicesResult c", "DevicesResult d"]);
    assert!(begun.elapsed() >= Duration::from_millis(120));
    sim.shutdown().await;
}

#[tokio::test]
async fn results_behind_their_events() {
    let (sim, mut client) = monitoring(json!({"late_results": true})).await;
    client.send(json!({"api": "RCC", "mt": "UserCall", "user": 1, "e164": "44", "src": "dial"})).await;
    assert_eq!(next(&mut client, 4).await, ["CallInfo 42", "CallInfo 42", "CallInfo 42", "UserCallResult dial"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn results_in_another_order() {
    let sim = like(json!({"shuffled_results": true})).await;
    let mut client = Client::app(&sim).await;
    ask_for_devices(&mut client, &["a", "b", "c"]).await;
    let heard = next(&mut client, 3).await;
    assert_eq!(heard, ["DevicesResult b", "DevicesResult a", "DevicesResult c"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn what_a_refused_monitor_gets() {
    let sim = like(json!({"refused_user": "44"})).await;
    let mut client = Client::app(&sim).await;
    for who in ["Sales", "Nobody"] {
        let result = client.rcc("UserInitialize", json!({"cn": who})).await;
        assert_eq!((&result["user"], result.get("error")), (&json!(0), None));
    }
    sim.control("/quirks", json!({"monitor_refusal": "error"})).unwrap();
    let result = client.rcc("UserInitialize", json!({"cn": "Sales"})).await;
    assert_eq!((result.get("user"), &result["error"]), (None, &json!("not allowed")));
    sim.control("/quirks", json!({"monitor_refusal": "silent"})).unwrap();
    client.send(json!({"api": "RCC", "mt": "UserInitialize", "cn": "Sales", "src": "silent"})).await;
    assert_eq!(client.monitor(&sim, "42").await, 1, "others are let in");
    sim.shutdown().await;
}

#[tokio::test]
async fn devices_that_are_not_told() {
    let sim = like(json!({"silent_devices": true})).await;
    let mut client = Client::app(&sim).await;
    ask_for_devices(&mut client, &["a"]).await;
    assert_eq!(client.monitor(&sim, "42").await, 1, "the first thing that is answered");
    sim.shutdown().await;
}

#[tokio::test]
async fn monitors_that_do_not_fit() {
    let sim = like(json!({"monitor_limit": 2})).await;
    let mut client = Client::app(&sim).await;
    let user = client.monitor(&sim, "42").await;
    client.monitor(&sim, "44").await;
    let ask = async |client: &mut Client| client.rcc("UserInitialize", json!({"cn": "Workshop"})).await["user"].clone();
    assert_eq!(ask(&mut client).await, 0);
    client.rcc("UserEnd", json!({"user": user})).await;
    assert_eq!(ask(&mut client).await, 3);
    let mut other = Client::app(&sim).await;
    assert_eq!(ask(&mut other).await, 1, "each connection has its own");
    sim.shutdown().await;
}

#[tokio::test]
async fn queue_that_wants_its_hw() {
    let sim = like(json!({"queue_hw": "refused"})).await;
    let mut client = Client::app(&sim).await;
    let queue = cn(&sim, "77");
    let ask = async |client: &mut Client, fields: Value| client.rcc("UserInitialize", fields).await["user"].clone();
    assert_eq!(ask(&mut client, json!({"cn": queue})).await, 0);
    assert_eq!(ask(&mut client, json!({"cn": queue, "hw": queue})).await, 1);
    assert_eq!(client.monitor(&sim, "42").await, 2, "a user needs none");

    sim.control("/quirks", json!({"queue_hw": "deaf"})).unwrap();
    assert_eq!(ask(&mut client, json!({"cn": queue, "src": "deaf"})).await, 3);
    assert_eq!(ask(&mut client, json!({"cn": queue, "hw": queue, "src": "hears"})).await, 4);
    sim.control("/call", json!({"from": "0472591687", "to": "77"})).unwrap();
    client.wait_for("hears", "r-setup").await;
    sim.control("/hangup", json!({"extension": "0472591687"})).unwrap();
    loop {
        let message = client.call_info().await;
        assert_ne!(message["src"], "deaf");
        if message["src"] == "hears" && message["del"] == true {
            break;
        }
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn result_without_src_and_user_information() {
    let (sim, mut client) = monitoring(json!({})).await;
    super::ring(&sim);
    super::answer(&sim, "42");
    client.wait_for("42", "x-conn").await;
    let uui = |sim: &pbx_sim::Sim| {
        sim.control("/uui", json!({"extension": "0472591687", "uui": "order 7/é"})).unwrap();
    };
    uui(&sim);
    assert_eq!(client.call_info().await["info"][0]["vals"], "order%207%2F%C3%A9");
    sim.control("/quirks", json!({"plain_uui": true, "omit_result_src": true})).unwrap();
    uui(&sim);
    assert_eq!(client.call_info().await["info"][0]["vals"], "order 7/é");
    client.send(json!({"api": "RCC", "mt": "Initialize", "src": "list"})).await;
    let mut last = client.next().await;
    while last["mt"] == "UserInfo" {
        assert_eq!(last["src"], "list");
        last = client.next().await;
    }
    assert_eq!((&last["mt"], last.get("src")), (&json!("InitializeResult"), None));
    sim.shutdown().await;
}

#[tokio::test]
async fn digits_in_the_other_direction() {
    for (to_peer, at) in [(false, "42"), (true, "44")] {
        let (sim, mut client) = monitoring(json!({"dtmf_recv_to_peer": to_peer})).await;
        client.monitor(&sim, "44").await;
        sim.control("/call", json!({"from": "42", "to": "44"})).unwrap();
        super::answer(&sim, "44");
        let call = client.wait_for("42", "r-conn").await["call"].clone();
        client.rcc("UserDTMF", json!({"call": call, "dtmf": "7", "recv": true})).await;
        let heard = client.wait_for(at, "update").await;
        assert_eq!(heard["dtmf"], "7");
        sim.shutdown().await;
    }
}

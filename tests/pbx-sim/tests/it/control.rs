//! The control API over HTTP, and the binary.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::client::{Client, api, http, start};

#[tokio::test]
async fn mistakes_are_named() {
    let sim = start().await;
    for (path, body, status, names) in [
        ("/call", json!({"from": "42"}), 400, "`to`"),
        ("/call", json!({"from": "42", "to": "44", "too": 1}), 400, "`too`"),
        ("/call", json!({"from": "99", "to": "44"}), 404, "`from`"),
        ("/call", json!({"from": "0472591687", "to": "99"}), 404, "`to`"),
        ("/call", json!({"from": "42", "to": "the baker"}), 400, "`to`"),
        ("/call", json!([]), 400, "`body`"),
        ("/answer", json!({"extension": "99"}), 404, "`extension`"),
        ("/answer", json!({"extension": ["42"]}), 400, "`extension`"),
        ("/answer", json!({"extension": "42"}), 409, "rings"),
        ("/answer", json!({"extension": 42, "when": "now"}), 400, "`when`"),
        ("/hangup", json!({}), 400, "`extension`"),
        ("/reject", json!({"extension": "42", "cause": 200}), 400, "`cause`"),
        ("/transfer", json!({"extension": "42"}), 409, "held"),
        ("/redirect", json!({"extension": "42"}), 400, "`to`"),
        ("/pickup", json!({"extension": "+32472591687"}), 400, "`extension`"),
        ("/park", json!({"extension": "42", "at": "99"}), 404, "`at`"),
        ("/dtmf", json!({"extension": "42"}), 400, "`digits`"),
        ("/behaviour", json!({"extension": "42", "mode": "sleep"}), 400, "`mode`"),
        ("/behaviour", json!({"extension": "42", "mode": "answer", "after_ms": -1}), 400, "`after_ms`"),
        ("/behaviour", json!({"extension": "77", "mode": "answer"}), 400, "`extension`"),
        ("/fault", json!({"kind": "flood"}), 400, "`kind`"),
        ("/fault", json!({"kind": "drop", "connection": 7}), 404, "`connection`"),
        ("/fault", json!({"kind": "silent", "down_ms": 7}), 400, "`down_ms`"),
        ("/quirks", json!({"del": "never"}), 400, "`del`"),
        ("/quirks", json!({"omit_conf": "maybe"}), 400, "`omit_conf`"),
        ("/user", json!({"extension": "0123"}), 400, "`extension`"),
        ("/user", json!({"extension": "45", "cn": "Sales"}), 400, "`cn`"),
        ("/user", json!({"extension": "45", "remove": true}), 404, "`extension`"),
        ("/user", json!({"extension": "42", "devices": 3}), 400, "`devices`"),
        ("/dance", json!({}), 404, "`path`"),
    ] {
        let (got, answer) = api(&sim, "POST", path, body.clone()).await;
        assert_eq!(got, status, "{path} {body}: {answer}");
        assert!(answer["code"].is_string());
        assert!(answer["message"].as_str().unwrap().contains(names), "{path} {body}: {answer}");
    }
    assert_eq!(http(&sim, "POST", "/call", "{").await.0, 400);
    assert_eq!(http(&sim, "GET", "/call", "").await.0, 405);
    assert_eq!(http(&sim, "GET", "/a/b", "").await.0, 404);
    assert_eq!(sim.state()["calls"], json!([]), "nothing happened");
    sim.shutdown().await;
}

#[tokio::test]
async fn the_state_shows_who_is_connected_to_whom() {
    let sim = start().await;
    let (_, placed) = api(&sim, "POST", "/call", json!({"from": "+32 472 59 16 87", "to": 42})).await;
    let (_, answered) = api(&sim, "POST", "/answer", json!({"extension": 42, "id": placed["id"]})).await;
    assert_eq!(placed["id"], answered["id"]);
    api(&sim, "POST", "/hold", json!({"extension": "42"})).await;
    let (status, state) = api(&sim, "GET", "/state", json!(null)).await;
    assert_eq!(status, 200);
    let call = &state["calls"][0];
    assert_eq!(call["id"], placed["id"]);
    assert_eq!(call["conf"].as_str().unwrap().len(), 32);
    let (outside, user) = (&call["legs"][0], &call["legs"][1]);
    assert_eq!((&outside["number"], &outside["held"]), (&json!("+32472591687"), &json!(true)));
    assert_eq!((&user["extension"], &user["name"]), (&json!("42"), &json!("Thomas De Wilde")));
    assert_eq!((&user["state"], &user["connectedTo"]), (&json!("connected"), &json!(["+32472591687"])));
    assert_eq!(state["users"][0]["calls"], json!([placed["id"]]));
    assert_eq!(state["queues"][1]["operators"], json!(["42", "43"]));
    sim.shutdown().await;
}

#[tokio::test]
async fn the_right_call_of_several() {
    let sim = start().await;
    let call = async |from: &str| api(&sim, "POST", "/call", json!({"from": from, "to": "42"})).await.1["id"].clone();
    let first = call("0472591687").await;
    api(&sim, "POST", "/answer", json!({"extension": "42"})).await;
    let second = call("60").await;
    // The active call goes first; the other one by its id.
    let (_, ended) = api(&sim, "POST", "/hangup", json!({"extension": "42", "id": second})).await;
    assert_eq!(ended["id"], second);
    api(&sim, "POST", "/hangup", json!({"extension": "60"})).await;
    let third = call("60").await;
    let (_, ended) = api(&sim, "POST", "/hangup", json!({"extension": "42"})).await;
    assert_eq!(ended["id"], first);
    let (_, ended) = api(&sim, "POST", "/hangup", json!({"extension": "42"})).await;
    assert_eq!(ended["id"], third);
    sim.shutdown().await;
}

#[tokio::test]
async fn the_log_proves_what_clients_sent() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    let user = client.monitor(&sim, "42").await;
    client.rcc("UserCall", json!({"user": user, "e164": "44"})).await;
    let (_, log) = api(&sim, "GET", "/log", json!(null)).await;
    let kinds: Vec<_> = log.as_array().unwrap().iter().map(|entry| entry["mt"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["AppChallenge", "AppLogin", "UserInitialize", "UserCall"]);
    let (_, calls) = api(&sim, "GET", "/log?mt=UserCall", json!(null)).await;
    assert_eq!((calls.as_array().unwrap().len(), &calls[0]["frame"]["e164"]), (1, &json!("44")));
    assert!(calls[0]["at"].is_u64() && calls[0]["connection"] == 1);
    api(&sim, "DELETE", "/log", json!(null)).await;
    assert_eq!(sim.log(), Vec::<Value>::new());
    sim.shutdown().await;
}

#[tokio::test]
async fn a_behaviour_that_is_set_while_it_rings() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "42").await;
    api(&sim, "POST", "/call", json!({"from": "0472591687", "to": "42"})).await;
    client.wait_for("42", "x-alert").await;
    api(&sim, "POST", "/behaviour", json!({"extension": "42", "mode": "answer", "after_ms": "5"})).await;
    client.wait_for("42", "x-conn").await;
    let (_, quirks) = api(&sim, "POST", "/quirks", json!({"omit_conf": true})).await;
    assert_eq!(quirks["omit_conf"], true);
    let (_, quirks) = api(&sim, "DELETE", "/quirks", json!(null)).await;
    assert_eq!(quirks["omit_conf"], false);
    sim.shutdown().await;
}

#[test]
fn the_binary_says_where_it_listens_and_stops_on_a_signal() {
    let dir = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (ports, world) = (dir.join("ports.json"), dir.join("world.json"));
    std::fs::write(
        &world,
        json!({
            "apps": [{"name": "first", "password": "pw", "groups": [{"name": "G", "mode": "active"}]}],
            "users": [{"e164": "10", "cn": "Desk", "groups": ["G"], "apps": ["first"]}],
        })
        .to_string(),
    )
    .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pbx-sim"))
        .args(["--app", "renamed", "--pbx-name", "branch", "--world"])
        .arg(&world)
        .arg("--ports-file")
        .arg(&ports)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(std::fs::read_to_string(&ports).unwrap(), line);
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["app"], "renamed");
    for (key, scheme) in [("ws", "ws://127.0.0.1:"), ("wss", "wss://127.0.0.1:"), ("control", "http://127.0.0.1:")] {
        assert!(ready[key].as_str().unwrap().starts_with(scheme));
    }
    assert!(ready["ws"].as_str().unwrap().ends_with("/PBX0/APPS/websocket"));
    assert_eq!(ready["certSha256"].as_str().unwrap().len(), 64);
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let refused = Command::new(env!("CARGO_BIN_EXE_pbx-sim")).args(["--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not a loopback address"));
}

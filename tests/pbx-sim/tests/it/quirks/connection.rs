//! The connection: pings, fragments, idle ends, logins.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{like, monitoring, ring};
use crate::client::{Client, sha256};

#[tokio::test]
async fn pings_are_not_answered() {
    let sim = like(json!({"no_pong": true})).await;
    let mut client = Client::app(&sim).await;
    for length in [0, 100] {
        client.socket.send(Message::Ping(Bytes::from(vec![b'?'; length]))).await.unwrap();
    }
    // What is behind the pings is read as before, in frames of every size.
    for length in [10, 1_000, 100_000] {
        client.rcc("Devices", json!({"cn": "x".repeat(length)})).await;
    }
    sim.control("/quirks", json!({"no_pong": false})).unwrap();
    client.socket.send(Message::Ping(Bytes::from_static(b"now"))).await.unwrap();
    assert_eq!(client.socket.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"now")));
    sim.shutdown().await;
}

#[tokio::test]
async fn messages_in_fragments() {
    let (sim, mut client) = monitoring(json!({"fragments": true})).await;
    sim.control("/call", json!({"from": "0472591687", "to": "42", "name": "Bäcker"})).unwrap();
    assert_eq!(client.call_info().await["peer"]["dn"], "Bäcker");
    sim.shutdown().await;
}

#[tokio::test]
async fn silent_client_is_left() {
    let sim = like(json!({"idle_close_ms": 150})).await;
    let mut client = Client::app(&sim).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        client.rcc("Devices", json!({})).await;
    }
    client.socket.send(Message::Ping(Bytes::new())).await.unwrap();
    client.ended().await;
    sim.shutdown().await;
}

#[tokio::test]
async fn challenge_with_letters_and_ways_to_refuse_a_login() {
    let sim = like(json!({"letter_challenge": true})).await;
    let mut client = Client::connect(&sim).await;
    client.send(json!({"mt": "AppChallenge"})).await;
    let challenge = client.next().await["challenge"].as_str().unwrap().to_owned();
    assert!(challenge.len() == 16 && challenge.parse::<u64>().is_err());
    let digest = sha256(&format!("easyconnect:::::{challenge}:secret-app-pw"));
    client.send(json!({"mt": "AppLogin", "app": "easyconnect", "digest": digest})).await;
    assert_eq!(client.next().await["ok"], true);
    for (refusal, answer) in [
        ("explained", json!({"mt": "AppLoginResult", "ok": false, "error": 1, "errorText": "login refused"})),
        ("bare", json!({"mt": "AppLoginResult", "ok": false})),
        ("absent", json!({"mt": "AppLoginResult"})),
    ] {
        sim.control("/quirks", json!({"login_refusal": refusal})).unwrap();
        assert_eq!(client.login("easyconnect", "", "wrong").await, answer);
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn silence_before_the_login() {
    let sim = like(json!({"silent_before_login": true})).await;
    let mut client = Client::connect(&sim).await;
    client.send(json!({"api": "RCC", "mt": "Initialize"})).await;
    assert_eq!(client.login("easyconnect", "", "secret-app-pw").await["ok"], true);
    sim.shutdown().await;
}

#[tokio::test]
async fn names_that_are_hard_to_read() {
    let name = async |names: &str| {
        let (sim, mut client) = monitoring(json!({"names": names})).await;
        ring(&sim);
        let name = client.call_info().await["peer"]["dn"].as_str().unwrap().to_owned();
        sim.shutdown().await;
        name
    };
    assert_eq!(name("plain").await, "Baker");
    assert_eq!(name("control").await, "Baker\tand\nmore");
    assert_eq!(name("long").await.len(), 3_000);

    let (sim, mut client) = monitoring(json!({"names": "latin1"})).await;
    ring(&sim);
    let broken = timeout(Duration::from_secs(10), client.socket.next()).await.unwrap().unwrap();
    assert!(matches!(broken, Err(Error::Utf8(_))), "{broken:?}");
    sim.shutdown().await;
}

//! Broken connections and a restarting PBX.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::client::{Client, eventually, start};

#[tokio::test]
async fn drop_ends_one_connection_or_all() {
    let sim = start().await;
    let (mut one, mut two) = (Client::app(&sim).await, Client::app(&sim).await);
    assert_eq!(sim.control("/fault", json!({"kind": "drop", "connection": 1})).unwrap(), json!({"connections": 1}));
    one.ended().await;
    two.rcc("Devices", json!({})).await;
    sim.control("/fault", json!({"kind": "drop"})).unwrap();
    two.ended().await;
    eventually("no connection is left", || sim.state()["connections"] == json!([])).await;
    sim.shutdown().await;
}

#[tokio::test]
async fn drop_after_some_frames() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "42").await;
    sim.control("/fault", json!({"kind": "drop", "after_frames": 2})).unwrap();
    sim.control("/call", json!({"from": "0472591687", "to": "42"})).unwrap();
    sim.control("/answer", json!({"extension": "42"})).unwrap();
    assert_eq!(client.story("42 x-alert(132)").await.len(), 2);
    client.ended().await;
    assert_eq!(sim.state()["calls"][0]["legs"][0]["state"], "connected", "the call goes on");
    sim.shutdown().await;
}

#[tokio::test]
async fn silent_keeps_the_socket_open_and_says_nothing() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "42").await;
    sim.control("/fault", json!({"kind": "silent"})).unwrap();
    client.socket.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
    client.send(json!({"mt": "AppChallenge"})).await;
    sim.control("/call", json!({"from": "0472591687", "to": "42"})).unwrap();
    // Another connection is served meanwhile, which shows that the silence is not slowness.
    Client::app(&sim).await;
    assert!(timeout(Duration::from_millis(100), client.socket.next()).await.is_err());
    assert_eq!(sim.state()["connections"][0]["silent"], true);
    sim.control("/fault", json!({"kind": "drop"})).unwrap();
    client.ended().await;
    sim.shutdown().await;
}

#[tokio::test]
async fn garbage_and_a_cut_frame() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    sim.control("/fault", json!({"kind": "garbage"})).unwrap();
    let garbage = client.socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&garbage).is_err());
    sim.control("/fault", json!({"kind": "garbage", "text": "[1]"})).unwrap();
    assert_eq!(client.next().await, json!([1]));
    client.rcc("Devices", json!({})).await;
    sim.control("/fault", json!({"kind": "cut_mid_frame"})).unwrap();
    let broken = timeout(Duration::from_secs(10), client.socket.next()).await.unwrap();
    assert!(broken.unwrap().is_err(), "a reset, not a close");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_restart_loses_calls_and_refuses_connections_for_a_while() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "42").await;
    sim.control("/call", json!({"from": "0472591687", "to": "42"})).unwrap();
    client.wait_for("42", "x-alert").await;
    let begun = Instant::now();
    sim.control("/fault", json!({"kind": "restart", "down_ms": 150})).unwrap();
    client.ended().await;
    assert_eq!(sim.state()["calls"], json!([]));
    let mut refused = 0;
    while connect_async(sim.ws_url()).await.is_err() {
        refused += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(refused > 0 && begun.elapsed() >= Duration::from_millis(150));
    sim.control("/call", json!({"from": "0472591687", "to": "42"})).unwrap();
    sim.shutdown().await;
}

//! The list of users.

use serde_json::{Value, json};

use super::{like, monitoring, ring};
use crate::client::Client;

async fn initialize(client: &mut Client, calls: bool) {
    client.send(json!({"api": "RCC", "mt": "Initialize", "grp": true, "calls": calls, "src": "all"})).await;
}

/// The rows up to `InitializeResult`.
async fn rows(client: &mut Client) -> Vec<Value> {
    initialize(client, false).await;
    let mut rows = Vec::new();
    loop {
        match client.next().await {
            end if end["mt"] == "InitializeResult" => return rows,
            row => rows.push(row),
        }
    }
}

#[tokio::test]
async fn users_who_come_late() {
    let sim = like(json!({"late_users_ms": 60})).await;
    let mut client = Client::app(&sim).await;
    assert_eq!(rows(&mut client).await, Vec::<Value>::new());
    // Who changes meanwhile is not told before.
    sim.control("/user", json!({"extension": "44", "dn": "Shop"})).unwrap();
    sim.control("/user", json!({"extension": "50", "remove": true})).unwrap();
    let mut late = Vec::new();
    for _ in 0..5 {
        let row = client.next().await;
        assert_eq!(row["update"], "add");
        late.push(format!("{} {}", row["e164"].as_str().unwrap(), row["dn"].as_str().unwrap()));
    }
    assert_eq!(late[..3], ["42 Thomas De Wilde", "43 Workshop", "44 Shop"]);
    sim.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn users_who_come_again_and_again() {
    let sim = like(json!({"repeat_users": true})).await;
    let mut client = Client::app(&sim).await;
    let first = rows(&mut client).await;
    assert_eq!((first.len(), &first[0]), (12, &first[1]));
    for _ in 0..2 {
        for extension in ["42", "43", "44", "50", "77", "78"] {
            let again = client.next().await;
            assert_eq!((&again["e164"], &again["update"]), (&json!(extension), &json!("change")));
        }
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn numbers_of_calls_that_say_nothing() {
    for (channel, expected) in [("live", json!(1)), ("frozen", json!(0)), ("absent", json!(null))] {
        let sim = like(json!({"channel": channel})).await;
        ring(&sim);
        let mut client = Client::app(&sim).await;
        let rows = rows(&mut client).await;
        assert_eq!((&rows[0]["channel"], &rows[0]["alert"]), (&expected, &expected), "{channel}");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn user_who_is_at_home_elsewhere() {
    let (sim, mut client) = monitoring(json!({"homed_elsewhere": "44", "user_state": true, "omit_empty": true})).await;
    let rows = rows(&mut client).await;
    assert_eq!((&rows[1]["pbx"], &rows[2]["pbx"]), (&json!("master"), &json!("branch")));
    assert_eq!((&rows[0]["state"], rows[0].get("pseudo"), &rows[4]["pseudo"]), (&json!(1), None, &json!("waiting")));
    // There is a monitor, but what happens there is told by the other PBX.
    assert_eq!(client.monitor(&sim, "44").await, 2);
    sim.control("/call", json!({"from": "44", "to": "42"})).unwrap();
    sim.control("/hangup", json!({"extension": "44"})).unwrap();
    let mut heard = Vec::new();
    while heard.last() != Some(&json!("del")) {
        let message = client.call_info().await;
        assert_eq!(message["src"], "42");
        heard.push(message["msg"].clone());
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn extension_in_two_nodes() {
    let sim = like(json!({"same_extension": "50"})).await;
    let mut client = Client::app(&sim).await;
    let rows = rows(&mut client).await;
    let of = |row: &Value| ["cn", "e164", "node"].map(|name| row[name].as_str().unwrap().to_owned());
    assert_eq!(of(&rows[0]), ["Thomas De Wilde", "42", "root"]);
    assert_eq!(of(&rows[3]), ["Service Desk", "42", "branch"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn whole_pbx_in_other_words() {
    let sim = like(json!({"swap_ends": true, "call_delete": true})).await;
    let mut client = Client::app(&sim).await;
    initialize(&mut client, true).await;
    while client.next().await["mt"] != "InitializeResult" {}
    ring(&sim);
    sim.control("/reject", json!({"extension": "42"})).unwrap();
    loop {
        let message = client.next().await;
        if message["mt"] == "CallUpdate" && message["msg"] == "r-alert" {
            assert_eq!(
                (&message["local"]["e164"], &message["remote"]["e164"]),
                (&json!("42"), &json!("00032472591687"))
            );
        }
        if message["mt"] == "CallDelete" {
            break;
        }
    }
    sim.shutdown().await;
}

//! Handles, and running calls.

use serde_json::{Value, json};

use super::{answer, hang_up, like, monitoring, ring};
use crate::client::Client;

#[tokio::test]
async fn two_users_have_the_same_handle() {
    let (sim, mut client) = monitoring(json!({"handles_per_user": true})).await;
    let sales = client.monitor(&sim, "44").await;
    ring(&sim);
    let mine = client.wait_for("42", "x-alert").await;
    sim.control("/call", json!({"from": "60", "to": "44"})).unwrap();
    let theirs = client.wait_for("44", "x-alert").await;
    assert_eq!((&mine["call"], &theirs["call"]), (&json!(1), &json!(1)));
    // `user` tells which one is meant; without it the first one is.
    client.rcc("UserConnect", json!({"user": sales, "call": 1})).await;
    assert_eq!(client.call_info().await["src"], "44");
    client.rcc("UserConnect", json!({"call": 1})).await;
    assert_eq!(client.wait_for("42", "x-conn").await["user"], mine["user"]);
    client.rcc("UserHold", json!({"user": sales, "call": 1})).await;
    assert_eq!(client.wait_for("44", "update").await["state"], 389);
    // The end of one of them leaves the other one alone.
    hang_up(&sim, "42");
    client.wait_for("42", "del").await;
    client.rcc("UserRetrieve", json!({"user": sales, "call": 1})).await;
    assert_eq!(client.wait_for("44", "update").await["state"], 133);

    // Who picks up has a handle of the same number; what can be picked up is meant.
    let parked = client.rcc("UserPark", json!({"user": sales, "call": 1, "position": -1})).await["call"].clone();
    sim.control("/call", json!({"from": "42", "to": "43"})).unwrap();
    let own = client.wait_for("42", "x-setup").await["call"].clone();
    assert_eq!(own, parked);
    let picked = client.rcc("UserPickup", json!({"user": mine["user"], "call": parked})).await;
    assert_eq!(picked.get("error"), None);
    sim.shutdown().await;
}

#[tokio::test]
async fn numbers_of_dead_handles_come_back() {
    let (sim, mut client) = monitoring(json!({"reuse_handles": true})).await;
    for _ in 0..3 {
        ring(&sim);
        let setup = client.wait_for("42", "r-setup").await;
        assert_eq!(setup["call"], 1);
        sim.control("/call", json!({"from": "60", "to": "42"})).unwrap();
        assert_eq!(client.wait_for("42", "r-setup").await["call"], 2);
        hang_up(&sim, super::CALLER);
        client.wait_for("42", "del").await;
        hang_up(&sim, "60");
        client.wait_for("42", "del").await;
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn how_running_calls_are_reported() {
    let sim = like(json!({"report_running": true})).await;
    ring(&sim);
    let mut client = Client::app(&sim).await;
    let mut monitor = async |quirks: Value| {
        sim.control("/quirks", quirks).unwrap();
        client.send(json!({"api": "RCC", "mt": "UserInitialize", "cn": "Thomas De Wilde", "src": "m"})).await;
        [client.next().await, client.next().await]
    };
    let [result, running] = monitor(json!({})).await;
    assert_eq!((&result["mt"], &running["msg"]), (&json!("UserInitializeResult"), &json!("update")));
    let [running, result] = monitor(json!({"early_call_info": true, "running_message": "phase"})).await;
    assert_eq!((&result["mt"], &running["msg"]), (&json!("UserInitializeResult"), &json!("x-alert")));
    assert_eq!((&running["user"], &running["state"]), (&result["user"], &json!(132)));
    answer(&sim, "42");
    drop(client);
    let mut client = Client::app(&sim).await;
    sim.control("/quirks", json!({"early_call_info": false, "running_message": "absent"})).unwrap();
    client.monitor(&sim, "42").await;
    let running = client.next().await;
    assert_eq!((running.get("msg"), &running["state"]), (None, &json!(133)));
    sim.shutdown().await;
}

/// The messages of 43, who has two phones, as `call msg(state)`.
async fn at_two_phones(quirks: Value, act: impl Fn(&pbx_sim::Sim)) -> Vec<String> {
    let sim = like(quirks).await;
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "43").await;
    sim.control("/call", json!({"from": super::CALLER, "to": "43"})).unwrap();
    act(&sim);
    let mut told = Vec::new();
    while told.last().is_none_or(|last: &String| !last.contains("1 del")) {
        let message = client.call_info().await;
        told.push(format!("{} {}({})", message["call"], message["msg"].as_str().unwrap(), message["state"]));
    }
    sim.shutdown().await;
    told
}

#[tokio::test]
async fn two_phones_with_one_handle() {
    let shared = || json!({"one_handle_for_all": true});
    let by_the_second = |sim: &pbx_sim::Sim| {
        sim.control("/answer", json!({"extension": "43", "hw": "ip-43"})).unwrap();
        hang_up(sim, "43");
    };
    let answered = ["1 r-setup(129)", "1 x-alert(132)", "1 x-conn(133)", "1 x-rel(135)", "1 del(135)"];
    assert_eq!(at_two_phones(shared(), by_the_second).await, answered);
    let missed = ["1 r-setup(129)", "1 x-alert(132)", "1 r-rel(134)", "1 del(134)"];
    assert_eq!(at_two_phones(shared(), |sim| hang_up(sim, super::CALLER)).await, missed);
    let by_one = |sim: &pbx_sim::Sim| {
        sim.control("/reject", json!({"extension": "43", "hw": "sip-43"})).unwrap();
        by_the_second(sim);
    };
    assert_eq!(at_two_phones(shared(), by_one).await, answered, "the other phone goes on ringing");
    assert!(at_two_phones(json!({}), by_the_second).await.contains(&"2 r-setup(129)".to_owned()));
}

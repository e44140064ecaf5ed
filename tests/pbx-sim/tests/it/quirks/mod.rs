//! Each switch does what the table says of it.

mod connection;
mod directory;
mod handles;
mod messages;
mod results;
mod stories;

use pbx_sim::Sim;
use pbx_sim::quirks::Quirks;
use serde_json::{Value, json};

use crate::client::{Client, api, start};

const CALLER: &str = "0472591687";

/// A simulator with these switches set.
async fn like(quirks: Value) -> Sim {
    let sim = start().await;
    sim.control("/quirks", quirks).unwrap();
    sim
}

/// Somebody calls 42 from outside.
fn ring(sim: &Sim) {
    sim.control("/call", json!({"from": CALLER, "to": "42", "name": "Baker"})).unwrap();
}

fn answer(sim: &Sim, extension: &str) {
    sim.control("/answer", json!({"extension": extension})).unwrap();
}

fn hang_up(sim: &Sim, extension: &str) {
    sim.control("/hangup", json!({"extension": extension})).unwrap();
}

/// A simulator with these switches set, and a client that monitors 42.
async fn monitoring(quirks: Value) -> (Sim, Client) {
    let sim = like(quirks).await;
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "42").await;
    (sim, client)
}

#[tokio::test]
async fn table_is_shown_and_changed() {
    let sim = start().await;
    let (status, table) = api(&sim, "GET", "/quirks", json!(null)).await;
    assert_eq!((status, table.as_array().unwrap().len()), (200, Quirks::default().table().len()));
    let row = |table: &Value, name: &str| {
        let mut rows = table.as_array().unwrap().iter();
        rows.find(|row| row["name"] == name).unwrap().clone()
    };
    let del = row(&table, "del");
    assert_eq!(del["values"], json!(["both", "msg", "flag"]));
    assert_eq!(
        (&del["default"], &del["value"], &del["section"]),
        (&json!("both"), &json!("both"), &json!("§4.5, §13.9"))
    );
    assert!(del["meaning"].as_str().unwrap().contains("end of a call"));
    assert_eq!(row(&table, "refused_user")["open"], "an extension");

    let (_, values) =
        api(&sim, "POST", "/quirks", json!({"del": "msg", "refused_user": 50, "linger_disc": true})).await;
    assert_eq!((&values["del"], &values["refused_user"]), (&json!("msg"), &json!("50")));
    let (_, values) = api(&sim, "POST", "/quirks", json!({"linger_disc": null, "omit_conf": null})).await;
    assert_eq!((&values["linger_disc"], &values["del"]), (&json!(null), &json!("msg")));
    let (_, table) = api(&sim, "GET", "/quirks", json!(null)).await;
    assert_eq!(row(&table, "del")["value"], "msg");

    for (wrong, says) in [
        (json!({"omit_comf": true}), "`omit_comf` is no quirk; the nearest one is `omit_conf`"),
        (json!({"omit_conf": true, "del": "mesg"}), "`del` must be one of both, msg, flag; the nearest one is msg"),
        (json!({"answer_ms": "soon"}), "`answer_ms` must be a whole number that is not negative"),
    ] {
        let (status, refused) = api(&sim, "POST", "/quirks", wrong).await;
        assert_eq!((status, refused["message"].as_str().unwrap()), (400, says));
    }
    let (_, table) = api(&sim, "GET", "/quirks", json!(null)).await;
    assert_eq!(row(&table, "omit_conf")["value"], false, "a refused change changes nothing");
    sim.shutdown().await;
}

#[test]
fn no_switch_is_without_a_test() {
    let tests = [
        include_str!("connection.rs"),
        include_str!("directory.rs"),
        include_str!("handles.rs"),
        include_str!("messages.rs"),
        include_str!("results.rs"),
        include_str!("stories.rs"),
        include_str!("../features.rs"),
        include_str!("../login.rs"),
        include_str!("../monitor.rs"),
    ]
    .concat();
    let is_untested = |name: &&str| !tests.contains(&format!("\"{name}\":"));
    let untested: Vec<_> = Quirks::default().table().iter().map(|switch| switch.name).filter(is_untested).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

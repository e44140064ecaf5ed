//! What happens to calls where nobody knows how real ones do.

use pbx_sim::world::{Forward, World};
use serde_json::{Value, json};

use super::{answer, hang_up, monitoring, ring};
use crate::client::{Client, start_with};

fn cause(message: &Value) -> &Value {
    &message["info"][0]["vali"]
}

#[tokio::test]
async fn own_phone_that_rings_first() {
    for (quirk, expected) in [("setup", json!(1)), ("init", json!(0)), ("silent", json!(3))] {
        let (sim, mut client) = monitoring(json!({"own_ring": quirk})).await;
        let user = client.monitor(&sim, "43").await;
        client.rcc("UserCall", json!({"user": user, "e164": "44"})).await;
        answer(&sim, "43");
        assert_eq!(client.call_info().await["state"], expected, "{quirk}");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn redirect_and_changed_parties() {
    for (stays, message, state) in [(false, "r-ct", 4), (true, "update", 5)] {
        let (sim, mut client) = monitoring(json!({"redirect_stays_connected": stays, "omit_ct": stays})).await;
        client.monitor(&sim, "44").await;
        sim.control("/call", json!({"from": "42", "to": "44"})).unwrap();
        answer(&sim, "44");
        client.wait_for("42", "r-conn").await;
        sim.control("/redirect", json!({"extension": "44", "to": "60"})).unwrap();
        let moved = client.wait_for("42", message).await;
        assert_eq!((&moved["state"], &moved["peer"]["e164"]), (&json!(state), &json!("60")));
        answer(&sim, "60");
        let connected = client.call_info().await;
        assert_eq!((&connected["src"], &connected["state"]), (&json!("44"), &json!(134)), "the leg that leaves");
        client.wait_for("44", "del").await;
        assert_eq!(client.wait_for("42", if stays { "update" } else { "r-conn" }).await["state"], 5);
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn conference_id_after_a_transfer() {
    for (quirk, older_is_a, survives) in [
        ("older", true, "older"),
        ("older", false, "older"),
        ("a", false, "younger"),
        ("b", true, "younger"),
        ("b", false, "older"),
    ] {
        let (sim, mut client) = monitoring(json!({"transfer_conf": quirk, "transfer_normal": true})).await;
        let user = client.monitor(&sim, "44").await;
        ring(&sim);
        answer(&sim, "42");
        let older = client.wait_for("42", "x-conn").await;
        sim.control("/call", json!({"from": "42", "to": "44"})).unwrap();
        answer(&sim, "44");
        let younger = client.wait_for("42", "r-conn").await;
        let (a, b) = if older_is_a { (&older, &younger) } else { (&younger, &older) };
        client.rcc("UserTransfer", json!({"user": user, "a": a["call"], "b": b["call"]})).await;
        let leaves = client.wait_for("42", "r-rel").await;
        assert_eq!(cause(&leaves), 16);
        let changed = client.wait_for("44", "r-ct").await;
        let expected = if survives == "older" { &older["conf"] } else { &younger["conf"] };
        assert_eq!(&changed["conf"], expected, "{quirk} {older_is_a}");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn user_who_forwards_sees_a_short_call() {
    let mut world = World::default();
    world.users[0].forward = Forward { cfu: Some("44".to_owned()), ..Forward::default() };
    let sim = start_with(world).await;
    sim.control("/quirks", json!({"forwarding_leg": true})).unwrap();
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "42").await;
    client.monitor(&sim, "44").await;
    ring(&sim);
    let story = client.story("44 r-setup(129)").await;
    assert_eq!(story, ["42 r-setup(129)", "42 r-rel(134)", "42 del(134)", "44 r-setup(129)"]);
    answer(&sim, "44");
    client.wait_for("44", "x-conn").await;
    hang_up(&sim, "44");
    client.wait_for("44", "del").await;
    assert_eq!(sim.state()["calls"], json!([]));
    sim.shutdown().await;
}

#[tokio::test]
async fn parked_party_is_told_nothing() {
    for (quiet, heard) in [(false, "r-held"), (true, "r-retrieved")] {
        let (sim, mut client) = monitoring(json!({"quiet_park": quiet})).await;
        sim.control("/call", json!({"from": "42", "to": "44"})).unwrap();
        answer(&sim, "44");
        client.wait_for("42", "r-conn").await;
        sim.control("/park", json!({"extension": "44"})).unwrap();
        sim.control("/pickup", json!({"extension": "60", "from": "44"})).unwrap();
        assert_eq!(client.call_info().await["msg"], heard);
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn legs_in_another_order() {
    let (sim, mut client) = monitoring(json!({"reverse_legs": true})).await;
    client.monitor(&sim, "44").await;
    sim.control("/call", json!({"from": "42", "to": "44"})).unwrap();
    let story = client.story("42 r-alert(4)").await;
    assert_eq!(story, ["44 r-setup(129)", "44 x-alert(132)", "42 x-setup(1)", "42 r-call-proc(3)", "42 r-alert(4)"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn parked_and_picked_up_in_other_ways() {
    for (quirks, parked, picked) in [
        (json!({}), 8, vec!["60 r-setup(129)", "60 x-conn(133)"]),
        (
            json!({"parked_flips": true, "pickup_alerts": true}),
            136,
            vec!["60 r-setup(129)", "60 x-alert(132)", "60 x-conn(133)"],
        ),
    ] {
        let (sim, mut client) = monitoring(quirks).await;
        client.monitor(&sim, "60").await;
        sim.control("/call", json!({"from": "42", "to": "44"})).unwrap();
        answer(&sim, "44");
        client.wait_for("42", "r-conn").await;
        sim.control("/park", json!({"extension": "42"})).unwrap();
        assert_eq!(client.wait_for("42", "update").await["state"], parked);
        sim.control("/pickup", json!({"extension": "60", "from": "42"})).unwrap();
        assert_eq!(client.story("60 x-conn(133)").await, picked);
        hang_up(&sim, "44");
        client.wait_for("60", "del").await;
        assert_eq!(sim.state()["calls"], json!([]));
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn phone_that_cannot_be_made_to_answer() {
    let (sim, mut client) = monitoring(json!({"ignore_connect": true})).await;
    ring(&sim);
    let call = client.wait_for("42", "x-alert").await["call"].clone();
    assert_eq!(client.rcc("UserConnect", json!({"call": call})).await.get("error"), None);
    assert_eq!(client.rcc("UserConnect", json!({"call": 99})).await["error"], "no such call");
    assert_eq!(sim.state()["calls"][0]["legs"][1]["state"], "alerting");
    sim.shutdown().await;
}

//! How a call's messages look.

use serde_json::{Value, json};

use super::{answer, hang_up, monitoring, ring};
use crate::client::Client;

/// The messages of a call to 42 that rings, is answered and ends.
async fn answered(quirks: Value) -> Vec<Value> {
    let (sim, mut client) = monitoring(quirks).await;
    ring(&sim);
    answer(&sim, "42");
    hang_up(&sim, "42");
    let messages = until_the_end(&mut client).await;
    sim.shutdown().await;
    messages
}

async fn until_the_end(client: &mut Client) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    while messages.last().is_none_or(|last| last["msg"] != "del" && last["del"] != true) {
        messages.push(client.call_info().await);
    }
    messages
}

/// Which of the messages have a property.
fn with(messages: &[Value], property: &str) -> Vec<bool> {
    messages.iter().map(|message| message.get(property).is_some()).collect()
}

fn told(messages: &[Value]) -> Vec<String> {
    let msg = |message: &Value| message["msg"].as_str().unwrap_or("-").to_owned();
    messages.iter().map(|message| format!("{}({})", msg(message), message["state"])).collect()
}

#[tokio::test]
async fn what_is_left_out() {
    let plain = answered(json!({})).await;
    assert_eq!(told(&plain), ["r-setup(129)", "x-alert(132)", "x-conn(133)", "x-rel(135)", "del(135)"]);
    assert_eq!(with(&plain, "conf"), [true; 5]);
    assert_eq!(with(&answered(json!({"late_conf": true})).await, "conf"), [false, true, true, true, true]);
    let late_and_rare = answered(json!({"late_conf": true, "omit_conf": true})).await;
    assert_eq!(with(&late_and_rare, "conf"), [false, true, false, false, false]);
    assert_eq!(with(&answered(json!({"omit_peer": "last"})).await, "peer"), [true, true, true, true, false]);
    assert_eq!(with(&answered(json!({"omit_peer": "later"})).await, "peer"), [true, false, false, false, false]);
    let without_msg = answered(json!({"omit_msg": true, "del": "msg"})).await;
    assert_eq!((with(&without_msg, "msg"), &without_msg[4]["del"]), (vec![false; 5], &json!(true)));
    let sparse = answered(json!({"omit_empty": true})).await;
    assert_eq!(sparse[0]["peer"], json!({"dn": "Baker", "e164": "00032472591687", "norm": "+32472591687"}));
    let withheld = answered(json!({"clir": true})).await;
    assert_eq!(withheld[0]["peer"], json!({"cn": "", "dn": "", "e164": "", "h323": ""}));
}

#[tokio::test]
async fn where_the_cause_is() {
    for (style, alias, in_info) in [("info", false, true), ("both", true, true), ("top", true, false)] {
        let messages = answered(json!({"cause_style": style})).await;
        assert_eq!((messages[3]["cause"] == json!(16), messages[3].get("info").is_some()), (alias, in_info), "{style}");
    }
}

#[tokio::test]
async fn types_and_properties_that_nobody_expects() {
    let messages = answered(json!({"numbers_as_text": true, "unknown_properties": true})).await;
    assert_eq!((&messages[0]["user"], &messages[0]["state"]), (&json!("1"), &json!("129")));
    assert_eq!(messages[3]["info"][0]["vali"], "16");
    assert!(messages[0]["zz-new"].is_object() && messages[0]["peer"]["zz-flags"].is_number());

    let (sim, mut client) = monitoring(json!({"text_as_numbers": true, "unknown_messages": true})).await;
    sim.control("/call", json!({"from": "44", "to": "42"})).unwrap();
    let setup = loop {
        let unknown = client.next().await;
        assert_eq!(unknown["mt"], "CallProgressInfo");
        let message = client.next().await;
        if message["msg"] == "r-setup" {
            break message;
        }
    };
    assert_eq!(setup["peer"]["e164"], 44);
    let result = client.rcc("UserInitialize", json!({"cn": "Workshop"})).await;
    assert_eq!((&result["prefixSubs"], &result["prefixIntl"]), (&json!(0), &json!("000")), "no zero is lost");
    sim.shutdown().await;
}

#[tokio::test]
async fn messages_in_between() {
    let proceeds = answered(json!({"called_proceeds": true})).await;
    assert_eq!(told(&proceeds[..3]), ["r-setup(129)", "x-call-proc(131)", "x-alert(132)"]);
    let facility = answered(json!({"facility_messages": true})).await;
    assert_eq!(told(&facility[..4]), ["r-setup(129)", "x-facility(129)", "x-alert(132)", "x-facility(132)"]);

    let outgoing = async |quirks: Value, to: &str| {
        let (sim, mut client) = monitoring(quirks).await;
        sim.control("/call", json!({"from": "42", "to": to})).unwrap();
        sim.control("/hangup", json!({"extension": "42"})).unwrap();
        let told = told(&until_the_end(&mut client).await).join(" ");
        sim.shutdown().await;
        told
    };
    let acknowledged = "x-setup(1) r-setup-ack(2) r-call-proc(3) r-alert(4) x-rel(7) del(7)";
    assert_eq!(outgoing(json!({"setup_ack": true}), "44").await, acknowledged);
    assert_eq!(outgoing(json!({"skip_proceeding": true}), "44").await, "x-setup(1) r-alert(4) x-rel(7) del(7)");
    let no_alert = "x-setup(1) r-call-proc(3) x-rel(7) del(7)";
    assert_eq!(outgoing(json!({"skip_trunk_alert": true}), "+32472591687").await, no_alert);
    assert!(outgoing(json!({"skip_trunk_alert": true}), "44").await.contains("r-alert(4)"));
}

#[tokio::test]
async fn second_call_and_hold() {
    let (sim, mut client) = monitoring(json!({"waiting_bit": true})).await;
    ring(&sim);
    answer(&sim, "42");
    sim.control("/call", json!({"from": "60", "to": "42"})).unwrap();
    client.wait_for("42", "x-conn").await;
    assert_eq!(client.wait_for("42", "x-alert").await["state"], 0x484);
    hang_up(&sim, "60");
    client.wait_for("42", "del").await;

    let mut hold = async |quirks: Value, who: &str| {
        sim.control("/quirks", quirks).unwrap();
        sim.control("/hold", json!({"extension": who})).unwrap();
        sim.control("/retrieve", json!({"extension": who})).unwrap();
        let mut heard = Vec::new();
        while heard.len() < 4 && heard.last().is_none_or(|last: &String| !last.ends_with("(133)")) {
            heard.extend(told(&[client.call_info().await]));
        }
        heard
    };
    assert_eq!(hold(json!({"waiting_bit": false}), "42").await, ["update(389)", "update(133)"]);
    assert_eq!(hold(json!({"own_hold_message": true}), "42").await, ["x-held(389)", "x-retrieved(133)"]);
    let strange = hold(json!({"own_hold_message": false, "strange_states": true}), "42").await;
    assert_eq!(strange, ["update(131)", "update(389)", "update(131)", "update(133)"]);
    let plain = json!({"strange_states": false});
    assert_eq!(hold(plain, super::CALLER).await, ["r-held(645)", "r-retrieved(133)"]);
    assert_eq!(hold(json!({"omit_held_bit": true}), super::CALLER).await, ["r-held(133)"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn parties_in_no() {
    let kinds = async |quirks: Value| {
        let (sim, mut client) = monitoring(quirks).await;
        client.monitor(&sim, "44").await;
        ring(&sim);
        answer(&sim, "42");
        sim.control("/redirect", json!({"extension": "42", "to": "44"})).unwrap();
        let setup = client.wait_for("44", "r-setup").await;
        sim.shutdown().await;
        setup["no"].as_array().unwrap().iter().map(|no| no["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(json!({})).await, ["ct"]);
    assert_eq!(kinds(json!({"this_party": true})).await, ["ct", "this"]);
    assert_eq!(kinds(json!({"this_party": true, "reverse_no": true})).await, ["this", "ct"]);
}

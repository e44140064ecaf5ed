//! `Initialize`, `UserInfo` and `Devices`.

use std::time::{Duration, Instant};

use pbx_sim::world::World;
use serde_json::{Value, json};

use crate::client::{Client, object, start, start_with};

/// Rows up to `InitializeResult`.
async fn initialize(client: &mut Client, fields: Value) -> Vec<Value> {
    let mut request = json!({"api": "RCC", "mt": "Initialize", "src": "all"});
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    client.send(request).await;
    let mut rows = Vec::new();
    loop {
        match client.next().await {
            end if end["mt"] == "InitializeResult" => {
                assert_eq!(end["src"], "all");
                return rows;
            }
            row => {
                assert_eq!((&row["mt"], &row["src"]), (&json!("UserInfo"), &json!("all")));
                assert!(row.get("update").is_none());
                rows.push(row);
            }
        }
    }
}

fn extensions(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["e164"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_group_shows_its_members_and_access_shows_everybody_with_access() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    let rows = initialize(&mut client, json!({"grp": true})).await;
    assert_eq!(extensions(&rows), ["42", "43", "44", "50", "77", "78"]);
    let workshop = &rows[1];
    assert_eq!(workshop["regs"], json!([{"hw": "sip-43"}, {"hw": "ip-43"}]));
    for (key, value) in [("cn", "Workshop"), ("h323", "workshop"), ("pbx", "master"), ("node", "root"), ("pseudo", "")]
    {
        assert_eq!(workshop[key], value, "{key}");
    }
    assert_eq!((&workshop["channel"], &workshop["alert"]), (&json!(0), &json!(0)));
    assert_eq!(workshop["guid"], object(&sim, "43")["guid"]);
    assert_eq!((&rows[4]["pseudo"], rows[4].get("regs")), (&json!("waiting"), None));

    // "grp" as a string, and without it.
    assert_eq!(initialize(&mut client, json!({"grp": "true"})).await.len(), 6);
    let rows = initialize(&mut client, json!({})).await;
    assert_eq!(extensions(&rows), ["42", "43", "44", "50", "60", "77", "78"]);
    let devices = client.rcc("Devices", json!({"cn": "Workshop"})).await;
    assert_eq!(devices["devices"][0], json!({"hw": "sip-43", "text": "Softphone"}));
    sim.shutdown().await;
}

#[tokio::test]
async fn users_come_in_batches() {
    let sim = start_with(World::default().with_users(500)).await;
    let mut client = Client::app(&sim).await;
    for (limit, ticks) in [(json!(50), 10), (json!("20"), 25), (json!(9999), 10)] {
        let begun = Instant::now();
        let rows = initialize(&mut client, json!({"grp": true, "limit": limit})).await;
        assert_eq!(rows.len(), 506);
        // 506 rows need one more batch than `ticks`; the first one goes at once.
        assert!(begun.elapsed() >= Duration::from_millis(20 * ticks), "{limit}: {:?}", begun.elapsed());
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn user_info_follows_calls_and_administration() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    initialize(&mut client, json!({"grp": true})).await;
    let next = async |client: &mut Client| {
        let row = client.next().await;
        assert_eq!((&row["mt"], &row["src"]), (&json!("UserInfo"), &json!("all")));
        (
            row["update"].as_str().unwrap().to_owned(),
            row["e164"].as_str().unwrap().to_owned(),
            row["channel"].as_u64().unwrap(),
            row["alert"].as_u64().unwrap(),
        )
    };
    let row = |update: &str, e164: &str, channel, alert| (update.to_owned(), e164.to_owned(), channel, alert);
    sim.control("/call", json!({"from": "0472591687", "to": "42"})).unwrap();
    assert_eq!(next(&mut client).await, row("change", "42", 1, 1));
    sim.control("/answer", json!({"extension": "42"})).unwrap();
    assert_eq!(next(&mut client).await, row("change", "42", 1, 0));
    sim.control("/hangup", json!({"extension": "42"})).unwrap();
    assert_eq!(next(&mut client).await, row("change", "42", 0, 0));

    // Outside of the group nothing is seen; joining it adds, leaving it deletes.
    sim.control("/user", json!({"extension": "45", "cn": "Canteen"})).unwrap();
    sim.control("/user", json!({"extension": "45", "groups": ["EasyConnectMonitored"]})).unwrap();
    assert_eq!(next(&mut client).await, row("add", "45", 0, 0));
    sim.control("/user", json!({"extension": "45", "dn": "Kitchen", "registered": false})).unwrap();
    let changed = client.next().await;
    assert_eq!((&changed["dn"], changed.get("regs")), (&json!("Kitchen"), None));
    sim.control("/user", json!({"extension": "45", "groups": []})).unwrap();
    assert_eq!(next(&mut client).await, row("del", "45", 0, 0));
    sim.control("/user", json!({"extension": "44", "remove": true})).unwrap();
    assert_eq!(next(&mut client).await, row("del", "44", 0, 0));
    sim.control("/behaviour", json!({"extension": "42", "mode": "unregistered"})).unwrap();
    assert_eq!(next(&mut client).await, row("change", "42", 0, 0));
    sim.shutdown().await;
}

#[tokio::test]
async fn every_call_of_the_pbx_is_reported_on_request() {
    let sim = start().await;
    sim.control("/call", json!({"from": "60", "to": "50"})).unwrap();
    let mut client = Client::app(&sim).await;
    initialize(&mut client, json!({"grp": true, "calls": true})).await;
    let (a, b) = (client.next().await, client.next().await);
    assert_eq!(
        (&a["mt"], &a["cn"], &a["state"], &a["src"]),
        (&json!("CallAdd"), &json!("Outside"), &json!(4), &json!("all"))
    );
    assert_eq!((&b["cn"], &b["state"], &b["conf-id"]), (&json!("Service Desk"), &json!(132), &a["conf-id"]));
    assert!(a["guid"].is_string() && a["call-id"].is_string() && a["call"] != b["call"]);
    let mut heard = Vec::new();
    sim.control("/answer", json!({"extension": "50"})).unwrap();
    sim.control("/hangup", json!({"extension": "60"})).unwrap();
    while heard.len() < 6 {
        let message = client.next().await;
        if message["mt"] != "UserInfo" {
            let name = if message["call"] == a["call"] { "60" } else { "50" };
            let word = message["msg"].as_str().unwrap_or("-").to_owned();
            heard.push(format!("{name} {} {word}", message["mt"].as_str().unwrap()));
        }
    }
    // Seen from the PBX: what the phone transmits is received.
    assert_eq!(
        heard,
        [
            "50 CallUpdate r-conn",
            "60 CallUpdate x-conn",
            "60 CallUpdate r-rel",
            "50 CallUpdate x-rel",
            "60 CallDel -",
            "50 CallDel -"
        ]
    );
    sim.shutdown().await;
}

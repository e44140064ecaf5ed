//! Hold, transfer, redirect, park, pick up, digits, queues.

use pbx_sim::Sim;
use pbx_sim::world::World;
use serde_json::{Value, json};

use crate::client::{Client, connected, eventually, start, start_with};

/// `from` calls `to`, which answers; returns the two setup messages.
async fn talk(sim: &Sim, client: &mut Client, from: &str, to: &str) -> (Value, Value) {
    sim.control("/call", json!({"from": from, "to": to})).unwrap();
    let a = client.wait_for(from, "x-setup").await;
    let b = client.wait_for(to, "r-setup").await;
    sim.control("/answer", json!({"extension": to})).unwrap();
    client.wait_for(from, "r-conn").await;
    (a, b)
}

async fn watch(sim: &Sim, extensions: &[&str]) -> Client {
    let mut client = Client::app(sim).await;
    for extension in extensions {
        client.monitor(sim, extension).await;
    }
    client
}

#[tokio::test]
async fn hold_and_retrieve_from_both_sides() {
    let sim = start().await;
    let mut client = watch(&sim, &["42", "44"]).await;
    let (a, b) = talk(&sim, &mut client, "42", "44").await;
    client.rcc("UserHold", json!({"call": a["call"], "remote": true})).await;
    client.rcc("UserHold", json!({"call": b["call"]})).await;
    client.rcc("UserRetrieve", json!({"call": a["call"]})).await;
    client.rcc("UserRetrieve", json!({"call": b["call"]})).await;
    let story = client.story("42 r-retrieved(5)").await.join(", ");
    assert_eq!(
        story,
        "42 update(261), 44 r-held(645), 44 update(901), 42 r-held(773), \
         42 update(517), 44 r-retrieved(389), 44 update(133), 42 r-retrieved(5)"
    );
    // By key, without any command.
    sim.control("/hold", json!({"extension": "42"})).unwrap();
    assert_eq!(client.story("44 r-held(645)").await, ["42 update(261)", "44 r-held(645)"]);
    sim.control("/retrieve", json!({"extension": "42"})).unwrap();
    client.wait_for("44", "r-retrieved").await;
    sim.shutdown().await;
}

#[tokio::test]
async fn a_consultation_transfer_rewrites_the_conference_id() {
    for swapped in [false, true] {
        let sim = start().await;
        let mut client = watch(&sim, &["60", "42", "44"]).await;
        let (a, b1) = talk(&sim, &mut client, "60", "42").await;
        let (b2, c) = talk(&sim, &mut client, "42", "44").await;
        assert_ne!(a["conf"], c["conf"]);
        // The phone holds the first call when the second one begins.
        let (x, y) = if swapped { (&b2, &b1) } else { (&b1, &b2) };
        let result = client.rcc("UserTransfer", json!({"a": x["call"], "b": y["call"]})).await;
        assert_eq!(result.get("error"), None);
        let (mut ends, mut told) = (Vec::new(), Vec::new());
        while ends.len() < 2 {
            match client.call_info().await {
                end if end["del"] == true => ends.push((end["src"].clone(), end["info"][0]["vali"].clone())),
                ct if ct["msg"] == "r-ct" => told.push(ct),
                _ => {}
            }
        }
        assert_eq!(ends, [(json!("42"), json!(26)), (json!("42"), json!(26))]);
        for (src, state, peer) in [("60", 5, "44"), ("44", 133, "60")] {
            let ct = told.iter().find(|ct| ct["src"] == src).unwrap();
            assert_eq!((&ct["state"], &ct["peer"]["e164"], &ct["conf"]), (&json!(state), &json!(peer), &a["conf"]));
            assert_eq!((&ct["no"][0]["type"], &ct["no"][0]["e164"]), (&json!("ct"), &json!("42")));
        }
        assert_eq!(connected(&sim), ["44-60", "60-44"]);
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn a_transfer_while_the_destination_still_rings() {
    let sim = start().await;
    let mut client = watch(&sim, &["60", "42", "44"]).await;
    let (a, _) = talk(&sim, &mut client, "60", "42").await;
    sim.control("/call", json!({"from": "42", "to": "44"})).unwrap();
    client.wait_for("44", "x-alert").await;
    sim.control("/transfer", json!({"extension": "42"})).unwrap();
    assert_eq!(client.wait_for("60", "r-ct").await["state"], 4);
    let c = client.wait_for("44", "r-ct").await;
    assert_eq!((&c["state"], &c["conf"], &c["peer"]["e164"]), (&json!(132), &a["conf"], &json!("60")));
    sim.control("/answer", json!({"extension": "44"})).unwrap();
    let mut story = client.story("60 r-conn(5)").await;
    story.retain(|line| !line.starts_with("42"));
    assert_eq!(story, ["44 x-conn(133)", "60 r-conn(5)"]);
    assert_eq!(connected(&sim), ["44-60", "60-44"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_queue_calls_without_a_phone_and_joins_two_callees() {
    let sim = start().await;
    let mut client = watch(&sim, &["50"]).await;
    let queue = client.rcc("UserInitialize", json!({"cn": "DialoutQueue", "hw": "DialoutQueue", "src": "77"})).await;
    let prefixes = ["prefixIntl", "prefixNtl", "prefixSubs", "country", "area"].map(|key| queue[key].clone());
    assert_eq!(prefixes, ["000", "00", "0", "32", "2"].map(Value::from));
    let call = async |client: &mut Client, number: &str| {
        client.rcc("UserCall", json!({"user": queue["user"], "e164": number})).await["call"].clone()
    };
    let first = call(&mut client, "50").await;
    sim.control("/answer", json!({"extension": "50"})).unwrap();
    client.wait_for("77", "r-conn").await;
    sim.control("/dtmf", json!({"extension": "50", "digits": "1#"})).unwrap();
    let digits = client.wait_for("77", "update").await;
    assert_eq!((&digits["dtmf"], &digits["call"]), (&json!("1#"), &first));
    let second = call(&mut client, "00032472591687").await;
    sim.control("/answer", json!({"extension": "+32472591687"})).unwrap();
    assert_eq!(client.wait_for("77", "r-conn").await["call"], second);
    assert_eq!(connected(&sim), ["+32472591687-77", "50-77", "77-+32472591687", "77-50"]);
    client.rcc("UserTransfer", json!({"a": first, "b": second})).await;
    let ct = client.wait_for("50", "r-ct").await;
    assert_eq!((&ct["peer"]["norm"], &ct["no"][0]["e164"]), (&json!("+32472591687"), &json!("77")));
    assert_eq!(connected(&sim), ["+32472591687-50", "50-+32472591687"]);
    // Both handles of the queue are dead now, which is said, and has no effect.
    client.wait_for("77", "del").await;
    client.wait_for("77", "del").await;
    let result = client.rcc("UserTransfer", json!({"a": first, "b": second})).await;
    assert_eq!(result["error"], "no such call");
    sim.shutdown().await;
}

#[tokio::test]
async fn calls_to_a_queue_ring_its_operators_again_and_again() {
    let mut world = World::default();
    world.queues[1].offer_ms = 30;
    world.queues[1].pause_ms = 10;
    let sim = start_with(world).await;
    let mut client = watch(&sim, &["78", "42"]).await;
    sim.control("/call", json!({"from": "0472591687", "to": "78"})).unwrap();
    let queue = client.wait_for("78", "r-setup").await;
    let mut handles = Vec::new();
    for _ in 0..3 {
        let offer = client.wait_for("42", "r-setup").await;
        assert_eq!((&offer["conf"], &offer["no"][0]["type"]), (&queue["conf"], &json!("leg2")));
        assert_eq!((&offer["no"][0]["e164"], &offer["peer"]["e164"]), (&json!("78"), &json!("00032472591687")));
        handles.push(offer["call"].clone());
    }
    handles.dedup();
    assert_eq!(handles.len(), 3, "each offer is a call of its own");
    eventually("42 answers", || sim.control("/answer", json!({"extension": "42"})).is_ok()).await;
    assert_eq!(connected(&sim), ["+32472591687-42", "42-+32472591687"]);
    sim.control("/hangup", json!({"extension": "42"})).unwrap();
    client.wait_for("78", "del").await;
    assert_eq!(sim.state()["calls"], json!([]));
    sim.shutdown().await;
}

#[tokio::test]
async fn blind_redirect_of_a_connected_and_of_a_ringing_call() {
    let sim = start().await;
    let mut client = watch(&sim, &["60", "42", "44"]).await;
    let (a, b) = talk(&sim, &mut client, "60", "42").await;
    let refused = client.rcc("UserRedirect", json!({"call": b["call"], "e164": "99"})).await;
    assert_eq!(refused["error"], "no such destination");
    let result = client.rcc("UserRedirect", json!({"call": b["call"], "e164": "44"})).await;
    assert_eq!(result.get("error"), None);
    let c = client.wait_for("44", "r-setup").await;
    assert_eq!((&c["conf"], &c["peer"]["e164"]), (&a["conf"], &json!("60")));
    assert_eq!((&c["no"][0]["type"], &c["no"][0]["e164"]), (&json!("ct"), &json!("42")));
    let caller = client.wait_for("60", "r-ct").await;
    assert_eq!((&caller["state"], &caller["no"][0]["type"], &caller["conf"]), (&json!(4), &json!("leg1"), &a["conf"]));
    assert_eq!(client.wait_for("42", "r-rel").await["info"][0]["vali"], 26);
    sim.control("/answer", json!({"extension": "44"})).unwrap();
    client.wait_for("60", "r-conn").await;
    assert_eq!(connected(&sim), ["44-60", "60-44"]);
    sim.control("/hangup", json!({"extension": "60"})).unwrap();

    // Ringing, by the person at the phone; the destination's forwarding counts with UserReroute only.
    sim.control("/user", json!({"extension": "44", "forward": {"cfu": "50"}})).unwrap();
    client.monitor(&sim, "50").await;
    for (mt, rings) in [("UserRedirect", "44"), ("UserReroute", "50")] {
        sim.control("/call", json!({"from": "0472591687", "to": "42"})).unwrap();
        let b = client.wait_for("42", "x-alert").await;
        client.rcc(mt, json!({"call": b["call"], "cn": "Sales"})).await;
        client.wait_for(rings, "x-alert").await;
        sim.control("/hangup", json!({"extension": "+32472591687"})).unwrap();
        client.wait_for(rings, "del").await;
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn with_xfer_a_transferred_call_is_reported_on() {
    let sim = start().await;
    let mut client = watch(&sim, &["60"]).await;
    client.rcc("UserInitialize", json!({"cn": "Thomas De Wilde", "xfer": true, "src": "42"})).await;
    let (_, b) = talk(&sim, &mut client, "60", "42").await;
    sim.control("/redirect", json!({"extension": "42", "to": "44"})).unwrap();
    sim.control("/answer", json!({"extension": "44"})).unwrap();
    let answered = client.wait_for("42", "x-conn").await;
    let answered = if answered["no"].is_null() { client.wait_for("42", "x-conn").await } else { answered };
    assert_eq!(
        (&answered["call"], &answered["no"].as_array().unwrap().last().unwrap()["type"]),
        (&b["call"], &json!("xfer"))
    );
    sim.control("/hangup", json!({"extension": "44"})).unwrap();
    assert_eq!(client.wait_for("42", "del").await["call"], b["call"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn park_and_pick_up() {
    let sim = start().await;
    let mut client = watch(&sim, &["60", "42", "44"]).await;
    let (a, b) = talk(&sim, &mut client, "60", "42").await;
    let parked = client.rcc("UserPark", json!({"call": b["call"], "position": -1})).await["call"].clone();
    let released = client.wait_for("42", "r-rel").await;
    assert_eq!((&released["call"], &released["no"][0]["type"]), (&b["call"], &json!("parked-to")));
    client.wait_for("42", "del").await;
    let waiting = client.wait_for("42", "update").await;
    assert_eq!((&waiting["state"], &waiting["call"], &waiting["conf"]), (&json!(136), &parked, &a["conf"]));
    assert_eq!(client.wait_for("60", "r-held").await["state"], 517);
    let picked = client.rcc("UserPickup", json!({"user": 3, "call": parked})).await["call"].clone();
    let setup = client.wait_for("44", "r-setup").await;
    let kinds: Vec<_> = setup["no"].as_array().unwrap().iter().map(|no| no["type"].clone()).collect();
    assert_eq!((&setup["call"], kinds, &setup["conf"]), (&picked, vec![json!("picking"), json!("ct")], &a["conf"]));
    assert_eq!(client.wait_for("44", "x-conn").await["state"], 133);
    let resumed = client.wait_for("60", "r-retrieved").await;
    assert_eq!((&resumed["state"], &resumed["peer"]["e164"]), (&json!(5), &json!("44")));
    assert_eq!(client.wait_for("42", "del").await["call"], parked);
    assert_eq!(connected(&sim), ["44-60", "60-44"]);

    // Parked elsewhere, by key, and gone with its caller.
    sim.control("/park", json!({"extension": "44", "at": "42"})).unwrap();
    assert_eq!(client.wait_for("42", "update").await["state"], 136);
    sim.control("/pickup", json!({"extension": "50", "from": "42"})).unwrap();
    assert_eq!(connected(&sim), ["50-60", "60-50"]);
    sim.control("/hangup", json!({"extension": "60"})).unwrap();
    assert_eq!(sim.state()["calls"], json!([]));
    sim.shutdown().await;
}

#[tokio::test]
async fn a_parking_place_holds_one_call() {
    let sim = start().await;
    let mut client = watch(&sim, &["60", "42", "44", "50"]).await;
    let (_, b) = talk(&sim, &mut client, "60", "42").await;
    let (_, d) = talk(&sim, &mut client, "44", "50").await;
    let parked = client.rcc("UserPark", json!({"call": b["call"], "position": 7})).await;
    assert_ne!(parked["call"], 0);
    let other = json!({"call": d["call"], "cn": "Thomas De Wilde", "position": 7});
    let taken = client.rcc("UserPark", other).await;
    assert_eq!((&taken["call"], &taken["error"]), (&json!(0), &json!("the parking place is taken")));
    assert_eq!(connected(&sim), ["44-50", "50-44"]);
    let other = json!({"call": d["call"], "cn": "Thomas De Wilde", "position": -1});
    assert_ne!(client.rcc("UserPark", other).await["call"], 0);
    sim.shutdown().await;
}

#[tokio::test]
async fn codes_in_a_setup_reach_the_phones_they_are_for() {
    let sim = start().await;
    let mut client = watch(&sim, &["42", "44", "50"]).await;
    client.rcc("UserCall", json!({"user": 1, "e164": "44", "rc": 2})).await;
    let ringing = client.wait_for("44", "x-alert").await;
    client.rcc("UserRedirect", json!({"call": ringing["call"], "e164": "50", "rc": 3})).await;
    client.wait_for("50", "x-alert").await;
    let legs = sim.state()["calls"][0]["legs"].clone();
    let codes = |extension: &str| {
        legs.as_array().unwrap().iter().find(|leg| leg["extension"] == extension).unwrap()["rc"].clone()
    };
    assert_eq!((codes("42"), codes("50")), (json!([2]), json!([3])));
    sim.shutdown().await;
}

#[tokio::test]
async fn picking_up_what_rings_elsewhere() {
    let sim = start().await;
    let mut client = watch(&sim, &["42", "44"]).await;
    for what in [
        json!({"user": 2, "cn": "Thomas De Wilde"}),
        json!({"user": 2}),
        json!({"user": 2, "group": "EasyConnectMonitored"}),
    ] {
        sim.control("/call", json!({"from": "0472591687", "to": "42"})).unwrap();
        client.wait_for("42", "x-alert").await;
        let picked = client.rcc("UserPickup", what).await;
        assert_ne!(picked["call"], 0);
        client.wait_for("44", "x-conn").await;
        assert_eq!(client.wait_for("42", "r-rel").await["info"][0]["vali"], 26);
        sim.control("/hangup", json!({"extension": "44"})).unwrap();
    }
    let nothing = client.rcc("UserPickup", json!({"user": 2})).await;
    assert_eq!((&nothing["call"], &nothing["error"]), (&json!(0), &json!("there is nothing to pick up")));
    sim.shutdown().await;
}

#[tokio::test]
async fn digits_user_information_remote_control_and_the_rest() {
    let sim = start().await;
    let mut client = watch(&sim, &["42", "44"]).await;
    let (a, _) = talk(&sim, &mut client, "42", "44").await;
    let call = &a["call"];
    client.rcc("UserDTMF", json!({"user": 1, "call": call, "recv": false, "dtmf": "12"})).await;
    assert_eq!(client.wait_for("44", "update").await["dtmf"], "12");
    client.rcc("UserDTMF", json!({"call": call, "recv": true, "dtmf": 3})).await;
    assert_eq!(client.wait_for("42", "update").await["dtmf"], "3");
    client.rcc("UserUUI", json!({"call": call, "uui": "hello%20there"})).await;
    let info = client.wait_for("44", "update").await["info"][0].clone();
    assert_eq!(info, json!({"type": "uui", "vals": "hello%20there"}));
    client.rcc("UserRc", json!({"call": call, "rc": 37})).await;
    assert_eq!(client.wait_for("42", "update").await["state"], 261);
    client.rcc("UserRc", json!({"call": call, "rc": "8"})).await;
    client.rcc("UserCtComplete", json!({"call": call, "e164": "60"})).await;
    let leg = sim.state()["calls"][0]["legs"][0].clone();
    assert_eq!((&leg["rc"], &leg["display"], &leg["holds"]), (&json!([37, 8]), &json!("60"), &json!(true)));
    for mt in ["UserCtrlCall", "UserInfo"] {
        assert_eq!(client.rcc(mt, json!({"call": call, "key": "*8"})).await.get("error"), None);
    }
    let legs = sim.state()["calls"][0]["legs"].clone();
    assert_eq!((&legs[0]["keypad"], &legs[1]["uui"]), (&json!("*8"), &json!("hello%20there")));
    let media = client.rcc("UserMediaTransfer", json!({"a": call, "b": call, "user": true})).await;
    assert_eq!(media.get("error"), None);
    sim.shutdown().await;
}

#[tokio::test]
async fn with_disc_a_cleared_call_stays_on_an_innovaphone_phone() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    client.rcc("UserInitialize", json!({"cn": "Thomas De Wilde", "disc": true, "src": "42"})).await;
    sim.control("/call", json!({"from": "0472591687", "to": "42"})).unwrap();
    sim.control("/answer", json!({"extension": "42"})).unwrap();
    sim.control("/hangup", json!({"extension": "0472591687"})).unwrap();
    assert_eq!(client.wait_for("42", "r-disc").await["state"], 134);
    sim.control("/hangup", json!({"extension": "42"})).unwrap();
    assert_eq!(client.story("42 del(135)").await, ["42 x-rel(135)", "42 del(135)"]);
    sim.shutdown().await;
}

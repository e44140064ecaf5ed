//! Plain calls: what each monitored party is told, from setup to the last message.

use pbx_sim::world::{Behaviour, BehaviourMode, Forward, UserSpec, World};
use serde_json::{Value, json};

use crate::client::{Client, connected, eventually, start, start_with};

fn cause(message: &Value) -> u64 {
    message["info"][0]["vali"].as_u64().unwrap()
}

#[tokio::test]
async fn incoming_answered_and_hung_up_by_the_caller() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "42").await;
    sim.control("/call", json!({"from": "+32472591687", "to": "42", "name": "Baker"})).unwrap();
    let setup = client.call_info().await;
    assert_eq!(
        (&setup["msg"], &setup["state"], &setup["user"], &setup["src"]),
        (&json!("r-setup"), &json!(129), &json!(1), &json!("42"))
    );
    let peer = json!({"cn": "", "dn": "Baker", "h323": "", "e164": "00032472591687", "norm": "+32472591687"});
    assert_eq!(setup["peer"], peer);
    assert!(setup["conf"].as_str().is_some_and(|conf| conf.len() == 32));
    assert_eq!(setup["time"], 0);
    client.wait_for("42", "x-alert").await;
    sim.control("/answer", json!({"extension": "42"})).unwrap();
    assert_eq!(client.call_info().await["state"], 133);
    assert_eq!(connected(&sim), ["+32472591687-42", "42-+32472591687"]);
    sim.control("/hangup", json!({"extension": "0472591687"})).unwrap();
    let released = client.call_info().await;
    assert_eq!((&released["msg"], &released["state"], cause(&released)), (&json!("r-rel"), &json!(134), 16));
    let last = client.call_info().await;
    assert_eq!((&last["msg"], &last["del"], &last["peer"]), (&json!("del"), &json!(true), &peer));
    assert_eq!(last["call"], setup["call"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn incoming_hung_up_missed_rejected_busy_and_absent() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "42").await;
    let ring = || sim.control("/call", json!({"from": "0472591687", "to": "42"})).unwrap();
    ring();
    sim.control("/answer", json!({"extension": "42"})).unwrap();
    sim.control("/hangup", json!({"extension": "42"})).unwrap();
    let story = client.story("42 del(135)").await;
    assert_eq!(story, ["42 r-setup(129)", "42 x-alert(132)", "42 x-conn(133)", "42 x-rel(135)", "42 del(135)"]);
    ring();
    sim.control("/hangup", json!({"extension": "00032472591687"})).unwrap();
    let story = client.story("42 del(134)").await;
    assert_eq!(story, ["42 r-setup(129)", "42 x-alert(132)", "42 r-rel(134)", "42 del(134)"]);
    ring();
    sim.control("/reject", json!({"extension": "42"})).unwrap();
    assert_eq!(cause(&client.wait_for("42", "x-rel").await), 21);
    client.wait_for("42", "del").await;
    for (mode, story, code) in [
        ("busy", ["42 r-setup(129)", "42 x-rel(135)", "42 del(135)"], 17),
        ("unregistered", ["42 r-setup(129)", "42 r-rel(134)", "42 del(134)"], 20),
    ] {
        sim.control("/behaviour", json!({"extension": "42", "mode": mode})).unwrap();
        ring();
        assert_eq!(client.story(story[2]).await, story);
        sim.control("/call", json!({"from": "44", "to": "42"})).unwrap();
        assert_eq!(cause(&client.wait_for("42", "del").await), code);
        sim.control("/hangup", json!({"extension": "44"})).unwrap();
    }
    assert_eq!(sim.state()["calls"], json!([]));
    sim.shutdown().await;
}

#[tokio::test]
async fn several_phones_ring_and_the_losers_end_with_cause_26() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "43").await;
    let only = client.rcc("UserInitialize", json!({"cn": "Workshop", "hw": "ip-43", "src": "ip"})).await;
    assert_eq!(only["user"], 2);
    sim.control("/call", json!({"from": "0472591687", "to": "43"})).unwrap();
    let (first, second) = (client.wait_for("43", "r-setup").await, client.call_info().await);
    assert_eq!((&second["src"], &second["msg"], &second["conf"]), (&json!("43"), &json!("r-setup"), &first["conf"]));
    assert_ne!(first["call"], second["call"]);
    let narrow = client.call_info().await;
    assert_eq!((&narrow["src"], &narrow["user"]), (&json!("ip"), &json!(2)));
    assert!(narrow["call"] != first["call"] && narrow["call"] != second["call"]);
    sim.control("/answer", json!({"extension": "43", "hw": "sip-43"})).unwrap();
    assert_eq!(client.wait_for("43", "x-conn").await["call"], first["call"]);
    let loser = client.wait_for("ip", "r-rel").await;
    assert_eq!((cause(&loser), &loser["call"]), (26, &narrow["call"]));
    sim.shutdown().await;
}

#[tokio::test]
async fn outgoing_through_the_trunk() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    let user = client.monitor(&sim, "42").await;
    let result = client.rcc("UserCall", json!({"user": user, "e164": "00032472591687"})).await;
    let setup = client.next().await;
    assert_eq!((&setup["msg"], &setup["call"], &setup["src"]), (&json!("x-setup"), &result["call"], &json!("42")));
    assert_eq!(setup["peer"]["e164"], "00032472591687");
    sim.control("/answer", json!({"extension": "+32472591687"})).unwrap();
    client.rcc("UserClear", json!({"call": result["call"].to_string(), "cause": "16"})).await;
    let story = client.story("42 del(7)").await;
    assert_eq!(story, ["42 r-call-proc(3)", "42 r-alert(4)", "42 r-conn(5)", "42 x-rel(7)", "42 del(7)"]);

    // The destination hangs up; national form; an external party that answers by itself.
    sim.control("/behaviour", json!({"extension": "0032472591687", "mode": "answer", "after_ms": 1})).unwrap();
    client.rcc("UserCall", json!({"user": user, "e164": "00472591687"})).await;
    client.wait_for("42", "r-conn").await;
    sim.control("/hangup", json!({"extension": "0472591687"})).unwrap();
    assert_eq!(client.story("42 del(6)").await, ["42 r-rel(6)", "42 del(6)"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn outgoing_to_nobody_busy_or_rejecting_stays_until_cleared() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    let user = client.monitor(&sim, "42").await;
    sim.control("/behaviour", json!({"extension": "44", "mode": "busy"})).unwrap();
    sim.control("/behaviour", json!({"extension": "+32472591687", "mode": "reject"})).unwrap();
    for (number, code, text) in [
        ("99", 1, "Unallocated (unassigned) number"),
        ("+32472591687", 1, "Unallocated (unassigned) number"),
        ("44", 17, "User busy"),
        ("00032472591687", 21, "Call rejected"),
    ] {
        let result = client.rcc("UserCall", json!({"user": user, "e164": number})).await;
        let tone = client.wait_for("42", "r-disc").await;
        assert_eq!((&tone["state"], cause(&tone), &tone["info"][0]["vals"]), (&json!(6), code, &json!(text)));
        assert_eq!(client.rcc("UserClear", json!({"call": result["call"]})).await.get("error"), None);
        assert_eq!(client.story("42 del(7)").await, ["42 x-rel(7)", "42 del(7)"]);
    }
    // A waiting queue has nobody to hang up, so it ends by itself.
    let queue = client.monitor(&sim, "77").await;
    client.rcc("UserCall", json!({"user": queue, "e164": "99"})).await;
    assert_eq!(client.story("77 del(7)").await, ["77 x-setup(1)", "77 r-disc(6)", "77 x-rel(7)", "77 del(7)"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_sip_phone_rings_first_for_its_own_call() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    let user = client.monitor(&sim, "43").await;
    let call = async |client: &mut Client| client.rcc("UserCall", json!({"user": user, "e164": "44"})).await;
    call(&mut client).await;
    client.wait_for("43", "x-setup").await;
    assert_eq!(sim.state()["calls"][0]["legs"][0]["state"], "ringing-own-phone");
    sim.control("/answer", json!({"extension": "43"})).unwrap();
    assert_eq!(client.story("43 r-alert(4)").await, ["43 r-call-proc(3)", "43 r-alert(4)"]);
    sim.control("/hangup", json!({"extension": "43"})).unwrap();
    client.wait_for("43", "del").await;
    call(&mut client).await;
    sim.control("/reject", json!({"extension": "43"})).unwrap();
    assert_eq!(client.story("43 del(6)").await, ["43 x-setup(1)", "43 r-rel(6)", "43 del(6)"]);
    // By its other phone, an innovaphone one, the call starts at once.
    let desk = client.rcc("UserInitialize", json!({"cn": "Workshop", "hw": "ip-43", "src": "ip"})).await;
    client.rcc("UserCall", json!({"user": desk["user"], "e164": "44"})).await;
    client.wait_for("ip", "r-alert").await;
    sim.shutdown().await;
}

#[tokio::test]
async fn two_monitored_users_share_one_conference_id() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    let user = client.monitor(&sim, "42").await;
    client.monitor(&sim, "44").await;
    let call = client.rcc("UserCall", json!({"user": user, "h323": "sales"})).await["call"].clone();
    let (a, b) = (client.call_info().await, client.call_info().await);
    assert_eq!((&a["src"], &b["src"], &a["conf"]), (&json!("42"), &json!("44"), &b["conf"]));
    assert_eq!((&a["peer"]["e164"], &b["peer"]["e164"]), (&json!("44"), &json!("42")));
    client.rcc("UserConnect", json!({"call": b["call"]})).await;
    client.rcc("UserClear", json!({"call": call})).await;
    let story = client.story("44 del(134)").await.join(", ");
    assert_eq!(
        story,
        "42 r-call-proc(3), 44 x-alert(132), 42 r-alert(4), 44 x-conn(133), 42 r-conn(5), 42 x-rel(7), \
         44 r-rel(134), 42 del(7), 44 del(134)"
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn forwarding_always_busy_and_on_no_reply() {
    let mut world = World::default();
    let forward = |cfu: Option<&str>, cfb: Option<&str>, cfnr: Option<&str>| Forward {
        cfu: cfu.map(str::to_owned),
        cfb: cfb.map(str::to_owned),
        cfnr: cfnr.map(str::to_owned),
        cfnr_ms: Some(20),
    };
    world.users[0].forward = forward(Some("44"), None, None);
    world.users[2].forward = forward(None, Some("50"), None);
    world.users[4].forward = forward(None, None, Some("50"));
    let sim = start_with(world).await;
    let mut client = Client::app(&sim).await;
    client.monitor(&sim, "60").await;
    client.monitor(&sim, "50").await;
    client.monitor(&sim, "43").await;
    // 42 always forwards to 44, which is busy and forwards to 50.
    sim.control("/behaviour", json!({"extension": "44", "mode": "busy"})).unwrap();
    sim.control("/call", json!({"from": "43", "to": "42"})).unwrap();
    let setup = client.wait_for("50", "r-setup").await;
    let kinds: Vec<_> = setup["no"].as_array().unwrap().iter().map(|no| (&no["type"], &no["e164"])).collect();
    assert_eq!(kinds, [(&json!("leg2"), &json!("44")), (&json!("leg2orig"), &json!("42"))]);
    assert_eq!(setup["peer"]["e164"], "43");
    let caller = client.wait_for("43", "r-call-proc").await;
    assert_eq!((&caller["peer"]["e164"], &caller["no"][0]["type"]), (&json!("50"), &json!("leg1")));
    assert_eq!(caller["conf"], setup["conf"]);
    sim.control("/hangup", json!({"extension": "43"})).unwrap();
    client.wait_for("50", "del").await;

    sim.control("/call", json!({"from": "0472591687", "to": "60"})).unwrap();
    let missed = client.wait_for("60", "r-rel").await;
    assert_eq!((&missed["state"], missed.get("info")), (&json!(134), None));
    assert_eq!(client.wait_for("60", "del").await["conf"], missed["conf"]);
    eventually("50 rings", || sim.control("/answer", json!({"extension": "50"})).is_ok()).await;
    let answered = client.wait_for("50", "x-conn").await;
    assert_eq!((&answered["conf"], &answered["no"][0]["e164"]), (&missed["conf"], &json!("60")));
    // `ftyNoCF` overrides diversions.
    let user = client.monitor(&sim, "60").await;
    client.rcc("UserCall", json!({"user": user, "e164": "42", "ftyNoCF": true})).await;
    eventually("42 rings", || sim.control("/answer", json!({"extension": "42"})).is_ok()).await;
    sim.shutdown().await;
}

#[tokio::test]
async fn overlap_dialling_and_a_withheld_number() {
    let sim = start().await;
    let mut client = Client::app(&sim).await;
    let user = client.monitor(&sim, "42").await;
    client.monitor(&sim, "44").await;
    let call = client.rcc("UserCall", json!({"user": user, "srce164": "R"})).await["call"].clone();
    assert_eq!(client.story("42 r-setup-ack(2)").await, ["42 x-setup(1)", "42 r-setup-ack(2)"]);
    client.rcc("UserInfo", json!({"call": call, "cdpn": "4"})).await;
    client.rcc("UserInfo", json!({"call": call, "cdpn": 4})).await;
    let setup = client.call_info().await;
    assert_eq!((&setup["src"], &setup["msg"], &setup["peer"]["e164"]), (&json!("44"), &json!("r-setup"), &json!("")));
    assert_eq!(client.call_info().await["peer"]["e164"], "44");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_trunk_whose_parties_all_answer_and_a_world_that_cannot_exist() {
    let answer = Behaviour { mode: BehaviourMode::Answer, after_ms: 0 };
    let mut world = World::default();
    world.trunk.behaviour = answer;
    let sim = start_with(world).await;
    let mut client = Client::app(&sim).await;
    let user = client.monitor(&sim, "42").await;
    client.rcc("UserCall", json!({"user": user, "e164": "000331000000"})).await;
    client.wait_for("42", "r-conn").await;
    sim.shutdown().await;

    for twice in [UserSpec::new("42", "Somebody"), UserSpec::new("47", "Sales"), UserSpec::new("07", "Somebody")] {
        let mut world = World::default();
        world.users.push(twice);
        assert!(pbx_sim::Sim::builder().world(world).start().await.is_err());
    }
}

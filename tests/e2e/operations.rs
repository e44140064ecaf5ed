//! Everything that can be done to calls, as the PBX then has it.

use easyconnect_tests::{Agent, AgentOptions, Answer, Pbx, Stack, eventually};
use serde_json::{Value, json};

const CALLER: &str = "+32472591687";
const SECOND: &str = "+3225550101";
const NOBODY: &str = "00000000-0000-5000-8000-000000000000";

async fn set_up() -> (Stack, Pbx, Agent) {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let agent = Agent::start(&stack, &pbx, "one").await;
    (stack, pbx, agent)
}

/// The CallId of the only call of an extension, once it is in this state.
async fn call_of(stack: &Stack, extension: &str, state: &str) -> String {
    eventually(&format!("{extension} has a call that is {state}"), async || {
        let calls = stack.api.get(&format!("/rcc/calls?extension={extension}")).await.ok().body["calls"].clone();
        match calls.as_array().map(Vec::as_slice) {
            Some([call]) if call["callState"] == state => Ok(call["CallId"].as_str().expect("an id").to_owned()),
            _ => Err(calls.to_string()),
        }
    })
    .await
}

/// Somebody calls an extension, which answers.
async fn talk(stack: &Stack, pbx: &Pbx, from: &str, to: &str) -> String {
    let call = ring(stack, pbx, from, to).await;
    pbx.answer(to);
    assert_eq!(call_of(stack, to, "connected").await, call);
    call
}

/// Somebody calls an extension.
async fn ring(stack: &Stack, pbx: &Pbx, from: &str, to: &str) -> String {
    pbx.call(from, to);
    call_of(stack, to, "ringing").await
}

/// Asks for something about one call.
async fn about(stack: &Stack, path: &str, call: &str, fields: Value) -> Answer {
    let mut body = fields;
    body["CallId"] = call.into();
    stack.api.post(path, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn call_is_placed_as_asked_for() {
    let (stack, pbx, _agent) = set_up().await;
    let desk = json!({"name": "desk", "scopes": ["calls:write"], "callerNumbers": ["+322555*"]});
    let desk = stack.api.post("/apikeys", desk).await.with_status(201);
    let desk = stack.api.with_key(desk.text("key"));
    let call = async |fields: Value| {
        let mut body = json!({"from": "42", "to": "50"});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        desk.post("/rcc/makecall", body).await
    };
    let caller_of_50 = async || {
        let id = call_of(&stack, "50", "ringing").await;
        stack.api.get(&format!("/rcc/calls/{id}")).await.ok().text("from").to_owned()
    };
    let end = async |call: Answer| {
        about(&stack, "/rcc/disconnect", call.text("CallId"), json!({})).await.ok();
        pbx.until_idle().await;
    };

    let shown = call(json!({"callerNumber": "+32 2 555 01 01", "audio": true, "remoteControl": 2})).await.ok();
    assert_eq!(caller_of_50().await, "0003225550101");
    assert_eq!(pbx.leg("42")["rc"], json!([2]));
    assert_eq!(pbx.last_heard("UserCall")["audio"], true);
    end(shown).await;
    let withheld = call(json!({"clir": true})).await.ok();
    assert_eq!(caller_of_50().await, "");
    end(withheld).await;

    pbx.change("50", json!({"forward": {"cfu": "44"}}));
    let forwarded = call(json!({})).await.ok();
    pbx.until_leg("44", "alerting").await;
    end(forwarded).await;
    let stubborn = call(json!({"ignoreForwarding": true})).await.ok();
    pbx.until_leg("50", "alerting").await;
    assert!(pbx.legs("44").is_empty());
    end(stubborn).await;

    call(json!({"callerNumber": "Thomas"})).await.refused(400, "invalid_request");
    call(json!({"remoteControl": 39})).await.refused(400, "invalid_request");
    call(json!({"device": "ip-50"})).await.refused(404, "device_not_found");
    pbx.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_is_placed_from_the_named_phone() {
    let (stack, pbx, _agent) = set_up().await;
    let call = async |hw: &str| stack.api.post("/rcc/makecall", json!({"from": "43", "to": "50", "device": hw})).await;
    let desk = call("ip-43").await.ok();
    pbx.until_leg("50", "alerting").await;
    assert_eq!(pbx.leg("43")["hw"], "ip-43");
    // Two monitors tell of the leg, and it is one call.
    assert_eq!(call_of(&stack, "43", "ringing").await, desk.text("CallId"));
    pbx.answer("50");
    assert_eq!(call_of(&stack, "43", "connected").await, desk.text("CallId"));
    about(&stack, "/rcc/hold", desk.text("CallId"), json!({})).await.ok();
    about(&stack, "/rcc/disconnect", desk.text("CallId"), json!({})).await.ok();
    pbx.until_idle().await;

    // The softphone rings first, and dials when it is picked up.
    let soft = call("sip-43").await.ok();
    assert_eq!(pbx.leg("43")["state"], "ringing-own-phone");
    pbx.answer("43");
    pbx.until_leg("50", "alerting").await;
    assert_eq!(pbx.leg("43")["hw"], "sip-43");
    about(&stack, "/rcc/disconnect", soft.text("CallId"), json!({})).await.ok();
    pbx.until_idle().await;

    let monitors = pbx.heard("UserInitialize");
    let again = call("ip-43").await.ok();
    assert_eq!(pbx.heard("UserInitialize"), monitors, "a phone is monitored once per session");
    about(&stack, "/rcc/disconnect", again.text("CallId"), json!({})).await.ok();

    pbx.change("43", json!({"registered": false}));
    eventually("43 is not registered", async || {
        let user = stack.api.get("/rcc/users/43").await.ok().body;
        if user["registered"] == false { Ok(()) } else { Err(user.to_string()) }
    })
    .await;
    call("ip-43").await.refused(404, "device_not_found");
    stack
        .api
        .post("/rcc/makecall", json!({"from": "77", "to": "50", "device": "x"}))
        .await
        .refused(404, "device_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_is_held_and_retrieved() {
    let (stack, pbx, _agent) = set_up().await;
    let call = ring(&stack, &pbx, CALLER, "42").await;
    about(&stack, "/rcc/hold", &call, json!({})).await.refused(422, "not_connected");
    pbx.answer("42");
    call_of(&stack, "42", "connected").await;
    about(&stack, "/rcc/retrieve", &call, json!({})).await.refused(422, "not_held");

    about(&stack, "/rcc/hold", &call, json!({"music": false})).await.ok();
    assert_eq!((&pbx.leg("42")["holds"], &pbx.leg(CALLER)["held"]), (&json!(true), &json!(true)));
    assert_eq!(pbx.last_heard("UserHold")["remote"], false);
    let shown = stack.api.get(&format!("/rcc/calls/{call}")).await.ok();
    assert_eq!(shown.body["held"], true);
    about(&stack, "/rcc/hold", &call, json!({})).await.ok();
    assert_eq!(pbx.heard("UserHold"), 1, "it was held already");
    about(&stack, "/rcc/retrieve", &call, json!({})).await.ok();
    assert_eq!((&pbx.leg("42")["holds"], &pbx.leg(CALLER)["held"]), (&json!(false), &json!(false)));
    about(&stack, "/rcc/hold", &call, json!({})).await.ok();
    assert_eq!(pbx.last_heard("UserHold")["remote"], true, "music is the default");

    pbx.hang_up(CALLER);
    pbx.until_idle().await;
    about(&stack, "/rcc/retrieve", &call, json!({})).await.refused(404, "call_not_found");
    about(&stack, "/rcc/hold", NOBODY, json!({})).await.refused(404, "call_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_is_redirected_while_it_rings_and_while_it_talks() {
    let (stack, pbx, _agent) = set_up().await;
    let to = |to: &str| json!({"to": to});
    let ringing = ring(&stack, &pbx, CALLER, "42").await;
    about(&stack, "/rcc/redirect", &ringing, to("59")).await.refused(422, "not_redirectable");
    pbx.behave("50", "unregistered");
    let absent = about(&stack, "/rcc/redirect", &ringing, to("50")).await.refused(422, "not_redirectable");
    assert!(absent.text("message").contains("the destination is not registered"), "{}", absent.body);
    pbx.behave("50", "ring");
    assert_eq!(pbx.legs("42"), ["alerting"], "a refused call stays where it is");

    about(&stack, "/rcc/redirect", &ringing, json!({"to": "50", "remoteControl": 3})).await.ok();
    assert!(pbx.legs("42").is_empty());
    assert_eq!(pbx.leg("50")["rc"], json!([3]));
    pbx.answer("50");
    let talking = call_of(&stack, "50", "connected").await;
    about(&stack, "/rcc/redirect", &talking, to("+32 2 555 01 01")).await.ok();
    pbx.until_leg(SECOND, "alerting").await;
    assert!(pbx.legs("50").is_empty());
    pbx.answer(SECOND);
    pbx.until_partner(CALLER, SECOND).await;
    pbx.hang_up(CALLER);
    pbx.until_idle().await;

    pbx.change("44", json!({"forward": {"cfu": "50"}}));
    let plain = ring(&stack, &pbx, CALLER, "42").await;
    about(&stack, "/rcc/redirect", &plain, to("44")).await.ok();
    pbx.until_leg("44", "alerting").await;
    pbx.hang_up(CALLER);
    pbx.until_idle().await;
    let honoured = ring(&stack, &pbx, CALLER, "42").await;
    about(&stack, "/rcc/redirect", &honoured, json!({"to": "44", "honourForwarding": true})).await.ok();
    pbx.until_leg("50", "alerting").await;
    pbx.hang_up(CALLER);
    pbx.until_idle().await;

    let own = stack.api.make_call("42", "50").await.ok();
    about(&stack, "/rcc/redirect", own.text("CallId"), to("44")).await.refused(422, "not_redirectable");
    about(&stack, "/rcc/redirect", &honoured, to("44")).await.refused(404, "call_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_is_parked_and_picked_up() {
    let (stack, pbx, _agent) = set_up().await;
    let call = ring(&stack, &pbx, CALLER, "42").await;
    about(&stack, "/rcc/park", &call, json!({})).await.refused(422, "not_parkable");
    pbx.answer("42");
    call_of(&stack, "42", "connected").await;
    about(&stack, "/rcc/park", &call, json!({"at": "60"})).await.refused(404, "not_monitored");

    // At its own place it stays the same call.
    let parked = about(&stack, "/rcc/park", &call, json!({"position": 7})).await.ok();
    assert_eq!(parked.text("CallId"), call);
    assert_eq!((&pbx.leg("42")["state"], &pbx.leg("42")["position"]), (&json!("parked"), &json!(7)));
    assert_eq!(parked.text("conferenceId"), pbx.0.state()["calls"][0]["conf"]);
    assert_eq!(call_of(&stack, "42", "parked").await, call);

    // Elsewhere it is another call of whom it is parked at, and a place holds only one.
    let other = talk(&stack, &pbx, SECOND, "44").await;
    let taken = about(&stack, "/rcc/park", &other, json!({"at": "42", "position": 7})).await;
    let taken = taken.refused(422, "not_parkable");
    assert!(taken.text("message").contains("taken"), "{}", taken.body);
    assert_eq!(pbx.legs("44"), ["connected"]);
    let moved = about(&stack, "/rcc/park", &other, json!({"at": "50"})).await.ok();
    assert_ne!(moved.text("CallId"), other);
    assert!(pbx.legs("44").is_empty());
    assert_eq!(call_of(&stack, "50", "parked").await, moved.text("CallId"));

    let pick = async |fields: Value| stack.api.post("/rcc/pickup", fields).await;
    let by_id = pick(json!({"extension": "43", "CallId": call})).await.ok();
    assert_eq!(call_of(&stack, "43", "connected").await, by_id.text("CallId"));
    assert_eq!(pbx.partners("43"), [CALLER]);
    let by_place = pick(json!({"extension": "44", "at": "50"})).await.ok();
    assert_eq!(by_place.text("conferenceId"), moved.text("conferenceId"));
    assert_eq!(pbx.partners("44"), [SECOND]);
    pick(json!({"extension": "42", "at": "50"})).await.refused(422, "nothing_to_pick_up");
    pick(json!({"extension": "42", "CallId": by_place.text("CallId")})).await.refused(422, "nothing_to_pick_up");
    pbx.hang_up(CALLER);
    pbx.hang_up(SECOND);
    pbx.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ringing_call_is_picked_up_elsewhere() {
    let (stack, pbx, _agent) = set_up().await;
    let pick = async |fields: Value| stack.api.post("/rcc/pickup", fields).await;
    let ringing = ring(&stack, &pbx, CALLER, "42").await;
    pbx.behave("50", "unregistered");
    let without_phone = pick(json!({"extension": "50", "CallId": ringing})).await.refused(422, "nothing_to_pick_up");
    assert!(without_phone.text("message").contains("no phone"), "{}", without_phone.body);
    pick(json!({"extension": "60", "CallId": ringing})).await.refused(404, "not_monitored");
    pick(json!({"extension": "44", "CallId": NOBODY})).await.refused(404, "call_not_found");
    assert_eq!(pbx.legs("42"), ["alerting"]);

    let picked = pick(json!({"extension": "44", "CallId": ringing})).await.ok();
    assert_eq!(pbx.partners("44"), [CALLER]);
    assert!(pbx.legs("42").is_empty());
    assert_eq!(call_of(&stack, "44", "connected").await, picked.text("CallId"));
    about(&stack, "/rcc/disconnect", picked.text("CallId"), json!({})).await.ok();
    pbx.until_idle().await;
    ring(&stack, &pbx, CALLER, "42").await;
    pick(json!({"extension": "44", "at": "42"})).await.ok();
    assert_eq!(pbx.partners("44"), [CALLER]);
}

#[tokio::test(flavor = "multi_thread")]
async fn digits_reach_whom_they_are_for() {
    let (stack, pbx, agent) = set_up().await;
    let call = ring(&stack, &pbx, CALLER, "42").await;
    about(&stack, "/rcc/dtmf", &call, json!({"digits": "1"})).await.refused(422, "not_connected");
    pbx.answer("42");
    call_of(&stack, "42", "connected").await;
    about(&stack, "/rcc/dtmf", &call, json!({"digits": "12#"})).await.ok();
    assert_eq!((&pbx.leg(CALLER)["dtmf"], &pbx.leg("42")["dtmf"]), (&json!("12#"), &Value::Null));
    about(&stack, "/rcc/dtmf", &call, json!({"digits": "*A", "toOwnParty": true})).await.ok();
    assert_eq!((&pbx.leg(CALLER)["dtmf"], &pbx.leg("42")["dtmf"]), (&json!("12#"), &json!("*A")));
    about(&stack, "/rcc/dtmf", &call, json!({"digits": "x"})).await.refused(400, "invalid_request");
    about(&stack, "/rcc/dtmf", NOBODY, json!({"digits": "1"})).await.refused(404, "call_not_found");

    // A PBX that means it the other way round.
    drop(agent);
    pbx.control("/quirks", &json!({"dtmf_recv_to_peer": true}));
    let options = AgentOptions { pbx_lines: "dtmf_recv = \"peer\"".to_owned(), ..AgentOptions::default() };
    let _other = Agent::start_with(&stack, &pbx, "other", &options).await;
    assert_eq!(call_of(&stack, "42", "connected").await, call);
    about(&stack, "/rcc/dtmf", &call, json!({"digits": "9"})).await.ok();
    assert_eq!((&pbx.leg(CALLER)["dtmf"], &pbx.leg("42")["dtmf"]), (&json!("12#9"), &json!("*A")));
}

#[tokio::test(flavor = "multi_thread")]
async fn call_carries_information_and_codes() {
    let (stack, pbx, _agent) = set_up().await;
    let ringing = ring(&stack, &pbx, SECOND, "44").await;
    about(&stack, "/rcc/uui", &ringing, json!({"uui": "early"})).await.refused(422, "not_connected");
    about(&stack, "/rcc/info", &ringing, json!({"digits": "1"})).await.refused(422, "not_connected");
    let call = talk(&stack, &pbx, CALLER, "42").await;
    about(&stack, "/rcc/uui", &call, json!({"uui": "order 7/é"})).await.ok();
    assert_eq!(pbx.leg(CALLER)["uui"], "order%207%2F%C3%A9");
    about(&stack, "/rcc/uui", &call, json!({"uui": "for-you", "toOwnParty": true})).await.ok();
    assert_eq!(pbx.leg("42")["uui"], "for-you");
    about(&stack, "/rcc/info", &call, json!({"keypad": "*8", "display": "Order 7"})).await.ok();
    assert_eq!((&pbx.leg("42")["keypad"], &pbx.leg("42")["display"]), (&json!("*8"), &json!("Order 7")));
    about(&stack, "/rcc/info", &call, json!({})).await.refused(400, "invalid_request");

    about(&stack, "/rcc/remotecontrol", &call, json!({"code": 37})).await.ok();
    assert_eq!((&pbx.leg("42")["rc"], &pbx.leg("42")["holds"]), (&json!([37]), &json!(true)));
    about(&stack, "/rcc/remotecontrol", &call, json!({"code": 12})).await.refused(400, "invalid_request");
    let not_ringing =
        about(&stack, "/rcc/remotecontrol", &call, json!({"code": 5})).await.refused(422, "not_connected");
    assert!(not_ringing.text("message").contains("does not ring"), "{}", not_ringing.body);
    for path in ["/rcc/uui", "/rcc/info", "/rcc/remotecontrol"] {
        let body = match path {
            "/rcc/uui" => json!({"uui": "x"}),
            "/rcc/info" => json!({"keypad": "1"}),
            _ => json!({"code": 0}),
        };
        about(&stack, path, NOBODY, body).await.refused(404, "call_not_found");
    }

    // Media of two calls of one user.
    let second = stack.api.make_call("42", "50").await.ok();
    let media = async |b: &str, fields: Value| {
        let mut body = fields;
        (body["CallIdA"], body["CallIdB"]) = (call.as_str().into(), b.into());
        stack.api.post("/rcc/mediatransfer", body).await
    };
    media(second.text("CallId"), json!({"user": true, "peer": true})).await.ok();
    let heard = pbx.last_heard("UserMediaTransfer");
    assert_eq!((&heard["user"], &heard["peer"]), (&json!(true), &json!(true)));
    media(second.text("CallId"), json!({})).await.ok();
    assert_eq!(pbx.last_heard("UserMediaTransfer")["user"], false);
    media(&ringing, json!({"user": true})).await.refused(422, "not_transferable");
    media(NOBODY, json!({"user": true})).await.refused(404, "call_not_found");
    media(&call, json!({"user": true})).await.refused(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_ends_with_the_cause_that_was_asked_for() {
    let (stack, pbx, _agent) = set_up().await;
    pbx.call("42", "50");
    let call = call_of(&stack, "50", "ringing").await;
    about(&stack, "/rcc/disconnect", &call, json!({"cause": 0})).await.refused(400, "invalid_request");
    about(&stack, "/rcc/disconnect", &call, json!({"cause": 17})).await.ok();
    // The caller hears why.
    assert_eq!((&pbx.leg("42")["state"], &pbx.leg("42")["cause"]), (&json!("disconnected"), &json!(17)));
    about(&stack, "/rcc/disconnect", &call, json!({"cause": 17})).await.refused(404, "call_not_found");
    about(&stack, "/rcc/disconnect", NOBODY, json!({})).await.refused(404, "call_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_joined_only_if_they_belong_together() {
    let (stack, pbx, _agent) = set_up().await;
    let join = async |a: &str, b: &str| stack.api.post("/rcc/transfer", json!({"CallIdA": a, "CallIdB": b})).await;
    let (a, b) = (talk(&stack, &pbx, CALLER, "42").await, talk(&stack, &pbx, SECOND, "44").await);
    join(&a, &b).await.refused(422, "not_transferable");
    join(&a, NOBODY).await.refused(404, "call_not_found");
    join(&a, &a).await.refused(400, "invalid_request");
    let own = stack.api.make_call("42", "50").await.ok();
    join(&a, own.text("CallId")).await.ok();
    pbx.answer("50");
    pbx.until_partner("50", CALLER).await;
    assert!(pbx.legs("42").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_calls_come_in_pages() {
    let (stack, pbx, _agent) = set_up().await;
    let page = async |path: &str, cursor: &str| {
        let cursor = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
        stack.api.get(&format!("{path}?limit=4{cursor}")).await.ok()
    };
    let extensions = |answer: &Answer| {
        let users = answer.body["users"].as_array().cloned().unwrap_or_default();
        users.iter().map(|user| user["extension"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let first = page("/rcc/users", "").await;
    assert_eq!(extensions(&first), ["42", "43", "44", "50"]);
    // The next page goes on behind the last one shown, even if that has gone meanwhile.
    pbx.change("50", json!({"remove": true}));
    stack.until_visible_users(5).await;
    let second = page("/rcc/users", first.text("nextCursor")).await;
    assert_eq!(
        (extensions(&second), &second.body["nextCursor"]),
        (vec!["77".to_owned(), "78".to_owned()], &Value::Null)
    );
    stack.api.get("/rcc/users?cursor=bm9uc2Vuc2U").await.refused(400, "invalid_request");
    stack.api.get("/rcc/users/50").await.refused(404, "user_not_found");
    stack.api.get("/rcc/users/60").await.refused(404, "user_not_found");

    eventually("the labels of the devices are known", async || {
        let user = stack.api.get("/rcc/users/43").await.ok().body;
        let devices = json!([{"hw": "sip-43", "text": "Softphone"}, {"hw": "ip-43", "text": "Desk phone"}]);
        if user["devices"] == devices { Ok(()) } else { Err(user.to_string()) }
    })
    .await;
    let queue = stack.api.get("/rcc/users/77").await.ok();
    assert_eq!((queue.text("type"), &queue.body["registered"]), ("waiting", &json!(false)));

    for to in ["42", "43", "44"] {
        ring(&stack, &pbx, CALLER, to).await;
    }
    pbx.call("42", "44");
    let shown = async |path: String| {
        let calls = stack.api.get(&path).await.ok().body["calls"].clone();
        calls.as_array().expect("calls").iter().map(|call| call["CallId"].to_string()).collect::<Vec<_>>()
    };
    let all = eventually("five calls", async || match shown("/rcc/calls".to_owned()).await {
        all if all.len() == 5 => Ok(all),
        other => Err(format!("{other:?}")),
    })
    .await;
    let first = page("/rcc/calls", "").await;
    let mut paged = shown("/rcc/calls?limit=4".to_owned()).await;
    paged.extend(shown(format!("/rcc/calls?cursor={}", first.text("nextCursor"))).await);
    assert_eq!(paged, all, "oldest first, each once");
    assert_eq!(shown("/rcc/calls?extension=44".to_owned()).await.len(), 2);
    assert!(shown("/rcc/calls?extension=60".to_owned()).await.is_empty());
    stack.api.get(&format!("/rcc/calls/{NOBODY}")).await.refused(404, "call_not_found");
}

//! Nobody dials what they may not: every way in which a number can be written, and every request that makes the PBX dial.

use easyconnect_tests::{Agent, Answer, Api, Pbx, Stack, eventually};
use pbx_sim::switch::DialPlan;
use pbx_sim::world::World;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use shared::destination::{Judgement, Rules};
use shared::number::DialString;
use shared::numbering::DialPrefixes;

const CUSTOMER: &str = "+32472591687";

// ---------------------------------------------------------------- every spelling

/// A PBX in one of two countries, with this prefix for an outside line.
fn world(country: &str, trunk: &str) -> World {
    let area = if country == "32" { "2" } else { "20" };
    let mut world = World { country: country.to_owned(), area: area.to_owned(), ..World::default() };
    world.trunk.prefix = trunk.to_owned();
    world
}

/// What the PBX tells of its prefixes.
fn prefixes(world: &World) -> DialPrefixes {
    let [subscriber, national, international] = world.prefixes();
    DialPrefixes { international, national, subscriber, area: world.area.clone(), country: world.country.clone() }
}

fn rules(allow: &[&str], deny: &[&str]) -> Rules {
    let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a pattern")).collect();
    Rules { allow: parse(allow), deny: parse(deny) }
}

/// Rules as keys and stacks have them, the last of which forbid nothing.
fn all_rules() -> Vec<Rules> {
    vec![
        rules(&["+32*"], &["+32900*"]),
        rules(&["+44*", "+3225*"], &[]),
        rules(&[], &["+32900*", "+44909*", "+881*"]),
        rules(&["+4420????????"], &["+442079*"]),
        Rules::default(),
    ]
}

/// The digits of a number behind its country code, the dear ones more often than others.
fn national() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[1-9][0-9]{6,10}",
        2 => (select(vec!["900", "909", "20", "2", "79"]), "[0-9]{4,8}").prop_map(|(begin, end)| format!("{begin}{end}")),
        1 => "0{0,2}[0-9]{1,14}",
    ]
}

/// One number, written in one of the ways in which people, tools and fraudsters write it.
fn spelling() -> impl Strategy<Value = String> {
    let country = select(vec!["32", "44", "33", "1", "39", "881", "225"]);
    let digits =
        (select(vec!["0", "9", ""]), country, national(), 0..12).prop_map(|(line, country, national, way)| match way {
            0 => format!("+{country}{national}"),
            1 => format!("+{country}(0){national}"),
            2 => format!("+{country}0{national}"),
            3 => format!("+{country}00{national}"),
            4 => format!("{line}00{country}{national}"),
            5 => format!("{line}00{country}0{national}"),
            6 => format!("{line}0{national}"),
            7 => format!("{line}00{national}"),
            8 => format!("{line}{national}"),
            9 => format!("{line}{line}{national}"),
            10 => format!("{line}{national}#"),
            _ => format!("*21*{line}{national}#"),
        });
    let separators = ["", "", "", "", " ", "-", ".", "/", "\u{a0}", "\u{2011}", "\u{202f}"];
    (digits, proptest::collection::vec(select(separators.to_vec()), 40)).prop_map(|(digits, separators)| {
        let mut typed = String::new();
        for (character, separator) in digits.chars().zip(separators) {
            typed.push(character);
            // Nothing comes between `(0` and its end.
            if !typed.ends_with('(') && !typed.ends_with("(0") {
                typed.push_str(separator);
            }
        }
        typed
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is written into the audit trail as the destination is whom the trunk connects, and what patterns forbid is never
    /// dialled. The trunk is the simulator's, which shares no code with what is tested.
    #[test]
    fn what_is_judged_is_what_is_dialled(
        typed in spelling(),
        country in select(vec!["32", "44"]),
        trunk in select(vec!["0", "9", ""]),
    ) {
        let world = world(country, trunk);
        let (plan, prefixes) = (DialPlan::new(&world, &world.node), prefixes(&world));
        let Ok(number) = DialString::parse(&typed) else { return Ok(()) };
        let Ok(route) = number.route(&prefixes) else { return Ok(()) };
        let connected = plan.outside(&route.dialled).map(|digits| format!("+{digits}"));
        if let (Some(judged), Some(connected)) = (number.to_e164(&prefixes), &connected) {
            prop_assert_eq!(&judged, connected, "{} is dialled as {}", typed, route.dialled);
        }
        for rules in all_rules().iter().filter(|rules| !rules.is_empty()) {
            // What may only be an extension is never connected with a line.
            let Some(connected) = connected.as_deref().filter(|_| rules.judge(&route.reaches) == Judgement::Allowed) else {
                continue;
            };
            prop_assert!(!rules.deny.iter().any(|pattern| pattern.matches(connected)), "{typed} reaches {connected}");
            let allowed = rules.allow.is_empty() || rules.allow.iter().any(|pattern| pattern.matches(connected));
            prop_assert!(allowed, "{typed} reaches {connected}");
        }
    }
}

// ---------------------------------------------------------------- every request

async fn key(stack: &Stack, wanted: Value) -> Api {
    let made = stack.api.post("/apikeys", wanted).await.with_status(201);
    stack.api.with_key(made.text("key"))
}

/// The audit trail of calls, oldest first.
async fn trail(stack: &Stack) -> Vec<Value> {
    let audit = stack.api.get("/audit?kind=call&limit=200").await.ok();
    let mut entries = audit.body["entries"].as_array().expect("entries").clone();
    entries.reverse();
    entries
}

/// The outside parties with whom the trunk has calls.
fn connected(pbx: &Pbx) -> Vec<String> {
    let state = pbx.0.state();
    let calls = state["calls"].as_array().expect("calls");
    let legs = calls.iter().flat_map(|call| call["legs"].as_array().expect("legs"));
    legs.filter_map(|leg| leg["number"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn trail_has_whom_the_trunk_connects() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let spellings = [
        ("+32 472 59 16 87", "+32472591687"),
        ("+32 (0)472/59.16.87", "+32472591687"),
        ("+32 0472 591687", "+32472591687"),
        ("00472591687", "+32472591687"),
        ("00032 0472 59 16 87", "+32472591687"),
        ("05551234", "+3225551234"),
        ("0900123456", "+322900123456"),
        ("00900123456", "+32900123456"),
        ("+39 06 698 12345", "+390669812345"),
    ];
    for (typed, reached) in spellings {
        let call = stack.api.make_call("77", typed).await.ok();
        assert_eq!(connected(&pbx), [reached], "{typed}");
        let entry = trail(&stack).await.pop().expect("an entry");
        assert_eq!(
            (&entry["to"], &entry["toE164"]),
            (&json!(typed.replace([' ', '/', '.'], "").replace("(0)", "")), &json!(reached))
        );
        stack.api.post("/rcc/disconnect", json!({"CallId": call.text("CallId")})).await.ok();
        pbx.until_idle().await;
    }
    let operations: Vec<Value> = trail(&stack).await.iter().map(|entry| entry["operation"].clone()).collect();
    assert_eq!(operations.iter().filter(|operation| *operation == "DisconnectCall").count(), spellings.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_leads_around_the_patterns() {
    let (stack, pbx) = tokio::join!(Stack::start_with(&["DestinationDeny=+32900*"]), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let wanted = json!({"name": "dialler", "scopes": ["calls:read", "calls:write"], "allow": ["+32*"]});
    let key = key(&stack, wanted).await;
    let refused = |answer: Answer| answer.refused(403, "destination_not_allowed");

    // `60` is somebody who is not visible, `99` is nobody.
    for to in
        ["+33 1 42 34 56 78", "0", "+322", "+320900123456", "00032 0900 123456", "0090012345", "*21*00033#", "60", "99"]
    {
        refused(key.make_call("77", to).await);
    }
    refused(key.post("/rcc/connect", json!({"via": "77", "a": "50", "b": "+320900123456"})).await);
    assert_eq!(pbx.heard("UserCall"), 0);

    pbx.behave("50", "answer");
    let call = key.make_call("42", "50").await.ok();
    let call = call.text("CallId");
    pbx.until_leg("42", "connected").await;
    refused(key.post("/rcc/redirect", json!({"CallId": call, "to": "+320900123456"})).await);
    refused(key.post("/rcc/park", json!({"CallId": call, "at": "00033142345678"})).await);
    refused(key.post("/rcc/pickup", json!({"extension": "43", "at": "00033142345678"})).await);
    for digits in
        [json!({"digits": "00033142345678"}), json!({"keypad": "00033142345678"}), json!({"keypad": "*21*0033#"})]
    {
        let mut body = digits;
        body["CallId"] = call.into();
        refused(key.post("/rcc/info", body).await);
    }
    assert_eq!((pbx.legs("42"), pbx.legs("50")), (vec!["connected".to_owned()], vec!["connected".to_owned()]));
    for request in ["UserRedirect", "UserReroute", "UserPark", "UserPickup", "UserInfo"] {
        assert_eq!(pbx.heard(request), 0, "{request}");
    }
    // What is allowed goes, in whatever form.
    key.make_call("77", "+32 0472 59 16 87").await.ok();
    assert_eq!(connected(&pbx), [CUSTOMER]);
    let refusals = trail(&stack).await.iter().filter(|entry| entry["refusal"] == "destination_not_allowed").count();
    assert!(refusals >= 9, "{refusals} refusals are in the trail");
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_number_needs_an_allowance() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let call = async |api: &Api, shown: &str| {
        api.post("/rcc/makecall", json!({"from": "77", "to": "50", "callerNumber": shown})).await
    };
    // Also the deployment's own key shows only what it may act for.
    call(&stack.api, "+3225551200").await.refused(403, "caller_number_not_allowed");
    call(&stack.api, "99").await.refused(403, "caller_number_not_allowed");
    let desk =
        json!({"name": "desk", "scopes": ["calls:write"], "extensions": ["42", "77"], "callerNumbers": ["+32255512*"]});
    let desk = key(&stack, desk).await;
    call(&desk, "43").await.refused(403, "caller_number_not_allowed");
    call(&desk, "+3225551300").await.refused(403, "caller_number_not_allowed");
    assert_eq!(pbx.heard("UserCall"), 0);
    call(&desk, "42").await.ok();
    assert_eq!(pbx.last_heard("UserCall")["srce164"], "42");
    call(&desk, "+32 2 555 12 00").await.ok();
    assert_eq!(pbx.last_heard("UserCall")["srce164"], "0003225551200");
    let shown: Vec<Value> =
        trail(&stack).await.iter().map(|entry| json!([entry["callerNumber"], entry["refusal"]])).collect();
    let refusal = "caller_number_not_allowed";
    let expected = [
        json!(["+3225551200", refusal]),
        // Whether it is an extension is found out by the agent, after the request was written down.
        json!(["99", null]),
        json!(["43", refusal]),
        json!(["+3225551300", refusal]),
        json!(["42", null]),
        json!(["+3225551200", null]),
    ];
    assert_eq!(shown, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn loop_of_calls_between_two_numbers_ends() {
    let (stack, pbx) = tokio::join!(Stack::start_with(&["CallsPerPair=3"]), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    for to in [CUSTOMER, "00472591687", "+32 (0)472 59 16 87"] {
        stack.api.make_call("77", to).await.ok();
    }
    let refused = stack.api.make_call("77", CUSTOMER).await.refused(429, "too_many_calls_to_pair");
    assert!(
        refused.body["retryAfter"].as_i64().is_some_and(|seconds| (1..=660).contains(&seconds)),
        "{}",
        refused.body
    );
    assert_eq!(pbx.heard("UserCall"), 3);
    // Others are not concerned, and what was refused does not count.
    stack.api.make_call("77", "+32472591688").await.ok();
    stack.api.make_call("42", "50").await.ok();
    assert_eq!(trail(&stack).await[3]["refusal"], "too_many_calls_to_pair");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_cannot_shed_its_limits() {
    let stack = Stack::start().await;
    for limit in [
        json!({"extensions": ["42"]}),
        json!({"allow": ["+32*"]}),
        json!({"deny": ["+33*"]}),
        json!({"callsPerHour": 5}),
    ] {
        let mut wanted = json!({"name": "half", "scopes": ["admin", "calls:write"]});
        wanted.as_object_mut().expect("an object").extend(limit.as_object().expect("an object").clone());
        let refused = stack.api.post("/apikeys", wanted).await.refused(400, "invalid_request");
        assert!(refused.text("message").contains("`admin`"), "{}", refused.body);
    }
    let made =
        stack.api.post("/apikeys", json!({"name": "crm", "scopes": ["calls:read", "admin"]})).await.with_status(201);
    let (api, path) = (stack.api.with_key(made.text("key")), format!("/apikeys/{}", made.text("id")));
    api.get("/audit").await.ok();

    // A limit goes on only together with the scope's end, and a scope that is gone does not come back.
    stack.api.patch(&path, json!({"callsPerHour": 5})).await.refused(400, "invalid_request");
    let changed = stack.api.patch(&path, json!({"callsPerHour": 5, "scopes": ["calls:read"], "name": ""})).await.ok();
    assert_eq!((&changed.body["scopes"], &changed.body["name"]), (&json!(["calls:read"]), &json!("crm")));
    stack.api.patch(&path, json!({"scopes": ["calls:read", "calls:write"]})).await.refused(400, "invalid_request");
    stack.api.patch(&path, json!({})).await.refused(400, "invalid_request");
    stack.api.patch("/apikeys/0000000000000000", json!({"disabled": true})).await.refused(404, "apikey_not_found");
    eventually("the scope is gone", async || match api.get("/audit").await {
        answer if answer.status == 403 => Ok(()),
        answer => Err(answer.body.to_string()),
    })
    .await;

    stack.api.patch(&path, json!({"disabled": "yes"})).await.ok();
    eventually("the key is disabled", async || match api.get("/status").await {
        answer if answer.status == 401 => Ok(answer.refused(401, "key_disabled")),
        answer => Err(answer.body.to_string()),
    })
    .await;
    let enabled = stack.api.patch(&path, json!({"disabled": false})).await.ok();
    assert_eq!((&enabled.body["disabled"], &enabled.body["callsPerHour"]), (&json!(false), &json!(5)));
    api.get("/status").await.ok();

    let hook =
        stack.api.post("/webhooks", json!({"url": "https://example.invalid/secret/path"})).await.with_status(201);
    let hook = format!("/webhooks/{}", hook.text("id"));
    stack.api.put(&hook, json!({"url": "https://example.invalid/secret/path", "missedOnly": true})).await.ok();
    stack.api.post(&format!("{hook}/secret"), json!({})).await.ok();
    for operation in ["pause", "pause", "purge", "resume"] {
        stack.api.post(&format!("{hook}/{operation}"), json!({})).await.ok();
    }
    stack.api.delete(&hook).await.with_status(204);
    stack.api.delete(&path).await.with_status(204);
    let audit = async |kind: &str| {
        let audit = stack.api.get(&format!("/audit?kind={kind}")).await.ok();
        let entries = audit.body["entries"].as_array().expect("entries").clone();
        entries
            .into_iter()
            .rev()
            .map(|entry| json!([entry["operation"], entry["subjectName"], entry["fields"]]))
            .collect::<Vec<Value>>()
    };
    let host = "https://example.invalid";
    assert_eq!(
        audit("webhook").await,
        [
            json!(["CreateWebhook", host, ["url"]]),
            json!(["ChangeWebhook", host, ["missedOnly"]]),
            json!(["RotateWebhookSecret", host, []]),
            // The second one has changed nothing.
            json!(["PauseWebhook", host, []]),
            json!(["PurgeWebhook", host, []]),
            json!(["ResumeWebhook", host, []]),
            json!(["DeleteWebhook", host, []]),
        ]
    );
    assert_eq!(
        audit("key").await,
        [
            json!(["CreateApiKey", "crm", ["name", "scopes"]]),
            json!(["ChangeApiKey", "crm", ["callsPerHour", "scopes"]]),
            json!(["ChangeApiKey", "crm", ["disabled"]]),
            json!(["ChangeApiKey", "crm", ["disabled"]]),
            json!(["DeleteApiKey", "crm", []]),
        ]
    );
    assert_eq!(audit("call").await, Vec::<Value>::new());
}

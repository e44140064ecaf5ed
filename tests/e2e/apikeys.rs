//! Keys with limited powers: scopes, extensions, destinations, amounts, and an end.

use easyconnect_tests::{Agent, Answer, Api, Inbox, Pbx, Stack, eventually};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const CALLER: &str = "+32472591687";

async fn create(stack: &Stack, wanted: Value) -> (Api, Answer) {
    let made = stack.api.post("/apikeys", wanted).await.with_status(201);
    (stack.api.with_key(made.text("key")), made)
}

fn names(keys: &Answer) -> Vec<&str> {
    keys.body["keys"].as_array().expect("keys").iter().filter_map(|key| key["name"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn key_lives_from_its_creation_to_its_deletion() {
    let stack = Stack::start().await;
    let (first, made) = create(&stack, json!({"name": "crm", "scopes": ["calls:read", "calls:read"]})).await;
    assert_eq!(made.body["scopes"], json!(["calls:read"]));
    assert_eq!(made.body["lastUsedAt"], Value::Null);
    first.get("/status").await.ok();
    first.get("/apikeys").await.refused(403, "missing_scope");
    first.make_call("77", "50").await.refused(403, "missing_scope");

    // A second key under the same name replaces the first without a gap; a third is one too many.
    let (second, _) = create(&stack, json!({"name": "crm", "scopes": ["calls:read"]})).await;
    second.get("/status").await.ok();
    let third = json!({"name": "crm", "scopes": ["calls:read"]});
    stack.api.post("/apikeys", third).await.refused(409, "too_many_keys");

    let keys = stack.api.get("/apikeys").await.ok();
    assert_eq!(names(&keys), ["bootstrap", "crm", "crm"]);
    assert!(!keys.body.to_string().contains("ec_"), "a key is shown only once");
    assert!(keys.body["keys"][1]["lastUsedAt"].is_string(), "{}", keys.body);

    stack.api.delete(&format!("/apikeys/{}", made.text("id"))).await.with_status(204);
    // Revocation is effective within five seconds, and the other key is not concerned.
    eventually("the deleted key is refused", async || match first.get("/status").await {
        answer if answer.status == 401 => Ok(answer.refused(401, "invalid_key")),
        answer => Err(answer.body.to_string()),
    })
    .await;
    second.get("/status").await.ok();
    stack.api.delete(&format!("/apikeys/{}", made.text("id"))).await.refused(404, "apikey_not_found");
    stack.api.delete("/apikeys/nonsense").await.refused(404, "apikey_not_found");
    let bootstrap = keys.body["keys"][0]["id"].as_str().expect("an id");
    let refused = stack.api.delete(&format!("/apikeys/{bootstrap}")).await.refused(404, "apikey_not_found");
    assert!(refused.text("message").contains("AdminKeyHashes"), "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_ends_when_its_time_is_over() {
    let stack = Stack::start().await;
    let end = Timestamp::now() + SignedDuration::from_secs(8);
    let (key, _) =
        create(&stack, json!({"name": "guest", "scopes": ["calls:read"], "expiresAt": end.to_string()})).await;
    key.get("/status").await.ok();
    eventually("the key has expired", async || match key.get("/status").await {
        answer if answer.status == 401 => Ok(()),
        answer => Err(answer.body.to_string()),
    })
    .await;
    assert!(Timestamp::now() >= end - SignedDuration::from_secs(1));
    assert_eq!(names(&stack.api.get("/apikeys").await.ok()), ["bootstrap"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn list_of_extensions_hides_everybody_else() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let scopes = json!(["calls:read", "calls:write"]);
    let (key, _) = create(&stack, json!({"name": "desk", "scopes": scopes, "extensions": ["42", 77]})).await;

    pbx.call(CALLER, "50");
    let ringing = inbox.expect(&["50 ringing"]).await;
    let other = ringing[0]["CallId"].as_str().expect("an id");
    let users = key.get("/rcc/users").await.ok();
    let extensions: Vec<&Value> =
        users.body["users"].as_array().expect("users").iter().map(|user| &user["extension"]).collect();
    assert_eq!(extensions, ["42", "77"]);
    assert_eq!(key.get("/rcc/calls").await.ok().body["calls"], json!([]));
    key.get("/rcc/users/50").await.refused(404, "user_not_found");
    key.get(&format!("/rcc/calls/{other}")).await.refused(404, "call_not_found");
    key.get(&format!("/rcc/calls/{other}/events")).await.refused(404, "call_not_found");
    key.post("/rcc/answer", json!({"CallId": other})).await.refused(404, "call_not_found");
    key.make_call("50", "42").await.refused(403, "extension_not_allowed");
    let pick_up = json!({"extension": "42", "at": "50"});
    key.post("/rcc/pickup", pick_up).await.refused(403, "extension_not_allowed");
    assert_eq!(pbx.legs("50"), ["alerting"], "nothing happened to the call of the other one");

    let own = key.make_call("77", "42").await.ok();
    pbx.until_leg("42", "alerting").await;
    let calls = key.get("/rcc/calls?extension=77").await.ok();
    assert_eq!(calls.body["calls"][0]["CallId"], own.body["CallId"], "{}", calls.body);
    // What another key asked for does not exist for this one.
    let foreign = stack.api.make_call("50", "43").await.ok();
    key.get(&format!("/rcc/commands/{}", foreign.text("commandId"))).await.refused(404, "command_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_and_amounts_are_guarded_and_written_down() {
    let stack = Stack::start_with(&["DestinationDeny=+32900*"]);
    let (stack, pbx) = tokio::join!(stack, Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let wanted = json!({"name": "dialler", "scopes": ["calls:write"], "allow": ["+32*"], "callsPerHour": 4});
    let (key, made) = create(&stack, wanted).await;

    key.make_call("77", "+33 1 42 34 56 78").await.refused(403, "destination_not_allowed");
    key.make_call("77", "0090012345").await.refused(403, "destination_not_allowed");
    // No international form: only the extension of a visible user will do. The agent finds that out, so it counts as a call.
    key.make_call("77", "60").await.refused(403, "destination_not_allowed");
    assert_eq!(pbx.heard("UserCall"), 0);
    let first = key.make_call("77", "50").await.ok();
    key.make_call("77", "+32 472 59 16 87").await.ok();
    let redirected = json!({"CallId": first.text("CallId"), "to": "+33142345678"});
    key.post("/rcc/redirect", redirected).await.refused(403, "destination_not_allowed");
    key.make_call("77", "43").await.ok();
    let spent = key.make_call("77", "44").await.refused(429, "too_many_calls");
    assert!(spent.body["retryAfter"].as_i64().is_some_and(|seconds| (1..=3600).contains(&seconds)), "{}", spent.body);
    assert_eq!(spent.header("retry-after"), spent.body["retryAfter"].to_string());
    assert_eq!(pbx.heard("UserCall"), 3);

    let audit = stack.api.get("/audit?kind=call").await.ok();
    let entries: Vec<String> = audit.body["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| {
            assert_eq!((&entry["keyId"], &entry["keyName"]), (&made.body["id"], &json!("dialler")));
            let refusal = entry["refusal"].as_str().unwrap_or("placed");
            format!("{} {}", entry["to"].as_str().unwrap_or_default(), refusal)
        })
        .collect();
    let expected = [
        "44 too_many_calls",
        "43 placed",
        "+33142345678 destination_not_allowed",
        "+32472591687 placed",
        "50 placed",
        "60 placed",
        "0090012345 destination_not_allowed",
        "+33142345678 destination_not_allowed",
    ];
    assert_eq!(entries, expected);
    let page = stack.api.get("/audit?kind=call&limit=3").await.ok();
    let rest = stack.api.get(&format!("/audit?kind=call&limit=200&cursor={}", page.text("nextCursor"))).await.ok();
    let length = |page: &Answer| page.body["entries"].as_array().map_or(0, Vec::len);
    assert_eq!((length(&page), length(&rest)), (3, expected.len() - 3));
    assert_eq!(rest.body["nextCursor"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_that_asks_too_often_is_told_when_to_come_back() {
    let stack = Stack::start().await;
    let (key, _) = create(&stack, json!({"name": "poller", "scopes": ["calls:read"], "requestsPerMinute": 3})).await;
    let refused = eventually("the limit is reached", async || match key.get("/status").await {
        answer if answer.status == 429 => Ok(answer),
        answer => Err(answer.body.to_string()),
    })
    .await
    .refused(429, "rate_limited");
    assert!(refused.body["retryAfter"].as_i64().is_some_and(|seconds| (1..=60).contains(&seconds)));
    assert_eq!(refused.body["retryable"], true);
    stack.api.get("/status").await.ok();
}

//! Webhooks as their owners deal with them.

use std::time::Duration;

use easyconnect_tests::polling::{self, Story};
use easyconnect_tests::{Agent, Inbox, Manner, Pbx, Stack, eventually};
use serde_json::{Value, json};

const CALLER: &str = "+32472591687";

#[tokio::test(flavor = "multi_thread")]
async fn webhook_from_its_creation_to_its_deletion() {
    let (stack, inbox) = tokio::join!(Stack::start(), Inbox::start());
    let api = &stack.api;
    let wanted = json!({"targetUrl": inbox.url("/a"), "headers": [{"name": "X-Make-ApiKey", "value": "top secret"}],
                        "basicAuthUser": "u", "basicAuthPassword": "very secret"});
    let made = api.post("/webhooks", wanted).await.with_status(201);
    let id = made.text("id");
    assert_eq!(made.header("location"), format!("{}/webhooks/{id}", api.base));
    assert!(made.text("secret").starts_with("whsec_"));
    assert_eq!((made.text("state"), made.text("method"), made.text("format")), ("active", "POST", "easyconnect"));

    let shown = api.get(&format!("/webhooks/{id}")).await.ok();
    assert_eq!((&shown.body["headerNames"], shown.text("basicAuthUser")), (&json!(["x-make-apikey"]), "u"));
    let everything = api.get("/webhooks").await.ok().body.to_string() + &shown.body.to_string();
    assert!(!everything.contains("secret"), "secrets are shown once: {everything}");

    // A change keeps what it does not name, and the trial shows that it arrives.
    let changed = json!({"url": inbox.url("/b"), "method": "GET", "format": "extended", "description": "CRM",
                         "headers": [{"name": "x-make-apikey", "value": null}]});
    api.put(&format!("/webhooks/{id}"), changed).await.ok();
    let tried = api.post(&format!("/webhooks/{id}/test"), json!({})).await.ok();
    assert_eq!((tried.text("state"), &tried.body["attempts"][0]["status"]), ("delivered", &json!(204)));
    let request = inbox.received().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/b"));
    assert_eq!(request.header("x-make-apikey"), "top secret");
    assert_eq!(request.header("authorization"), "", "basic authentication was left out of the change");
    assert_eq!(request.header("webhook-id"), tried.text("deliveryId"));
    assert!(
        request.query.contains("&status=disconnected&") && request.query.contains("&sentAt=20"),
        "{}",
        request.query
    );

    // One that is paused stays so when it is changed.
    let paused = api.post(&format!("/webhooks/{id}/pause"), json!({})).await.ok();
    assert_eq!((paused.text("state"), paused.text("stateSince")), ("paused", paused.text("pausedAt")));
    let limited = json!({"url": inbox.url("/b"), "maxPerMinute": 600});
    let limited = api.put(&format!("/webhooks/{id}"), limited).await.ok();
    assert_eq!((limited.text("state"), &limited.body["maxPerMinute"]), ("paused", &json!(600)));
    assert_eq!(api.get("/webhooks?state=failing,draining").await.ok().body["webhooks"], json!([]));
    assert_eq!(api.get("/webhooks?state=paused").await.ok().body["webhooks"][0]["id"], id);
    let resumed = api.post(&format!("/webhooks/{id}/resume"), json!({})).await.ok();
    assert_eq!(
        (resumed.text("state"), &resumed.body["pausedAt"]),
        ("active", &Value::Null),
        "a limit alone is not slow"
    );

    // While a secret is replaced, both sign.
    let rotated = api.post(&format!("/webhooks/{id}/secret"), json!({})).await.ok();
    assert_ne!(rotated.text("secret"), made.text("secret"));
    inbox.forget();
    api.post(&format!("/webhooks/{id}/test"), json!({})).await.ok();
    assert_eq!(inbox.received()[0].header("webhook-signature").split(' ').count(), 2);

    api.delete(&format!("/webhooks/{id}")).await.with_status(204);
    api.delete(&format!("/webhooks/{id}")).await.with_status(204);
    api.get(&format!("/webhooks/{id}")).await.refused(404, "webhook_not_found");
    assert_eq!(api.get("/webhooks").await.ok().body["webhooks"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named_and_the_number_is_bounded() {
    let stack = Stack::start_with(&["MaxWebhooks=2", "WebhookAllowHttp=false"]).await;
    let api = &stack.api;
    let http = api.post("/webhooks", json!({"url": "http://example.com/hook"})).await.refused(400, "invalid_request");
    assert!(http.text("message").contains("does not allow http"), "{}", http.body);
    let url = json!({"url": "https://example.com/hook"});
    api.post("/webhooks", url.clone()).await.with_status(201);
    let second = api.post("/webhooks", url.clone()).await.with_status(201);
    api.post("/webhooks", url.clone()).await.refused(409, "too_many_webhooks");
    api.delete(&format!("/webhooks/{}", second.text("id"))).await.with_status(204);
    api.post("/webhooks", url).await.with_status(201);
    let key = api.post("/apikeys", json!({"name": "reader", "scopes": ["calls:read"]})).await.with_status(201);
    api.with_key(key.text("key")).get("/webhooks").await.refused(403, "missing_scope");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_and_the_log_tells() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let (all, missed, outgoing) = tokio::join!(Inbox::start(), Inbox::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let api = &stack.api;
    let first = api.post("/webhooks", json!({"url": all.url("/")})).await.with_status(201);
    api.post("/webhooks", json!({"url": missed.url("/"), "missedOnly": true, "numberPrefix": "+32"}))
        .await
        .with_status(201);
    api.post("/webhooks", json!({"url": outgoing.url("/"), "direction": "outgoing", "extensions": ["77"]}))
        .await
        .with_status(201);

    pbx.call(CALLER, "42");
    pbx.until_leg("42", "alerting").await;
    pbx.hang_up(CALLER);
    let call = api.make_call("77", "50").await.ok();
    pbx.until_leg("50", "alerting").await;
    pbx.answer("50");
    pbx.until_leg("50", "connected").await;
    pbx.hang_up("50");
    let everything = [
        "42 ringing",
        "42 disconnected",
        "77 connected",
        "77 disconnected",
        "50 ringing",
        "50 connected",
        "50 disconnected",
    ];
    let told = all.expect(&everything).await;
    missed.expect(&["42 disconnected"]).await;
    outgoing.expect(&["77 connected", "77 disconnected"]).await;

    let path = format!("/webhooks/{}/deliveries", first.text("id"));
    let page = api.get(&format!("{path}?limit=4")).await.ok();
    let rest = api.get(&format!("{path}?limit=4&cursor={}", page.text("nextCursor"))).await.ok();
    let mut logged: Vec<Value> = [&page, &rest]
        .iter()
        .flat_map(|page| page.body["deliveries"].as_array().cloned().unwrap_or_default())
        .collect();
    assert_eq!((logged.len(), &rest.body["nextCursor"]), (7, &Value::Null), "{logged:?}");
    assert!(logged.iter().all(|delivery| delivery["state"] == "delivered" && delivery["attemptCount"] == 1));
    assert_eq!(api.get(&format!("{path}?state=failed")).await.ok().body["deliveries"], json!([]));
    // Who asks for the last hour page by page moves `since` meanwhile, perhaps beyond the cursor.
    let moved = format!("{path}?since=9000-01-01T00:00:00Z&cursor={}", page.text("nextCursor"));
    assert_eq!(api.get(&moved).await.ok().body, json!({"deliveries": [], "nextCursor": null}));

    // One again, by its id, and then all of them: the same `webhook-id`s, each call in order.
    let ids = |inbox: &Inbox| -> Vec<String> {
        inbox.received().iter().map(|request| request.header("webhook-id").to_owned()).collect()
    };
    let before = ids(&all);
    all.forget();
    let delivery = logged.pop().expect("the oldest");
    let replayed =
        api.post(&format!("/deliveries/{}/replay", delivery["id"].as_str().expect("an id")), json!({})).await;
    replayed.with_status(202);
    all.expect(&["42 ringing"]).await;
    assert_eq!(ids(&all), [delivery["deliveryId"].as_str().expect("an id")]);
    all.forget();
    let path = format!("/webhooks/{}/replay", first.text("id"));
    // Nothing failed or expired, so nothing is sent again unless more is asked for.
    let replay = async |choice: Value| {
        let mut body = json!({"since": "2020-01-01T00:00:00Z"});
        body.as_object_mut().expect("an object").extend(choice.as_object().expect("an object").clone());
        let replayed = api.post(&path, body).await.with_status(202);
        assert_eq!(replayed.body["nextCursor"], Value::Null);
        replayed.body["replayed"].as_u64()
    };
    assert_eq!(replay(json!({})).await, Some(0));
    assert_eq!(replay(json!({"states": ["delivered"], "until": "2020-01-02T00:00:00Z"})).await, Some(0));
    let in_flight = json!({"since": "2020-01-01T00:00:00Z", "states": ["retrying"]});
    api.post(&path, in_flight).await.refused(400, "invalid_request");
    let backwards = json!({"since": "2020-01-02T00:00:00Z", "until": "2020-01-01T00:00:00Z"});
    api.post(&path, backwards).await.refused(400, "invalid_request");
    assert_eq!(replay(json!({"states": "delivered", "statuses": "ringing"})).await, Some(2));
    all.expect(&["42 ringing", "50 ringing"]).await;
    all.forget();
    let replayed = replay(json!({"states": ["delivered"]})).await;
    assert_eq!(replayed, Some(7));
    all.expect(&everything).await;
    let (mut again, mut before) = (ids(&all), before);
    again.sort_unstable();
    before.sort_unstable();
    assert_eq!(again, before);
    api.post("/deliveries/nonsense/replay", json!({})).await.refused(404, "delivery_not_found");

    // The history of a call is what the webhooks were told.
    let history = api.get(&format!("/rcc/calls/{}/events", call.text("CallId"))).await.ok();
    let statuses: Vec<&str> = history.body["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["status"].as_str())
        .collect();
    assert_eq!(statuses, ["connected", "disconnected"]);
    assert!(told.iter().any(|event| event["CallId"] == history.body["events"][0]["CallId"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn poller_sees_each_event_once_and_in_order() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let api = &stack.api;
    let begin = api.get("/events?after=latest").await.ok();
    let asked = format!("/events?after={}&wait=20&statuses=ringing,disconnected", begin.text("cursor"));
    let waiting = api.get(&asked);
    let called = async {
        pbx.call(CALLER, "42");
        pbx.until_leg("42", "alerting").await;
        pbx.answer("42");
        pbx.until_leg("42", "connected").await;
        pbx.hang_up("42");
    };
    let (first, ()) = tokio::join!(waiting, called);
    let mut seen: Vec<String> = Vec::new();
    let mut cursor = begin.text("cursor").to_owned();
    assert_eq!(first.ok().body["events"][0]["status"], "ringing", "the waiting answer came with the first event");
    while seen.last().is_none_or(|status| status != "disconnected") {
        let page = api.get(&format!("/events?after={cursor}&wait=1&limit=1")).await.ok();
        cursor = page.text("cursor").to_owned();
        let events = page.body["events"].as_array().cloned().unwrap_or_default();
        seen.extend(events.iter().filter_map(|event| event["status"].as_str().map(str::to_owned)));
    }
    assert_eq!(seen, ["ringing", "connected", "disconnected"]);
    let filtered = api.get("/events?statuses=connected&extensions=42").await.ok();
    assert_eq!(filtered.body["events"].as_array().map(Vec::len), Some(1));
    let none = api.get(&format!("/events?after={cursor}")).await.ok();
    assert_eq!((&none.body["events"], none.text("cursor")), (&json!([]), cursor.as_str()));
    let ahead = api.get("/events?after=9999999999999999999").await.ok();
    assert_eq!((&ahead.body["events"], ahead.text("cursor")), (&json!([]), cursor.as_str()));
    for made_up in ["newest", "-1", "%2B5", "10000000000000000000"] {
        let refusal = api.get(&format!("/events?after={made_up}")).await.refused(400, "invalid_request");
        assert!(refusal.text("message").contains("`after`"), "{}", refusal.body);
    }
    let sample = api.get("/events/sample").await.ok();
    assert_eq!(sample.body.as_array().map(Vec::len), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn poller_and_webhook_agree_while_one_agent_loses_its_queue() {
    polling::tell(Story { calls: 40, every: Duration::from_millis(300), cut: Duration::from_secs(8) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_tell_those_who_want_them() {
    let (stack, pbx) = tokio::join!(Stack::start_with(&["FastLaneSeconds=2", "FailingAfterSeconds=5"]), Pbx::start());
    let (inbox, broken) = tokio::join!(Inbox::start(), Inbox::start());
    let api = &stack.api;
    let kinds = json!(["agent.offline", "agent.online", "subscription.failing"]);
    api.post("/webhooks", json!({"url": inbox.url("/"), "kinds": kinds})).await.with_status(201);
    let kinds_so_far = || -> Vec<String> {
        inbox.events().iter().filter_map(|event| event["type"].as_str().map(str::to_owned)).collect()
    };
    let told = async |expected: &[&str]| {
        eventually(&format!("notices {expected:?}"), async || match kinds_so_far() {
            kinds if kinds == expected => Ok(()),
            kinds => Err(format!("{kinds:?}")),
        })
        .await;
    };
    stack.tick().await; // Nobody is there yet; that is no news.
    let mut agent = Agent::start(&stack, &pbx, "one").await;
    stack.tick().await;
    told(&["agent.online"]).await;

    broken.behave(Manner::Status(500));
    let failing = api.post("/webhooks", json!({"url": broken.url("/")})).await.with_status(201);
    pbx.call(CALLER, "42");
    told(&["agent.online", "subscription.failing"]).await;
    assert_eq!(inbox.events()[1]["subscriptionId"], failing.body["id"]);

    agent.signal(rustix::process::Signal::TERM);
    agent.ended().await;
    stack.tick().await;
    told(&["agent.online", "subscription.failing", "agent.offline"]).await;
}

//! Answers in the forms that tools can use: what was sent and how, empty answers in JSON, repeats that make nothing new, and tests
//! that a receiver may act on.

use easyconnect_tests::{Agent, Inbox, Manner, Pbx, Stack, eventually};
use serde_json::{Value, json};

const CALLER: &str = "+32472591687";

#[tokio::test(flavor = "multi_thread")]
async fn delivery_is_shown_with_the_request_that_was_sent() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let api = &stack.api;
    let post = json!({"url": inbox.url("/post?tenant=7"), "format": "extended", "headers": {"X-Secret": "s"}});
    let post = api.post("/webhooks", post).await.with_status(201);
    let get = api.post("/webhooks", json!({"url": inbox.url("/get?tenant=7"), "method": "GET"})).await.with_status(201);
    pbx.call(CALLER, "42");
    let requests = eventually("both have it", async || match inbox.received() {
        requests if requests.len() == 2 => Ok(requests),
        requests => Err(format!("{} requests", requests.len())),
    })
    .await;
    for (webhook, method) in [(&post, "POST"), (&get, "GET")] {
        let sent = requests.iter().find(|request| request.method == method).expect("a request");
        let log = api.log_of(webhook.text("id")).await;
        let id = log[0]["id"].as_str().expect("an id");
        let shown = api.get(&format!("/deliveries/{id}")).await.ok();
        assert_eq!(shown.body["requestMethod"], method);
        assert!(
            shown.text("requestUrl").ends_with(&format!("{}?{}", sent.path, sent.query)),
            "{}",
            shown.text("requestUrl")
        );
        let header = |name: &str| {
            let headers = shown.body["requestHeaders"].as_array().expect("headers");
            headers.iter().find(|header| header["name"] == name).map(|header| header["value"].clone())
        };
        for name in ["webhook-id", "webhook-timestamp"] {
            assert_eq!(header(name), Some(json!(sent.header(name))), "{name}");
        }
        assert_eq!(header("webhook-signature"), Some(Value::Null));
        if method == "POST" {
            // Byte by byte, with the times of its way.
            assert_eq!(shown.text("requestBody"), String::from_utf8_lossy(&sent.body));
            assert_eq!(header("x-secret"), Some(Value::Null), "secrets are not shown");
        } else {
            assert_eq!(shown.body["requestBody"], Value::Null);
        }
    }
    // Ids with an empty or an overlong key are nobody's.
    for id in ["M2YwYzdhNTItNmYwZS00YTUzLTlkNjItMGY1ZDFjMGY3YjExLw".to_owned(), "A".repeat(2_000)] {
        api.get(&format!("/deliveries/{id}")).await.refused(404, "delivery_not_found");
        api.post(&format!("/deliveries/{id}/replay"), json!({})).await.refused(404, "delivery_not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_is_not_sent_beside_itself() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let webhook = stack.subscribe(&inbox).await.id.to_string();
    inbox.behave(Manner::Status(503));
    pbx.call(CALLER, "42");
    let delivery = eventually("it is tried again", async || {
        let log = stack.api.log_of(&webhook).await;
        let retried = log.iter().find(|delivery| delivery["state"] == "retrying" && delivery["attemptCount"] != 0);
        retried.cloned().ok_or_else(|| format!("{log:?}"))
    })
    .await;
    let path = format!("/deliveries/{}/replay", delivery["id"].as_str().expect("an id"));
    stack.api.post(&path, json!({})).await.refused(409, "delivery_under_way");
    inbox.behave(Manner::Status(200));
    inbox.expect(&["42 ringing"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_make_one_webhook_and_deletions_can_be_read() {
    let stack = Stack::start().await;
    let (api, body) = (&stack.api, json!({"url": "https://example.invalid/hook"}));
    let first = api.post_named("/webhooks", "flow 7", &body).await.with_status(201);
    let repeat = api.post_named("/webhooks", "flow 7", &body).await.with_status(201);
    assert_eq!(repeat.body, first.body, "with its secret, because the first answer may have been lost");
    assert_eq!(repeat.header("location"), first.header("location"));
    let other = json!({"url": "https://example.invalid/other"});
    api.post_named("/webhooks", "flow 7", &other).await.refused(409, "idempotency_conflict");
    api.post("/webhooks", json!({"url": "https://example.invalid/hook", "requestId": "flow 7"})).await.with_status(201);
    assert_eq!(api.get("/webhooks").await.ok().body["webhooks"].as_array().map(Vec::len), Some(1));

    // Three secrets sign after two rotations within a day.
    let path = format!("/webhooks/{}", first.text("id"));
    for _ in 0..4 {
        api.post(&format!("{path}/secret"), json!({})).await.ok();
    }
    api.post(&format!("{path}/secret"), json!({})).await.refused(409, "too_many_secrets");

    let deleted = api.delete_for_json(&path).await;
    assert_eq!((deleted.status, &deleted.body), (200, &json!({})));
    let deleted = api.delete_for_json(&path).await;
    assert_eq!((deleted.status, &deleted.body), (200, &json!({})));
    api.delete(&path).await.with_status(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn test_follows_the_filter_and_rotated_secrets_sign_along() {
    let (stack, inbox) = tokio::join!(Stack::start(), Inbox::start());
    let test = async |settings: Value| {
        let mut body = json!({"url": inbox.url("/hook"), "format": "extended"});
        body.as_object_mut().expect("an object").extend(settings.as_object().expect("an object").clone());
        let made = stack.api.post("/webhooks", body).await.with_status(201);
        let path = format!("/webhooks/{}", made.text("id"));
        for _ in 0..2 {
            stack.api.post(&format!("{path}/secret"), json!({})).await.ok();
        }
        stack.api.post(&format!("{path}/test?wait=20"), json!({})).await.ok();
        stack.api.delete(&path).await.with_status(204);
        inbox.received().pop().expect("a request")
    };
    let ringing = test(json!({"statuses": ["ringing"], "extensions": ["77"]})).await;
    assert_eq!(ringing.header("webhook-test"), "true");
    assert_eq!(ringing.header("webhook-signature").split(' ').count(), 3);
    let event = ringing.event();
    assert_eq!(
        (&event["status"], &event["monitoredExtension"], &event["test"]),
        (&json!("ringing"), &json!("77"), &json!(true))
    );
    assert_eq!(event["fromE164"], "+12025550123", "a number that is nobody's");
    let missed = test(json!({"missedOnly": true})).await.event();
    assert_eq!((&missed["status"], &missed["connected"]), (&json!("disconnected"), &json!(false)));
    let outgoing = test(json!({"direction": "outgoing", "party": "internal"})).await.event();
    assert_eq!((&outgoing["outgoing"], &outgoing["toE164"]), (&json!(true), &Value::Null));
    let notice = test(json!({"kinds": ["agent.offline"]})).await;
    assert_eq!(notice.event()["type"], "agent.offline");
}

//! What owners do about their webhooks, and what they are shown.

use serde_json::Map;

use super::cloud::{Asked, Cloud, item};
use super::*;

const ID: &str = "3f0c7a52-6f0e-4a53-9d62-0f5d1c0f7b11";
const SHARED: &str = "3f0c7a52-6f0e-4a53-9d62-0f5d1c0f7b12";
/// Milliseconds; long ago.
const THEN: i64 = 1_700_000_000_000;

/// A webhook as it lies in the table, with more about its health.
fn webhook(id: &str, health: &Value) -> Map<String, Value> {
    let webhook = json!({"pk": "WEBHOOK", "sk": id, "v": 1, "id": id, "createdAt": THEN, "secret": "whsec_AAAA",
                         "url": "https://example.com/hook?a=b", "state": "active"});
    let mut webhook = webhook.as_object().expect("an object").clone();
    webhook.extend(health.as_object().expect("an object").clone());
    webhook
}

/// A cloud with one webhook, which is another one after any change.
async fn with_webhook(before: Value, after: Value) -> Cloud {
    Cloud::start(move |asked| {
        let known = |health: &Value| item(&webhook(ID, health));
        Some(match asked.operation.as_str() {
            "GetItem" => json!({"Item": known(&before)}),
            "UpdateItem" if asked.body["Key"]["pk"]["S"] == "WEBHOOK" => json!({"Attributes": known(&after)}),
            "DeleteItem" => json!({"Attributes": known(&before)}),
            "Query" => json!({"Count": 7, "ScannedCount": 7}),
            "SendMessageBatch" => json!({"Successful": [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "m"}]}),
            _ => json!({}),
        })
    })
    .await
}

/// What was asked, in words; neither reads of the webhook nor the counting of requests.
fn told(asked: Vec<Asked>) -> Vec<String> {
    let words = |Asked { operation, body }: Asked| {
        let update = body["UpdateExpression"].as_str().unwrap_or_default();
        let (sets, removes) = update.split_once(" REMOVE ").unwrap_or((update, ""));
        match (operation.as_str(), body["Key"]["pk"]["S"].as_str()) {
            ("PutItem", _) => {
                format!("audit {}", body["Item"]["operation"]["S"].as_str().expect("an entry of the audit trail"))
            }
            ("UpdateItem", Some("WEBHOOK")) if sets.contains("purgedBefore") => "purge".to_owned(),
            ("UpdateItem", Some("WEBHOOK")) if sets.contains("pausedAt") => "pause".to_owned(),
            ("UpdateItem", Some("WEBHOOK")) if removes.contains("pausedAt") && sets.contains("#state") => {
                "switch on".to_owned()
            }
            ("UpdateItem", Some("WEBHOOK")) if removes.contains("pausedAt") => "resume".to_owned(),
            ("UpdateItem", Some("WEBHOOK")) if sets.contains("secret") => "rotate".to_owned(),
            ("UpdateItem", Some("WEBHOOKS")) => "make known".to_owned(),
            ("DeleteItem", Some("WEBHOOK")) => "delete".to_owned(),
            ("Query", _) => {
                assert_eq!((&body["Select"], &body["Limit"]), (&json!("COUNT"), &json!(1_000)));
                "count".to_owned()
            }
            ("SendMessageBatch", _) => {
                assert_eq!(body["QueueUrl"], "http://127.0.0.1:1/lanes.fifo");
                let message = &body["Entries"][0];
                assert_eq!(message["MessageGroupId"], ID);
                assert_eq!(message["MessageBody"], format!(r#"{{"v":1,"lane":"{ID}"}}"#));
                "call the worker".to_owned()
            }
            _ => String::new(),
        }
    };
    asked.into_iter().map(words).filter(|words| !words.is_empty()).collect()
}

async fn ask(cloud: &Cloud, method: &str, path: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("x-api-key", KEY);
    let router = router(context_at(&cloud.address));
    let response = router.oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer");
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn owners_pause_resume_and_purge() {
    let plain = json!({});
    let slow = json!({"lane": "own", "laneSince": THEN, "nextLookAt": THEN, "laneReason": "answers slowly"});
    let failing = json!({"state": "failing", "stateSince": THEN, "reason": "nothing was accepted", "lane": "own"});
    // As it was before there were lanes.
    let draining = json!({"state": "draining", "parked": 3, "unparkedAt": THEN});
    let paused = json!({"lane": "own", "pausedAt": THEN});
    let off = json!({"state": "off", "reason": "answered 410"});
    let resumed_off = json!({"lane": "own", "refusingSince": THEN, "nextLookAt": THEN});
    let unchanged: &[&str] = &[];
    let cases: [(&str, &Value, &Value, &[&str], &str); 14] = [
        ("resume", &plain, &plain, unchanged, "active"),
        ("resume", &slow, &slow, &["audit ResumeWebhook", "resume", "call the worker", "count"], "slow"),
        ("resume", &failing, &failing, &["audit ResumeWebhook", "resume", "call the worker", "count"], "failing"),
        ("resume", &draining, &slow, &["audit ResumeWebhook", "resume", "call the worker", "count"], "slow"),
        ("resume", &paused, &slow, &["audit ResumeWebhook", "resume", "call the worker", "count"], "slow"),
        (
            "resume",
            &off,
            &resumed_off,
            &["audit ResumeWebhook", "switch on", "make known", "call the worker", "count"],
            "slow",
        ),
        ("pause", &plain, &paused, &["audit PauseWebhook", "pause", "count"], "paused"),
        ("pause", &failing, &paused, &["audit PauseWebhook", "pause", "count"], "paused"),
        ("pause", &paused, &paused, &["count"], "paused"),
        ("pause", &off, &off, &["audit PauseWebhook", "pause"], "off"),
        ("purge", &plain, &plain, unchanged, "active"),
        ("purge", &slow, &slow, &["audit PurgeWebhook", "purge", "call the worker", "count"], "slow"),
        ("purge", &paused, &paused, &["audit PurgeWebhook", "purge", "call the worker", "count"], "paused"),
        ("purge", &failing, &failing, &["audit PurgeWebhook", "purge", "call the worker", "count"], "failing"),
    ];
    for (operation, before, after, expected, state) in cases {
        let cloud = with_webhook(before.clone(), after.clone()).await;
        let (status, shown) = ask(&cloud, "POST", &format!("/webhooks/{ID}/{operation}")).await;
        assert_eq!((status, &shown["state"]), (200, &json!(state)), "{operation} {before}: {shown}");
        let asked = told(cloud.asked());
        assert_eq!(asked, expected, "{operation} {before}");
        let parked = if asked.iter().any(|asked| asked == "count") { 7 } else { 0 };
        assert_eq!(shown["parked"], parked, "{operation} {before}");
    }
}

#[tokio::test]
async fn what_changes_meanwhile_is_asked_for_again() {
    let cloud = Cloud::start(|asked| {
        let known = item(&webhook(ID, &json!({"lane": "own"})));
        // Its condition is broken: somebody has switched it off.
        (asked.body["Key"]["pk"]["S"] != "WEBHOOK" || asked.operation == "GetItem").then(|| json!({"Item": known}))
    })
    .await;
    for operation in ["pause", "resume", "purge"] {
        let (status, answer) = ask(&cloud, "POST", &format!("/webhooks/{ID}/{operation}")).await;
        assert_eq!((status, &answer["code"], &answer["retryable"]), (409, &json!("unavailable"), &json!(true)));
    }
    let nobody = Cloud::start(|_| Some(json!({}))).await;
    for operation in ["pause", "resume", "purge"] {
        let (status, answer) = ask(&nobody, "POST", &format!("/webhooks/{ID}/{operation}")).await;
        assert_eq!((status, &answer["code"]), (404, &json!("webhook_not_found")));
        let (status, answer) = ask(&nobody, "POST", &format!("/webhooks/{ID}/{operation}?wait=1")).await;
        let message = "Query parameter `wait` is unknown; this operation takes `apikey`.";
        assert_eq!((status, &answer["message"]), (400, &json!(message)));
    }
}

#[tokio::test]
async fn a_worker_that_cannot_be_called_fails_nothing() {
    let cloud = Cloud::start(|asked| {
        let known = item(&webhook(ID, &json!({"lane": "own", "pausedAt": THEN})));
        match asked.operation.as_str() {
            "SendMessageBatch" => None,
            _ => Some(json!({"Item": known, "Attributes": known, "Count": 0})),
        }
    })
    .await;
    assert_eq!(ask(&cloud, "POST", &format!("/webhooks/{ID}/purge")).await.0, 200);
    assert_eq!(ask(&cloud, "DELETE", &format!("/webhooks/{ID}")).await.0, 204);
}

#[tokio::test]
async fn what_waits_for_a_deleted_webhook_is_left_to_the_worker() {
    for health in [json!({}), json!({"lane": "own"})] {
        let cloud = with_webhook(health.clone(), health).await;
        assert_eq!(ask(&cloud, "DELETE", &format!("/webhooks/{ID}")).await.0, 204);
        assert_eq!(told(cloud.asked()), ["audit DeleteWebhook", "delete", "make known", "call the worker"]);
    }
}

/// A secret that was replaced and not shown would be lost.
#[tokio::test]
async fn a_backlog_that_cannot_be_counted_costs_no_secret() {
    let cloud = Cloud::start(|asked| {
        let known = item(&webhook(ID, &json!({"lane": "own"})));
        (asked.operation != "Query").then(|| json!({"Item": known, "Attributes": known}))
    })
    .await;
    let (status, answer) = ask(&cloud, "POST", &format!("/webhooks/{ID}/secret")).await;
    assert_eq!((status, &answer["code"]), (409, &json!("unavailable")));
    assert_eq!(told(cloud.asked()), ["count"]);
    assert_eq!(ask(&cloud, "GET", &format!("/webhooks/{ID}")).await.0, 503);
}

#[tokio::test]
async fn a_webhook_is_shown_with_its_condition_and_its_backlog() {
    let in_an_hour = jiff::Timestamp::now().as_millisecond() + 3_600_000;
    let refusing = json!({"lane": "own", "laneSince": THEN, "laneReason": "answered 503", "refusals": 3, "refusedFor": 60_000,
                          "nextLookAt": THEN, "nextAttemptAt": in_an_hour, "lastSuccessAt": THEN, "maxPerMinute": null});
    let cloud = with_webhook(refusing, json!({})).await;
    let (status, shown) = ask(&cloud, "GET", &format!("/webhooks/{ID}")).await;
    assert_eq!(status, 200);
    let expected = json!({"state": "slow", "stateSince": "2023-11-14T22:13:20.000Z", "reason": "answered 503", "parked": 7,
                          "lastSuccessAt": "2023-11-14T22:13:20.000Z", "pausedAt": null, "maxPerMinute": null});
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&shown[name], value, "{name}");
    }
    assert_eq!(shown["nextAttemptAt"], shared::time::iso_millis(from_millis(in_an_hour)));

    let limited =
        json!({"lane": "own", "laneReason": "has a limit of requests", "nextLookAt": THEN, "maxPerMinute": 30});
    let cloud = with_webhook(limited, json!({})).await;
    let (_, shown) = ask(&cloud, "GET", &format!("/webhooks/{ID}")).await;
    let states = [&shown["state"], &shown["reason"], &shown["parked"], &shown["maxPerMinute"]];
    assert_eq!(states, [&json!("active"), &Value::Null, &json!(7), &json!(30)]);
}

#[tokio::test]
async fn a_list_has_the_states_that_are_asked_for() {
    let cloud = Cloud::start(|asked| {
        let webhooks = [
            webhook(SHARED, &json!({})),
            webhook(ID, &json!({"lane": "own", "nextLookAt": THEN, "createdAt": THEN + 1})),
            webhook(CALL_ID, &json!({"state": "failing", "createdAt": THEN + 2})),
            webhook(OTHER_CALL_ID, &json!({"state": "off", "createdAt": THEN + 3})),
        ];
        Some(match (asked.operation.as_str(), &asked.body["Select"]) {
            ("Query", Value::Null) => json!({"Items": webhooks.map(|webhook| item(&webhook))}),
            ("Query", _) if asked.body.to_string().contains(&format!("PARKED#{ID}")) => json!({"Count": 1_000}),
            ("Query", _) => json!({"Count": 2}),
            _ => json!({}),
        })
    })
    .await;
    let (slow, failing) = (("slow", 1_000), ("failing", 2));
    let cases: [(&str, &[(&str, u32)]); 9] = [
        ("", &[("active", 0), slow, failing, ("off", 0)]),
        ("?state=", &[("active", 0), slow, failing, ("off", 0)]),
        ("?state=active", &[("active", 0)]),
        ("?state=slow", &[slow]),
        ("?state=draining", &[slow]),
        ("?state=Failing,%20slow", &[slow, failing]),
        ("?state=failing&state=draining", &[slow, failing]),
        ("?state=paused", &[]),
        ("?state=off", &[("off", 0)]),
    ];
    for (query, expected) in cases {
        cloud.asked();
        let (status, answer) = ask(&cloud, "GET", &format!("/webhooks{query}")).await;
        let webhooks = answer["webhooks"].as_array().expect("webhooks");
        let found: Vec<Value> = webhooks.iter().map(|webhook| json!([webhook["state"], webhook["parked"]])).collect();
        assert_eq!((status, json!(found)), (200, json!(expected)), "{query}");
        // Only what is shown and may have a backlog is counted.
        let counted = cloud.asked().iter().filter(|asked| asked.body["Select"] == "COUNT").count();
        assert_eq!(counted, expected.iter().filter(|(_, parked)| *parked > 0).count(), "{query}");
    }
    let (status, answer) = ask(&cloud, "GET", "/webhooks?state=parked").await;
    let message =
        "Query parameter `state` has `parked`; it takes `active`, `slow`, `failing`, `paused`, `off`, `draining`.";
    assert_eq!((status, &answer["message"]), (400, &json!(message)));
}

//! What `GET /stats` tells, and whom.

use super::cloud::{Cloud, item};
use super::*;

/// A cloud with one key beside the operator's, an hour with calls that is still open, and one webhook.
async fn with_key(key: Value) -> Cloud {
    let hour = jiff::Timestamp::now().as_second() / 3_600;
    let head =
        json!({"pk": "FEED", "sk": "head", "n": 9, (format!("c{hour}#master")): 3, (format!("m{hour}#master")): 1});
    let webhook = json!({"pk": "WEBHOOK", "sk": CALL_ID, "v": 1, "id": CALL_ID, "createdAt": 1, "secret": "whsec_AAAA",
                         "url": "https://example.com/hook", "state": "active"});
    let stored = |value: &Value| item(value.as_object().expect("an object"));
    Cloud::start(move |asked| {
        let pk = asked.body["Key"]["pk"]["S"].as_str().unwrap_or_default();
        let values = asked.body["ExpressionAttributeValues"].to_string();
        Some(match asked.operation.as_str() {
            "GetItem" if pk == "FEED" => json!({"Item": stored(&head)}),
            "GetItem" => json!({"Item": stored(&key)}),
            "Query" if values.contains("\"WEBHOOK\"") => json!({"Items": [stored(&webhook)]}),
            "Query" => json!({"Items": []}),
            "UpdateItem" => json!({"Attributes": {"n": {"N": "1"}}}),
            _ => json!({}),
        })
    })
    .await
}

async fn stats(cloud: &Cloud, key: &str) -> (u16, Value) {
    let request = Request::get("/stats").header("x-api-key", key).body(Body::empty()).expect("a request");
    let response = router(context_at(&cloud.address)).oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, serde_json::from_slice(&bytes).expect("JSON"))
}

fn asked_for_deliveries(cloud: &Cloud) -> bool {
    cloud.asked().iter().any(|asked| asked.body.to_string().contains("DELIVERY#"))
}

#[tokio::test]
async fn everybody_is_told_what_the_key_may_see() {
    let key = |scopes: &[&str]| json!({"id": "k", "name": "app", "scopes": scopes});
    let cloud = with_key(key(&["calls:read"])).await;
    let (status, told) = stats(&cloud, OTHER_KEY).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["hours"].as_array().map(Vec::len), Some(25));
    assert_eq!((&told["hours"][24]["calls"], &told["hours"][24]["missed"]), (&json!(3), &json!(1)));
    assert_eq!(told["pbxHours"][0]["pbxId"], "master");
    assert_eq!((&told["deliveriesRead"], &told["deliveries"]), (&Value::Null, &json!([])));
    assert!(!asked_for_deliveries(&cloud));

    let cloud = with_key(key(&["webhooks"])).await;
    let (_, told) = stats(&cloud, OTHER_KEY).await;
    assert_eq!((&told["deliveriesRead"], &told["deliveriesComplete"]), (&json!(0), &json!(true)), "{told}");
    assert!(asked_for_deliveries(&cloud));

    let cloud = with_key(key(&["calls:write"])).await;
    let (status, told) = stats(&cloud, OTHER_KEY).await;
    assert_eq!((status, &told["code"]), (403, &json!("missing_scope")));

    let mut listed = key(&["calls:read", "webhooks"]);
    listed["extensions"] = json!(["42"]);
    let cloud = with_key(listed).await;
    let (status, told) = stats(&cloud, OTHER_KEY).await;
    assert_eq!((status, &told["code"]), (403, &json!("extension_not_allowed")));
    assert_eq!(told["hint"], "Use a key without a list of extensions.");
}

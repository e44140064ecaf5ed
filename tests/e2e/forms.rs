//! What form-based tools and careless scripts send is taken where it can mean one thing only, and refused by name where it cannot.

use easyconnect_tests::{Agent, Inbox, Pbx, Stack};
use serde_json::{Value, json};

const JSON: Option<&str> = Some("application/json");
const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const MOBILE_DIGITS: &str = "+32472591687";

#[tokio::test(flavor = "multi_thread")]
async fn one_call_in_many_spellings_is_one_call() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let api = &stack.api;
    let first = api.post("/rcc/makecall", json!({"from": "77", "to": MOBILE_DIGITS, "requestId": "4711"})).await.ok();
    let spellings: [(&str, Option<&str>, &str); 9] = [
        ("/rcc/makecall", JSON, r#"{"from":77,"to":"+32 472 59 16 87\u202c","requestId":4711}"#),
        (
            "/rcc/makecall",
            JSON,
            r#"{"from":"77","to":"tel:+32-472-59-16-87","requestId":"4711","clir":"","callerNumber":""}"#,
        ),
        (
            "/rcc/makecall",
            JSON,
            r#"{"from":"77","to":"+32\u2060 (0)472\u2014591687","requestId":4711.0,"clir":"false","audio":"no"}"#,
        ),
        ("/rcc/makecall/", JSON, r#"{"from":"77","to":"+32472591687","requestId":"4711"}"#),
        (
            "/rcc/makecall?wait=&_=1795849000",
            JSON,
            "\u{feff}{\"from\":\"77\",\"to\":\"+32472591687\",\"requestId\":\"4711\"}",
        ),
        ("/rcc/makecall?requestId=4711", None, r#"{"from":"77","to":"+32472591687","requestId":""}"#),
        ("/rcc/makecall", Some("text/plain;charset=UTF-8"), r#"{"from":"77","to":"+32472591687","requestId":"4711"}"#),
        ("/rcc/makecall", FORM, "from=77&to=%2B32+472+59+16+87&requestId=4711&clir=&device="),
        ("/rcc/makecall", FORM, r#"{"from":"77","to":"+32472591687","requestId":"4711"}"#),
    ];
    for (path, content_type, body) in spellings {
        let answer = api.post_as(path, content_type, body).await.ok();
        assert_eq!(answer.text("commandId"), first.text("commandId"), "{body}");
    }
    assert_eq!(pbx.heard("UserCall"), 1);
    assert_eq!(pbx.legs(MOBILE_DIGITS).len(), 1);

    // A header that was left empty names no request.
    let body = json!({"from": "77", "to": 50});
    let calls =
        [api.post_named("/rcc/makecall", "", &body).await.ok(), api.post_named("/rcc/makecall", "", &body).await.ok()];
    assert_ne!(calls[0].text("commandId"), calls[1].text("commandId"));
    assert_eq!(pbx.heard("UserCall"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_and_questions_are_spelled_as_forms_do() {
    let (stack, inbox) = tokio::join!(Stack::start(), Inbox::start());
    let api = &stack.api;
    let url = inbox.url("/");
    let expected = json!({
        "statuses": ["disconnected"], "extensions": ["42", "77"], "minimumDuration": 10, "missedOnly": false,
        "direction": null, "headerNames": ["x-a"], "expiresAt": null
    });
    let json_body = json!({
        "targetUrl": url, "statuses": "disconnected", "extensions": "42,77", "minimumDuration": "10", "missedOnly": "no",
        "direction": "", "headers": {"X-A": "b"}, "expiresAt": "", "description": ""
    });
    let made = api.post("/webhooks/", json_body).await.with_status(201);
    let id = made.text("id").to_owned();
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&made.body[name], value, "{name}");
    }
    let form =
        format!("hookUrl={url}&statuses=ringing&statuses=disconnected&extensions=42%2C77&missedOnly=on&direction=");
    let made = api.post_as("/webhooks", FORM, form).await.with_status(201);
    let shown = ["statuses", "extensions", "missedOnly", "direction"].map(|name| made.body[name].clone());
    assert_eq!(shown, [json!(["ringing", "disconnected"]), json!(["42", "77"]), json!(true), Value::Null]);

    // A plus that was not escaped, and parameters that tools leave empty or add.
    api.get(&format!("/webhooks/{id}/deliveries?since=2026-11-28T08:00:00+01:00&state=")).await.ok();
    api.get(&format!("/webhooks/{id}/")).await.ok();
    api.get("/status/").await.ok();
    api.get("/status?_=1795849000").await.ok();
    api.get("/events?statuses=ringing&statuses=connected&missedOnly=1&wait=&after=latest").await.ok();
    let time = api.get(&format!("/webhooks/{id}/deliveries?since=yesterday")).await.refused(400, "invalid_request");
    assert!(time.text("message").contains("2027-01-31T01:00:00+01:00"), "{}", time.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_certain_is_refused_by_name() {
    let stack = Stack::start().await;
    let api = &stack.api;
    let refused = async |path: &str, content_type: Option<&str>, body: &[u8], part: &str| {
        let answer = api.post_as(path, content_type, body.to_vec()).await.refused(400, "invalid_request");
        let told = format!("{} {}", answer.text("message"), answer.text("hint"));
        assert!(told.contains(part), "{part}: {told}");
    };
    // The gateway hands JSON over as text, and other bodies as they are.
    let latin_1 = b"{\"url\":\"https://example.com\",\"description\":\"Caf\xe9\"}";
    for content_type in [JSON, Some("application/json; charset=iso-8859-1"), Some("text/plain"), FORM, None] {
        refused("/webhooks", content_type, latin_1, "The body is not UTF-8").await;
    }
    let utf_16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused("/webhooks", JSON, &utf_16, "The body is UTF-16").await;
    refused("/webhooks", JSON, br#"{"target_url":"https://example.com"}"#, "Use `targetUrl`").await;
    refused("/rcc/answer", JSON, br#"{"call_id":"x"}"#, "did you mean `CallId`?").await;
    refused("/rcc/makecall", JSON, br#"{"from":"42","to":"50\u0007"}"#, "contains `U+0007`").await;
    refused("/rcc/makecall", JSON, br#"{"from":"42","to":"5o"}"#, "contains `o` (U+006F)").await;
    refused("/rcc/makecall", JSON, br#"{"from":"42","from":"44","to":"50"}"#, "Field `from` stands twice").await;
    refused("/rcc/makecall", JSON, br#"{"from":"42","to":"tel:+3222222222;ext=42"}"#, "has a parameter").await;
    refused("/rcc/makecall", FORM, b"from=42&to=+32472591687", "write a plus as `%2B`").await;
    refused("/apikeys", JSON, br#"{"name":"crm","scopes":"webhooks","extensions":""}"#, "leave it out").await;
}

//! What form-based tools send: other spellings of the same request, which are taken where their meaning is certain.

use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::routing::any;
use shared::operation::Operation;

use super::*;
use crate::errors::ApiError;
use crate::operations::{self, Requested};
use crate::request::Incoming;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A request taken apart, as handlers get it.
async fn incoming(request: Request<Body>) -> Incoming {
    let (sender, receiver) = std::sync::mpsc::channel();
    let keep = async move |request: Incoming| sender.send(request).expect("a test that waits");
    let response = Router::new().route("/{*path}", any(keep)).oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    receiver.try_recv().expect("a request")
}

async fn call(path: &str, content_type: &str, body: &str) -> Result<Requested, ApiError> {
    let mut request = with_key("POST", path);
    if !content_type.is_empty() {
        request.headers_mut().insert(CONTENT_TYPE, content_type.parse().expect("a header"));
    }
    *request.body_mut() = Body::from(body.to_owned());
    operations::make_call(&incoming(request).await)
}

/// What is sent gets as far as to the tables, which are not there.
async fn is_taken(request: Request<Body>) {
    let path = request.uri().to_string();
    let answer = answer(request).await;
    assert_eq!(answer.body["code"], "unavailable", "{path}: {}", answer.body);
}

fn with_key(method: &str, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).header("x-api-key", KEY).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn all_spellings_of_a_request_are_one_request() {
    let plain = r#"{"from":"42","to":"+32472591687","requestId":"4711","clir":true,"remoteControl":10}"#;
    let expected = call("/x", JSON, plain).await.expect("an operation");
    let spellings: [(&str, &str, &str); 10] = [
        ("/x", JSON, r#"{"from":42,"to":"tel:+32-472-59-16-87","requestId":4711,"clir":"true","remoteControl":"10"}"#),
        (
            "/x",
            "",
            r#"{"from":"42\u202c","to":"\u202a+32 472 59 16 87\u202c","requestId":"4711","clir":"yes","remoteControl":10.0}"#,
        ),
        (
            "/x",
            "text/plain;charset=UTF-8",
            "\u{feff}{\"from\":\"４２\",\"to\":\"＋32 (0)472 591687\",\"requestId\":4711.0,\"clir\":1,\"remoteControl\":10}",
        ),
        ("/x", FORM, "from=42&to=%2B32+472+591687&requestId=4711&clir=on&remoteControl=10"),
        ("/x", FORM, "from=42&to=tel%3A%2B32472591687&requestId=4711&clir=TRUE&remoteControl=+10&callerNumber=&audio="),
        // What `curl -d` sends.
        ("/x", FORM, plain),
        ("/x?requestId=4711", FORM, "from=42&to=%2B32472591687&clir=1&remoteControl=010&requestId="),
        ("/x?requestId=4711&wait=", JSON, r#"{"from":"42","to":"+32472591687","clir":"1","remoteControl":10}"#),
        (
            "/x?requestId=",
            JSON,
            r#"{"from":"42","to":"+32472591687","requestId":"4711","clir":true,"remoteControl":10,"device":""}"#,
        ),
        (
            "/x",
            "application/vnd.api+json",
            r#"{"from":"42","to":"+32472591687","requestId":"4711","clir":true,"remoteControl":10,"callerNumber":" ","ignoreForwarding":""}"#,
        ),
    ];
    for (path, content_type, body) in spellings {
        let requested = call(path, content_type, body).await;
        let requested = requested.unwrap_or_else(|error| panic!("{body}: {}", error.message));
        assert_eq!(requested.operation, expected.operation, "{body}");
        assert_eq!(requested.operation.fingerprint(), expected.operation.fingerprint());
        assert_eq!(requested.idempotency_key.as_deref(), Some("4711"), "{body}");
    }
}

#[tokio::test]
async fn what_may_mean_two_things_is_refused() {
    let refused = async |content_type: &str, body: &str, message: &str| {
        let error = call("/x", content_type, body).await.expect_err(body);
        assert_eq!(error.message, message);
    };
    let plus = "Field `to` begins with a space, which may have been a plus; write a plus as `%2B`.";
    refused(FORM, "from=42&to=+32472591687", plus).await;
    refused(FORM, "from=42&to=50&to=51", "Field `to` stands twice.").await;
    let parameter =
        "Field `to` has a parameter, such as `;ext=`, which cannot be dialled along; give the number alone.";
    refused(JSON, r#"{"from":"42","to":"tel:+3222222222;ext=42"}"#, parameter).await;
    refused(JSON, r#"{"from":"42","from":"44","to":"50"}"#, "Field `from` stands twice.").await;
    let flag = "Field `clir` has `perhaps`; it takes true or false.";
    refused(JSON, r#"{"from":"42","to":"50","clir":"perhaps"}"#, flag).await;
    let text = r#"Field `to` is a number; it takes text with a number, such as "42"."#;
    refused(JSON, r#"{"from":"42","to":5.5}"#, text).await;
    let media = "Header `Content-Type` must be `application/json` or `application/x-www-form-urlencoded`.";
    refused("multipart/form-data; boundary=x", "--x--", media).await;
}

#[tokio::test]
async fn an_empty_header_is_no_name_of_a_request() {
    let body = r#"{"from":"42","to":"50"}"#;
    let request = Request::post("/x").header("x-api-key", KEY).header("idempotency-key", " ");
    let request = request.body(Body::from(body)).expect("a request");
    let requested = operations::make_call(&incoming(request).await);
    assert_eq!(requested.expect("an operation").idempotency_key, None);
}

#[tokio::test]
async fn a_question_for_calls_may_leave_its_parameters_empty() {
    let request = incoming(with_key("GET", "/rcc/calls?extension=&limit=&cursor=+&wait=")).await;
    let requested = operations::calls(&request).expect("an operation");
    let Operation::GetCalls { extension, page } = requested.operation else { panic!("another operation") };
    assert_eq!((extension, page.cursor, page.limit), (None, None, 100));
    assert_eq!(request.wait().map(|wait| wait.as_secs()), Ok(8));
}

#[tokio::test(start_paused = true)]
async fn paths_may_end_with_a_slash_and_queries_with_a_cache_buster() {
    for path in ["/status/", "/rcc/users/", "/rcc/calls/?wait=&extension=", "/webhooks/", "/rcc/users/42/", "/audit//"]
    {
        is_taken(with_key("GET", path)).await;
    }
    is_taken(with_key("GET", &format!("/webhooks/{CALL_ID}/"))).await;
    is_taken(with_key("GET", "/status?_=1795849000")).await;
    is_taken(with_key("GET", "/events?_=1&wait=&statuses=ringing&statuses=connected&missedOnly=1")).await;
    let request = Request::get(format!("/status/?_=1&apikey={KEY}&_=2")).body(Body::empty());
    is_taken(request.expect("a request")).await;
    let mut request = with_key("POST", "/rcc/makecall/");
    *request.body_mut() = Body::from(r#"{"from":"42","to":"50"}"#);
    is_taken(request).await;

    let unknown = get("/rcc/calls/?wiat=3").await;
    assert_eq!(
        (unknown.status, &unknown.body["hint"]),
        (400, &json!("Use `wait` if that is meant, and send the request again."))
    );
    assert_eq!(get("/rcc/nothing/").await.status, 404);
    assert_eq!(get("/rcc/makecall/").await.headers["allow"], "POST");
    assert_eq!(answer(with_key("DELETE", "/webhooks/")).await.status, 405);
}

#[tokio::test]
async fn the_page_keeps_its_slash() {
    let page = async |path: &str| {
        let response = router(context()).oneshot(with_key("GET", path)).await.expect("an answer");
        let location = response.headers().get(LOCATION).cloned();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        (status, location, String::from_utf8_lossy(&body).contains("<base"))
    };
    assert_eq!(page("/swagger/").await, (200, None, false));
    assert_eq!(page("/swagger").await, (200, None, true));
    assert_eq!(page("/swagger/api.yaml/").await.0, 200);
    assert_eq!(page("/").await.0, 307);
}

#[tokio::test(start_paused = true)]
async fn a_space_in_a_time_is_its_plus() {
    let path = format!("/webhooks/{CALL_ID}/deliveries?since=");
    is_taken(with_key("GET", &format!("{path}2026-11-28T08:00:00+01:00"))).await;
    is_taken(with_key("GET", &format!("{path}&state=&limit="))).await;
    let message = "Query parameter `since` takes a time in ISO 8601 with its zone before 9999-12-30, such as \
                   2027-01-31T00:00:00Z or 2027-01-31T01:00:00+01:00.";
    refused(&get(&format!("{path}yesterday")).await, StatusCode::BAD_REQUEST, "invalid_request", message);
}

#[tokio::test]
async fn another_encoding_is_refused_by_its_name() {
    let latin_1 = post("/webhooks", b"{\"url\":\"https://example.com\",\"description\":\"Caf\xe9\"}".to_vec()).await;
    let message = "The body is not UTF-8: the byte 0xE9 at offset 47 is of another encoding, such as Latin-1.";
    refused(&latin_1, StatusCode::BAD_REQUEST, "invalid_request", message);
    assert!(latin_1.body["hint"].as_str().is_some_and(|hint| hint.contains("UTF-8")), "{}", latin_1.body);
    let utf_16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let message = "The body is UTF-16; it has to be UTF-8.";
    refused(&post("/rcc/answer", utf_16).await, StatusCode::BAD_REQUEST, "invalid_request", message);
}

#[tokio::test]
async fn unknown_names_get_the_nearest_known_one() {
    let hint = async |path: &str, body: &str| post(path, body.to_owned()).await.body["hint"].clone();
    let expected = |name: &str| format!("Use `{name}` if that is meant, and send the request again.");
    assert_eq!(hint("/webhooks", r#"{"target_url":"https://example.com"}"#).await, expected("targetUrl"));
    assert_eq!(hint("/rcc/answer", r#"{"call_id":"x"}"#).await, expected("CallId"));
    let generic = "Correct the named field and send the request again.";
    assert_eq!(hint("/rcc/answer", r#"{"nonsense":"x"}"#).await, generic);
}

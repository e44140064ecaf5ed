//! What a request asks of the tables.

use super::cloud::Cloud;
use super::*;

#[tokio::test]
async fn request_without_a_valid_key_reads_no_more_than_the_key() {
    let tables = Cloud::start(|_| Some(json!({}))).await;
    let requests = [
        ("POST", "/rcc/makecall", r#"{"from":"42","to":"50"}"#),
        ("POST", "/rcc/connect", r#"{"via":"77","a":"50","b":"43"}"#),
        ("GET", "/rcc/users", ""),
        ("GET", "/rcc/commands/0b6a2f5e-8f0f-4b55-9d0c-6b7a4b1f7a55", ""),
        ("GET", "/status", ""),
        ("GET", "/stats", ""),
        ("GET", "/events?wait=20", ""),
        ("POST", "/webhooks", r#"{"url":"https://example.invalid"}"#),
        ("GET", "/webhooks", ""),
        ("DELETE", "/webhooks/0b6a2f5e-8f0f-4b55-9d0c-6b7a4b1f7a55", ""),
        ("POST", "/webhooks/0b6a2f5e-8f0f-4b55-9d0c-6b7a4b1f7a55/purge", ""),
        ("PATCH", "/apikeys/0123456789abcdef", r#"{"disabled":true}"#),
        ("GET", "/audit", ""),
    ];
    for (key, expected) in [(None, &[][..]), (Some(OTHER_KEY), &["GetItem"])] {
        for (method, path, body) in requests {
            let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
            if let Some(key) = key {
                request = request.header("x-api-key", key);
            }
            let router = router(context_at(&tables.address));
            let answer = router.oneshot(request.body(Body::from(body)).expect("a request")).await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
            let asked: Vec<String> = tables.asked().into_iter().map(|asked| asked.operation).collect();
            assert_eq!(asked, expected, "{method} {path}");
        }
    }
}

//! The router as an app sees it, for everything that needs no table; and what the unit tests share.

mod cloud;
mod cost;
mod forms;
mod owners;
mod stats;
mod users;
mod words;

use std::collections::HashMap;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use shared::agent_status::{AgentStatus, PbxLink, Vitals};
use shared::apikey::KeyHash;
use shared::aws::Platform;
use shared::command::Command;
use shared::ids::CommandId;
use shared::numbering::DialPrefixes;
use shared::operation::{Operation, Reach};
use shared::time::from_millis;
use tower::ServiceExt;

use crate::context::Context;
use crate::routes::router;

/// Named by its hash in `ADMIN_KEY_HASHES`, so that its check needs no table.
pub(crate) const KEY: &str = "ec_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefa77cac63";
pub(crate) const OTHER_KEY: &str = "ec_fedcba9876543210fedcba9876543210fedcba9876543210fedcba987654321026748970";
pub(crate) const CALL_ID: &str = "6f1d0b0e-3c55-5a0f-9a5e-1f3f0a6f2b11";
const OTHER_CALL_ID: &str = "6f1d0b0e-3c55-5a0f-9a5e-1f3f0a6f2b12";

/// A context whose tables and queue do not exist: whatever asks them fails at once.
pub(crate) fn context() -> Context {
    context_at("http://127.0.0.1:1")
}

/// A context whose tables are at this address.
fn context_at(endpoint: &str) -> Context {
    let hash = KeyHash::of(KEY).expect("a key");
    let vars = HashMap::from([
        ("EXCHANGE_TABLE", "exchange"),
        ("STATE_TABLE", "state"),
        ("COMMANDS_QUEUE_URLS", "http://127.0.0.1:1/commands,http://127.0.0.1:1/commands2"),
        ("DELIVERIES_QUEUE_URL", "http://127.0.0.1:1/deliveries.fifo"),
        ("LANES_QUEUE_URL", "http://127.0.0.1:1/lanes.fifo"),
        ("ADMIN_KEY_HASHES", hash.as_str()),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL", endpoint),
    ]);
    let nobody = Credentials::new("test", "test", None, None, "test");
    let platform = Platform { credentials: SharedCredentialsProvider::new(nobody), ..Platform::default() };
    Context::on(&platform, &vars).expect("a context")
}

pub(crate) fn agent(id: &str, pbx: PbxLink) -> AgentStatus {
    AgentStatus {
        agent_id: id.to_owned(),
        name: "comms-room".to_owned(),
        version: "0.1.0".to_owned(),
        pbx_id: (pbx == PbxLink::Up).then(|| "master".to_owned()),
        slot: (pbx == PbxLink::Up).then_some(1),
        pbx,
        session_since: (pbx == PbxLink::Up).then_some(1_699_999_000_000),
        started_at: 1_699_999_000_000,
        updated_at: 1_700_000_000_000,
        visible_users: 3,
        live_calls: 1,
        waiting_events: 0,
        prefixes: DialPrefixes::default(),
        running: Vec::new(),
        vitals: Vitals { os: "Debian GNU/Linux 11, x86_64".to_owned(), reconnects: 1, ..Vitals::default() },
        problem: (pbx == PbxLink::Down).then(|| "the PBX does not answer".to_owned()),
        monitored_users: None,
        placed: None,
        refusals: Vec::new(),
        expires_at: 0,
    }
}

pub(crate) fn command(operation: Operation) -> Command {
    let id: CommandId = "0b6a2f5e-8f0f-4b55-9d0c-6b7a4b1f7a55".parse().expect("an id");
    Command::queued(id, operation, "key", Reach::default(), from_millis(1_700_000_000_000))
}

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: Value,
}

async fn answer(request: Request<Body>) -> Answer {
    let router: Router = router(context());
    let response: Response<Body> = router.oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.expect("a body");
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
    assert_eq!(parts.headers["cache-control"], "no-store");
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

async fn post(path: &str, body: impl Into<Body>) -> Answer {
    let request =
        Request::post(path).header("x-api-key", KEY).header("content-type", "application/json; charset=utf-8");
    answer(request.body(body.into()).expect("a request")).await
}

async fn get(path: &str) -> Answer {
    answer(Request::get(path).header("x-api-key", KEY).body(Body::empty()).expect("a request")).await
}

fn refused(answer: &Answer, status: StatusCode, code: &str, message: &str) {
    assert_eq!(answer.status, status.as_u16(), "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/json");
    let names: Vec<_> = answer.body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(names, ["code", "commandId", "hint", "message", "retryAfter", "retryable"]);
    assert_eq!((&answer.body["code"], &answer.body["message"]), (&json!(code), &json!(message)));
}

#[tokio::test]
async fn without_a_key_nothing_is_told() {
    let request = |path: &str| Request::get(path).body(Body::empty()).expect("a request");
    let missing = answer(request("/rcc/calls?nonsense=1")).await;
    refused(&missing, StatusCode::UNAUTHORIZED, "missing_key", "No API key was given.");
    assert_eq!(missing.headers["www-authenticate"], "Bearer");
    let malformed = answer(request("/status?apikey=ec_12")).await;
    assert_eq!((malformed.status, &malformed.body["code"]), (401, &json!("invalid_key")));
    let conflict = Request::get(format!("/status?apikey={OTHER_KEY}")).header("x-api-key", KEY);
    let conflict = answer(conflict.body(Body::empty()).expect("a request")).await;
    refused(
        &conflict,
        StatusCode::BAD_REQUEST,
        "invalid_request",
        "`apikey` and `X-API-Key` carry different API keys; give one key, or the same one.",
    );
}

#[tokio::test]
async fn unknown_routes_and_methods_are_told_apart() {
    refused(&get("/rcc/nothing").await, StatusCode::NOT_FOUND, "not_found", "There is no such resource.");
    let wrong = get("/rcc/makecall").await;
    let message = "The resource does not know this HTTP method.";
    refused(&wrong, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    assert_eq!(wrong.headers["allow"], "POST");
    assert_eq!(post("/rcc/calls", "{}").await.headers["allow"], "GET,HEAD");
}

#[tokio::test]
async fn bad_bodies_are_refused_by_name() {
    let bad = async |path: &str, body: String, message: &str| {
        refused(&post(path, body).await, StatusCode::BAD_REQUEST, "invalid_request", message);
    };
    let unknown = "Field `too` is unknown; did you mean `to`? This operation takes `from`, `to`, `callerNumber`, `clir`, \
                   `ignoreForwarding`, `audio`, `remoteControl`, `device`, `requestId`.";
    bad("/rcc/makecall", r#"{"from":"42","too":"50"}"#.to_owned(), unknown).await;
    bad("/rcc/answer", "{}".to_owned(), "Field `CallId` is missing.").await;
    let expected = "Field `CallId` is a number; it takes text with a UUID.";
    bad("/rcc/disconnect", r#"{"CallId":1}"#.to_owned(), expected).await;
    let same = "Fields `CallIdA` and `CallIdB` name the same call; two are needed.";
    bad("/rcc/transfer", format!(r#"{{"CallIdA":"{CALL_ID}","CallIdB":"{CALL_ID}"}}"#), same).await;
    let one = "Give one of `CallId`, the call to pick up, and `at`, the extension where it rings or is parked.";
    bad("/rcc/pickup", r#"{"extension":"42"}"#.to_owned(), one).await;
    bad("/rcc/pickup", format!(r#"{{"extension":"42","at":"43","CallId":"{CALL_ID}"}}"#), one).await;
    let some = "Give at least one of `digits`, `keypad` and `display`.";
    bad("/rcc/info", format!(r#"{{"CallId":"{CALL_ID}"}}"#), some).await;
    let parties = "Fields `a` and `b` name the same party; two are joined.";
    bad("/rcc/connect", r#"{"via":"77","a":"50","b":50}"#.to_owned(), parties).await;
    let scopes = "Field `scopes` is empty or missing; a key needs at least one scope.";
    bad("/apikeys", r#"{"name":"crm"}"#.to_owned(), scopes).await;
    let scope = "Field `scopes` has `call`; it takes `calls:read`, `calls:write`, `webhooks`, `admin`.";
    bad("/apikeys", r#"{"name":"crm","scopes":["call"]}"#.to_owned(), scope).await;
    let past = "Field `expiresAt` is in the past; the key would never work.";
    bad("/apikeys", r#"{"name":"crm","scopes":["admin"],"expiresAt":"2020-01-01T00:00:00Z"}"#.to_owned(), past).await;
    let pattern = "Field `allow` has `32*`; a pattern is `+` and digits, with `*` for any digits and `?` for one digit, such as `+32*`.";
    bad("/apikeys", r#"{"name":"crm","scopes":["admin"],"allow":["32*"]}"#.to_owned(), pattern).await;
    let long = "The body could not be read, or has more than 65536 bytes.";
    bad("/rcc/makecall", " ".repeat(65_537), long).await;
    bad(
        "/rcc/makecall",
        "[".repeat(60_000),
        "The body is not valid JSON: recursion limit exceeded at line 1 column 128.",
    )
    .await;

    let form = Request::post("/rcc/makecall").header("x-api-key", KEY).header("content-type", "text/xml");
    let form = answer(form.body(Body::from("<a/>")).expect("a request")).await;
    let message = "Header `Content-Type` must be `application/json` or `application/x-www-form-urlencoded`.";
    refused(&form, StatusCode::BAD_REQUEST, "invalid_request", message);
}

#[tokio::test]
async fn bad_parameters_are_refused_by_name() {
    let bad = async |path: &str, message: &str| {
        refused(&get(path).await, StatusCode::BAD_REQUEST, "invalid_request", message);
    };
    bad(
        "/rcc/calls?wiat=3",
        "Query parameter `wiat` is unknown; did you mean `wait`? This operation takes `apikey`, `cursor`, `extension`, `limit`, `wait`.",
    )
    .await;
    bad("/status?wait=3", "Query parameter `wait` is unknown; this operation takes `apikey`.").await;
    bad("/rcc/calls?wait=3&wait=4", "Query parameter `wait` stands twice.").await;
    bad("/rcc/users?wait=26", "Query parameter `wait` takes a whole number from 0 to 25.").await;
    bad("/rcc/calls?extension=Caf%E9", "Query parameter `extension` is not UTF-8, in which `é` is `%C3%A9`.").await;
    bad("/rcc/calls/42", "`callId` in the path must be a UUID, as an answer gave it.").await;
    bad("/rcc/calls/%ff", "The path is not valid UTF-8.").await;
    bad("/rcc/calls?limit=201", "Query parameter `limit` takes a whole number from 1 to 200.").await;
    bad(
        "/rcc/calls?extension=%2B42",
        "Query parameter `extension` must be the extension of a user or queue (up to 32 digits, `*` and `#`), `node/extension`, a name or a guid.",
    )
    .await;
    bad(
        "/rcc/users/%2B42",
        "`extension` in the path must be the extension of a user or queue (up to 32 digits, `*` and `#`), `node/extension`, a name or a guid.",
    )
    .await;
    let order = "Query parameter `from` has to lie before `to` and before now.";
    bad("/stats?from=2024-01-02T00:00:00Z&to=2024-01-01T00:00:00Z", order).await;
    bad("/stats?from=2999-01-01T00:00:00Z", order).await;
    let long = "Between the query parameters `from` and `to` lie at most 7 days.";
    bad("/stats?from=2024-01-01T00:00:00Z&to=2024-01-08T00:00:01Z", long).await;
    bad("/audit?day=today", "Query parameter `day` takes a day in UTC, such as 2027-01-31.").await;
    let cursor = "Query parameter `cursor` takes the `nextCursor` of the page before, of the same day.";
    bad("/audit?day=2027-01-31&cursor=MjAyNy0wMS0zMA", cursor).await;
    bad("/rcc/commands/42", "`commandId` in the path must be a UUID, as an answer gave it.").await;
}

#[tokio::test]
async fn the_name_of_a_request_may_stand_in_three_places_that_agree() {
    let send = async |query: &str, header: &str, field: &str| {
        let body = format!(r#"{{"from":"x","to":"50"{field}}}"#);
        let request = Request::post(format!("/rcc/makecall{query}")).header("x-api-key", KEY);
        let request = if header.is_empty() { request } else { request.header("idempotency-key", header) };
        let from = body.replace(r#""x""#, r#""42""#);
        answer(request.body(Body::from(from)).expect("a request")).await.body["message"].clone()
    };
    let differ = "Header `Idempotency-Key` and Field `requestId` differ; give one, or the same one.";
    assert_eq!(send("", "a", r#","requestId":"b""#).await, differ);
    assert_eq!(send("", "a\tb", "").await, "Header `Idempotency-Key` takes printable ASCII.");
    let differ = "Query parameter `requestId` and Field `requestId` differ; give one, or the same one.";
    assert_eq!(send("?requestId=a", "", r#","requestId":"b""#).await, differ);
    let numbers = "Query parameter `requestId` and Field `requestId` differ; give one, or the same one.";
    assert_eq!(send("?requestId=4712", "", r#","requestId":4711"#).await, numbers);
    assert_eq!(send("?requestId=1&requestId=2", "", "").await, "Query parameter `requestId` stands twice.");
}

#[tokio::test]
async fn web_pages_may_call_when_the_operator_says_so() {
    let preflight = |origin: &str| {
        let request = Request::options("/rcc/makecall").header("origin", origin);
        request.header("access-control-request-method", "POST").body(Body::empty()).expect("a request")
    };
    let ask = async |origins: &[&str], origin: &str| {
        let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let router = router(Context { cors_origins: origins, ..context() });
        let response = router.oneshot(preflight(origin)).await.expect("an answer");
        let allowed = response.headers().get("access-control-allow-origin");
        (response.status().as_u16(), allowed.and_then(|value| value.to_str().ok()).map(str::to_owned))
    };
    let page = "https://app.example.com";
    assert_eq!(ask(&[], page).await, (405, None));
    assert_eq!(ask(&["*"], page).await, (200, Some("*".to_owned())));
    assert_eq!(ask(&[page, "https://b.example.com"], page).await, (200, Some(page.to_owned())));
    assert_eq!(ask(&["https://b.example.com"], page).await, (200, None));
}

/// Nothing was placed by then, and yet an acting command must not invite a repeat.
#[tokio::test(start_paused = true)]
async fn without_tables_acting_and_reading_fail_apart() {
    let message = "EasyConnect's cloud side cannot handle the request at the moment.";
    let body = format!(r#"{{"CallIdA":"{CALL_ID}","CallIdB":"{OTHER_CALL_ID}"}}"#);
    let acting = post("/rcc/transfer", body).await;
    refused(&acting, StatusCode::CONFLICT, "unavailable", message);
    assert_eq!(acting.body["commandId"], Value::Null);
    for path in ["/rcc/users", "/rcc/calls", &format!("/rcc/calls/{CALL_ID}"), "/status"] {
        refused(&get(path).await, StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
    }
    let path = format!("/rcc/commands/{CALL_ID}?apikey={OTHER_KEY}");
    let request = Request::get(path).body(Body::empty()).expect("a request");
    refused(&answer(request).await, StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
}

/// What API Gateway sends is what the router gets: encoded keys and ids, base64 bodies.
#[tokio::test]
async fn events_of_the_gateway_are_understood() {
    let event = |method: &str, path: &str, query: &str, body: Value| {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
            "headers": {"host": "abc.execute-api.eu-west-1.amazonaws.com", "content-type": "application/json"},
            "requestContext": {
                "accountId": "1", "apiId": "abc", "domainName": "abc.execute-api.eu-west-1.amazonaws.com",
                "domainPrefix": "abc", "requestId": "r", "routeKey": "$default", "stage": "$default",
                "time": "12/Mar/2024:19:03:58 +0000", "timeEpoch": 1710270238000_i64,
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "a"}
            },
            "isBase64Encoded": body.is_string(), "body": body
        })
    };
    let send = async |event: Value| {
        let request = crate::gateway::whole(lambda_http::request::from_str(&event.to_string()).expect("a request"));
        let response = router(context()).oneshot(request).await.expect("an answer");
        let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        serde_json::from_slice::<Value>(&bytes).expect("JSON")["message"].clone()
    };
    let encoded_key = KEY.replace('_', "%5F");
    // {"from":"42","to":"x"}
    let body = json!("eyJmcm9tIjoiNDIiLCJ0byI6IngifQ==");
    assert!(
        send(event("POST", "/rcc/makecall", &format!("apikey={encoded_key}&wait=1"), body))
            .await
            .as_str()
            .is_some_and(|message| message.starts_with("Field `to` contains `x`"))
    );
    // Decoded by the gateway, these would end the path too early and take the key along.
    for cut in ["/rcc/users/4x#", "/rcc/users/x?"] {
        let message = send(event("GET", cut, &format!("apikey={encoded_key}"), Value::Null)).await;
        assert_eq!(
            message,
            "`extension` in the path must be the extension of a user or queue (up to 32 digits, `*` and `#`), `node/extension`, a name or a guid.",
            "{cut}"
        );
    }
    // These would be dropped, and the request be one for all of them, or for something else.
    for dropped in ["\u{18}", " ", "\t", "..", ".", "x\\y", "\u{7f}"] {
        let message =
            send(event("GET", &format!("/rcc/calls/{dropped}"), &format!("apikey={encoded_key}"), Value::Null)).await;
        assert_eq!(message, "`callId` in the path must be a UUID, as an answer gave it.", "{dropped:?}");
    }
    let message = send(event("GET", "/rcc/calls/4%32", &format!("apikey={encoded_key}"), Value::Null)).await;
    assert_eq!(message, "`callId` in the path must be a UUID, as an answer gave it.");
}

#[test]
fn the_page_about_errors_has_every_code() {
    let page = include_str!("../README.md");
    for code in shared::codes::Code::ALL {
        let meaning = code.meaning();
        let retry = if meaning.retryable { "yes" } else { "no" };
        let (name, message, hint) = (code.as_str(), meaning.message, meaning.hint);
        let row = format!("| `{name}` | {} | {retry} | {message} | {hint} |", meaning.status);
        assert!(page.contains(&row), "functions/api/README.md lacks\n{row}");
    }
}

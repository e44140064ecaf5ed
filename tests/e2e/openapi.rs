//! The API's description as the deployed function serves it, and every operation in it asked at least once.

use std::io::Read;

use easyconnect_tests::api::http_client;
use easyconnect_tests::openapi::{self, Node};
use easyconnect_tests::{Answer, Stack};
use reqwest::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use serde_json::{Value, json};

async fn fetch(url: &str) -> reqwest::Response {
    http_client().get(url).send().await.expect("an answer")
}

fn header(response: &reqwest::Response, name: reqwest::header::HeaderName) -> &str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn description_is_served_without_a_key_and_names_this_stack() {
    let stack = Stack::start().await;
    let base = &stack.api.base;

    let yaml = fetch(&format!("{base}/swagger/api.yaml")).await;
    assert_eq!(header(&yaml, CONTENT_TYPE), "application/yaml; charset=utf-8");
    assert_eq!(header(&yaml, CACHE_CONTROL), "no-store");
    let yaml = Node::from_yaml(&yaml.text().await.expect("text")).expect("YAML");
    let json: Node = fetch(&format!("{base}/swagger/api.json")).await.json().await.expect("JSON");
    assert_eq!(yaml, json);
    let mut expected = openapi::source().expect("the description in the repository");
    let server = Node::object([
        ("url", Node::from(base.as_str())),
        ("description", Node::from("The stack that served this file.")),
    ]);
    expected.set("servers", Node::List(vec![server]));
    assert_eq!(names_no_address(&json, base), names_no_address(&expected, base));

    let makers: Value = fetch(&format!("{base}/swagger/makers.json")).await.json().await.expect("JSON");
    assert_eq!(makers["servers"][0]["url"], *base);
    assert!(makers["paths"]["/rcc/makecall"].is_object() && makers["paths"]["/apikeys"].is_null());

    let swagger: Value = fetch(&format!("{base}/swagger/v2.json")).await.json().await.expect("JSON");
    assert_eq!((&swagger["swagger"], &swagger["basePath"]), (&json!("2.0"), &json!("/")));
    assert_eq!(
        format!(
            "{}://{}",
            swagger["schemes"][0].as_str().expect("a scheme"),
            swagger["host"].as_str().expect("a host")
        ),
        *base
    );
}

/// Without the addresses in examples, which differ from stack to stack.
fn names_no_address(description: &Node, base: &str) -> String {
    description.to_json().replace(base, "https://easyconnect.example.com")
}

#[tokio::test(flavor = "multi_thread")]
async fn page_and_its_files_come_from_the_stack_itself() {
    let stack = Stack::start().await;
    let base = &stack.api.base;
    let console = fetch(&format!("{base}/")).await;
    assert_eq!(console.url().as_str(), format!("{base}/console/"));
    assert_eq!(header(&console, CACHE_CONTROL), "no-cache");
    assert!(header(&console, CONTENT_SECURITY_POLICY).contains("script-src 'self'"));
    let page = fetch(&format!("{base}/swagger/")).await;
    assert_eq!(header(&page, CONTENT_TYPE), "text/html; charset=utf-8");
    assert_eq!(header(&page, CACHE_CONTROL), "no-store");
    assert!(header(&page, CONTENT_SECURITY_POLICY).contains("connect-src 'self'"));
    let page = page.text().await.expect("text");
    let named: Vec<&str> = page.split('"').filter(|value| value.contains("?v=")).collect();
    assert_eq!(named.len(), 5, "{named:?}");
    for name in named {
        let url = format!("{base}/swagger/{name}");
        let plain = fetch(&url).await;
        assert_eq!(plain.status(), 200, "{name}");
        assert_eq!(header(&plain, CACHE_CONTROL), "public, max-age=3600");
        assert_eq!(header(&plain, CONTENT_ENCODING), "");
        let plain = plain.bytes().await.expect("a body");
        // The way through the gateway is a different one for bytes than for text.
        let packed = http_client().get(&url).header(ACCEPT_ENCODING, "gzip").send().await.expect("an answer");
        assert_eq!(header(&packed, CONTENT_ENCODING), "gzip");
        let packed = packed.bytes().await.expect("a body");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).expect("gzip");
        assert!(unpacked == plain, "{name}");
    }
    let without_slash = fetch(&format!("{base}/swagger")).await.text().await.expect("text");
    assert!(without_slash.contains("<base href=\"/swagger/\">"), "{without_slash}");
    stack.api.get("/swagger/nothing.js").await.refused(404, "not_found");
}

/// Every answer is held to the description by the harness; here it only counts that none is left out, and that a stack
/// without an agent tells so in the way that keeps platforms from repeating what acts.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_as_described() {
    let stack = Stack::start().await;
    let description = openapi::source().expect("the description");
    let mut asked = 0;
    for (path, item) in description.get("paths").expect("paths").entries() {
        for (method, operation) in item.entries() {
            let id = operation.get("operationId").and_then(Node::text).expect("an id");
            let answer = ask(&stack, &description, method, path, operation).await;
            asked += 1;
            match id {
                "CreateApiKey" | "CreateWebhook" => {
                    let location = format!("{}{path}/{}", stack.api.base, answer.text("id"));
                    assert_eq!((answer.status, answer.header("location")), (201, location.as_str()));
                }
                "ListApiKeys" | "GetOwnApiKey" | "GetAudit" | "GetStats" | "GetStatus" | "ListWebhooks"
                | "GetEvents" | "GetEventSample" => {
                    _ = answer.ok();
                }
                "ChangeApiKey" | "DeleteApiKey" => _ = answer.refused(404, "apikey_not_found"),
                "DeleteWebhook" => _ = answer.with_status(204),
                "GetDelivery" | "ReplayDelivery" => _ = answer.refused(404, "delivery_not_found"),
                _ if path.starts_with("/webhooks/") => _ = answer.refused(404, "webhook_not_found"),
                "GetCommand" => _ = answer.refused(404, "command_not_found"),
                "GetCallEvents" => _ = answer.refused(404, "call_not_found"),
                _ if method == "get" => _ = answer.refused(503, "agent_offline"),
                _ => _ = answer.refused(409, "agent_offline"),
            }
        }
    }
    assert!(asked >= 42, "only {asked} operations");
}

/// Sends the request that the description gives as its example.
async fn ask(stack: &Stack, description: &Node, method: &str, path: &str, operation: &Node) -> Answer {
    let mut path = path.to_owned();
    for parameter in operation.get("parameters").map_or(&[][..], Node::items) {
        let shared = parameter.get("$ref").and_then(Node::text).and_then(|reference| reference.rsplit('/').next());
        let parameter = shared.map_or(parameter, |name| {
            description.at(&["components", "parameters", name]).expect("a parameter that is referred to")
        });
        if let (Some(name), Some(value)) = (parameter.get("name").and_then(Node::text), parameter.get("example")) {
            path = path.replace(&format!("{{{name}}}"), value.text().unwrap_or_default());
        }
    }
    let body = operation.at(&["requestBody", "content", "application/json", "example"]).map(Node::to_value);
    let body = body.or_else(|| operation.get("requestBody").is_none().then(|| json!({})));
    match method {
        "get" => stack.api.get(&path).await,
        "post" => stack.api.post(&path, body.expect("an example")).await,
        "patch" => stack.api.patch(&path, body.expect("an example")).await,
        "put" => stack.api.put(&path, body.expect("an example")).await,
        "delete" => stack.api.delete(&path).await,
        other => panic!("{other} {path} is not asked"),
    }
}

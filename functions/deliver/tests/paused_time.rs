//! A batch in one process, on paused time: the clock, AWS and the receiver are the test's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use deliver::{Answer, Answering, Context, Invocation, Request, Transport};
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::aws::Platform;
use shared::clock::{BootTime, Machine};
use shared::delivery::Delivery;
use shared::envelope;
use shared::event::{CallEvent, Status};
use shared::ids::WebhookId;
use shared::random::Random;
use tokio::time::{Instant, sleep};

/// Began to run at this time, and goes on with the runtime.
#[derive(Debug)]
struct Paused(Timestamp, Instant);

impl Machine for Paused {
    fn wall(&self) -> Timestamp {
        self.0 + self.1.elapsed()
    }

    fn boot(&self) -> BootTime {
        BootTime::after(self.1.elapsed())
    }
}

/// Knows one webhook, takes half a second for each answer, and remembers what it was asked.
#[derive(Clone, Debug, Default)]
struct Cloud(Arc<Mutex<Vec<(String, Value)>>>);

impl HttpConnector for Cloud {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).expect("JSON");
        let answer = match operation.as_str() {
            "BatchGetItem" => json!({"Responses": {"state": [webhook()]}}),
            _ => json!({}),
        };
        self.0.lock().expect("not poisoned").push((operation, body));
        HttpConnectorFuture::new(async move {
            sleep(Duration::from_millis(500)).await;
            let status = StatusCode::try_from(200).expect("a status");
            Ok(HttpResponse::new(status, SdkBody::from(answer.to_string())))
        })
    }
}

const WEBHOOK: &str = "9f0c1a52-6f0b-4a53-8a3e-0d5b0f5a7001";

fn webhook() -> Value {
    json!({
        "pk": {"S": "WEBHOOK"},
        "sk": {"S": WEBHOOK},
        "id": {"S": WEBHOOK},
        "secret": {"S": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},
        "url": {"S": "https://example.com/hook"},
    })
}

/// Takes three seconds to answer.
#[derive(Debug, Default)]
struct Slow(Mutex<Vec<(Request, Timestamp)>>);

impl Transport for Slow {
    fn send(&self, request: Request, at: Timestamp) -> Answering<'_> {
        self.0.lock().expect("not poisoned").push((request, at));
        Box::pin(async {
            sleep(Duration::from_secs(3)).await;
            Ok(Answer { status: 200, retry_after: None, text: "thank you".to_owned() })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_on_paused_time() {
    let really = std::time::Instant::now();
    let start: Timestamp = "2026-11-27T09:30:00Z".parse().expect("a time");
    let (cloud, receiver) = (Cloud::default(), Arc::new(Slow::default()));
    let connector = SharedHttpConnector::new(cloud.clone());
    let nobody = Credentials::new("test", "test", None, None, "test");
    let platform = Platform {
        machine: Arc::new(Paused(start, Instant::now())),
        http_client: http_client_fn(move |_, _| connector.clone()),
        credentials: SharedCredentialsProvider::new(nobody),
        random: Random::new(|bytes| bytes.fill(7)),
        ..Platform::default()
    };
    let vars = HashMap::from([
        ("STATE_TABLE", "state"),
        ("EXCHANGE_TABLE", "exchange"),
        ("DELIVERIES_QUEUE_URL", "http://queue"),
        ("DELIVERIES_DLQ_URL", "http://dlq"),
        ("LANES_QUEUE_URL", "http://lanes"),
        ("AWS_REGION", "eu-west-1"),
    ]);
    let context = Context::on(&platform, receiver.clone(), &vars).expect("a context");

    let call = "1ea84350-ef40-49c4-a3cd-b1d59c821b47".parse().expect("an id");
    let event = CallEvent::example(call, Status::Ringing, start);
    let delivery = Delivery::of_call(event, WEBHOOK.parse::<WebhookId>().expect("an id"));
    let record = json!({
        "messageId": "m",
        "receiptHandle": "r",
        "body": envelope::seal(&delivery).expect("JSON"),
        "attributes": {"MessageGroupId": delivery.group(), "SentTimestamp": start.as_millisecond().to_string()},
        "messageAttributes": {},
    });
    let batch: Invocation = serde_json::from_value(json!({"Records": [record]})).expect("a batch");
    let response = deliver::handle(&context, batch, start + Duration::from_secs(15)).await;

    assert_eq!(response.batch_item_failures.len(), 0);
    let sent = receiver.0.lock().expect("not poisoned");
    let [(request, at)] = sent.as_slice() else { panic!("{} requests were sent", sent.len()) };
    assert_eq!((request.url.as_str(), *at), ("https://example.com/hook", start + Duration::from_millis(500)));
    assert!(request.headers.contains_key("webhook-signature"));
    let asked = cloud.0.lock().expect("not poisoned");
    let operations: Vec<&str> = asked.iter().map(|(operation, _)| operation.as_str()).collect();
    assert_eq!(operations, ["BatchGetItem", "PutItem", "UpdateItem"]);
    let log = &asked[1].1["Item"];
    assert_eq!((&log["state"]["S"], &log["updatedAt"]["S"]), (&json!("delivered"), &json!("2026-11-27T09:30:03.5Z")));
    assert_eq!(log["attempts"]["L"][0]["M"]["durationMs"]["N"], "3000");
    assert!(really.elapsed() < Duration::from_secs(2), "it waited for real");
}

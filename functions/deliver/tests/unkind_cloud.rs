//! Batches in a cloud where writes conflict, messages are handed out again and outages last for hours, on paused time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_lambda_events::sqs::SqsBatchResponse;
use cloud_sim::{Cloud, Faults};
use deliver::{Answer, Answering, Call, Context, Request, Transport};
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::aws::{self, Platform};
use shared::clock::{BootTime, Machine};
use shared::delivery::{Delivery, DeliveryState, Drain};
use shared::envelope;
use shared::event::{CallEvent, Status};
use shared::ids::{CallId, WebhookId};
use shared::tables::{Change, StateTable};
use shared::webhook::{Secret, Settings, Webhook};
use tokio::time::{Instant, sleep};

const QUEUE: &str = "deliveries.fifo";
const VISIBILITY: Duration = Duration::from_secs(30);

/// Began with the cloud, and goes on with the runtime.
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

/// Accepts everything at once.
#[derive(Debug, Default)]
struct Accepts(Mutex<usize>);

impl Transport for Accepts {
    fn send(&self, _request: Request, _at: Timestamp) -> Answering<'_> {
        *self.0.lock().expect("no panic") += 1;
        Box::pin(async { Ok(Answer { status: 200, retry_after: None, text: String::new() }) })
    }
}

struct World {
    cloud: Cloud,
    queue_url: String,
    receiver: Arc<Accepts>,
    context: Context,
    /// Beside the function.
    state: StateTable,
}

impl World {
    /// With one webhook.
    async fn new(seed: u64) -> Self {
        fastrand::seed(seed);
        let cloud = Cloud::builder().seed(seed).build();
        cloud.make_table("state");
        cloud.make_table("exchange");
        let queue_url = cloud.make_fifo(QUEUE, &[("VisibilityTimeout", "30")]);
        let dlq_url = cloud.make_fifo("dlq.fifo", &[]);
        let nobody = Credentials::new("test", "test", None, None, "test");
        let platform = Platform {
            machine: Arc::new(Paused(cloud.now(), Instant::now())),
            http_client: cloud.process("deliver").http_client(),
            credentials: SharedCredentialsProvider::new(nobody),
            ..Platform::default()
        };
        let vars = HashMap::from([
            ("STATE_TABLE", "state"),
            ("EXCHANGE_TABLE", "exchange"),
            ("DELIVERIES_QUEUE_URL", queue_url.as_str()),
            ("DELIVERIES_DLQ_URL", dlq_url.as_str()),
            ("AWS_REGION", "eu-central-1"),
        ]);
        let receiver = Arc::new(Accepts::default());
        let context = Context::on(&platform, receiver.clone(), &vars).expect("a context");
        let config = aws::function_config(&vars, &platform);
        let state = StateTable::new(aws::dynamodb(&config, &platform.clock()), "state".to_owned());
        let settings = Settings::new("https://example.com/hook".to_owned());
        let secret = Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        state.put_webhook(&Webhook::new(webhook(), settings, secret, cloud.now())).await.expect("a webhook");
        Self { cloud, queue_url, receiver, context, state }
    }

    fn send(&self, delivery: &Delivery) {
        let message = json!({
            "QueueUrl": self.queue_url,
            "MessageBody": envelope::seal(delivery).expect("JSON"),
            "MessageGroupId": delivery.group(),
            "MessageDeduplicationId": delivery.dedup(),
        });
        self.cloud.ask("AmazonSQS.SendMessage", &message);
    }

    /// Records as a function is given them.
    fn receive(&self) -> Vec<Value> {
        let wanted = json!({"QueueUrl": self.queue_url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"]});
        let received = self.cloud.ask("AmazonSQS.ReceiveMessage", &wanted);
        let record = |message: &Value| {
            json!({
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "eventSourceARN": format!("arn:aws:sqs:eu-central-1:000000000000:{QUEUE}"),
            })
        };
        received["Messages"].as_array().map(|messages| messages.iter().map(record).collect()).unwrap_or_default()
    }

    async fn handle(&self, records: &[Value]) -> SqsBatchResponse {
        let call: Call = serde_json::from_value(json!({"Records": records})).expect("a batch");
        deliver::handle(&self.context, call, self.cloud.now() + Duration::from_secs(15)).await
    }

    fn sent(&self) -> usize {
        *self.receiver.0.lock().expect("no panic")
    }

    fn asked(&self, operation: &str) -> usize {
        self.cloud.log().iter().filter(|entry| entry.operation == operation).count()
    }
}

fn webhook() -> WebhookId {
    "9f0c1a52-6f0b-4a53-8a3e-0d5b0f5a7001".parse().expect("an id")
}

fn delivery(n: u8, status: Status, at: Timestamp) -> Delivery {
    let call: CallId = format!("1ea84350-ef40-49c4-a3cd-b1d59c821b{n:02x}").parse().expect("an id");
    Delivery::of_call(CallEvent::example(call, status, at), webhook())
}

#[tokio::test(start_paused = true)]
async fn a_log_that_meets_a_transaction_is_written_and_nothing_is_sent_twice() {
    let world = World::new(1).await;
    let delivery = delivery(1, Status::Ringing, world.cloud.now());
    world.send(&delivery);
    let records = world.receive();
    world.cloud.set_faults(Faults { conflicts: 1.0, ..Faults::none() });
    let kinder = async {
        sleep(Duration::from_millis(150)).await;
        world.cloud.set_faults(Faults::none());
    };
    let (response, ()) = tokio::join!(world.handle(&records), kinder);
    assert_eq!((response.batch_item_failures.len(), world.sent()), (0, 1));
    let log = world.state.delivery_log(&delivery.log_key()).await.expect("read").expect("there");
    assert_eq!(log.state, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_has_just_come_costs_no_request_more() {
    let world = World::new(2).await;
    world.send(&delivery(1, Status::Ringing, world.cloud.now()));
    world.handle(&world.receive()).await;
    assert_eq!((world.sent(), world.asked("SQS.ChangeMessageVisibilityBatch")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_out_again_is_left_to_its_receiver() {
    let world = World::new(3).await;
    world.send(&delivery(1, Status::Disconnected, world.cloud.now()));
    let late = world.receive();
    sleep(VISIBILITY).await;
    let other = world.receive();
    let response = world.handle(&late).await;
    assert_eq!((response.batch_item_failures.len(), world.sent()), (1, 0));
    // It is still the other's.
    assert_eq!(world.cloud.depth(QUEUE), (0, 1, 0));
    let response = world.handle(&other).await;
    assert_eq!((response.batch_item_failures.len(), world.sent()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_has_waited_for_the_function_is_held_for_as_long_as_a_new_one() {
    let world = World::new(4).await;
    world.send(&delivery(1, Status::Disconnected, world.cloud.now()));
    let records = world.receive();
    sleep(VISIBILITY - Duration::from_secs(1)).await;
    world.handle(&records).await;
    // Nobody has deleted it.
    sleep(VISIBILITY - Duration::from_secs(1)).await;
    assert_eq!((world.sent(), world.receive().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn after_hours_of_an_outage_a_record_comes_more_rarely() {
    let world = World::new(5).await;
    world.send(&delivery(1, Status::Disconnected, world.cloud.now()));
    sleep(Duration::from_secs(10 * 3600)).await;
    let mut records = world.receive();
    records[0]["attributes"]["ApproximateReceiveCount"] = json!("200");
    // The queue goes on working.
    world.cloud.set_faults(Faults { throttled_items: 1.0, ..Faults::none() });
    let response = world.handle(&records).await;
    assert_eq!((response.batch_item_failures.len(), world.sent()), (1, 0));
    sleep(Duration::from_secs(20 * 60)).await;
    assert_eq!(world.receive().len(), 0);
    sleep(Duration::from_secs(20 * 60)).await;
    assert_eq!(world.receive().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn long_deliveries_are_taken_out_of_the_park() {
    let world = World::new(6).await;
    let now = world.cloud.now();
    world.state.change_state(webhook(), &Change::Fail { reason: "r" }, now).await.expect("changed");
    for n in 0..10 {
        let mut delivery = delivery(n, Status::Disconnected, now);
        if let shared::delivery::Payload::Call(event) = &mut delivery.payload {
            event.web_hook_event.from_name = "x".repeat(120_000);
        }
        let log = delivery.closed(None, DeliveryState::Parked, now);
        world.state.park(&delivery, &log).await.expect("parked");
    }
    let draining = world.state.change_state(webhook(), &Change::Drain { by_hand: true }, now).await.expect("changed");
    let since = draining.and_then(|webhook| webhook.health.state_since).expect("it drains");
    let drain = Drain { drain: webhook(), since };
    let record = json!({
        "messageId": "m",
        "receiptHandle": "r",
        "body": envelope::seal(&drain).expect("JSON"),
        "attributes": {
            "MessageGroupId": drain.group(),
            "SentTimestamp": now.as_millisecond().to_string(),
            "ApproximateReceiveCount": "1",
        },
        "messageAttributes": {},
    });
    world.handle(&[record]).await;
    assert_eq!(world.cloud.depth(QUEUE), (10, 0, 0));
    let webhook = world.state.webhook(webhook()).await.expect("read").expect("there");
    assert_eq!(webhook.health.parked, 0);
}

//! Batches in a cloud where writes conflict, messages are handed out again and outages last for hours, on paused time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_lambda_events::sqs::SqsBatchResponse;
use cloud_sim::{Cloud, Faults};
use deliver::{Answer, Answering, Context, Invocation, Request, Transport};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::aws::{self, Platform};
use shared::clock::{BootTime, Machine};
use shared::delivery::{Delivery, DeliveryState, Drain, LaneCall};
use shared::envelope;
use shared::event::{CallEvent, Status};
use shared::ids::{CallId, WebhookId};
use shared::tables::{Change, StateTable};
use shared::webhook::{Lane, Secret, Settings, Webhook, WebhookState};
use tokio::time::{Instant, sleep};

const QUEUE: &str = "deliveries.fifo";
const LANES: &str = "lanes.fifo";
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
    lanes_url: String,
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
        let lanes_url = cloud.make_fifo(LANES, &[("VisibilityTimeout", "30")]);
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
            ("LANES_QUEUE_URL", lanes_url.as_str()),
            ("AWS_REGION", "eu-central-1"),
        ]);
        let receiver = Arc::new(Accepts::default());
        let context = Context::on(&platform, receiver.clone(), &vars).expect("a context");
        let config = aws::function_config(&vars, &platform);
        let state = StateTable::new(aws::dynamodb(&config, &platform.clock()), "state".to_owned());
        let settings = Settings::new("https://example.com/hook".to_owned());
        let secret = Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        state.put_webhook(&Webhook::new(webhook(), settings, secret, cloud.now())).await.expect("a webhook");
        Self { cloud, queue_url, lanes_url, receiver, context, state }
    }

    fn send(&self, delivery: &Delivery) {
        let body = envelope::seal(delivery).expect("JSON");
        self.cloud.send_fifo(&self.queue_url, &delivery.group(), &delivery.dedup(), &body);
    }

    fn receive(&self) -> Vec<Value> {
        self.cloud.receive_records(&self.queue_url)
    }

    /// The call of a worker, as the function is given it.
    fn call(&self) -> Vec<Value> {
        let message = LaneCall { lane: webhook() }.message("1");
        self.cloud.send_fifo(&self.lanes_url, &message.group, &message.dedup, &message.body);
        self.cloud.receive_records(&self.lanes_url)
    }

    async fn handle(&self, records: &[Value]) -> SqsBatchResponse {
        let call: Invocation = serde_json::from_value(json!({"Records": records})).expect("a batch");
        deliver::handle(&self.context, call, self.cloud.now() + Duration::from_secs(15)).await
    }

    async fn tick(&self) {
        let call: Invocation = serde_json::from_value(json!({"source": "aws.events"})).expect("a call");
        deliver::handle(&self.context, call, self.cloud.now() + Duration::from_secs(15)).await;
    }

    fn sent(&self) -> usize {
        *self.receiver.0.lock().expect("no panic")
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
    assert_eq!((world.sent(), world.cloud.requests("SQS.ChangeMessageVisibilityBatch")), (1, 0));
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
async fn long_deliveries_of_an_older_version_are_sent_from_the_park() {
    let world = World::new(6).await;
    let now = world.cloud.now();
    world.state.change_state(webhook(), &Change::Fail { reason: "r" }, now).await.expect("changed");
    for n in 0..10 {
        let mut delivery = delivery(n, Status::Disconnected, now);
        if let shared::delivery::Payload::Call(event) = &mut delivery.payload {
            event.web_hook_event.from_name = "x".repeat(120_000);
        }
        world.state.park(&delivery, "somebody").await.expect("parked");
    }
    let response = world.handle(&world.call()).await;
    assert_eq!((response.batch_item_failures.len(), world.sent()), (0, 10));
    assert_eq!(world.state.parked_count(webhook(), 100).await.expect("counted"), 0);
    let webhook = world.state.webhook(webhook()).await.expect("read").expect("there");
    assert_eq!((webhook.lane(), webhook.health.state), (Lane::Shared, WebhookState::Active));
    assert_eq!(webhook.health.pending_notices.len(), 0, "nobody else is to be told of it");
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_its_webhooks_own_is_parked_into_and_its_worker_is_called() {
    let world = World::new(7).await;
    let now = world.cloud.now();
    world.state.change_state(webhook(), &Change::Fail { reason: "r" }, now).await.expect("changed");
    let delivery = delivery(1, Status::Disconnected, now);
    world.send(&delivery);
    let response = world.handle(&world.receive()).await;
    assert_eq!((response.batch_item_failures.len(), world.sent()), (0, 0));
    assert_eq!(world.state.parked_count(webhook(), 100).await.expect("counted"), 1);
    let log = world.state.delivery_log(&delivery.log_key()).await.expect("read").expect("there");
    assert_eq!(log.state, DeliveryState::Parked);
    assert_eq!(world.cloud.depth(LANES).0, 1);
}

/// What was parked before there were lanes went back through the queue, by this message.
#[tokio::test(start_paused = true)]
async fn a_message_that_drains_calls_the_worker() {
    let world = World::new(8).await;
    let drain = Drain { drain: webhook(), since: 7 };
    world.cloud.send_fifo(&world.queue_url, "drain", "drain", &envelope::seal(&drain).expect("JSON"));
    let response = world.handle(&world.receive()).await;
    assert_eq!((response.batch_item_failures.len(), world.cloud.depth(LANES).0), (0, 1));
}

/// Fifty lanes whose workers should have come, and five thousand deliveries that are stale.
#[tokio::test(start_paused = true)]
async fn a_minutes_look_ends_in_a_second() {
    let world = World::new(9).await;
    let long_ago = world.cloud.now() - SignedDuration::from_hours(1);
    for n in 0..50u8 {
        let id: WebhookId = format!("9f0c1a52-6f0b-4a53-8a3e-0d5b0f5a8{n:03x}").parse().expect("an id");
        let settings = Settings::new("https://example.com/hook".to_owned());
        let mut webhook = Webhook::new(id, settings, Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), long_ago);
        webhook.health.lane = Some(Lane::Own);
        webhook.health.lookout.next_look_at = Some(long_ago.as_millisecond());
        world.state.put_webhook(&webhook).await.expect("a webhook");
        for call in 0..100 {
            let stale = Delivery { webhook_id: id, ..delivery(call, Status::Ringing, long_ago) };
            world.state.park(&stale, "somebody").await.expect("parked");
        }
    }
    world.cloud.set_faults(Faults::latency_only());
    let begun = Instant::now();
    world.tick().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(world.cloud.depth(LANES).0, 50);
}

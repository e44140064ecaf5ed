//! Batches in a cloud where messages are handed out again and outages last for hours, on paused time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_lambda_events::sqs::SqsBatchResponse;
use cloud_sim::{Cloud, Faults};
use fanout::{Context, Invocation};
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::aws::{self, Platform};
use shared::clock::{BootTime, Machine};
use shared::event::{CallEvent, Status, message};
use shared::ids::CallId;
use shared::tables::StateTable;
use shared::webhook::{Secret, Settings, Webhook};
use tokio::time::{Instant, sleep};

const EVENTS: &str = "events.fifo";
const DELIVERIES: &str = "deliveries.fifo";
const VISIBILITY: Duration = Duration::from_secs(20);

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

struct World {
    cloud: Cloud,
    events_url: String,
    context: Context,
}

impl World {
    /// With one webhook.
    async fn new(seed: u64) -> Self {
        fastrand::seed(seed);
        let cloud = Cloud::builder().seed(seed).build();
        cloud.make_table("state");
        let events_url = cloud.make_fifo(EVENTS, &[("VisibilityTimeout", "20")]);
        let (dlq_url, deliveries_url) = (cloud.make_fifo("dlq.fifo", &[]), cloud.make_fifo(DELIVERIES, &[]));
        let nobody = Credentials::new("test", "test", None, None, "test");
        let platform = Platform {
            machine: Arc::new(Paused(cloud.now(), Instant::now())),
            http_client: cloud.process("fanout").http_client(),
            credentials: SharedCredentialsProvider::new(nobody),
            ..Platform::default()
        };
        let vars = HashMap::from([
            ("STATE_TABLE", "state"),
            ("EVENTS_QUEUE_URL", events_url.as_str()),
            ("EVENTS_DLQ_URL", dlq_url.as_str()),
            ("DELIVERIES_QUEUE_URL", deliveries_url.as_str()),
            ("AWS_REGION", "eu-central-1"),
        ]);
        let context = Context::on(&platform, &vars).expect("a context");
        let config = aws::function_config(&vars, &platform);
        let state = StateTable::new(aws::dynamodb(&config, &platform.clock()), "state".to_owned());
        let id = "9f0c1a52-6f0b-4a53-8a3e-0d5b0f5a7001".parse().expect("an id");
        let settings = Settings::new("https://example.com/hook".to_owned());
        let secret = Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        state.put_webhook(&Webhook::new(id, settings, secret, cloud.now())).await.expect("a webhook");
        Self { cloud, events_url, context }
    }

    fn send(&self, call: u8, status: Status) {
        let call: CallId = format!("1ea84350-ef40-49c4-a3cd-b1d59c821b{call:02x}").parse().expect("an id");
        let event = CallEvent::example(call, status, self.cloud.now());
        let body = message::seal(&event).expect("JSON");
        self.cloud.send_fifo(&self.events_url, &call.to_string(), &event.event_id.to_string(), &body);
    }

    fn receive(&self) -> Vec<Value> {
        self.cloud.receive_records(&self.events_url)
    }

    async fn handle(&self, records: &[Value]) -> SqsBatchResponse {
        let invocation: Invocation = serde_json::from_value(json!({"Records": records})).expect("a batch");
        fanout::handle(&self.context, invocation).await
    }

    fn deliveries(&self) -> usize {
        self.cloud.bodies(DELIVERIES).len()
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_has_just_come_costs_no_request_more() {
    let world = World::new(1).await;
    world.send(1, Status::Ringing);
    world.send(2, Status::Ringing);
    let response = world.handle(&world.receive()).await;
    assert_eq!((response.batch_item_failures.len(), world.deliveries()), (0, 2));
    assert_eq!(world.cloud.requests("SQS.ChangeMessageVisibilityBatch"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_out_again_is_left_to_its_receiver() {
    let world = World::new(2).await;
    world.send(1, Status::Ringing);
    world.send(1, Status::Connected);
    let late = world.receive();
    sleep(VISIBILITY).await;
    let other = world.receive();
    assert_eq!((late.len(), other.len()), (2, 2));
    let response = world.handle(&late).await;
    assert_eq!((response.batch_item_failures.len(), world.deliveries()), (2, 0));
    // They are still the other's.
    assert_eq!(world.cloud.depth(EVENTS), (0, 2, 0));
    let response = world.handle(&other).await;
    assert_eq!((response.batch_item_failures.len(), world.deliveries()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_batch_goes_back_when_the_queue_does_not_say_whose_it_is() {
    let world = World::new(3).await;
    world.send(1, Status::Ringing);
    let records = world.receive();
    sleep(Duration::from_secs(10)).await;
    world.cloud.set_faults(Faults { partial_batches: 1.0, ..Faults::none() });
    let response = world.handle(&records).await;
    assert_eq!((response.batch_item_failures.len(), world.deliveries()), (1, 0));
    world.cloud.set_faults(Faults::none());
    sleep(VISIBILITY).await;
    let response = world.handle(&world.receive()).await;
    assert_eq!((response.batch_item_failures.len(), world.deliveries()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_has_waited_for_the_function_is_held_for_as_long_as_a_new_one() {
    let world = World::new(4).await;
    world.send(1, Status::Ringing);
    let records = world.receive();
    sleep(VISIBILITY - Duration::from_secs(1)).await;
    world.handle(&records).await;
    // Nobody has deleted it.
    sleep(VISIBILITY - Duration::from_secs(1)).await;
    assert_eq!((world.deliveries(), world.receive().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn after_hours_of_an_outage_a_record_comes_more_rarely() {
    let world = World::new(5).await;
    world.send(1, Status::Disconnected);
    sleep(Duration::from_secs(10 * 3600)).await;
    let mut records = world.receive();
    records[0]["attributes"]["ApproximateReceiveCount"] = json!("200");
    // The queues go on working.
    world.cloud.set_faults(Faults { throttled_items: 1.0, ..Faults::none() });
    let response = world.handle(&records).await;
    assert_eq!((response.batch_item_failures.len(), world.deliveries()), (1, 0));
    sleep(Duration::from_secs(20 * 60)).await;
    assert_eq!(world.receive().len(), 0);
    sleep(Duration::from_secs(20 * 60)).await;
    assert_eq!(world.receive().len(), 1);
}

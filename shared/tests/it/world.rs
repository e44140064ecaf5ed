//! A cloud with the two tables and a queue, and what a function sees of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use cloud_sim::{Cloud, Faults};
use jiff::Timestamp;
use shared::aws::{self, Platform};
use shared::clock::{BootTime, Machine};
use shared::delivery::{Delivery, DeliveryLog, DeliveryState};
use shared::event::{CallEvent, Status};
use shared::ids::{CallId, WebhookId};
use shared::queue::Queue;
use shared::tables::{Exchange, StateTable, TableError};
use shared::webhook::{Secret, Settings, Webhook};
use tokio::time::{Instant, sleep};

/// Begins with the cloud, and goes on with the runtime.
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

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cloud: Cloud,
    pub(crate) state: StateTable,
    pub(crate) exchange: Exchange,
    pub(crate) queue: Queue,
    pub(crate) queue_url: String,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::on(seed, |platform| platform)
    }

    /// On a platform of which something is replaced.
    pub(crate) fn on(seed: u64, replace: impl FnOnce(Platform) -> Platform) -> Self {
        // What the SDK draws its pauses from.
        fastrand::seed(seed);
        let cloud = Cloud::builder().seed(seed).build();
        for table in ["state", "exchange"] {
            cloud.make_table(table);
        }
        let url = cloud.make_fifo("deliveries.fifo", &[]);
        let platform = replace(platform(&cloud));
        let config = aws::function_config(&HashMap::from([("AWS_REGION", "eu-central-1")]), &platform);
        let clock = platform.clock();
        let tables = aws::dynamodb(&config, &clock);
        Self {
            cloud,
            state: StateTable::new(tables.clone(), "state".to_owned()),
            exchange: Exchange::new(tables, "exchange".to_owned()),
            queue: Queue::new(aws::sqs(&config, &clock), url.clone()),
            queue_url: url,
        }
    }

    pub(crate) async fn write_log(&self, delivery: &Delivery, log: &DeliveryLog) -> Result<(), TableError> {
        self.state.put_delivery_logs(vec![self.state.log_item(&delivery.log_key(), log)?]).await
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cloud.now()
    }

    /// These things go wrong for a while, and then nothing any more.
    pub(crate) fn suffer(&self, faults: Faults, span: Duration) {
        self.cloud.set_faults(faults);
        let cloud = self.cloud.clone();
        tokio::spawn(async move {
            sleep(span).await;
            cloud.set_faults(Faults::none());
        });
    }
}

/// What a function stands on, in this cloud.
fn platform(cloud: &Cloud) -> Platform {
    let nobody = Credentials::new("test", "test", None, None, "test");
    Platform {
        machine: Arc::new(Paused(cloud.now(), Instant::now())),
        http_client: cloud.process("function").http_client(),
        credentials: SharedCredentialsProvider::new(nobody),
        ..Platform::default()
    }
}

pub(crate) fn webhook_id(n: u128) -> WebhookId {
    WebhookId::from_uuid(uuid::Uuid::from_u128(n))
}

pub(crate) fn webhook(n: u128, now: Timestamp) -> Webhook {
    let settings = Settings::new("https://example.com/hook".to_owned());
    Webhook::new(webhook_id(n), settings, Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), now)
}

pub(crate) fn call_id(n: u128) -> CallId {
    CallId::from_uuid(uuid::Uuid::from_u128(n))
}

pub(crate) fn delivery(call: u128, to: WebhookId, now: Timestamp) -> Delivery {
    Delivery::of_call(CallEvent::example(call_id(call), Status::Ringing, now), to)
}

pub(crate) fn parked_log(delivery: &Delivery, now: Timestamp) -> DeliveryLog {
    delivery.closed(None, DeliveryState::Parked, now)
}

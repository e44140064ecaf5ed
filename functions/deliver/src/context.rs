//! What an environment builds once: the clients and the rules.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use shared::aws::{self, Platform};
use shared::clock::CloudClock;
use shared::config::{ConfigError, Vars};
use shared::delivery::{Delivery, DeliveryState, LaneCall};
use shared::ids::WebhookId;
use shared::metrics::Metrics;
use shared::queue::{FifoRecord, Queue, Taken};
use shared::random::Random;
use shared::tables::{Exchange, StateTable};
use shared::time::from_millis;
use tracing::warn;

use crate::boundary::Boundary;
use crate::client::Webhooks;
use crate::cloud_error::CloudError;
use crate::freshness::Freshness;
use crate::logbook::Logbook;
use crate::receiver::{Limits, Outcome, Transport};
use crate::slow::Slowness;

/// The longest wait after a failure of ours in everyday; an outage may last longer, see [`FifoRecord::backoff`].
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Context {
    pub(crate) state: StateTable,
    pub(crate) deliveries: Queue,
    pub(crate) deliveries_dlq: Queue,
    /// Calls of the workers of webhooks' own lanes.
    pub(crate) lanes: Queue,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) boundary: Arc<Boundary>,
    pub(crate) limits: Limits,
    pub(crate) freshness: Freshness,
    pub(crate) exchange: Exchange,
    /// How long a delivery may be tried in the lane that webhooks share.
    pub(crate) fast_lane: Duration,
    /// How long a webhook is tried in vain before it is called failing.
    pub(crate) failing_after: Duration,
    pub(crate) slowness: Slowness,
    pub(crate) logbook: Logbook,
    pub(crate) random: Random,
    clock: CloudClock,
    stack: String,
    /// The figures of the present invocation; emptied by `emit`.
    metrics: Mutex<Metrics>,
}

impl Context {
    pub fn from_vars(vars: &impl Vars) -> Result<Self, ConfigError> {
        Self::build(&Platform::default(), None, vars)
    }

    /// The same on another platform than Lambda, with receivers of its own.
    pub fn on(platform: &Platform, transport: Arc<dyn Transport>, vars: &impl Vars) -> Result<Self, ConfigError> {
        Self::build(platform, Some(transport), vars)
    }

    fn build(
        platform: &Platform,
        transport: Option<Arc<dyn Transport>>,
        vars: &impl Vars,
    ) -> Result<Self, ConfigError> {
        let deliveries = vars.required("DELIVERIES_QUEUE_URL")?;
        let deliveries_dlq = vars.required("DELIVERIES_DLQ_URL")?;
        let boundary = Arc::new(Boundary {
            allowed: vars.list("WEBHOOK_ALLOWED_CIDRS")?,
            http: vars.parsed("WEBHOOK_ALLOW_HTTP", false)?,
        });
        let freshness = Freshness::from_vars(vars)?;
        let exchange_table = vars.required("EXCHANGE_TABLE")?;
        let lanes = vars.required("LANES_QUEUE_URL")?;
        let seconds = |name, default: u64| Ok(Duration::from_secs(vars.parsed(name, default)?));
        let (fast_lane, failing_after) = (seconds("FAST_LANE_SECONDS", 30)?, seconds("FAILING_AFTER_SECONDS", 900)?);
        let limits = Limits::default();
        let config = aws::function_config(vars, platform);
        let clock = platform.clock();
        let (sqs, tables) = (aws::sqs(&config, &clock), aws::dynamodb(&config, &clock));
        let state = StateTable::from_vars(tables.clone(), vars)?;
        Ok(Self {
            exchange: Exchange::new(tables, exchange_table),
            logbook: Logbook::new(state.clone()),
            state,
            deliveries: Queue::new(sqs.clone(), deliveries),
            deliveries_dlq: Queue::new(sqs.clone(), deliveries_dlq),
            lanes: Queue::new(sqs, lanes),
            transport: transport.unwrap_or_else(|| Arc::new(Webhooks::new(&boundary, limits))),
            boundary,
            limits,
            freshness,
            fast_lane,
            failing_after,
            slowness: Slowness::default(),
            random: platform.random.clone(),
            clock,
            stack: vars.get("STACK_NAME").unwrap_or_default(),
            metrics: Mutex::default(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// The wait of a record after a failure of ours.
    pub(crate) fn pause(&self, record: &FifoRecord, now: Timestamp) -> Duration {
        record.backoff(now, LONGEST_WAIT, self.random.jitter())
    }

    /// Calls the worker of a webhook's own lane.
    pub(crate) async fn call(&self, id: WebhookId) -> Result<(), CloudError> {
        let unique = self.random.uuid().simple().to_string();
        let taken = self.lanes.send_fifo(&[LaneCall { lane: id }.message(&unique)]).await?;
        if taken.iter().all(Taken::is_yes) { Ok(()) } else { Err(CloudError::NotTaken) }
    }

    /// The same where the tick makes up for it. Returns whether it was called.
    pub(crate) async fn try_to_call(&self, id: WebhookId) -> bool {
        let called = self.call(id).await;
        if let Err(error) = &called {
            warn!(cause = %error, webhook.id = %id, "The worker of a lane is not called yet");
        }
        called.is_ok()
    }

    pub(crate) fn count(&self, state: DeliveryState) {
        let name = match state {
            DeliveryState::Delivered => "Delivered",
            DeliveryState::Expired => "Expired",
            DeliveryState::Parked => "Parked",
            DeliveryState::Failed => "Failed",
            DeliveryState::Cancelled => "Cancelled",
            DeliveryState::Retrying => "Retries",
        };
        self.metrics().count(name, 1);
    }

    /// What an attempt adds to the figures: what became of it and, if the event was accepted, how long its way was and where the
    /// time went.
    pub(crate) fn measure(&self, delivery: &Delivery, outcome: &Outcome, state: DeliveryState, now: Timestamp) {
        // Parking counts by itself, when it was done.
        if state != DeliveryState::Parked {
            self.count(state);
        }
        if state == DeliveryState::Delivered && delivery.round == 0 {
            let (queued, fanned_out) = (delivery.queued_at.map(from_millis), delivery.fanned_out_at.map(from_millis));
            let mut metrics = self.metrics();
            metrics.span("LatencyTotal", Some(delivery.payload.occurred_at()), now);
            if let Some(queued) = queued {
                metrics.detail("LatencyAgent", Some(delivery.payload.occurred_at()), queued);
            }
            if let Some(fanned_out) = fanned_out {
                metrics.detail("LatencyFanout", queued, fanned_out);
            }
            metrics.detail("LatencyDeliver", fanned_out, outcome.at);
            metrics.detail("LatencyReceiver", Some(outcome.at), now);
        }
    }

    /// Writes the figures of this invocation to the log.
    pub(crate) fn emit(&self, now: Timestamp) {
        std::mem::take(&mut *self.metrics()).emit(&self.stack, now);
    }

    pub(crate) fn metrics(&self) -> MutexGuard<'_, Metrics> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn variables_become_rules() {
        let mut vars = HashMap::from([
            ("STATE_TABLE", "state"),
            ("EXCHANGE_TABLE", "exchange"),
            ("DELIVERIES_QUEUE_URL", "http://queue"),
            ("DELIVERIES_DLQ_URL", "http://dlq"),
            ("LANES_QUEUE_URL", "http://lanes"),
            ("WEBHOOK_ALLOWED_CIDRS", "127.0.0.1/32, fd00::/8"),
            ("WEBHOOK_ALLOW_HTTP", "true"),
        ]);
        let context = Context::from_vars(&vars).expect("a context");
        assert!(context.boundary.http);
        assert_eq!(context.boundary.allowed.len(), 2);

        vars.insert("WEBHOOK_ALLOWED_CIDRS", "10.0.0.0/33");
        let error = Context::from_vars(&vars).expect_err("no range");
        assert!(error.to_string().starts_with("variable `WEBHOOK_ALLOWED_CIDRS` is `10.0.0.0/33`"), "{error}");
    }
}

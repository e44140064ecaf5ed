//! What an environment builds once: the clients, and a short memory of the subscriptions.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use shared::aws::{self, Platform};
use shared::clock::{BootTime, CloudClock};
use shared::config::{ConfigError, Vars};
use shared::queue::Queue;
use shared::random::Random;
use shared::subscription::Subscription;
use shared::tables::{StateTable, TableError};
use tokio::sync::Mutex;

/// A changed subscription takes effect within 5 s; the rest of these is the way of an event through the function.
const REMEMBER_SUBSCRIPTIONS: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub struct Context {
    pub(crate) state: StateTable,
    pub(crate) events: Queue,
    pub(crate) events_dlq: Queue,
    pub(crate) deliveries: Queue,
    pub(crate) stack: String,
    pub(crate) random: Random,
    clock: CloudClock,
    subscriptions: Mutex<Option<Remembered>>,
}

/// The subscriptions as read at one moment. The boot-time clock runs on while the environment is frozen between events.
#[derive(Debug)]
struct Remembered {
    read_at: BootTime,
    subscriptions: Arc<[Subscription]>,
}

impl Context {
    pub fn from_vars(vars: &impl Vars) -> Result<Self, ConfigError> {
        Self::on(&Platform::default(), vars)
    }

    /// The same on another platform than Lambda.
    pub fn on(platform: &Platform, vars: &impl Vars) -> Result<Self, ConfigError> {
        let table = vars.required("STATE_TABLE")?;
        let events = vars.required("EVENTS_QUEUE_URL")?;
        let events_dlq = vars.required("EVENTS_DLQ_URL")?;
        let deliveries = vars.required("DELIVERIES_QUEUE_URL")?;
        let config = aws::function_config(vars, platform);
        let clock = platform.clock();
        let sqs = aws::sqs(&config, &clock);
        Ok(Self {
            state: StateTable::new(aws::dynamodb(&config, &clock), table),
            events: Queue::new(sqs.clone(), events),
            events_dlq: Queue::new(sqs.clone(), events_dlq),
            deliveries: Queue::new(sqs, deliveries),
            stack: vars.get("STACK_NAME").unwrap_or_default(),
            random: platform.random.clone(),
            clock,
            subscriptions: Mutex::new(None),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// All subscriptions, at most [`REMEMBER_SUBSCRIPTIONS`] old.
    pub(crate) async fn subscriptions(&self) -> Result<Arc<[Subscription]>, TableError> {
        let mut remembered = self.subscriptions.lock().await;
        let now = self.clock.boot(); // Before the read: what changes during it may be missed by it.
        if let Some(fresh) = remembered.as_ref().filter(|r| now.since(r.read_at) < REMEMBER_SUBSCRIPTIONS) {
            return Ok(Arc::clone(&fresh.subscriptions));
        }
        let subscriptions: Arc<[Subscription]> = self.state.subscriptions().await?.into();
        *remembered = Some(Remembered { read_at: now, subscriptions: Arc::clone(&subscriptions) });
        Ok(subscriptions)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_missing_variable_is_named() {
        let vars = HashMap::from([("STATE_TABLE", "state"), ("EVENTS_QUEUE_URL", "http://queue")]);
        let error = Context::from_vars(&vars).expect_err("variables are missing");
        assert_eq!(error.to_string(), "variable `EVENTS_DLQ_URL` is not set");
    }
}

//! What an environment builds once: the clients, and a memory of the webhooks.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use shared::aws::{self, Platform};
use shared::clock::{BootTime, CloudClock};
use shared::config::{ConfigError, Vars};
use shared::queue::Queue;
use shared::random::Random;
use shared::tables::{StateTable, TableError, WebhooksVersion};
use shared::webhook::Webhook;
use tokio::sync::Mutex;

/// A change is known at once by the version of the set. This bounds what is not: a webhook that goes off or comes to its end, and
/// what an older version of the API has changed.
const REMEMBER_SUBSCRIPTIONS: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub struct Context {
    pub(crate) state: StateTable,
    pub(crate) events: Queue,
    pub(crate) events_dlq: Queue,
    pub(crate) deliveries: Queue,
    pub(crate) stack: String,
    pub(crate) random: Random,
    clock: CloudClock,
    webhooks: Mutex<Option<Remembered>>,
}

/// The webhooks as read at one moment. The boot-time clock runs on while the environment is frozen between events.
#[derive(Debug)]
struct Remembered {
    version: WebhooksVersion,
    read_at: BootTime,
    webhooks: Arc<KnownWebhooks>,
}

/// The set as it was read.
#[derive(Debug, Default)]
pub(crate) struct KnownWebhooks {
    pub(crate) readable: Vec<Webhook>,
    /// Those of a later version, which get nothing until a program that can read them runs again.
    pub(crate) unreadable: usize,
}

impl Context {
    pub fn from_vars(vars: &impl Vars) -> Result<Self, ConfigError> {
        Self::on(&Platform::default(), vars)
    }

    /// The same on another platform than Lambda.
    pub fn on(platform: &Platform, vars: &impl Vars) -> Result<Self, ConfigError> {
        let events = vars.required("EVENTS_QUEUE_URL")?;
        let events_dlq = vars.required("EVENTS_DLQ_URL")?;
        let deliveries = vars.required("DELIVERIES_QUEUE_URL")?;
        let config = aws::function_config(vars, platform);
        let clock = platform.clock();
        let sqs = aws::sqs(&config, &clock);
        Ok(Self {
            state: StateTable::from_vars(aws::dynamodb(&config, &clock), vars)?,
            events: Queue::new(sqs.clone(), events),
            events_dlq: Queue::new(sqs.clone(), events_dlq),
            deliveries: Queue::new(sqs, deliveries),
            stack: vars.get("STACK_NAME").unwrap_or_default(),
            random: platform.random.clone(),
            clock,
            webhooks: Mutex::new(None),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// All webhooks, as whoever was answered before now has left them.
    pub(crate) async fn webhooks(&self) -> Result<Arc<KnownWebhooks>, TableError> {
        let mut remembered = self.webhooks.lock().await;
        // Both before the set is read: what changes during that may be missed by it.
        let (version, now) = (self.state.webhooks_version().await?, self.clock.boot());
        let is_fresh =
            |known: &&Remembered| known.version == version && now.since(known.read_at) < REMEMBER_SUBSCRIPTIONS;
        if let Some(fresh) = remembered.as_ref().filter(is_fresh) {
            return Ok(Arc::clone(&fresh.webhooks));
        }
        let found = self.state.readable_webhooks().await?;
        let unreadable = found.unreadable.len();
        let webhooks = Arc::new(KnownWebhooks { readable: found.logged("webhook"), unreadable });
        *remembered = Some(Remembered { version, read_at: now, webhooks: Arc::clone(&webhooks) });
        Ok(webhooks)
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

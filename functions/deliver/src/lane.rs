//! How the deliveries of a webhook go, and what gives it a lane of its own.

use std::time::Duration;

use jiff::Timestamp;
use shared::ids::WebhookId;
use shared::tables::{Change, TableError};
use shared::webhook::{Lookout, Webhook, WebhookState};
use tracing::{info, warn};

use crate::context::Context;
use crate::notices;
use crate::protocol::Way;

/// A lane stays a webhook's own for so long after a slow answer, so that a receiver that is always slow does not go to and fro.
const KEEPS_OWN: Duration = Duration::from_secs(60);

/// How a webhook's deliveries go. The worker of one that is paused comes when it is resumed, and nobody calls it before.
pub(crate) fn way(webhook: &Webhook) -> Way {
    let worker_comes = webhook.health.lookout.next_look_at.is_some() || webhook.health.paused_at.is_some();
    Way { lane: webhook.lane(), worker_comes }
}

/// Whether a webhook keeps its own lane although nothing is parked.
pub(crate) fn stays(webhook: &Webhook, lookout: &Lookout, now: Timestamp) -> bool {
    let health = &webhook.health;
    let was_slow = lookout.slow_at.is_some_and(|at| now.as_millisecond() - at < KEEPS_OWN.as_millis() as i64);
    // Whether it accepts again is for the worker to see.
    let refuses = lookout.refusals > 0 || health.state == WebhookState::Failing || health.refusing_since.is_some();
    webhook.keeps_its_lane() || refuses || was_slow
}

/// Gives a webhook a lane of its own, if it shares one, and calls the worker.
pub(crate) async fn take(
    context: &Context,
    id: WebhookId,
    reason: &str,
    lookout: &Lookout,
    now: Timestamp,
) -> Result<(), TableError> {
    if context.state.take_lane(id, reason, lookout, now).await?.is_some() {
        info!(webhook.id = %id, "A webhook has its own lane: it {reason}");
        context.metrics().count("LanesTaken", 1);
        context.try_to_call(id).await;
    }
    Ok(())
}

/// The receiver wants no more. The worker of its lane sees to what is parked.
pub(crate) async fn switch_off(
    context: &Context,
    id: WebhookId,
    reason: &str,
    now: Timestamp,
) -> Result<(), TableError> {
    if let Some(off) = context.state.change_state(id, &Change::SwitchOff { reason }, now).await? {
        warn!(webhook.id = %id, "A webhook is switched off: {reason}");
        context.try_to_call(id).await;
        notices::try_to_tell(context, &off).await;
    }
    Ok(())
}

//! A receiver that accepts nothing, and its way back: what is parked, tried, drained and given up.
//!
//! What is parked is in the table and not in the queue, so a dead receiver holds up nothing and fills nothing. A parked delivery
//! is taken out only after the queue has accepted it again; a crash in between sends it twice into the queue, where the log stops
//! the second one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::delivery::{Delivery, DeliveryState, Drain, Trial};
use shared::envelope;
use shared::ids::WebhookId;
use shared::queue::{Outgoing, Taken, chunks};
use shared::tables::{Change, Parked, Unreadable};
use shared::webhook::{Webhook, WebhookState};
use tracing::{error, info, warn};

use crate::cloud_error::CloudError;
use crate::context::Context;
use crate::notices;

/// Parked deliveries that are read at once.
const PAGE: usize = 50;
/// How far a probe looks for what is stale, also behind the delivery that it has found.
const PAGES_CLEARED: usize = 20;
/// What a draining message does before it makes way for others.
const DRAINED_AT_ONCE: usize = 4 * PAGE;
/// A delivery that was put back into the queue is handled within this time. Until then new ones still go behind it, so that none
/// overtakes it.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_secs(5);
const NEXT_LOOK: Duration = Duration::from_secs(2);

/// A webhook that was failing accepts again: its parked deliveries go first.
pub(crate) async fn begin_drain(context: &Context, id: WebhookId, now: Timestamp) -> Result<(), CloudError> {
    let change = Change::Drain { by_hand: false };
    let Some(webhook) = context.state.change_state(id, &change, now).await? else {
        return Ok(());
    };
    info!(webhook.id = %id, parked = webhook.health.parked, "The webhook accepts again");
    ring(context, &webhook).await?;
    notices::try_to_tell(context, &webhook).await;
    Ok(())
}

/// A webhook that was resumed by hand accepts for the first time since it failed or was switched off.
pub(crate) async fn accepts_again(
    context: &Context,
    id: WebhookId,
    refusing_since: i64,
    now: Timestamp,
) -> Result<(), CloudError> {
    if let Some(recovered) = context.state.note_recovery(id, refusing_since, now).await? {
        info!(webhook.id = %id, "The webhook accepts again");
        notices::try_to_tell(context, &recovered).await;
    }
    Ok(())
}

/// Sends the message that drains. However often it is sent, each draining has one.
async fn ring(context: &Context, webhook: &Webhook) -> Result<(), CloudError> {
    let drain = Drain { drain: webhook.id, since: webhook.health.state_since.unwrap_or_default() };
    let body = envelope::seal(&drain).expect("two numbers are always JSON");
    let sent = context.deliveries.send_fifo(&[Outgoing { group: drain.group(), dedup: drain.dedup(), body }]).await?;
    if sent.iter().all(Taken::is_yes) { Ok(()) } else { Err(CloudError::NotTaken) }
}

/// Puts parked deliveries back into the queue, oldest first. Returns when to look again, or `None` when all is done.
pub(crate) async fn drain(
    context: &Context,
    drain: &Drain,
    clock: impl Fn() -> Timestamp,
) -> Result<Option<Duration>, CloudError> {
    let id = drain.drain;
    let mut moved = 0;
    loop {
        let Some(webhook) = context.state.webhook(id).await? else { return Ok(None) };
        let health = &webhook.health;
        if health.state != WebhookState::Draining || health.state_since != Some(drain.since) {
            return Ok(None); // It fails again, or a later draining has its own message.
        }
        let page = context.state.parked(id, None, PAGE).await?;
        if page.is_empty() {
            let now = clock();
            let settled = |at: i64| now.as_millisecond() - at >= SETTLED_AFTER.as_millis() as i64;
            if !health.unparked_at.is_none_or(settled) {
                return Ok(Some(NEXT_LOOK));
            }
            let active = context.state.change_state(id, &Change::Activate, now).await?;
            if active.is_some() {
                info!(webhook.id = %id, "The webhook is active again");
            }
            // A delivery that was parked in this moment is seen by the next look.
            return Ok(active.is_none().then_some(NEXT_LOOK));
        }
        moved += page.parked.len() + page.unreadable.len();
        set_aside(context, id, page.unreadable).await?;
        let now = clock();
        let (fresh, stale): (Vec<Parked>, Vec<Parked>) =
            page.parked.into_iter().partition(|parked| context.freshness.expires_at(&parked.delivery) > now);
        context.state.close_parked(&stale, DeliveryState::Expired, now).await?;
        requeue(context, &fresh, None, now).await?;
        if moved >= DRAINED_AT_ONCE {
            return Ok(Some(Duration::ZERO));
        }
    }
}

/// The minute's look at every webhook: what is to be told about it, and what is to be done if it is not simply active.
pub(crate) async fn look_after(context: &Context, now: Timestamp) -> Result<(), CloudError> {
    for webhook in context.state.webhooks().await? {
        let id = webhook.id;
        if let Err(error) = notices::look_at(context, &webhook, now).await {
            warn!(cause = %error, webhook.id = %id, "Others are not told of a webhook yet");
        }
        let looked = match webhook.health.state {
            _ if !webhook.is_alive(now) && webhook.health.parked > 0 => {
                context.state.cancel_parked(id, PAGE, now).await.map_err(CloudError::from)
            }
            _ if !webhook.is_alive(now) => Ok(()),
            WebhookState::Failing => probe(context, &webhook, now).await,
            // The message may have been lost with a crash.
            WebhookState::Draining => ring(context, &webhook).await,
            WebhookState::Active | WebhookState::Off => Ok(()),
        };
        if let Err(error) = looked {
            warn!(cause = %error, webhook.id = %id, "A webhook cannot be looked after now");
        }
    }
    Ok(())
}

/// Tries whether a failing webhook accepts again, with the oldest delivery that is still worth it and that is of another call
/// than the last trial's, so that one delivery that is refused for its own sake does not stand for all.
async fn probe(context: &Context, webhook: &Webhook, now: Timestamp) -> Result<(), CloudError> {
    let (mut after, mut chosen, mut fallback, mut pages) = (None, None, None, 0);
    while chosen.is_none() || pages < PAGES_CLEARED {
        let page = context.state.parked(webhook.id, after.as_deref(), PAGE).await?;
        let Some(last) = page.last else { break };
        after = Some(last);
        set_aside(context, webhook.id, page.unreadable).await?;
        let (fresh, stale): (Vec<Parked>, Vec<Parked>) =
            page.parked.into_iter().partition(|parked| context.freshness.expires_at(&parked.delivery) > now);
        context.state.close_parked(&stale, DeliveryState::Expired, now).await?;
        let other = |parked: &&Parked| Some(parked.delivery.payload.subject()) != webhook.health.last_probed;
        chosen = chosen.or_else(|| fresh.iter().find(other).cloned());
        fallback = fallback.or_else(|| fresh.into_iter().next());
        pages += 1;
    }
    let Some(parked) = chosen.or(fallback) else { return Ok(()) };
    context.state.note_probe(webhook.id, parked.delivery.payload.subject()).await?;
    requeue(context, &[parked], Some(Trial::Probe), now).await
}

/// Moves what is parked and cannot be read to the dead-letter queue, where the version that has written it finds it.
async fn set_aside(context: &Context, id: WebhookId, unreadable: Vec<Unreadable>) -> Result<(), CloudError> {
    for Unreadable { place, message, error } in unreadable {
        error!(cause = %error, webhook.id = %id, "A parked delivery that cannot be read is set aside");
        let dedup = format!("parked#{id}#{place}");
        let taken =
            context.deliveries_dlq.send_fifo(&[Outgoing { group: id.to_string(), dedup, body: message }]).await?;
        if !taken.iter().all(Taken::is_yes) {
            return Err(CloudError::NotTaken);
        }
        context.state.discard_parked(id, &place).await?;
    }
    Ok(())
}

/// Sends deliveries into the queue again, in their order, and then takes them out of the park.
async fn requeue(context: &Context, parked: &[Parked], trial: Option<Trial>, now: Timestamp) -> Result<(), CloudError> {
    let again: Vec<Delivery> = parked.iter().map(|parked| parked.delivery.again(trial)).collect();
    let messages: Vec<Outgoing> = again
        .iter()
        .map(|delivery| Outgoing {
            group: delivery.group(),
            dedup: delivery.dedup(),
            body: envelope::seal(delivery).expect("a delivery is always JSON"),
        })
        .collect();
    for chunk in chunks(&messages) {
        let taken = context.deliveries.send_fifo(&messages[chunk.clone()]).await?;
        let mut all = true;
        for (at, taken) in chunk.zip(taken) {
            if !taken.is_yes() {
                all = false;
                continue;
            }
            let before = context.state.delivery_log(&again[at].log_key()).await?;
            let log = again[at].closed(before, DeliveryState::Retrying, now);
            context.state.unpark(&parked[at], &log).await?;
        }
        if !all {
            return Err(CloudError::NotTaken);
        }
    }
    Ok(())
}

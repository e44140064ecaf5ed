//! What a worker finds in the park: what is to be sent next, and what will not be sent any more and is taken out.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use shared::delivery::{DeliveryLog, DeliveryState};
use shared::ids::WebhookId;
use shared::queue::{Outgoing, Taken};
use shared::tables::{Parked, Unreadable, Wanted};
use shared::webhook::Webhook;
use tracing::error;

use crate::attempt::is_wanted;
use crate::cloud_error::CloudError;
use crate::context::Context;
use crate::log::is_over;

/// Deliveries that are read at once.
const PAGE: usize = 50;
/// A look goes through so many pages at most.
const PAGES: usize = 20;
/// Calls whose next delivery is looked for.
const HEADS: usize = 20;
const CLOSED_AT_ONCE: usize = 16;

/// What a look has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The next delivery of each call, oldest first, of as many calls as are looked for.
    pub(super) heads: Vec<Parked>,
    /// There is something behind what was looked at.
    pub(super) more: bool,
}

/// Takes out what will not be sent, and finds what is to be sent next. `whole` looks further than for that, for what is stale. A webhook
/// that is gone gets nothing.
pub(super) async fn look(
    context: &Context,
    id: WebhookId,
    webhook: Option<&Webhook>,
    whole: bool,
    now: Timestamp,
) -> Result<Found, CloudError> {
    let (mut heads, mut calls, mut behind) = (Vec::new(), HashSet::new(), None);
    for _ in 0..PAGES {
        let page = context.state.parked(id, behind.as_deref(), PAGE).await?;
        for unreadable in page.unreadable {
            set_aside(context, id, unreadable).await?;
        }
        let mut over = Vec::new();
        for parked in page.parked {
            match end(context, webhook, &parked, now) {
                Some(state) => over.push((parked, state)),
                None if heads.len() < HEADS && calls.insert(parked.delivery.payload.subject()) => heads.push(parked),
                None => {}
            }
        }
        close(context, over, now).await?;
        behind = page.next;
        if behind.is_none() || (!whole && heads.len() >= HEADS) {
            break;
        }
    }
    Ok(Found { heads, more: behind.is_some() })
}

/// What a parked delivery ends as without being sent, if it does.
pub(super) fn end(
    context: &Context,
    webhook: Option<&Webhook>,
    parked: &Parked,
    now: Timestamp,
) -> Option<DeliveryState> {
    let Some(webhook) = webhook.filter(|webhook| webhook.is_alive(now)) else { return Some(DeliveryState::Cancelled) };
    let is_purged = webhook.health.purged_before.is_some_and(|before| parked.parked_at.unwrap_or_default() <= before);
    if is_purged || !is_wanted(webhook, &parked.delivery) {
        return Some(DeliveryState::Cancelled);
    }
    (context.freshness.expires_at(&parked.delivery) <= now).then_some(DeliveryState::Expired)
}

/// Closes deliveries, each with what it ends as, unless the log knows already what became of it.
async fn close(context: &Context, over: Vec<(Parked, DeliveryState)>, now: Timestamp) -> Result<(), CloudError> {
    if over.is_empty() {
        return Ok(());
    }
    let wanted: Vec<Wanted> =
        over.iter().map(|(parked, _)| Wanted { at: parked.delivery.log_key(), with_log: true }).collect();
    let read = context.state.receivers(&wanted).await?;
    let over = over.into_iter().map(|(parked, state)| {
        let log = read.of(&parked.delivery.log_key()).map(|view| view.log).map_err(drop);
        (parked, state, log)
    });
    stream::iter(over.collect::<Vec<_>>())
        .map(|(parked, state, log)| async move {
            match log {
                Ok(log) if !is_over(&parked.delivery, log.as_ref()) => {
                    close_one(context, &parked, log, state, now).await
                }
                // A log of a later version stays as it is.
                _ => Ok(context.state.remove_parked(&parked).await?),
            }
        })
        .buffer_unordered(CLOSED_AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok(())
}

/// Logs what a delivery ends as without being sent, and takes it out.
pub(super) async fn close_one(
    context: &Context,
    parked: &Parked,
    before: Option<DeliveryLog>,
    state: DeliveryState,
    now: Timestamp,
) -> Result<(), CloudError> {
    let log = parked.delivery.closed(before, state, now);
    context.logbook.write(&parked.delivery, &log).await?;
    context.count(state);
    Ok(context.state.remove_parked(parked).await?)
}

/// Moves what is parked and cannot be read to the dead-letter queue, where the version that has written it finds it.
async fn set_aside(context: &Context, id: WebhookId, unreadable: Unreadable) -> Result<(), CloudError> {
    let Unreadable { key, message, error } = unreadable;
    error!(cause = %error, webhook.id = %id, "A parked delivery that cannot be read is set aside");
    let dedup = format!("parked#{id}#{key}");
    let taken = context.deliveries_dlq.send_fifo(&[Outgoing { group: id.to_string(), dedup, body: message }]).await?;
    if !taken.iter().all(Taken::is_yes) {
        return Err(CloudError::NotTaken);
    }
    Ok(context.state.discard_parked(id, &key).await?)
}

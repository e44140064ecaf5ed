//! What a worker sends: the next deliveries of some calls, side by side.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use shared::delivery::{DeliveryLog, DeliveryState};
use shared::ids::CallId;
use shared::tables::{Parked, Wanted};
use shared::webhook::{Lookout, Webhook};
use tracing::error;

use super::tidying::{close_one, end};
use crate::attempt::attempt;
use crate::cloud_error::CloudError;
use crate::context::Context;
use crate::log::{self, Consequence, is_over, tried_for};
use crate::lookout::Reaction;

/// Requests to one webhook that are under way at once.
const SIDE_BY_SIDE: usize = 10;
/// The waits of a delivery that is refused while others are accepted: as long as it was tried by then, within these bounds.
const SHORTEST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A parked delivery whose time has come, with its log item.
#[derive(Debug)]
pub(super) struct Due {
    parked: Parked,
    log: Option<DeliveryLog>,
}

impl Due {
    fn subject(&self) -> CallId {
        self.parked.delivery.payload.subject()
    }
}

/// The heads of the calls, sorted out.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub(super) due: Vec<Due>,
    /// Some were over and are taken out: behind them there may be others.
    pub(super) some_over: bool,
    /// When the time of the first one comes that is not due.
    pub(super) next: Option<Timestamp>,
}

/// Finds out whose time has come. The log is always read: what lies in the park may have been sent by somebody who died before it was
/// taken out.
pub(super) async fn sort_out(
    context: &Context,
    lookout: &Lookout,
    heads: Vec<Parked>,
    now: Timestamp,
) -> Result<Heads, CloudError> {
    let wanted: Vec<Wanted> = heads.iter().map(|head| Wanted { at: head.delivery.log_key(), with_log: true }).collect();
    let read = context.state.receivers(&wanted).await?;
    let mut sorted = Heads::default();
    for parked in heads {
        let log = match read.of(&parked.delivery.log_key()) {
            Ok(view) => view.log,
            Err(error) => {
                error!(cause = %error, delivery.id = %parked.delivery.id(), "A delivery's log cannot be read");
                continue;
            }
        };
        let at = log.as_ref().filter(|log| log.round == parked.delivery.round).and_then(|log| log.next_attempt_at);
        if is_over(&parked.delivery, log.as_ref()) {
            context.state.remove_parked(&parked).await?;
            sorted.some_over = true;
        } else if let Some(at) = at.filter(|at| lookout.refusals == 0 && *at > now) {
            sorted.next = Some(sorted.next.map_or(at, |next| next.min(at)));
        } else {
            sorted.due.push(Due { parked, log });
        }
    }
    Ok(sorted)
}

/// Sends of what is due as many as may go side by side; one while the receiver accepts nothing, or takes so many a minute.
pub(super) async fn send(
    context: &Context,
    webhook: &Webhook,
    lookout: &mut Lookout,
    due: &mut Vec<Due>,
    deadline: Timestamp,
    clock: impl Fn() -> Timestamp + Copy,
) -> Result<Vec<Reaction>, CloudError> {
    let many = if lookout.refusals > 0 || webhook.settings.max_per_minute.is_some() { 1 } else { SIDE_BY_SIDE };
    if lookout.refusals > 0 {
        // One delivery that is refused for its own sake must not stand for all.
        let other = due.iter().position(|due| Some(due.subject()) != lookout.last_probed);
        due.swap(0, other.unwrap_or(0));
        lookout.last_probed = due.first().map(Due::subject);
    }
    let now = due.drain(..many.min(due.len()));
    let is_probe = lookout.refusals > 0;
    let sent = join_all(now.map(|due| send_one(context, webhook, due, is_probe, deadline, clock))).await;
    sent.into_iter().collect()
}

async fn send_one(
    context: &Context,
    webhook: &Webhook,
    Due { parked, log: before }: Due,
    is_probe: bool,
    deadline: Timestamp,
    clock: impl Fn() -> Timestamp + Copy,
) -> Result<Reaction, CloudError> {
    let delivery = &parked.delivery;
    if let Some(state) = end(context, Some(webhook), &parked, clock()) {
        close_one(context, &parked, before, state, clock()).await?;
        return Ok(Reaction::NotAsked);
    }
    let outcome = attempt(context, delivery, webhook, clock()).await;
    let now = clock();
    let tried_for = tried_for(delivery, before.as_ref(), now);
    let tried = Duration::from_millis(tried_for.into());
    let (mut state, mut wait) = (DeliveryState::Parked, None);
    let reaction = match outcome.status() {
        Some(200..=299) => {
            state = DeliveryState::Delivered;
            Reaction::Accepted { took: outcome.took }
        }
        Some(410) => {
            state = DeliveryState::Cancelled;
            Reaction::Gone { in_words: outcome.in_words() }
        }
        _ => {
            let tried_since = before.as_ref().and_then(|log| log.tried_since);
            let accepts_others = webhook.health.last_success_at.zip(tried_since).is_some_and(|(at, since)| at > since);
            if tried >= context.failing_after && accepts_others {
                state = DeliveryState::Failed;
            } else if context.freshness.left(delivery, now).is_zero() {
                state = DeliveryState::Expired;
            } else if !is_probe {
                // A probe has no wait of its own: as soon as something is accepted, everything that waits is due.
                let planned = tried.clamp(SHORTEST_WAIT, LONGEST_WAIT);
                wait = Some(planned.max(outcome.retry_after().unwrap_or_default().min(LONGEST_WAIT)));
            }
            let (took, retry_after, in_words) = (outcome.took, outcome.retry_after(), outcome.in_words());
            Reaction::Refused { took, retry_after, in_words }
        }
    };
    let consequence = Consequence { state, tried_for, wait };
    let log = log::attempted(delivery, before, &outcome, consequence, now);
    log::report(delivery, &log, &outcome, consequence, webhook);
    context.measure(delivery, &outcome, state, now);
    if state == DeliveryState::Delivered {
        log::keep(context, delivery, &log, deadline, clock).await;
    } else {
        context.logbook.write(delivery, &log).await?;
    }
    if state.is_final() {
        context.state.remove_parked(&parked).await?;
    }
    Ok(reaction)
}

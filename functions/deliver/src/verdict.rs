//! What is to become of a delivery. Two pure functions decide: one before a request, one after it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::config::{ConfigError, Vars};
use shared::delivery::{Delivery, DeliveryState};
use shared::event::{CallEvent, Status};
use shared::queue::backoff;
use shared::subscription::Subscription;
use shared::tables::ReceiverView;

use crate::client::Outcome;

const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// How long after `occurredAt` each status is worth delivering.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    ringing: SignedDuration,
    connected: SignedDuration,
    disconnected: SignedDuration,
}

impl Freshness {
    pub(crate) fn from_vars(vars: &impl Vars) -> Result<Self, ConfigError> {
        let seconds = |name, default: u32| Ok(SignedDuration::from_secs(vars.parsed(name, default)?.into()));
        Ok(Self {
            ringing: seconds("RINGING_FRESH_SECONDS", 30)?,
            connected: seconds("CONNECTED_FRESH_SECONDS", 120)?,
            disconnected: seconds("DISCONNECTED_FRESH_SECONDS", 3 * 24 * 60 * 60)?,
        })
    }

    pub(crate) fn expires_at(&self, event: &CallEvent) -> Timestamp {
        let limit = match event.status() {
            Status::Ringing => self.ringing,
            Status::Connected => self.connected,
            Status::Disconnected => self.disconnected,
        };
        event.occurred_at.checked_add(limit).unwrap_or(Timestamp::MAX)
    }
}

/// What to do with a delivery before anything is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start<'a> {
    /// A copy, or an older round than the log knows: nothing is left to do.
    Skip,
    /// Nothing is sent; the log says why.
    Close(DeliveryState),
    Send(&'a Subscription),
}

pub(crate) fn start<'a>(
    delivery: &Delivery,
    view: &'a ReceiverView,
    expires_at: Timestamp,
    now: Timestamp,
) -> Start<'a> {
    let over = view
        .log
        .as_ref()
        .is_some_and(|log| log.round > delivery.round || (log.round == delivery.round && log.state.is_settled()));
    match &view.subscription {
        _ if over => Start::Skip,
        None => Start::Close(DeliveryState::Cancelled),
        Some(_) if now >= expires_at => Start::Close(DeliveryState::Expired),
        Some(subscription) => Start::Send(subscription),
    }
}

/// What is to become of a delivery after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// The receiver wants no more events.
    Cancelled,
    Expired,
    Again(Duration),
}

impl Verdict {
    pub(crate) fn state(self) -> DeliveryState {
        match self {
            Self::Delivered => DeliveryState::Delivered,
            Self::Cancelled => DeliveryState::Cancelled,
            Self::Expired => DeliveryState::Expired,
            Self::Again(_) => DeliveryState::Retrying,
        }
    }

    pub(crate) fn wait(self) -> Option<Duration> {
        if let Self::Again(wait) = self { Some(wait) } else { None }
    }
}

/// `waited` is the age of the message in the queue, `left` the time until the event is stale, `jitter` a number from −1 to 1.
pub(crate) fn verdict(outcome: &Outcome, waited: Duration, left: Duration, jitter: f64) -> Verdict {
    let answer = outcome.result.as_ref().ok();
    match answer.map(|answer| answer.status) {
        Some(200..=299) => Verdict::Delivered,
        Some(410) => Verdict::Cancelled,
        _ if left.is_zero() => Verdict::Expired,
        _ => Verdict::Again(wait(waited, left, answer.and_then(|answer| answer.retry_after), jitter)),
    }
}

/// The time until the next attempt, in the whole seconds that the queue counts in.
pub(crate) fn wait(waited: Duration, left: Duration, asked: Option<Duration>, jitter: f64) -> Duration {
    let planned = backoff(waited, LONGEST_WAIT, jitter).as_secs_f64().round().max(1.0) as u64;
    let asked = asked.map_or(0, |asked| ceil(asked.min(LONGEST_WAIT)));
    let seconds = if asked > left.as_secs() {
        // The receiver does not want another request before it is too late, so the delivery only comes back to expire.
        ceil(left)
    } else {
        // The last attempt is made just before the event is stale.
        planned.max(asked).min(left.as_secs())
    };
    Duration::from_secs(seconds.max(1))
}

fn ceil(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;

//! What is to become of a delivery. Two pure functions decide: one before a request, one after it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::config::{ConfigError, Vars};
use shared::delivery::{Delivery, DeliveryState, Payload, Trial};
use shared::event::Status;
use shared::tables::ReceiverView;
use shared::time::from_millis;
use shared::webhook::{Webhook, WebhookState};

use crate::receiver::Outcome;

const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// For the receiver's sake; an outage of ours may last longer, see [`shared::queue::FifoRecord::backoff`].
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// How long after it happened each kind of payload is worth delivering.
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

    /// The freshness of a replay counts from the replay.
    pub(crate) fn expires_at(&self, delivery: &Delivery) -> Timestamp {
        let limit = match &delivery.payload {
            Payload::Call(event) => match event.status() {
                Status::Ringing => self.ringing,
                Status::Connected => self.connected,
                Status::Disconnected => self.disconnected,
            },
            // That something does not work is news as long as the end of a call is.
            Payload::Notice(_) => self.disconnected,
        };
        let from = delivery.replayed_at.map_or(delivery.payload.occurred_at(), from_millis);
        from.checked_add(limit).unwrap_or(Timestamp::MAX)
    }
}

/// What to do with a delivery before anything is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start<'a> {
    /// A copy, or an older round than the log knows: nothing is left to do.
    Skip,
    /// Nothing is sent; the log says why.
    Close(DeliveryState),
    /// The receiver does not accept anything, or has older deliveries to get first.
    Park,
    Send(&'a Webhook),
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
    match &view.webhook {
        _ if over => Start::Skip,
        None => Start::Close(DeliveryState::Cancelled),
        Some(webhook) if !webhook.is_alive(now) => Start::Close(DeliveryState::Cancelled),
        Some(_) if now >= expires_at => Start::Close(DeliveryState::Expired),
        Some(webhook) => match webhook.health.state {
            _ if delivery.trial.is_some() => Start::Send(webhook),
            // What was put back before the webhook failed again must not overtake what was parked in front of it.
            WebhookState::Failing => Start::Park,
            WebhookState::Draining if delivery.round == 0 => Start::Park,
            _ => Start::Send(webhook),
        },
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
    /// It was tried for as long as it may hold up its call, while the receiver accepted others.
    Failed,
    /// The receiver is known to accept nothing.
    Park,
    /// The receiver has accepted nothing for as long as this one was tried.
    Fail,
}

impl Verdict {
    pub(crate) fn state(self) -> DeliveryState {
        match self {
            Self::Delivered => DeliveryState::Delivered,
            Self::Cancelled => DeliveryState::Cancelled,
            Self::Expired => DeliveryState::Expired,
            Self::Again(_) => DeliveryState::Retrying,
            Self::Failed => DeliveryState::Failed,
            Self::Park | Self::Fail => DeliveryState::Parked,
        }
    }

    pub(crate) fn wait(self) -> Option<Duration> {
        if let Self::Again(wait) = self { Some(wait) } else { None }
    }
}

/// What is known when a request has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// How long the message has been in the queue.
    pub(crate) waited: Duration,
    /// How long it would wait for its next receive, when nothing else is to be considered.
    pub(crate) planned: Duration,
    /// How long a message may hold up its call.
    pub(crate) fast_lane: Duration,
    /// The time until the event is stale.
    pub(crate) left: Duration,
    /// Since the receiver accepted something; `None`: never.
    pub(crate) since_success: Option<Duration>,
    pub(crate) state: WebhookState,
    pub(crate) trial: Option<Trial>,
}

pub(crate) fn verdict(outcome: &Outcome, moment: &Moment) -> Verdict {
    let answer = outcome.result.as_ref().ok();
    match answer.map(|answer| answer.status) {
        Some(200..=299) => Verdict::Delivered,
        Some(410) => Verdict::Cancelled,
        _ if moment.trial == Some(Trial::Test) => Verdict::Failed,
        _ if moment.left.is_zero() => Verdict::Expired,
        _ if moment.state == WebhookState::Failing => Verdict::Park,
        _ => {
            let in_lane = moment.fast_lane.saturating_sub(moment.waited);
            if !in_lane.is_zero() {
                let asked = answer.and_then(|answer| answer.retry_after);
                let wait = wait(moment.planned, moment.left, asked);
                // The last attempt in the lane is made at its end, unless the receiver asks for more time.
                let asked = asked.map_or(Duration::ZERO, |asked| asked.min(LONGEST_WAIT));
                Verdict::Again(wait.min(whole(in_lane).max(whole(asked))))
            } else if moment.since_success.is_some_and(|since| since <= moment.waited) {
                Verdict::Failed
            } else {
                Verdict::Fail
            }
        }
    }
}

/// The time until the next attempt, in the whole seconds that the queue counts in.
pub(crate) fn wait(planned: Duration, left: Duration, asked: Option<Duration>) -> Duration {
    let planned = planned.as_secs_f64().round().max(1.0) as u64;
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

/// In the queue's whole seconds, at least one.
fn whole(duration: Duration) -> Duration {
    Duration::from_secs(ceil(duration)).max(SHORTEST_WAIT)
}

fn ceil(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;

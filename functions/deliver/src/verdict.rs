//! What is to become of a delivery in the lane that webhooks share. Two pure functions decide: one before a request, one after it.
//!
//! A test is tried once, carries `webhook-test: true`, and changes no webhook's state unless it is answered with 410: a trial of an owner
//! who gets it wrong must not park what works.

use std::time::Duration;

use jiff::Timestamp;
use shared::delivery::{Delivery, DeliveryState, Trial};
use shared::tables::ReceiverView;
use shared::webhook::Webhook;

use crate::attempt::is_wanted;
use crate::lane::way;
use crate::log::is_over;
use crate::protocol::{Received, received};
use crate::receiver::Outcome;

/// Waits after a refusal, each with for how long the delivery was tried by then, at most.
const WAITS: [(Duration, Duration); 4] = [
    (Duration::from_millis(500), Duration::from_secs(1)),
    (Duration::from_millis(2_500), Duration::from_secs(2)),
    (Duration::from_secs(7), Duration::from_secs(5)),
    (Duration::MAX, Duration::from_secs(10)),
];
const JITTER: f64 = 0.2;

/// What to do with a delivery before anything is sent.
#[derive(Debug, PartialEq)]
pub(crate) enum Start<'a> {
    /// A copy, or an older round than the log knows: nothing is left to do.
    Skip,
    /// Nothing is sent; the log says why.
    Close(DeliveryState),
    /// The worker of the webhook's own lane sends it.
    Park,
    /// Nobody knows in this moment.
    Wait,
    Send(&'a Webhook),
}

pub(crate) fn start<'a>(
    delivery: &Delivery,
    view: &'a ReceiverView,
    expires_at: Timestamp,
    now: Timestamp,
) -> Start<'a> {
    match &view.webhook {
        _ if is_over(delivery, view.log.as_ref()) => Start::Skip,
        None => Start::Close(DeliveryState::Cancelled),
        Some(webhook) if !webhook.is_alive(now) || !is_wanted(webhook, delivery) => {
            Start::Close(DeliveryState::Cancelled)
        }
        Some(_) if now >= expires_at => Start::Close(DeliveryState::Expired),
        Some(webhook) if delivery.trial == Some(Trial::Test) => Start::Send(webhook),
        Some(webhook) => match received(way(webhook)) {
            Received::Send => Start::Send(webhook),
            Received::Park => Start::Park,
            Received::Wait => Start::Wait,
        },
    }
}

/// What is to become of a delivery after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// The receiver wants no more events.
    Unwanted,
    /// It is too late for another attempt.
    Late,
    Again(Duration),
    /// It was a test, which is tried once.
    Failed,
    /// The receiver holds up what others share: its deliveries go their own way from here on, this one among them.
    OwnLane,
}

impl Verdict {
    pub(crate) fn state(self) -> DeliveryState {
        match self {
            Self::Delivered => DeliveryState::Delivered,
            Self::Unwanted => DeliveryState::Cancelled,
            Self::Late => DeliveryState::Expired,
            Self::Again(_) => DeliveryState::Retrying,
            Self::Failed => DeliveryState::Failed,
            Self::OwnLane => DeliveryState::Parked,
        }
    }

    pub(crate) fn wait(self) -> Option<Duration> {
        if let Self::Again(wait) = self { Some(wait) } else { None }
    }
}

/// What is known when a request has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// For how long the delivery was tried in vain, this attempt included.
    pub(crate) tried_for: Duration,
    /// For how long it may be tried in the shared lane.
    pub(crate) fast_lane: Duration,
    /// The time until the event is stale.
    pub(crate) left: Duration,
    /// The webhook was slow too often.
    pub(crate) is_slow: bool,
    pub(crate) trial: Option<Trial>,
    /// Between −1 and 1.
    pub(crate) jitter: f64,
}

pub(crate) fn verdict(outcome: &Outcome, moment: &Moment) -> Verdict {
    match outcome.status() {
        Some(200..=299) => return Verdict::Delivered,
        Some(410) => return Verdict::Unwanted,
        _ if moment.trial == Some(Trial::Test) => return Verdict::Failed,
        _ if moment.left.is_zero() => return Verdict::Late,
        _ if moment.is_slow => return Verdict::OwnLane,
        _ => {}
    }
    let planned = WAITS.iter().find(|(tried, _)| moment.tried_for <= *tried).map_or(Duration::ZERO, |(_, wait)| *wait);
    let planned = planned.mul_f64(1.0 + JITTER * moment.jitter.clamp(-1.0, 1.0));
    let wait = whole(planned.max(outcome.retry_after().unwrap_or_default()));
    if moment.tried_for + wait > moment.fast_lane {
        Verdict::OwnLane
    } else {
        // The last attempt is made just before the event is stale.
        Verdict::Again(wait.min(Duration::from_secs(moment.left.as_secs())).max(Duration::from_secs(1)))
    }
}

/// In the whole seconds that the queue counts in.
fn whole(wait: Duration) -> Duration {
    Duration::from_secs((wait.as_secs_f64().round() as u64).max(1))
}

#[cfg(test)]
mod tests;

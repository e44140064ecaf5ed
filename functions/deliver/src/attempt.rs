//! One request of a delivery, whoever sends it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::delivery::{Delivery, Payload, Trial};
use shared::event::summary::EventSummary;
use shared::webhook::Webhook;

use crate::context::Context;
use crate::prepared::Prepared;
use crate::receiver::Outcome;

/// What a request needs of the function's time beside itself.
const READ_AND_WRITE: SignedDuration = SignedDuration::from_secs(2);

/// Whether a request and what belongs to it end before the function does.
pub(crate) fn fits(context: &Context, deadline: Timestamp, now: Timestamp) -> bool {
    let request = SignedDuration::try_from(context.limits.total).unwrap_or(SignedDuration::MAX);
    deadline.duration_since(now) >= request.saturating_add(READ_AND_WRITE)
}

/// Whether the webhook wants this, by the settings that it has now: what waits was chosen by those that it had then.
pub(crate) fn is_wanted(webhook: &Webhook, delivery: &Delivery) -> bool {
    let settings = &webhook.settings;
    match &delivery.payload {
        _ if delivery.trial == Some(Trial::Test) => true,
        Payload::Call(event) => settings.wants(&EventSummary::of(event)),
        Payload::Notice(notice) => settings.kinds.contains(&notice.kind),
    }
}

pub(crate) async fn attempt(context: &Context, delivery: &Delivery, webhook: &Webhook, now: Timestamp) -> Outcome {
    match Prepared::new(delivery, webhook, &context.boundary, now) {
        Ok(prepared) => prepared.send(context.transport.as_ref(), now).await,
        Err(failure) => Outcome { at: now, took: Duration::ZERO, result: Err(failure) },
    }
}

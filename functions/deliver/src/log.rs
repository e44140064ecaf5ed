//! The log item of a delivery: what happened so far and what comes next; and the same in a line for people.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::delivery::{Attempt, Delivery, DeliveryLog, DeliveryState};
use shared::webhook::Webhook;
use tracing::{debug, error, info};

use crate::context::Context;
use crate::receiver::{Answer, Outcome};
use crate::tried::counted;

/// What one more write of a log needs, all its attempts together.
const LOG_WRITE: SignedDuration = SignedDuration::from_millis(3_500);
/// Of an answer that accepts, in bytes.
const ACCEPTING_ANSWER: usize = 256;

/// What becomes of a delivery by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Consequence {
    pub(crate) state: DeliveryState,
    /// For how long it is tried in vain by now, in milliseconds.
    pub(crate) tried_for: u32,
    /// Until the next attempt.
    pub(crate) wait: Option<Duration>,
}

/// The log item of a delivery after one more request. Requests are counted over all rounds.
pub(crate) fn attempted(
    delivery: &Delivery,
    before: Option<DeliveryLog>,
    outcome: &Outcome,
    consequence: Consequence,
    now: Timestamp,
) -> DeliveryLog {
    let tried_since = before.as_ref().filter(|before| before.round == delivery.round).and_then(|log| log.tried_since);
    let mut log = delivery.closed(before, consequence.state, now);
    log.add(Attempt {
        at: outcome.at,
        duration_ms: u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX),
        status: outcome.status(),
        outcome: outcome.in_words(),
        answer: outcome.result.as_ref().ok().map(kept).filter(|text| !text.is_empty()),
    });
    log.next_attempt_at = consequence.wait.and_then(|wait| now.checked_add(wait).ok());
    if !consequence.state.is_final() {
        log.tried_since = tried_since.or(Some(outcome.at.as_millisecond()));
        log.tried_for = consequence.tried_for;
    }
    log
}

/// Whether nothing is left to do for this round of a delivery.
pub(crate) fn is_over(delivery: &Delivery, log: Option<&DeliveryLog>) -> bool {
    log.is_some_and(|log| log.round > delivery.round || (log.round == delivery.round && log.state.is_final()))
}

/// For how long a delivery is tried in vain by now, in milliseconds.
pub(crate) fn tried_for(delivery: &Delivery, before: Option<&DeliveryLog>, now: Timestamp) -> u32 {
    let before = before.filter(|log| log.round == delivery.round && log.tried_since.is_some());
    let Some((log, last)) = before.and_then(|log| Some((log, log.attempts.last()?))) else { return 0 };
    let planned = log.next_attempt_at.map(Timestamp::as_millisecond);
    log.tried_for.saturating_add(counted(last.at.as_millisecond(), planned, now))
}

/// What is kept of an answer. One that accepts says little, and must not make the log cost twice as much.
fn kept(answer: &Answer) -> String {
    let mut text = answer.text.clone();
    if (200..300).contains(&answer.status) {
        text.truncate(text.floor_char_boundary(ACCEPTING_ANSWER));
    }
    text
}

/// Writes the log item of what the receiver has accepted, again and again for as long as the function runs. The delivery is over even
/// if that is in vain: a log that lacks an event is better than a receiver that has it twice.
pub(crate) async fn keep(
    context: &Context,
    delivery: &Delivery,
    log: &DeliveryLog,
    deadline: Timestamp,
    clock: impl Fn() -> Timestamp,
) {
    while let Err(error) = context.logbook.write(delivery, log).await {
        if deadline.duration_since(clock()) < LOG_WRITE {
            error!(cause = %error, delivery.id = %log.delivery_id, "An accepted delivery has no log");
            context.metrics().count("LogsLost", 1);
            return;
        }
    }
}

/// The one line of an attempt that did not go as it should. The rest of the URL may hold a receiver's secret.
pub(crate) fn report(
    delivery: &Delivery,
    log: &DeliveryLog,
    outcome: &Outcome,
    consequence: Consequence,
    webhook: &Webhook,
) {
    if log.state == DeliveryState::Delivered && log.attempt_count == 1 {
        // As it should be. The log of deliveries says so, and the batch's figures do.
        debug!(delivery.id = %log.delivery_id, webhook.id = %delivery.webhook_id, "Delivery of `{}` was accepted", log.about);
        return;
    }
    let url = url::Url::parse(&webhook.settings.url).ok();
    let host = url.as_ref().and_then(|url| url.host_str()).unwrap_or("?");
    info!(
        delivery.id = %log.delivery_id,
        webhook.id = %delivery.webhook_id,
        call.id = log.call_id.map(tracing::field::display),
        attempt = log.attempt_count,
        http.status = outcome.status(),
        duration_ms = outcome.took.as_millis() as u64,
        state = log.state.as_str(),
        wait_s = consequence.wait.map(|wait| wait.as_secs()),
        "Delivery of `{}` to `{host}`: {}",
        log.about,
        outcome.in_words()
    );
}

/// The line of a delivery that nothing is sent of.
pub(crate) fn report_unsent(delivery: &Delivery, log: &DeliveryLog) {
    info!(
        delivery.id = %log.delivery_id,
        webhook.id = %delivery.webhook_id,
        attempts = log.attempt_count,
        state = log.state.as_str(),
        "Delivery of `{}` is not sent",
        log.about
    );
}

impl Outcome {
    pub(crate) fn status(&self) -> Option<u16> {
        self.result.as_ref().ok().map(|answer| answer.status)
    }

    pub(crate) fn in_words(&self) -> String {
        match &self.result {
            Ok(answer) => match answer.status {
                status @ 300..=399 => format!("answered {status}, and redirects are not followed"),
                410 => "answered 410: wants no more events".to_owned(),
                status => format!("answered {status}"),
            },
            Err(failure) => failure.to_string(),
        }
    }

    /// How long the receiver asks to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.result.as_ref().ok().and_then(|answer| answer.retry_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::sample;

    fn consequence(state: DeliveryState, wait: Option<u64>) -> Consequence {
        Consequence { state, tried_for: 7, wait: wait.map(Duration::from_secs) }
    }

    #[test]
    fn attempts_add_up() {
        let delivery = sample::delivery();
        let failed = Outcome { at: sample::now(), took: Duration::from_millis(12), result: Err(Failure::Timeout) };
        let again = |wait| consequence(DeliveryState::Retrying, Some(wait));
        let first = attempted(&delivery, None, &failed, again(4), sample::now());
        assert_eq!((first.state, first.attempt_count), (DeliveryState::Retrying, 1));
        assert_eq!((first.tried_since, first.tried_for), (Some(sample::now().as_millisecond()), 7));
        assert_eq!(first.next_attempt_at, sample::now().checked_add(Duration::from_secs(4)).ok());
        let attempt = first.attempts.last().cloned().expect("an attempt");
        assert_eq!((attempt.status, attempt.duration_ms, attempt.outcome.as_str()), (None, 12, "no answer in time"));

        let accepted = sample::answered(204, None);
        let second =
            attempted(&delivery, Some(first), &accepted, consequence(DeliveryState::Delivered, None), sample::now());
        assert_eq!((second.state, second.attempt_count, second.next_attempt_at), (DeliveryState::Delivered, 2, None));
        let attempt = second.attempts.last().cloned().expect("an attempt");
        assert_eq!((attempt.status, attempt.answer.as_deref()), (Some(204), Some("thank you")));
    }

    #[test]
    fn an_end_without_a_request_keeps_what_was_tried() {
        let delivery = sample::delivery();
        let again = consequence(DeliveryState::Retrying, Some(1));
        let before = attempted(&delivery, None, &sample::answered(500, None), again, sample::now());
        let log = delivery.closed(Some(before.clone()), DeliveryState::Expired, sample::now());
        assert_eq!((log.state, log.attempt_count), (DeliveryState::Expired, 1));
        assert_eq!((log.attempts, log.next_attempt_at), (before.attempts, None));
    }

    #[test]
    fn words_for_people() {
        assert_eq!(sample::answered(302, None).in_words(), "answered 302, and redirects are not followed");
        assert_eq!(sample::answered(503, None).in_words(), "answered 503");
    }
}

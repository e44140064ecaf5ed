//! The log item of a delivery: what happened so far and what comes next.

use jiff::Timestamp;
use shared::delivery::{Attempt, Delivery, DeliveryLog};

use crate::receiver::{Answer, Outcome};
use crate::verdict::Verdict;

/// In bytes.
const ACCEPTING_ANSWER: usize = 256;

/// The item of a delivery after one more request. Requests are counted over all rounds.
pub(crate) fn attempted(
    delivery: &Delivery,
    before: Option<DeliveryLog>,
    outcome: &Outcome,
    verdict: Verdict,
    now: Timestamp,
) -> DeliveryLog {
    let mut log = delivery.closed(before, verdict.state(), now);
    log.add(Attempt {
        at: outcome.at,
        duration_ms: u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX),
        status: outcome.status(),
        outcome: outcome.in_words(),
        answer: outcome.result.as_ref().ok().map(kept).filter(|text| !text.is_empty()),
    });
    log.next_attempt_at = verdict.wait().and_then(|wait| now.checked_add(wait).ok());
    log
}

/// What is kept of an answer. One that accepts says little, and must not make the log cost twice as much.
fn kept(answer: &Answer) -> String {
    let mut text = answer.text.clone();
    if (200..300).contains(&answer.status) {
        text.truncate(text.floor_char_boundary(ACCEPTING_ANSWER));
    }
    text
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::delivery::DeliveryState;

    use super::*;
    use crate::failure::Failure;
    use crate::sample;

    #[test]
    fn attempts_add_up() {
        let delivery = sample::delivery();
        let failed = Outcome { at: sample::now(), took: Duration::from_millis(12), result: Err(Failure::Timeout) };
        let verdict = Verdict::Again(Duration::from_secs(4));
        let first = attempted(&delivery, None, &failed, verdict, sample::now());
        assert_eq!((first.state, first.attempt_count), (DeliveryState::Retrying, 1));
        assert_eq!(first.next_attempt_at, sample::now().checked_add(Duration::from_secs(4)).ok());
        let attempt = first.attempts.last().cloned().expect("an attempt");
        assert_eq!((attempt.status, attempt.duration_ms, attempt.outcome.as_str()), (None, 12, "no answer in time"));

        let accepted = sample::answered(204, None);
        let second = attempted(&delivery, Some(first), &accepted, Verdict::Delivered, sample::now());
        assert_eq!((second.state, second.attempt_count, second.next_attempt_at), (DeliveryState::Delivered, 2, None));
        let attempt = second.attempts.last().cloned().expect("an attempt");
        assert_eq!((attempt.status, attempt.answer.as_deref()), (Some(204), Some("thank you")));
    }

    #[test]
    fn an_end_without_a_request_keeps_what_was_tried() {
        let delivery = sample::delivery();
        let verdict = Verdict::Again(Duration::from_secs(1));
        let before = attempted(&delivery, None, &sample::answered(500, None), verdict, sample::now());
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

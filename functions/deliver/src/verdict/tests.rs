use std::collections::HashMap;

use proptest::prelude::*;
use shared::delivery::DeliveryLog;
use shared::subscription::Method;

use super::*;
use crate::failure::Failure;
use crate::{log, sample};

const SECOND: Duration = Duration::from_secs(1);

fn view(log: Option<DeliveryLog>) -> ReceiverView {
    ReceiverView { subscription: Some(sample::subscription("https://example.com/", Method::Post)), log }
}

fn logged(round: u32, state: DeliveryState) -> Option<DeliveryLog> {
    Some(log::closed(&Delivery { round, ..sample::delivery() }, None, state, sample::now()))
}

fn starts(view: &ReceiverView, round: u32) -> Start<'_> {
    let expires_at = sample::now() + SignedDuration::from_secs(1);
    start(&Delivery { round, ..sample::delivery() }, view, expires_at, sample::now())
}

#[test]
fn each_status_has_its_freshness() {
    let freshness = Freshness::from_vars(&HashMap::from([("CONNECTED_FRESH_SECONDS", "7")])).expect("numbers");
    let mut event = sample::delivery().event;
    let after = |event: &CallEvent| freshness.expires_at(event).duration_since(event.occurred_at).as_secs();
    assert_eq!(after(&event), 30);
    event.web_hook_event.status = Status::Connected;
    assert_eq!(after(&event), 7);
    event.web_hook_event.status = Status::Disconnected;
    assert_eq!(after(&event), 259_200);
    assert!(Freshness::from_vars(&HashMap::from([("RINGING_FRESH_SECONDS", "-1")])).is_err());
}

#[test]
fn a_settled_round_is_over_and_a_new_one_begins() {
    for state in [DeliveryState::Delivered, DeliveryState::Expired, DeliveryState::Cancelled, DeliveryState::Parked] {
        let view = view(logged(1, state));
        assert_eq!(starts(&view, 0), Start::Skip);
        assert_eq!(starts(&view, 1), Start::Skip);
        assert!(matches!(starts(&view, 2), Start::Send(_)));
    }
    let retrying = view(logged(1, DeliveryState::Retrying));
    assert_eq!(starts(&retrying, 0), Start::Skip);
    assert!(matches!(starts(&retrying, 1), Start::Send(_)));
    assert!(matches!(starts(&view(None), 0), Start::Send(_)));
}

#[test]
fn nothing_is_sent_to_nobody_or_too_late() {
    let gone = ReceiverView { subscription: None, log: logged(0, DeliveryState::Retrying) };
    assert_eq!(starts(&gone, 0), Start::Close(DeliveryState::Cancelled));
    let fresh_view = view(None);
    let late = start(&sample::delivery(), &fresh_view, sample::now(), sample::now());
    assert_eq!(late, Start::Close(DeliveryState::Expired));
    // What is over stays as it ended.
    let delivered = ReceiverView { subscription: None, log: logged(0, DeliveryState::Delivered) };
    assert_eq!(starts(&delivered, 0), Start::Skip);
}

#[test]
fn the_answer_decides() {
    let decide = |status| verdict(&sample::answered(status, None), SECOND * 8, SECOND * 100, 0.0);
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(decide(status), Verdict::Delivered);
    }
    assert_eq!(decide(410), Verdict::Cancelled);
    for status in [100, 301, 302, 304, 307, 400, 401, 403, 404, 408, 422, 429, 500, 502, 503, 504] {
        assert_eq!(decide(status), Verdict::Again(SECOND * 8), "{status}");
    }
    let unanswered = Outcome { result: Err(Failure::Timeout), ..sample::answered(200, None) };
    assert_eq!(verdict(&unanswered, SECOND * 8, SECOND * 100, 0.0), Verdict::Again(SECOND * 8));
    // The event went stale during the request.
    assert_eq!(verdict(&unanswered, SECOND * 8, Duration::ZERO, 0.0), Verdict::Expired);
    assert_eq!(verdict(&sample::answered(200, None), SECOND * 8, Duration::ZERO, 0.0), Verdict::Delivered);
}

#[test]
fn a_wait_doubles_and_may_only_be_lengthened() {
    let left = SECOND * 10_000;
    assert_eq!(wait(Duration::ZERO, left, None, 0.0), SECOND);
    assert_eq!(wait(SECOND * 20, left, None, 0.0), SECOND * 20);
    assert_eq!(wait(SECOND * 20, left, Some(SECOND * 5), 0.0), SECOND * 20);
    assert_eq!(wait(SECOND * 20, left, Some(SECOND * 60), 0.0), SECOND * 60);
    assert_eq!(wait(SECOND * 20, left, Some(SECOND * 3_600), 0.0), SECOND * 300);
    // The last attempt comes just before the end, unless the receiver does not want it.
    assert_eq!(wait(SECOND * 20, Duration::from_millis(13_700), None, 0.0), SECOND * 13);
    assert_eq!(wait(SECOND * 20, Duration::from_millis(13_700), Some(SECOND * 60), 0.0), SECOND * 14);
    assert_eq!(wait(SECOND * 20, Duration::from_millis(700), None, 0.0), SECOND);
}

fn any_duration() -> impl Strategy<Value = Duration> {
    (0..2_000_000u64).prop_map(Duration::from_millis)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_wait_stays_in_its_window(
        waited in any_duration(),
        left in any_duration(),
        asked in prop::option::of(any_duration()),
        jitter in -1.0..=1.0f64,
    ) {
        let wait_for = wait(waited, left, asked, jitter);
        prop_assert!(wait_for >= SECOND, "never a spin");
        prop_assert!(wait_for <= SECOND * 360);
        prop_assert!(wait_for < (left + SECOND).max(SECOND * 2), "not past the end, but for the rounding");
        prop_assert_eq!(wait_for.subsec_nanos(), 0);
        let planned = backoff(waited, LONGEST_WAIT, jitter).as_secs_f64();
        if wait_for + SECOND < left {
            prop_assert!(wait_for.as_secs_f64() + 0.5 >= planned, "only the end shortens the plan");
            prop_assert!(wait_for >= asked.unwrap_or_default().min(LONGEST_WAIT));
        }
        if asked.is_none() {
            prop_assert!(wait_for.as_secs_f64() <= planned + 0.5);
        }
    }

    #[test]
    fn a_verdict_is_final_only_for_a_reason(
        status in prop::option::of(100..600u16),
        left in any_duration(),
        waited in any_duration(),
        jitter in -1.0..=1.0f64,
    ) {
        let mut outcome = sample::answered(status.unwrap_or_default(), None);
        if status.is_none() {
            outcome.result = Err(Failure::Broken);
        }
        let accepted = status.is_some_and(|status| (200..300).contains(&status));
        let verdict = verdict(&outcome, waited, left, jitter);
        prop_assert_eq!(verdict == Verdict::Delivered, accepted);
        prop_assert_eq!(verdict == Verdict::Cancelled, status == Some(410));
        prop_assert_eq!(verdict == Verdict::Expired, !accepted && status != Some(410) && left.is_zero());
        prop_assert_eq!(verdict.state().is_settled(), verdict.wait().is_none());
    }
}

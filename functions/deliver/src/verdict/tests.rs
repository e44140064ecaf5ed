use std::collections::HashMap;

use proptest::prelude::*;
use shared::delivery::DeliveryLog;
use shared::webhook::Method;

use super::*;
use crate::failure::Failure;
use crate::sample;

const SECOND: Duration = Duration::from_secs(1);

const MOMENT: Moment = Moment {
    waited: Duration::from_secs(8),
    planned: Duration::from_secs(8),
    fast_lane: Duration::from_secs(900),
    left: Duration::from_secs(100),
    since_success: None,
    state: WebhookState::Active,
    trial: None,
};

fn view(log: Option<DeliveryLog>) -> ReceiverView {
    ReceiverView { webhook: Some(sample::webhook("https://example.com/", Method::Post)), log }
}

fn logged(round: u32, state: DeliveryState) -> Option<DeliveryLog> {
    Some(Delivery { round, ..sample::delivery() }.closed(None, state, sample::now()))
}

fn starts(view: &ReceiverView, round: u32) -> Start<'_> {
    let expires_at = sample::now() + SignedDuration::from_secs(1);
    start(&Delivery { round, ..sample::delivery() }, view, expires_at, sample::now())
}

#[test]
fn each_status_has_its_freshness() {
    let freshness = Freshness::from_vars(&HashMap::from([("CONNECTED_FRESH_SECONDS", "7")])).expect("numbers");
    let delivery = sample::delivery();
    let after = |status: Status| {
        let mut delivery = delivery.clone();
        if let Payload::Call(event) = &mut delivery.payload {
            event.web_hook_event.status = status;
        }
        freshness.expires_at(&delivery).duration_since(delivery.payload.occurred_at()).as_secs()
    };
    assert_eq!([Status::Ringing, Status::Connected, Status::Disconnected].map(after), [30, 7, 259_200]);
    // A replay is fresh again.
    let replayed_at = sample::now() + SignedDuration::from_hours(24);
    let replay = Delivery { replayed_at: Some(replayed_at.as_millisecond()), ..delivery };
    assert_eq!(freshness.expires_at(&replay).duration_since(replayed_at).as_secs(), 30);
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
    let gone = ReceiverView { webhook: None, log: logged(0, DeliveryState::Retrying) };
    assert_eq!(starts(&gone, 0), Start::Close(DeliveryState::Cancelled));
    let fresh_view = view(None);
    let late = start(&sample::delivery(), &fresh_view, sample::now(), sample::now());
    assert_eq!(late, Start::Close(DeliveryState::Expired));
    // What is over stays as it ended.
    let delivered = ReceiverView { webhook: None, log: logged(0, DeliveryState::Delivered) };
    assert_eq!(starts(&delivered, 0), Start::Skip);
}

#[test]
fn the_answer_decides() {
    let decide = |status| verdict(&sample::answered(status, None), &MOMENT);
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(decide(status), Verdict::Delivered);
    }
    assert_eq!(decide(410), Verdict::Cancelled);
    for status in [100, 301, 302, 304, 307, 400, 401, 403, 404, 408, 422, 429, 500, 502, 503, 504] {
        assert_eq!(decide(status), Verdict::Again(SECOND * 8), "{status}");
    }
    let unanswered = Outcome { result: Err(Failure::Timeout), ..sample::answered(200, None) };
    assert_eq!(verdict(&unanswered, &MOMENT), Verdict::Again(SECOND * 8));
    // The event went stale during the request.
    let stale = Moment { left: Duration::ZERO, ..MOMENT };
    assert_eq!(verdict(&unanswered, &stale), Verdict::Expired);
    assert_eq!(verdict(&sample::answered(200, None), &stale), Verdict::Delivered);
}

#[test]
fn the_fast_lane_ends_and_what_follows_depends_on_the_receiver() {
    let refused = sample::answered(400, None);
    let at = |waited: u64, since_success: Option<u64>, state| {
        let since_success = since_success.map(Duration::from_secs);
        let left = SECOND * 10_000;
        let (waited, planned) = (SECOND * waited as u32, LONGEST_WAIT);
        verdict(&refused, &Moment { waited, planned, since_success, state, left, ..MOMENT })
    };
    use WebhookState::{Active, Draining, Failing};
    assert_eq!(at(899, None, Active), Verdict::Again(SECOND), "the last attempt is at the end of the lane");
    assert_eq!(at(900, Some(10), Active), Verdict::Failed, "others were accepted meanwhile");
    assert_eq!(at(900, Some(900), Draining), Verdict::Failed);
    assert_eq!(at(900, Some(901), Active), Verdict::Fail, "nothing was accepted meanwhile");
    assert_eq!(at(900, None, Draining), Verdict::Fail);
    assert_eq!(at(0, Some(0), Failing), Verdict::Park, "a trial is not repeated in the queue");
    for state in [Active, Draining, Failing] {
        let moment = Moment { state, trial: Some(Trial::Test), ..MOMENT };
        assert_eq!(verdict(&refused, &moment), Verdict::Failed, "a test is made once and says nothing else");
        let gone = sample::answered(410, None);
        assert_eq!(verdict(&gone, &moment), Verdict::Cancelled, "a receiver that is gone says so to every request");
    }
    let asked = sample::answered(503, Some(SECOND * 60));
    let end = Moment { waited: SECOND * 890, left: SECOND * 10_000, ..MOMENT };
    assert_eq!(verdict(&asked, &end), Verdict::Again(SECOND * 60), "the receiver's wish counts more than the lane");
}

#[test]
fn new_deliveries_of_a_failing_webhook_are_parked_and_trials_are_sent() {
    for state in [WebhookState::Failing, WebhookState::Draining] {
        let mut view = view(None);
        if let Some(webhook) = &mut view.webhook {
            webhook.health.state = state;
        }
        assert_eq!(starts(&view, 0), Start::Park);
        // What was put back is sent; if the webhook fails again meanwhile, it waits behind what was parked.
        assert_eq!(starts(&view, 1) == Start::Park, state == WebhookState::Failing);
        for trial in [Trial::Probe, Trial::Test] {
            let delivery = Delivery { trial: Some(trial), ..sample::delivery() };
            let expires_at = sample::now() + SignedDuration::from_secs(1);
            assert!(matches!(start(&delivery, &view, expires_at, sample::now()), Start::Send(_)), "{trial:?}");
        }
    }
    let mut off = view(None);
    if let Some(webhook) = &mut off.webhook {
        webhook.health.state = WebhookState::Off;
    }
    assert_eq!(starts(&off, 1), Start::Close(DeliveryState::Cancelled));
    let mut expired = view(None);
    if let Some(webhook) = &mut expired.webhook {
        webhook.settings.expires_at = Some(sample::now().as_second());
    }
    assert_eq!(starts(&expired, 0), Start::Close(DeliveryState::Cancelled));
}

#[test]
fn a_wait_may_only_be_lengthened() {
    let left = SECOND * 10_000;
    assert_eq!(wait(Duration::from_millis(900), left, None), SECOND);
    assert_eq!(wait(SECOND * 20, left, None), SECOND * 20);
    assert_eq!(wait(SECOND * 20, left, Some(SECOND * 5)), SECOND * 20);
    assert_eq!(wait(SECOND * 20, left, Some(SECOND * 60)), SECOND * 60);
    assert_eq!(wait(SECOND * 20, left, Some(SECOND * 3_600)), SECOND * 300);
    // The last attempt comes just before the end, unless the receiver does not want it.
    assert_eq!(wait(SECOND * 20, Duration::from_millis(13_700), None), SECOND * 13);
    assert_eq!(wait(SECOND * 20, Duration::from_millis(13_700), Some(SECOND * 60)), SECOND * 14);
    assert_eq!(wait(SECOND * 20, Duration::from_millis(700), None), SECOND);
}

fn any_duration() -> impl Strategy<Value = Duration> {
    (0..2_000_000u64).prop_map(Duration::from_millis)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_wait_stays_in_its_window(
        planned in any_duration(),
        left in any_duration(),
        asked in prop::option::of(any_duration()),
    ) {
        let wait_for = wait(planned, left, asked);
        prop_assert!(wait_for >= SECOND, "never a spin");
        prop_assert!(wait_for <= planned.max(LONGEST_WAIT) + SECOND);
        prop_assert!(wait_for < (left + SECOND).max(SECOND * 2), "not past the end, but for the rounding");
        prop_assert_eq!(wait_for.subsec_nanos(), 0);
        let planned = planned.as_secs_f64().max(1.0);
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
        since_success in prop::option::of(any_duration()),
        failing in any::<bool>(),
    ) {
        let mut outcome = sample::answered(status.unwrap_or_default(), None);
        if status.is_none() {
            outcome.result = Err(Failure::Broken);
        }
        let accepted = status.is_some_and(|status| (200..300).contains(&status));
        let state = if failing { WebhookState::Failing } else { WebhookState::Active };
        let moment = Moment { waited, planned: waited, left, since_success, state, ..MOMENT };
        let verdict = verdict(&outcome, &moment);
        prop_assert_eq!(verdict == Verdict::Delivered, accepted);
        prop_assert_eq!(verdict == Verdict::Cancelled, status == Some(410));
        prop_assert_eq!(verdict == Verdict::Expired, !accepted && status != Some(410) && left.is_zero());
        prop_assert_eq!(verdict.state().is_settled(), verdict.wait().is_none());
    }
}

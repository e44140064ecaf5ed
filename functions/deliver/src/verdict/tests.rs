use jiff::SignedDuration;
use proptest::prelude::*;
use shared::delivery::DeliveryLog;
use shared::webhook::{Kind, Lane, Method, WebhookState};

use super::*;
use crate::failure::Failure;
use crate::sample;

const SECOND: Duration = Duration::from_secs(1);

const MOMENT: Moment = Moment {
    tried_for: Duration::from_secs(8),
    fast_lane: Duration::from_secs(30),
    left: Duration::from_secs(100),
    is_slow: false,
    trial: None,
    jitter: 0.0,
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
fn a_round_that_has_ended_is_over_and_a_new_one_begins() {
    for state in [DeliveryState::Delivered, DeliveryState::Expired, DeliveryState::Cancelled, DeliveryState::Failed] {
        let view = view(logged(1, state));
        assert_eq!(starts(&view, 0), Start::Skip);
        assert_eq!(starts(&view, 1), Start::Skip);
        assert!(matches!(starts(&view, 2), Start::Send(_)));
    }
    // That it is parked is a hope of who has parked it, who may have died before it was.
    for state in [DeliveryState::Retrying, DeliveryState::Parked] {
        let view = view(logged(1, state));
        assert_eq!(starts(&view, 0), Start::Skip);
        assert!(matches!(starts(&view, 1), Start::Send(_)));
    }
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
    assert_eq!(decide(410), Verdict::Unwanted);
    for status in [100, 301, 302, 304, 307, 400, 401, 403, 404, 408, 422, 429, 500, 502, 503, 504] {
        assert_eq!(decide(status), Verdict::Again(SECOND * 10), "{status}");
    }
    let unanswered = Outcome { result: Err(Failure::Timeout), ..sample::answered(200, None) };
    assert_eq!(verdict(&unanswered, &MOMENT), Verdict::Again(SECOND * 10));
    // The event went stale during the request.
    let stale = Moment { left: Duration::ZERO, ..MOMENT };
    assert_eq!(verdict(&unanswered, &stale), Verdict::Late);
    assert_eq!(verdict(&sample::answered(200, None), &stale), Verdict::Delivered);
    let slow = Moment { is_slow: true, ..MOMENT };
    assert_eq!(verdict(&unanswered, &slow), Verdict::OwnLane);
    assert_eq!(verdict(&sample::answered(200, None), &slow), Verdict::Delivered);
}

#[test]
fn a_refused_delivery_is_tried_for_half_a_minute_and_then_goes_its_own_way() {
    let (mut tried_for, mut waits) = (Duration::ZERO, Vec::new());
    while let Verdict::Again(wait) = verdict(&sample::answered(503, None), &Moment { tried_for, ..MOMENT }) {
        waits.push(wait.as_secs());
        tried_for += wait;
    }
    assert_eq!(waits, [1, 2, 5, 10, 10]);
    assert!(tried_for <= MOMENT.fast_lane);
    assert_eq!(verdict(&sample::answered(503, None), &Moment { tried_for, ..MOMENT }), Verdict::OwnLane);
}

#[test]
fn the_receiver_may_ask_for_more_time_and_leaves_the_shared_lane_for_it() {
    let at_first = Moment { tried_for: Duration::ZERO, ..MOMENT };
    let asked = |seconds: u32| verdict(&sample::answered(429, Some(SECOND * seconds)), &at_first);
    assert_eq!(asked(0), Verdict::Again(SECOND));
    assert_eq!(asked(7), Verdict::Again(SECOND * 7));
    assert_eq!(asked(60), Verdict::OwnLane);
    // The last attempt comes just before the event is stale.
    let soon = Moment { left: Duration::from_millis(3_700), ..MOMENT };
    assert_eq!(verdict(&sample::answered(503, None), &soon), Verdict::Again(SECOND * 3));
    let now = Moment { left: Duration::from_millis(300), ..MOMENT };
    assert_eq!(verdict(&sample::answered(503, None), &now), Verdict::Again(SECOND), "never a spin");
}

#[test]
fn a_test_is_tried_once() {
    let moment = Moment { trial: Some(Trial::Test), is_slow: true, ..MOMENT };
    assert_eq!(verdict(&sample::answered(500, None), &moment), Verdict::Failed);
    assert_eq!(verdict(&sample::answered(410, None), &moment), Verdict::Unwanted, "who is gone says so to everybody");
}

#[test]
fn the_lane_decides_who_sends() {
    let check = |change: &dyn Fn(&mut Webhook), expected: &dyn Fn(&Start<'_>) -> bool, is_test: bool| {
        let mut view = view(None);
        view.webhook.iter_mut().for_each(change);
        let trial = is_test.then_some(Trial::Test);
        let delivery = Delivery { trial, ..sample::delivery() };
        let start = start(&delivery, &view, sample::now() + SignedDuration::from_secs(1), sample::now());
        assert!(expected(&start), "{start:?} for {:?}", view.webhook);
    };
    let lane = |lane| move |webhook: &mut Webhook| webhook.health.lane = Some(lane);
    let state = |state| move |webhook: &mut Webhook| webhook.health.state = state;
    let sends = |start: &Start<'_>| matches!(start, Start::Send(_));
    check(&lane(Lane::Shared), &sends, false);
    check(&lane(Lane::Own), &|start| *start == Start::Park, false);
    check(&lane(Lane::Settling), &|start| *start == Start::Wait, false);
    check(&lane(Lane::Own), &sends, true);
    // From before there were lanes.
    for before in [WebhookState::Failing, WebhookState::Draining] {
        check(&state(before), &|start| *start == Start::Park, false);
    }
    let cancelled = |start: &Start<'_>| *start == Start::Close(DeliveryState::Cancelled);
    check(&state(WebhookState::Off), &cancelled, false);
    check(&|webhook| webhook.settings.expires_at = Some(sample::now().as_second()), &cancelled, false);
    // What was chosen by other settings than those of now.
    check(&|webhook| webhook.settings.filter.extensions = ["nobody".to_owned()].into(), &cancelled, false);
    check(&|webhook| webhook.settings.kinds = [Kind::AgentOffline].into(), &cancelled, false);
    check(&|webhook| webhook.settings.kinds = [Kind::AgentOffline].into(), &sends, true);
}

fn any_duration() -> impl Strategy<Value = Duration> {
    (0..2_000_000u64).prop_map(Duration::from_millis)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_verdict_is_final_only_for_a_reason(
        status in prop::option::of(100..600u16),
        asked in prop::option::of(any_duration()),
        left in any_duration(),
        tried_for in any_duration(),
        is_slow in any::<bool>(),
        jitter in -1.0..1.0,
    ) {
        let mut outcome = sample::answered(status.unwrap_or_default(), asked);
        if status.is_none() {
            outcome.result = Err(Failure::Broken);
        }
        let accepted = status.is_some_and(|status| (200..300).contains(&status));
        let moment = Moment { tried_for, left, is_slow, jitter, ..MOMENT };
        let verdict = verdict(&outcome, &moment);
        prop_assert_eq!(verdict == Verdict::Delivered, accepted);
        prop_assert_eq!(verdict == Verdict::Unwanted, status == Some(410));
        prop_assert_eq!(verdict == Verdict::Late, !accepted && status != Some(410) && left.is_zero());
        if let Verdict::Again(wait) = verdict {
            prop_assert!(!is_slow && tried_for + wait <= moment.fast_lane + SECOND);
            prop_assert!(wait >= SECOND && wait <= left.max(SECOND) && wait.subsec_nanos() == 0);
        }
    }
}

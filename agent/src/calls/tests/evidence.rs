//! What counts as evidence that a call which did not come back has ended.

use super::*;

const HOUR: f64 = 3600.0;

/// An answered call whose session was lost at second 10 and replaced at second 20.
fn lost() -> Calls {
    let mut calls = core();
    play(&mut calls, 0.0, vec![leg(1, 129).conf("c1").peer("50"), leg(1, 132), leg(1, 133)]);
    calls.session_lost(at(10.0));
    calls.session_started(at(20.0));
    calls.watching(guid(PHONE), at(20.0));
    calls
}

fn ends(calls: &mut Calls, now: f64) -> usize {
    events(&calls.settle(&guid(PHONE), None, &[], at(now))).len()
}

#[test]
fn absent_channel_is_no_evidence() {
    let mut calls = lost();
    calls.channels_are(&guid(PHONE), None);
    assert_eq!(ends(&mut calls, 25.0), 0);
    // It tells nothing either when it is left out of a later report.
    calls.channels_are(&guid(PHONE), Some(1));
    calls.channels_are(&guid(PHONE), None);
    assert_eq!(ends(&mut calls, 35.0), 0);
}

#[test]
fn channel_that_never_changes_is_no_evidence() {
    let mut calls = lost();
    calls.channels_are(&guid(PHONE), Some(0));
    calls.channels_are(&guid(PHONE), Some(0));
    assert_eq!(ends(&mut calls, 25.0), 0);
}

#[test]
fn channel_that_changes_for_anybody_is_evidence_for_everybody() {
    let mut calls = lost();
    calls.channels_are(&guid(PHONE), Some(0));
    calls.channels_are(&guid(OTHER), Some(0));
    assert_eq!(ends(&mut calls, 25.0), 0);
    calls.channels_are(&guid(OTHER), Some(1));
    assert_eq!(ends(&mut calls, 35.0), 1);
}

#[test]
fn channel_that_counts_an_unseen_call_keeps_it() {
    let mut calls = lost();
    calls.channels_are(&guid(PHONE), Some(2));
    calls.channels_are(&guid(PHONE), Some(1));
    assert_eq!(ends(&mut calls, 25.0), 0);
}

#[test]
fn channel_that_changed_with_the_session_counts_as_long_as_it_is_none() {
    for (count, ended) in [(0, 1), (1, 0)] {
        let mut calls = core();
        calls.channels_are(&guid(PHONE), Some(2));
        play(&mut calls, 0.0, vec![leg(1, 129).conf("c1").peer("50"), leg(1, 133)]);
        calls.session_lost(at(10.0));
        calls.channels_are(&guid(PHONE), Some(count));
        calls.session_started(at(20.0));
        // A call that has begun since is not the missing one.
        play(&mut calls, 21.0, vec![leg(2, 129).session(2).conf("c2").peer("51")]);
        assert_eq!(ends(&mut calls, 25.0), ended, "{count}");
    }
}

#[test]
fn channel_of_the_session_before_is_no_evidence() {
    let mut calls = core();
    calls.channels_are(&guid(PHONE), Some(1));
    calls.channels_are(&guid(PHONE), Some(0));
    play(&mut calls, 0.0, vec![leg(1, 129).conf("c1").peer("50"), leg(1, 133)]);
    calls.session_lost(at(10.0));
    calls.session_started(at(20.0));
    calls.channels_are(&guid(OTHER), Some(0));
    calls.channels_are(&guid(OTHER), Some(1));
    assert_eq!(ends(&mut calls, 25.0), 0, "this user is not listed in this session");
}

/// The PBX shows the call again after the session was lost; the call is lost a second time.
fn returned(bits: u32, seconds: f64) -> (Calls, Disk) {
    let (mut calls, mut disk) = (lost(), Disk::default());
    play(&mut calls, 20.0 + seconds, vec![leg(5, bits).session(2).conf("c1").running(20)]);
    disk.keep(&mut calls, at(30.0));
    calls.session_lost(at(40.0));
    calls.session_started(at(50.0));
    calls.watching(guid(PHONE), at(50.0));
    (calls, disk)
}

#[test]
fn pbx_that_has_reported_a_running_call_reports_all_of_them() {
    let (mut calls, _) = returned(133, 0.1);
    assert_eq!(ends(&mut calls, 51.0), 0, "it is still listing");
    assert_eq!(ends(&mut calls, 55.0), 1);
}

#[test]
fn what_happens_to_a_call_is_no_report_of_a_running_one() {
    for (bits, seconds) in [(133 | 0x100, 0.1), (133, 3.0)] {
        let (mut calls, _) = returned(bits, seconds);
        assert_eq!(ends(&mut calls, 55.0), 0, "{bits} after {seconds} s");
    }
}

#[test]
fn user_who_is_not_monitored_again_is_not_reported() {
    let (mut calls, _) = returned(133, 0.1);
    calls.session_lost(at(60.0));
    calls.session_started(at(70.0));
    assert_eq!(ends(&mut calls, 80.0), 0);
}

#[test]
fn what_is_known_of_the_pbx_survives_a_restart_at_the_same_pbx() {
    let (_, disk) = returned(133, 0.1);
    let restart = |pbx_id: &str| {
        let origin = Origin { pbx_id: Arc::from(pbx_id), ..origin() };
        let mut calls = started(Calls::restore(origin, Uuid::from_u128(2), disk.records(), at(60.0)), at(60.0));
        calls.watching(guid(PHONE), at(60.0));
        ends(&mut calls, 65.0)
    };
    assert_eq!((restart("master"), restart("branch")), (1, 0));
}

#[test]
fn leg_that_waits_for_its_name_may_be_the_missing_call() {
    let mut calls = lost();
    calls.channels_are(&guid(PHONE), Some(1));
    calls.channels_are(&guid(PHONE), Some(0));
    let asked = calls.report(&guid(PHONE), leg(5, 133).session(2).peer("50"), at(24.9));
    assert!(asked.is_empty());
    assert_eq!(ends(&mut calls, 25.0), 0);
}

#[test]
fn without_evidence_a_call_ends_after_four_hours() {
    let mut calls = lost();
    for hours in [1.0, 2.0, 3.9] {
        assert_eq!(ends(&mut calls, hours * HOUR), 0);
        assert!(calls.tick(at(hours * HOUR)).is_empty());
    }
    let told = calls.tick(at(4.1 * HOUR));
    let end = events(&told)[0];
    assert!(end.inferred && end.status() == Status::Disconnected);
    let seen = end.details.as_ref().and_then(|details| details.last_seen_at);
    assert_eq!(seen, Some(at(1.0)), "the last frame came then");
    assert_eq!(calls.live_calls(), 0);
}

#[test]
fn call_is_seen_alive_by_everything_that_the_pbx_sends() {
    let mut calls = core();
    play(&mut calls, 0.0, vec![leg(1, 129).conf("c1").peer("50"), leg(1, 133)]);
    calls.heard(at(8.0));
    calls.session_lost(at(10.0));
    calls.session_lost(at(15.0));
    calls.session_started(at(20.0));
    let told = settle(&mut calls, &guid(PHONE), Some(0), None, &[], at(25.0));
    let seen = events(&told)[0].details.as_ref().and_then(|details| details.last_seen_at);
    assert_eq!((seen, events(&told)[0].occurred_at), (Some(at(8.0)), at(25.0)));
}

/// Another agent's note names a call whose end never comes here.
#[test]
fn live_call_of_another_agent_is_forgotten_in_the_end() {
    let mut calls = core();
    let asked = calls.report(&guid(PHONE), leg(1, 129).conf("c1"), at(0.0));
    assert!(matches!(asked[..], [Output::Ask(..)]));
    let item = LegItem {
        conference: "c9".to_owned(),
        direction: Direction::Incoming,
        ended: 0,
        begun: Vec::new(),
        live: Some(CallId::from_uuid(Uuid::from_u128(9))),
        last_ended: None,
        last_ended_at: None,
        expires_at: i64::MAX,
    };
    calls.learn(LegId { session: 1, user: 1, call: 1 }, Some(&[item]), at(0.1));
    assert_eq!(calls.names.known_spots(), 2);
    calls.tick(at(25.0 * HOUR));
    assert_eq!(calls.names.known_spots(), 1, "only the call that is live here");
}

#[test]
fn channel_is_kept_with_the_calls_over_a_restart() {
    let (mut calls, mut disk) = (core(), Disk::default());
    play(&mut calls, 0.0, vec![leg(1, 129).conf("c1").peer("50"), leg(1, 133)]);
    disk.keep(&mut calls, at(1.0));
    calls.channels_are(&guid(PHONE), Some(1));
    disk.keep(&mut calls, at(2.0));

    let mut calls = started(disk.restore(2, at(60.0)), at(60.0));
    calls.channels_are(&guid(PHONE), Some(0));
    assert_eq!(ends(&mut calls, 65.0), 1);

    // The disk may be readable only after the PBX has listed its users.
    let mut calls = started(Disk::default().restore(3, at(60.0)), at(60.0));
    calls.channels_are(&guid(PHONE), Some(0));
    calls.recall(disk.records());
    assert_eq!(ends(&mut calls, 65.0), 1);
}

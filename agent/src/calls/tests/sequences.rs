//! The documented call sequences, one snapshot each.

use super::*;

fn check(reports: Vec<LegReport>) -> String {
    show(&play(&mut core(), 0.0, reports))
}

#[test]
fn incoming_answered_caller_hangs_up() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c1").peer("0472591687"),
        leg(1, 131),
        leg(1, 132),
        leg(1, 133),
        leg(1, 134).cause(16),
        leg(1, 134).peer("0472591687").del(),
    ]));
}

#[test]
fn incoming_answered_user_hangs_up_and_only_the_flag_says_so() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c1").peer("0472591687"),
        leg(1, 132),
        leg(1, 133),
        LegReport { state: None, ..leg(1, 0) }.del(),
    ]));
}

#[test]
fn incoming_missed() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c1").peer("0472591687"),
        leg(1, 132),
        leg(1, 134).cause(16),
        leg(1, 134).del(),
    ]));
}

#[test]
fn incoming_rejected() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c1").peer("50"),
        leg(1, 132),
        leg(1, 135).cause(21),
        leg(1, 135).del(),
    ]));
}

#[test]
fn incoming_to_a_phone_that_is_not_registered() {
    insta::assert_snapshot!(check(vec![leg(1, 129).conf("c1").peer("50"), leg(1, 134).cause(20), leg(1, 134).del()]));
}

#[test]
fn several_devices_ring_and_one_answers() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c1").peer("50"),
        leg(2, 129).conf("c1").peer("50"),
        leg(1, 132),
        leg(2, 132),
        leg(2, 133),
        leg(1, 134).cause(26).del(),
        leg(2, 134).cause(16),
        leg(2, 134).del(),
    ]));
}

#[test]
fn outgoing_answered() {
    insta::assert_snapshot!(check(vec![
        leg(1, 1).conf("c1"),
        leg(1, 2),
        leg(1, 3).peer("50"),
        leg(1, 4).peer("50"),
        leg(1, 5).peer("501"),
        leg(1, 7).cause(16),
        leg(1, 7).del(),
    ]));
}

#[test]
fn outgoing_unallocated_lingers_in_the_tone() {
    insta::assert_snapshot!(check(vec![
        leg(1, 1).conf("c1").peer("444"),
        leg(1, 3),
        leg(1, 6).cause(1),
        leg(1, 6).cause(1),
        leg(1, 7),
        leg(1, 7).del(),
    ]));
}

#[test]
fn the_published_example_alone() {
    insta::assert_snapshot!(check(vec![leg(2, 6).conf("c1").peer("444").cause(1), leg(2, 6).del()]));
}

#[test]
fn waiting_queue_dials_out() {
    insta::assert_snapshot!(check(vec![
        leg(1, 1).conf("c1").peer("50"),
        leg(1, 4),
        leg(1, 5),
        leg(1, 5),
        leg(1, 6).cause(26),
        leg(1, 6).del(),
    ]));
}

#[test]
fn held_and_retrieved_by_both_sides() {
    insta::assert_snapshot!(check(vec![
        leg(1, 1).conf("c1").peer("50"),
        leg(1, 5),
        leg(1, 261),
        leg(1, 261),
        leg(1, 5),
        leg(1, 517),
        leg(1, 5),
        leg(1, 7).del(),
    ]));
}

#[test]
fn user_hangs_up_while_holding() {
    insta::assert_snapshot!(check(vec![
        leg(1, 1).conf("c1").peer("50"),
        leg(1, 5),
        leg(1, 261),
        leg(1, 263),
        leg(1, 263).del()
    ]));
}

#[test]
fn caller_is_redirected_to_a_third_party() {
    insta::assert_snapshot!(check(vec![
        leg(1, 1).conf("c1").peer("50"),
        leg(1, 5),
        leg(1, 4).peer("60").related(Relation::ForwardingTo, "60"),
        leg(1, 5).peer("60"),
        leg(1, 6).cause(16).del(),
    ]));
}

#[test]
fn redirected_call_reaches_this_user() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c1").peer("0472591687").related(Relation::Transferring, "50"),
        leg(1, 132),
        leg(1, 133),
        leg(1, 134).del(),
    ]));
}

#[test]
fn diverted_call_reaches_this_user() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129)
            .conf("c1")
            .peer("0472591687")
            .related(Relation::Diverting, "50")
            .related(Relation::FirstDiverting, "51"),
        leg(1, 132).related(Relation::Diverting, "50"),
        leg(1, 134).del(),
    ]));
}

#[test]
fn consulted_party_of_a_transfer_changes_conference_and_peer() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c2").peer("50"),
        leg(1, 132),
        leg(1, 133),
        leg(1, 133).conf("c1").peer("0472591687").told().related(Relation::Transferring, "50"),
        leg(1, 134).cause(16),
        leg(1, 134).del(),
    ]));
}

#[test]
fn transferring_user_leaves_both_calls() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c1").peer("0472591687"),
        leg(1, 132),
        leg(1, 133),
        leg(1, 389),
        leg(2, 1).conf("c2").peer("50"),
        leg(2, 4),
        leg(2, 5),
        leg(1, 134).cause(26).del(),
        leg(2, 6).cause(26).del(),
    ]));
}

#[test]
fn parked_and_picked_up_again_is_one_call() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c1").peer("50"),
        leg(1, 132),
        leg(1, 133),
        leg(1, 134).related(Relation::ParkedTo, "42"),
        leg(2, 8).conf("c1").peer("50"),
        leg(1, 134).del(),
        leg(3, 129).conf("c1").peer("50").related(Relation::Picking, "").related(Relation::Transferring, "42"),
        leg(2, 136).del(),
        leg(3, 133),
        leg(3, 134).del(),
    ]));
}

#[test]
fn parked_elsewhere_ends_the_call_after_the_grace() {
    let mut calls = core();
    let mut out = play(
        &mut calls,
        0.0,
        vec![
            leg(1, 129).conf("c1").peer("50"),
            leg(1, 133),
            leg(1, 134).related(Relation::ParkedTo, "77"),
            leg(1, 134).del(),
        ],
    );
    out.extend(calls.tick(at(2.9)));
    assert_eq!(events(&out).len(), 1, "the call may still be in the park");
    out.extend(calls.tick(at(3.1)));
    insta::assert_snapshot!(show(&out));
}

#[test]
fn our_own_park_waits_even_when_the_pbx_does_not_say_so() {
    let mut calls = core();
    let mut out = play(&mut calls, 0.0, vec![leg(1, 129).conf("c1").peer("50"), leg(1, 133)]);
    calls.will_park(LegId { session: 1, user: 1, call: 1 });
    out.extend(play(&mut calls, 1.0, vec![leg(1, 134).del(), leg(2, 136).conf("c1")]));
    out.extend(calls.tick(at(20.0)));
    assert_eq!(show(&out).lines().count(), 1, "{}", show(&out));
}

#[test]
fn queue_offers_the_same_call_twice() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c1").peer("0472591687").related(Relation::Diverting, "78"),
        leg(1, 132),
        leg(1, 134).cause(19).del(),
        leg(2, 129).conf("c1").peer("0472591687").related(Relation::Diverting, "78"),
        leg(2, 132),
        leg(2, 133),
        leg(2, 134).del(),
    ]));
}

#[test]
fn handle_comes_back_to_life() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c1").peer("50"),
        leg(1, 132),
        leg(1, 134).cause(19),
        leg(1, 129),
        leg(1, 132),
        leg(1, 133),
        leg(1, 134).del(),
    ]));
}

#[test]
fn found_in_progress_takes_the_start_from_the_pbx() {
    insta::assert_snapshot!(check(vec![leg(1, 133).conf("c1").peer("50").running(61), leg(1, 134).del()]));
}

#[test]
fn conference_comes_late() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).peer("50"),
        leg(1, 132),
        leg(1, 132).conf("c1"),
        leg(1, 134).del()
    ]));
}

#[test]
fn state_comes_late() {
    let mut calls = core();
    let told = LegReport { state: None, ..leg(1, 0) }.conf("c1").peer("50");
    let mut out = play(&mut calls, 0.0, vec![told]);
    out.extend(calls.tick(at(3.0)));
    assert!(out.is_empty(), "nobody knows which way it goes");
    out.extend(play(&mut calls, 4.0, vec![leg(1, 132), leg(1, 134).del()]));
    insta::assert_snapshot!(show(&out));

    let mut calls = core();
    play(&mut calls, 0.0, vec![LegReport { state: None, ..leg(1, 0) }.conf("c1")]);
    calls.tick(at(61.0));
    assert!(!calls.has_calls(&guid(PHONE)), "what never gets a state is no call");
}

#[test]
fn cause_comes_before_the_end() {
    insta::assert_snapshot!(check(vec![
        leg(1, 1).conf("c1").peer("50"),
        leg(1, 3).cause(17),
        LegReport { state: None, ..leg(1, 0) }.del(),
    ]));
}

#[test]
fn conference_never_comes() {
    let mut calls = core();
    let mut out = play(&mut calls, 0.0, vec![leg(1, 129).peer("50"), leg(1, 132)]);
    assert!(out.is_empty(), "nothing is named before its time");
    out.extend(calls.tick(at(1.9)));
    out.extend(calls.tick(at(2.0)));
    out.extend(play(&mut calls, 3.0, vec![leg(1, 133).conf("c9"), leg(1, 134).del()]));
    insta::assert_snapshot!(show(&out));
}

#[test]
fn doubled_frames_and_skipped_phases() {
    insta::assert_snapshot!(check(vec![
        leg(1, 129).conf("c1").peer("50"),
        leg(1, 129).conf("c1").peer("50"),
        leg(1, 133),
        leg(1, 133),
        leg(1, 132),
        leg(1, 134).del(),
        leg(1, 134).del(),
    ]));
}

#[test]
fn lost_session_and_return_to_the_same_call() {
    let mut calls = core();
    let mut out = play(&mut calls, 0.0, vec![leg(1, 129).conf("c1").peer("50"), leg(1, 132), leg(1, 133)]);
    out.extend(calls.session_lost(at(5.0)));
    calls.session_started(at(8.0));
    out.extend(play(&mut calls, 8.0, vec![leg(7, 133).session(2).conf("c1").running(8), leg(7, 134).session(2).del()]));
    insta::assert_snapshot!(show(&out));
}

#[test]
fn lost_session_and_vanished_call() {
    let mut calls = core();
    let mut out = play(&mut calls, 0.0, vec![leg(1, 129).conf("c1").peer("50"), leg(1, 133)]);
    out.extend(calls.session_lost(at(5.0)));
    calls.session_started(at(8.0));
    let user = guid(PHONE);
    assert_eq!(calls.users_with_missing_calls(), std::slice::from_ref(&user));
    out.extend(settle(&mut calls, &user, Some(1), None, &[], at(13.0)));
    assert_eq!(events(&out).len(), 1, "the PBX still counts a call");
    out.extend(settle(&mut calls, &user, Some(0), Some(at(1.0)), &[], at(13.0)));
    assert_eq!(events(&out).len(), 1, "another agent was there and would have told");
    out.extend(settle(&mut calls, &user, Some(0), None, &[], at(23.0)));
    insta::assert_snapshot!(show(&out));
    assert!(calls.users_with_missing_calls().is_empty());
}

#[test]
fn devices_whose_name_is_still_asked_for_are_one_call() {
    let mut calls = core();
    let mut out = Vec::new();
    let reports = [
        leg(1, 129).conf("c1").peer("50"),
        leg(2, 129).conf("c1").peer("50"),
        leg(1, 132),
        leg(2, 132),
        leg(2, 133),
        leg(1, 134).cause(26).del(),
    ];
    for (n, report) in (0u8..).zip(reports) {
        out.extend(calls.report(&guid(PHONE), report, at(f64::from(n) / 10.0)));
    }
    assert!(events(&out).is_empty(), "the table has not answered");
    for call in [1, 2] {
        out.extend(calls.learn(LegId { session: 1, user: 1, call }, Some(&[]), at(1.0)));
    }
    out.extend(play(&mut calls, 2.0, vec![leg(2, 134).cause(16), leg(2, 134).del()]));
    insta::assert_snapshot!(show(&out));
}

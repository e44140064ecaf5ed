//! What changes on a live call besides its status.

use std::collections::HashMap;

use proptest::prelude::*;
use shared::event::CallState;

use super::*;

fn reporting() -> Calls {
    let mut calls = core();
    assert!(calls.report_updates(true, at(0.0)).is_empty());
    calls
}

/// The updates in a form that a person can check against the sequence.
fn updates(outputs: &[Output]) -> String {
    let mut text = String::new();
    for event in events(outputs) {
        let e = &event.web_hook_event;
        let Some(update) = event.update else {
            let _ = writeln!(text, "{} {}->{}", e.status.as_str(), e.from, e.to);
            continue;
        };
        let details = event.details.clone().expect("details");
        let flag = |flag: bool, name: &'static str| if flag { name } else { "" };
        let _ = writeln!(
            text,
            "    {} ({}) {} \"{}\"->{} \"{}\"{}{}{} at {}",
            update.change.as_str(),
            e.status.as_str(),
            e.from,
            e.from_name,
            e.to,
            e.to_name,
            flag(details.held, " held"),
            flag(details.held_by_peer, " held by peer"),
            flag(details.parked, " parked"),
            &event.occurred_at.to_string()[17..],
        );
    }
    text
}

fn check(reports: Vec<LegReport>) -> String {
    updates(&play(&mut reporting(), 0.0, reports))
}

fn answered() -> Vec<LegReport> {
    vec![leg(1, 129).conf("c1").peer("0472591687"), leg(1, 132), leg(1, 133)]
}

#[test]
fn held_and_retrieved_by_either_side() {
    let mut reports = answered();
    // The PBX says some of it twice.
    for bits in [133 | 0x100, 133 | 0x100, 133, 133 | 0x200, 133 | 0x300, 133 | 0x200, 133] {
        reports.push(leg(1, bits));
    }
    reports.extend([leg(1, 134).cause(16), leg(1, 134).del()]);
    insta::assert_snapshot!(check(reports));
}

#[test]
fn target_of_a_transfer_learns_the_number_at_the_transfer() {
    let mut reports = vec![leg(1, 129).conf("c2").peer("44"), leg(1, 132), leg(1, 133)];
    reports.push(leg(1, 133).conf("c1").peer("0472591687").told());
    // Its name comes a moment later.
    let named = Party { number: "0472591687".to_owned(), name: "Example caller".to_owned(), ..Party::default() };
    reports.push(LegReport { peer: Some(named), state: None, ..leg(1, 133) });
    reports.push(leg(1, 134).cause(16).del());
    insta::assert_snapshot!(check(reports));
}

#[test]
fn parked_and_taken_out_of_the_park() {
    let mut reports = answered();
    reports.push(leg(1, 134).related(Relation::ParkedTo, "50").del());
    reports.extend([leg(2, 136).conf("c1"), leg(2, 133), leg(2, 134).cause(16).del()]);
    insta::assert_snapshot!(check(reports));
}

#[test]
fn what_a_status_tells_is_not_told_again() {
    // Held at the moment of the answer, another name when it rings.
    let reports =
        vec![leg(1, 129).conf("c1").peer("1"), leg(1, 132).peer("2"), leg(1, 133 | 0x100).peer("3"), leg(1, 134).del()];
    assert_eq!(check(reports), "ringing 2->42\nconnected 3->42\ndisconnected 3->42\n");
}

#[test]
fn nothing_is_told_before_the_first_status_and_after_the_last() {
    let reports = vec![
        leg(1, 1).conf("c1").peer("5"),
        leg(1, 3).peer("50"),
        leg(1, 4).peer("51"),
        leg(1, 5),
        leg(1, 6).cause(16),
        leg(1, 6 | 0x100).peer("52"),
        leg(1, 6).del(),
    ];
    assert_eq!(check(reports), "connected 42->51\ndisconnected 42->51\n");
}

#[test]
fn one_that_takes_over_begins_with_a_snapshot_of_live_calls() {
    let mut calls = core();
    let mut out = play(&mut calls, 0.0, answered());
    let other = [leg(2, 129).conf("c2").peer("44"), leg(2, 133), leg(2, 133 | 0x100), leg(2, 133)];
    out.extend(play(&mut calls, 2.0, other.to_vec()));
    // Neither ended calls nor those that are not there.
    out.extend(play(&mut calls, 4.0, vec![leg(3, 1).conf("c3").peer("60"), leg(3, 5), leg(3, 6).del()]));
    assert!(!updates(&out).contains("    "), "another agent reports\n{}", updates(&out));
    let told = calls.report_updates(true, at(6.0));
    let told: Vec<_> =
        events(&told).iter().map(|e| (e.web_hook_event.from.clone(), e.update.expect("one").change)).collect();
    let expected =
        [("0472591687", CallChange::Snapshot), ("44", CallChange::Retrieved)].map(|(f, c)| (f.to_owned(), c));
    assert!(told.len() == 2 && expected.iter().all(|one| told.contains(one)), "{told:?}");
    assert!(calls.report_updates(true, at(7.0)).is_empty(), "it has reported all along");
    assert!(calls.report_updates(false, at(8.0)).is_empty());
    assert!(play(&mut calls, 9.0, vec![leg(1, 133 | 0x100)]).is_empty());
}

#[test]
fn a_change_while_the_agent_was_away_is_told_when_the_call_is_seen_again() {
    let mut disk = Disk::default();
    let mut calls = reporting();
    play(&mut calls, 0.0, answered());
    disk.keep(&mut calls, at(3.0));
    let mut calls = started(disk.restore(2, at(60.0)), at(60.0));
    assert!(calls.report_updates(true, at(60.0)).is_empty(), "it is not seen yet");
    let held = play(&mut calls, 61.0, vec![leg(9, 133 | 0x100).session(2).conf("c1").peer("0472591687").running(61)]);
    assert_eq!(events(&held)[0].update.map(|update| update.change), Some(CallChange::Held), "{}", updates(&held));
}

fn step() -> impl Strategy<Value = (u64, u32, Option<u8>)> {
    let bits = prop_oneof![Just(129u32), Just(132), Just(133), Just(389), Just(645), Just(136), Just(134)];
    (0..3u64, bits, prop::option::of(0..3u8))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn updates_tell_something_new_of_a_live_call_and_their_times_rise(steps in prop::collection::vec(step(), 0..80)) {
        let mut calls = reporting();
        let reports = steps.iter().map(|(call, bits, peer)| {
            let report = leg(*call, *bits).conf(&format!("c{call}"));
            match peer {
                Some(peer) => report.peer(&peer.to_string()),
                None => report,
            }
        });
        let out = play(&mut calls, 0.0, reports.collect());
        let mut told: HashMap<CallId, (CallState, Timestamp, bool)> = HashMap::new();
        for event in events(&out) {
            let (state, ended) = (CallState::of(event), event.status() == Status::Disconnected);
            if event.update.is_some() {
                let before = told.get(&event.call_id());
                prop_assert!(before.is_some(), "an update comes first\n{}", updates(&out));
                let (before, at, ended) = before.expect("a status");
                prop_assert!(*before != state && !ended, "{}", updates(&out));
                prop_assert!(event.occurred_at >= *at, "{}", updates(&out));
            }
            told.insert(event.call_id(), (state, event.occurred_at, ended));
        }
    }

    /// Two agents that see the same call in the same state tell the same, whatever they have seen before.
    #[test]
    fn the_state_is_that_of_the_event(steps in prop::collection::vec(step(), 0..40)) {
        let mut calls = reporting();
        let reports = steps.iter().map(|(call, bits, _)| leg(*call, *bits).conf("c1").peer("7"));
        let out = play(&mut calls, 0.0, reports.collect());
        let ids: Vec<_> = events(&out).iter().filter(|e| e.update.is_some()).map(|e| e.event_id).collect();
        let mut different = ids.clone();
        different.sort_unstable();
        different.dedup();
        prop_assert_eq!(ids.len(), different.len());
    }
}

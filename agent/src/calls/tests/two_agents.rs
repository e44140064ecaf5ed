//! Two agents on one PBX name alike without talking to each other, but for what they write down.

use std::collections::BTreeSet;

use super::*;

/// The table between two agents: the last item of each leg.
#[derive(Default)]
struct Table(Vec<LegItem>);

impl Table {
    fn keep(&mut self, outputs: &[Output]) {
        for output in outputs {
            if let Output::Remember(_, item) = output {
                self.0.retain(|old| {
                    (&old.conference, old.direction) != (&item.conference, item.direction) || old.ended > item.ended
                });
                self.0.push(item.clone());
            }
        }
    }

    fn play(&mut self, calls: &mut Calls, start: f64, reports: Vec<LegReport>) -> Vec<Output> {
        let mut out = Vec::new();
        for (n, report) in reports.into_iter().enumerate() {
            let now = at(start + n as f64 / 10.0);
            for output in calls.report(&guid(PHONE), report, now) {
                match output {
                    Output::Ask(leg, _) => out.extend(calls.learn(leg, Some(&self.0), now)),
                    other => out.push(other),
                }
            }
            self.keep(&out);
        }
        out
    }
}

fn ids(outputs: &[Output]) -> BTreeSet<String> {
    events(outputs).iter().map(|event| format!("{} {}", event.event_id, event.status().as_str())).collect()
}

#[test]
fn both_name_a_call_that_both_saw_begin() {
    let calls = || vec![leg(1, 129).conf("c1"), leg(1, 132), leg(1, 133), leg(1, 134).del()];
    let mut table = Table::default();
    let first = table.play(&mut core(), 0.0, calls());
    let second = Table::default().play(&mut core(), 0.0, calls());
    assert_eq!(ids(&first), ids(&second));
}

#[test]
fn agent_started_after_a_transfer_finds_the_call_by_its_alias() {
    let mut table = Table::default();
    let (mut old, mut young) = (core(), core());
    let mut first = table.play(&mut old, 0.0, vec![leg(1, 129).conf("c2"), leg(1, 133), leg(1, 133).conf("c1")]);
    young.session_started(at(4.0));
    let second = table.play(&mut young, 5.0, vec![leg(9, 133).conf("c1").running(5), leg(9, 134).del()]);
    first.extend(table.play(&mut old, 5.1, vec![leg(1, 134).del()]));
    assert!(ids(&second).is_subset(&ids(&first)), "{}\n{}", show(&first), show(&second));
}

#[test]
fn agent_started_between_two_offers_counts_them() {
    let mut table = Table::default();
    let (mut old, mut young) = (core(), core());
    table.play(&mut old, 0.0, vec![leg(1, 129).conf("c1"), leg(1, 132), leg(1, 134).del()]);
    young.session_started(at(4.0));
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let again = [leg(2, 129).conf("c1"), leg(2, 132), leg(2, 133), leg(2, 134).del()];
    for (n, report) in (0u8..).zip(again) {
        second.extend(table.play(&mut young, 5.0 + f64::from(n), vec![report.clone()]));
        first.extend(table.play(&mut old, 5.1 + f64::from(n), vec![report]));
    }
    assert_eq!(ids(&first), ids(&second));
    assert_eq!(first.len(), second.len());
}

#[test]
fn call_that_returns_to_a_user_is_a_new_one_for_both() {
    let mut table = Table::default();
    let (mut old, mut young) = (core(), core());
    let out = table.play(&mut old, 0.0, vec![leg(1, 129).conf("c1"), leg(1, 133), leg(1, 134).cause(26).del()]);
    young.session_started(at(4.0));
    let back = || vec![leg(2, 129).conf("c1"), leg(2, 132), leg(2, 133)];
    let first = table.play(&mut old, 5.0, back());
    let second = table.play(&mut young, 5.1, back());
    assert_eq!(ids(&first), ids(&second));
    assert!(ids(&out).is_disjoint(&ids(&first)));
}

#[test]
fn end_that_another_agent_wrote_down_is_not_told_again() {
    let mut table = Table::default();
    let (mut deaf, mut other) = (core(), core());
    table.play(&mut deaf, 0.0, vec![leg(1, 129).conf("c1"), leg(1, 133)]);
    assert!(events(&deaf.session_lost(at(1.0))).is_empty());
    table.play(&mut other, 0.0, vec![leg(1, 129).conf("c1"), leg(1, 133), leg(1, 134).del()]);
    deaf.session_started(at(3.0));
    let out = settle(&mut deaf, &guid(PHONE), Some(0), None, &table.0, at(8.0));
    assert!(events(&out).is_empty(), "{}", show(&out));
    assert_eq!(deaf.live_calls(), 0);
}

#[test]
fn call_that_another_agent_named_otherwise_has_its_end() {
    let mut table = Table::default();
    let (mut old, mut young) = (core(), core());
    // The note about the alias is late, so that the young agent cannot know the call's name.
    let first = table.play(&mut old, 0.0, vec![leg(1, 129).conf("c2"), leg(1, 133), leg(1, 133).conf("c1")]);
    young.session_started(at(4.0));
    young.watching(guid(PHONE), at(4.1));
    young.report(&guid(PHONE), leg(9, 133).conf("c1").running(5), at(5.0));
    let told = young.learn(LegId { session: 1, user: 1, call: 9 }, Some(&[]), at(5.1));
    assert!(ids(&told).is_disjoint(&ids(&first)));

    young.session_lost(at(6.0));
    table.play(&mut old, 7.0, vec![leg(1, 134).del()]);
    young.session_started(at(8.0));
    let ended = settle(&mut young, &guid(PHONE), Some(0), Some(at(0.0)), &table.0, at(9.0));
    assert_eq!(events(&ended)[0].call_id(), events(&told)[0].call_id(), "{}", show(&ended));
    assert_eq!(events(&ended)[0].status(), Status::Disconnected);
    assert_eq!(young.live_calls(), 0);
}

#[test]
fn end_of_a_call_that_came_to_the_same_conference_is_not_the_end_of_the_first_one() {
    let mut table = Table::default();
    let mut calls = core();
    table.play(&mut calls, 0.0, vec![leg(1, 129).conf("c1"), leg(1, 133)]);
    let transferred = vec![leg(2, 129).conf("c2"), leg(2, 133), leg(2, 133).conf("c1"), leg(2, 134).del()];
    table.play(&mut calls, 1.0, transferred);
    calls.session_lost(at(2.0));
    calls.session_started(at(3.0));
    let out = settle(&mut calls, &guid(PHONE), Some(1), None, &table.0, at(8.0));
    assert!(out.is_empty(), "{}", show(&out));
    assert_eq!(calls.live_calls(), 1);
}

#[test]
fn call_found_alive_whose_end_is_written_down_before_it_has_its_name_keeps_its_name() {
    let mut table = Table::default();
    let (mut old, mut young) = (core(), core());
    let mut first = table.play(&mut old, 0.0, vec![leg(1, 1).conf("c1"), leg(1, 5)]);
    // The young agent finds the call and asks; its answer is slow.
    young.session_started(at(4.0));
    young.watching(guid(PHONE), at(4.5));
    let asked = young.report(&guid(PHONE), leg(9, 5).conf("c1").running(5), at(5.0));
    assert!(matches!(asked[..], [Output::Ask(..)]), "{}", show(&asked));
    first.extend(table.play(&mut old, 5.2, vec![leg(1, 7).del()]));
    let mut second = young.report(&guid(PHONE), leg(9, 7).del(), at(5.3));
    second.extend(young.learn(LegId { session: 1, user: 1, call: 9 }, Some(&table.0), at(5.5)));
    assert_eq!(ids(&second), ids(&first), "{}\n{}", show(&first), show(&second));
}

#[test]
fn call_found_alive_keeps_its_name_when_its_end_is_learned_with_another_leg() {
    let mut table = Table::default();
    let (mut old, mut young) = (core(), core());
    let both = vec![leg(1, 129).conf("c1"), leg(1, 132), leg(2, 129).conf("c2"), leg(2, 132)];
    let mut first = table.play(&mut old, 0.0, both);
    young.session_started(at(4.0));
    young.watching(guid(PHONE), at(4.5));
    // The young agent finds two calls of one user, of which one ends right then.
    young.report(&guid(PHONE), leg(8, 132).conf("c2").running(5), at(5.0));
    young.report(&guid(PHONE), leg(9, 132).conf("c1").running(5), at(5.0));
    first.extend(table.play(&mut old, 5.1, vec![leg(1, 134).del()]));
    let mut second = young.report(&guid(PHONE), leg(9, 134).del(), at(5.1));
    for call in [8, 9] {
        second.extend(young.learn(LegId { session: 1, user: 1, call }, Some(&table.0), at(5.2)));
    }
    assert!(ids(&second).is_subset(&ids(&first)), "{}\n{}", show(&first), show(&second));
    assert_eq!(young.live_calls(), 1);
    // The end is counted once, so that the next call of this conference has one name, too.
    let again = || vec![leg(3, 129).conf("c1"), leg(3, 132)];
    let (first, second) = (table.play(&mut old, 6.0, again()), table.play(&mut young, 6.0, again()));
    assert_eq!(ids(&first), ids(&second));
}

#[test]
fn call_found_alive_is_the_one_that_ends_right_then_whichever_clock_is_ahead() {
    let mut table = Table::default();
    let (mut old, mut young) = (core(), core());
    let mut first = table.play(&mut old, 0.0, vec![leg(1, 1).conf("c1"), leg(1, 5)]);
    young.session_started(at(5.0));
    young.watching(guid(PHONE), at(5.1));
    // It was found before it ended, but this agent's clock is ahead by some hundred milliseconds.
    first.extend(table.play(&mut old, 5.2, vec![leg(1, 7).del()]));
    let mut second = young.report(&guid(PHONE), leg(9, 5).conf("c1").running(5), at(5.4));
    second.extend(young.report(&guid(PHONE), leg(9, 7).del(), at(5.5)));
    second.extend(young.learn(LegId { session: 1, user: 1, call: 9 }, Some(&table.0), at(5.6)));
    second.retain(|output| matches!(output, Output::Event(_)));
    assert_eq!(ids(&second), ids(&first), "{}\n{}", show(&first), show(&second));
}

#[test]
fn tone_after_an_end_that_another_agent_saw_is_no_new_call() {
    let mut table = Table::default();
    let (mut old, mut young) = (core(), core());
    table.play(&mut old, 0.0, vec![leg(1, 1).conf("c1"), leg(1, 3), leg(1, 6).cause(17)]);
    young.session_started(at(0.5));
    let out = table.play(&mut young, 1.0, vec![leg(4, 6).conf("c1").running(1), leg(4, 6).del()]);
    assert!(out.is_empty(), "{}", show(&out));
}

#[test]
fn offer_that_came_while_the_session_was_lost_is_a_call_of_its_own() {
    let mut table = Table::default();
    let (mut deaf, mut other) = (core(), core());
    let first = || vec![leg(1, 129).conf("c1"), leg(1, 132)];
    table.play(&mut deaf, 0.0, first());
    table.play(&mut other, 0.0, first());
    deaf.session_lost(at(1.0));
    table.play(&mut other, 2.0, vec![leg(1, 134).del()]);
    let there = table.play(&mut other, 3.0, vec![leg(2, 129).conf("c1"), leg(2, 132)]);
    deaf.session_started(at(4.0));
    let here = table.play(&mut deaf, 4.0, vec![leg(5, 132).session(2).conf("c1").running(1)]);
    assert_eq!(ids(&here), ids(&there), "{}\n{}", show(&here), show(&there));
    assert!(deaf.users_with_missing_calls().is_empty(), "the first offer is over");

    let ends = |call: u64| vec![leg(call, 134).del()];
    let here = table.play(&mut deaf, 5.0, vec![leg(5, 134).session(2).del()]);
    let there = table.play(&mut other, 5.0, ends(2));
    assert_eq!(ids(&here), ids(&there));
    assert_eq!(table.0.iter().map(|item| item.ended).max(), Some(2));
}

#[test]
fn call_that_ends_before_the_slower_agent_has_named_it_is_the_same_call() {
    let mut table = Table::default();
    let (mut quick, mut slow) = (core(), core());
    let reports = || vec![leg(1, 1).conf("c1"), leg(1, 5), leg(1, 7).del()];
    let first = table.play(&mut quick, 1.0, reports());
    // The slower agent saw the same and asks the table when the other one has written the end.
    let second = table.play(&mut slow, 1.0, reports());
    assert_eq!(ids(&first), ids(&second));
}

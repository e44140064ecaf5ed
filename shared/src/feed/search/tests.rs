use std::time::Instant;

use super::world::{Setting, World};
use super::{Searched, search};
use crate::feed::rules::{Broken, FeedRules};

/// A call's two events, the second one when the first is acknowledged, and two readers.
const ONE_BY_ONE: Setting = Setting {
    rules: FeedRules::ALL,
    together: false,
    second_call: false,
    mishaps: 2,
    late_requests: false,
    readers: 2,
    page: 1,
    last_number: 5,
};
/// Both events in one batch, which reserves their numbers at once; but a repeat may bring the first one alone.
const TOGETHER: Setting = Setting { together: true, mishaps: 1, last_number: 6, ..ONE_BY_ONE };
/// A reader that asks for two slots at once, which are not read at one moment.
const PAGES: Setting = Setting { readers: 1, page: 2, ..TOGETHER };
/// The last request of who crashed arrives at any later time.
const LATE: Setting = Setting { late_requests: true, readers: 1, ..ONE_BY_ONE };
/// An event of another call in the same batch.
const TWO_CALLS: Setting = Setting { second_call: true, readers: 1, ..TOGETHER };

fn run(name: &str, setting: Setting) -> Searched {
    let started = Instant::now();
    let searched = search(World::new(setting));
    println!("{name}: {} states, {} ends, {:.1?}", searched.states, searched.ends, started.elapsed());
    searched
}

#[track_caller]
fn holds(name: &str, setting: Setting) {
    let searched = run(name, setting);
    assert_eq!(searched.wrong, None);
    assert!(searched.ends > 0, "nobody ever comes to an end");
}

/// Without a rule something is wrong, and the search finds it.
#[track_caller]
fn fails(rule: Broken, setting: Setting, how: &str) {
    let searched = run(&format!("without {rule:?}"), Setting { rules: FeedRules::without(rule), ..setting });
    let (what, way) = searched.wrong.unwrap_or_else(|| panic!("nothing is wrong without {rule:?}"));
    println!("{what}, by");
    way.iter().for_each(|step| println!("  {step:?}"));
    assert!(what.contains(how), "{what}");
}

#[test]
fn events_one_by_one_come_once_and_in_order() {
    holds("one by one", ONE_BY_ONE);
}

#[test]
fn events_of_one_batch_come_once_and_in_order() {
    holds("together", TOGETHER);
}

#[test]
fn a_page_that_is_no_snapshot_loses_nothing() {
    holds("pages", PAGES);
}

#[test]
fn a_request_that_arrives_late_does_no_harm() {
    holds("late", LATE);
}

#[test]
fn calls_share_a_reservation() {
    holds("two calls", TWO_CALLS);
}

/// Some minutes and gigabytes.
#[test]
#[ignore = "takes minutes"]
fn wider_searches_find_nothing() {
    holds("one by one", Setting { last_number: 6, late_requests: true, ..ONE_BY_ONE });
    holds("together", Setting { last_number: 7, mishaps: 2, ..TOGETHER });
    holds("pages", Setting { last_number: 7, mishaps: 2, late_requests: true, ..PAGES });
    holds("two calls", Setting { last_number: 7, ..TWO_CALLS });
}

/// What the search comes to first. When the first event of a call is in no slot, the second one comes without it.
const PASSED: &str = "was not told the event there";
const OUT_OF_ORDER: &str = "not the first one before";

/// What was wrong before: a repeat that found its event recorded was superseded.
#[test]
fn a_recorded_event_that_is_acknowledged_unsettled_is_lost() {
    fails(Broken::RecordedIsDone, ONE_BY_ONE, OUT_OF_ORDER);
}

/// What was wrong before: a reader that saw the head moved and no entry went on at the head.
#[test]
fn a_reader_that_sees_the_head_but_not_the_entry_loses_it() {
    fails(Broken::HeadIsTrusted, ONE_BY_ONE, PASSED);
}

/// What was wrong before: a reader that saw an entry did not ask for the number before it.
#[test]
fn a_reader_that_passes_a_gap_before_an_entry_loses_what_comes_there() {
    fails(Broken::GapsArePassed, PAGES, PASSED);
}

#[test]
fn a_slot_that_somebody_else_settled_is_not_ones_own() {
    fails(Broken::TakenIsDone, ONE_BY_ONE, OUT_OF_ORDER);
}

#[test]
fn the_next_event_of_a_call_needs_a_higher_number() {
    fails(Broken::LowerNumbersAreUsed, TOGETHER, OUT_OF_ORDER);
}

#[test]
fn a_refused_tombstone_is_an_entry_to_be_read() {
    fails(Broken::RefusedIsPassed, ONE_BY_ONE, PASSED);
}

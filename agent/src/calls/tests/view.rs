//! Finding calls by what others know of them.

use shared::numbering::DialPrefixes;

use super::*;

fn only(calls: &Calls) -> CallId {
    let mut all = calls.all();
    let (call, _) = all.next().expect("a call");
    assert!(all.next().is_none(), "several calls");
    call
}

#[test]
fn placed_calls_are_found_by_what_was_dialled() {
    let prefixes = DialPrefixes { international: "000".to_owned(), ..DialPrefixes::default() };
    let mut calls = core();
    let found =
        |calls: &Calls, number: &str, since: f64| calls.placed_since(&guid(PHONE), number, at(since), &prefixes);
    play(&mut calls, 10.0, vec![leg(1, 1).conf("c1").peer("50"), leg(1, 3).peer("44")]);
    let placed = only(&calls);
    assert_eq!(found(&calls, "50", 10.0), [placed], "although it was forwarded");
    assert_eq!(found(&calls, "44", 10.0), [placed], "where it is now");
    assert_eq!(found(&calls, "50", 11.9), [placed], "clocks differ a little");
    assert!(found(&calls, "50", 12.1).is_empty(), "it is older");
    assert!(found(&calls, "5", 10.0).is_empty());
    assert!(calls.placed_since(&guid(OTHER), "50", at(10.0), &prefixes).is_empty(), "another user's");

    play(&mut calls, 20.0, vec![leg(2, 129).conf("c2").peer("51")]);
    assert!(found(&calls, "51", 20.0).is_empty(), "it was not placed but came");
}

#[test]
fn placed_calls_ring_although_a_trunk_does_not_say_so() {
    let mut calls = core();
    play(&mut calls, 10.0, vec![leg(1, 1).conf("c1").peer("50"), leg(1, 3)]);
    let call = only(&calls);
    let state = |calls: &Calls, now: f64| calls.describe(call, at(now)).expect("a call")["state"].clone();
    assert_eq!((state(&calls, 12.4), state(&calls, 12.6)), ("dialling".into(), "ringing".into()));
    play(&mut calls, 14.0, vec![leg(1, 3)]);
    assert_eq!(state(&calls, 14.1), "ringing", "a doubled frame changes nothing");
    play(&mut calls, 15.0, vec![leg(1, 5)]);
    assert_eq!(state(&calls, 15.1), "connected");
}

#[test]
fn numbers_are_compared_in_international_form_where_there_is_one() {
    let prefixes = DialPrefixes { international: "000".to_owned(), ..DialPrefixes::default() };
    let mut calls = core();
    let mut setup = leg(1, 1).conf("c1");
    setup.peer =
        Some(Party { number: "0472591687".to_owned(), e164: Some("+32472591687".to_owned()), ..Party::default() });
    play(&mut calls, 10.0, vec![setup]);
    assert_eq!(calls.placed_since(&guid(PHONE), "00032472591687", at(10.0), &prefixes), [only(&calls)]);
}

#[test]
fn parked_calls_are_found_by_their_conference_or_handle() {
    let mut calls = core();
    play(&mut calls, 0.0, vec![leg(1, 133).conf("c1").peer("50")]);
    let call = only(&calls);
    assert_eq!(calls.parked_at(&guid(PHONE), "c1", Some(1)), None, "it is not parked");
    calls.will_park(leg(1, 0).leg);
    play(&mut calls, 1.0, vec![leg(1, 134).del(), leg(2, 136).conf("c1").peer("50")]);
    assert_eq!(calls.parked_at(&guid(PHONE), "c1", None), Some(call));
    assert_eq!(calls.parked_at(&guid(PHONE), "c9", Some(2)), Some(call));
    assert_eq!(calls.parked_at(&guid(PHONE), "c9", Some(1)), None);
    assert_eq!(calls.parked_at(&guid(OTHER), "c1", Some(2)), None);
    assert_eq!(calls.names_of(call).map(|names| names.extension), Some("42"));
}

#[test]
fn refused_park_is_forgotten() {
    let mut calls = core();
    play(&mut calls, 0.0, vec![leg(1, 133).conf("c1").peer("50")]);
    calls.will_park(leg(1, 0).leg);
    calls.will_not_park(leg(1, 0).leg);
    let out = play(&mut calls, 1.0, vec![leg(1, 134).cause(16).del()]);
    assert_eq!(events(&out).len(), 1, "its end is the end of the call");
}

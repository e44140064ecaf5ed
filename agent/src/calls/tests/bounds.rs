//! What a PBX can do for ever without the agent's memory or its events growing for ever.

use super::*;
use crate::pbx::frames::Frame;
use crate::pbx::rcc::RccFrame;

/// What the queue takes as one message.
const MESSAGE: usize = 256 * 1024;

fn report(calls: &mut Calls, report: LegReport, now: Timestamp) -> Vec<Output> {
    let out = calls.report(&guid(PHONE), report, now);
    settle_questions(calls, out, now)
}

#[test]
fn handles_that_are_never_deleted_are_forgotten_in_the_end() {
    let mut calls = core();
    let handles = 2 * ENDED_HANDLES as u64;
    for call in 0..handles {
        let now = at(call as f64);
        for bits in [129, 132, 134] {
            report(&mut calls, leg(call, bits).conf(&format!("c{call}")), now);
        }
    }
    assert_eq!((calls.legs.len(), calls.ended.len()), (ENDED_HANDLES, ENDED_HANDLES));
    // What still comes of those that are forgotten is nothing new.
    let late = at(handles as f64);
    for tail in [leg(0, 134).conf("c0"), leg(1, 134).conf("c1").del()] {
        assert!(report(&mut calls, tail, late).is_empty());
    }
    // A handle that is still known may come back to life.
    let again = report(&mut calls, leg(handles - 1, 132), late);
    assert_eq!(events(&again).len(), 1);
}

#[test]
fn ends_are_forgotten_behind_the_latest_ones_on_disk_too() {
    let mut calls = core();
    let ended = (names::ENDED_SPOTS + names::FORGOTTEN_AT_ONCE) as u64 + 100;
    let mut forgotten = 0;
    for call in 0..ended {
        for bits in [129, 132, 134] {
            report(&mut calls, leg(call, bits).conf(&format!("c{call}")), at(call as f64));
        }
        let is_gone = |change: (&RecordKey, &Option<String>)| matches!(change, (RecordKey::Spot(_), None));
        forgotten += calls.changes().iter().filter(|change| is_gone(*change)).count();
    }
    assert_eq!(forgotten, names::FORGOTTEN_AT_ONCE);
    assert_eq!(calls.names.known_spots(), names::ENDED_SPOTS + 100);
}

#[test]
fn call_whose_conference_changes_all_the_time_stays_one_call() {
    let mut calls = core();
    let mut out = report(&mut calls, leg(1, 129).conf("c0"), at(0.0));
    for n in 1..10_000 {
        out.extend(report(&mut calls, leg(1, 133).conf(&format!("c{n}")), at(f64::from(n))));
    }
    assert_eq!(calls.names.known_spots(), ALIASES);
    out.extend(report(&mut calls, leg(1, 134).del(), at(10_000.0)));
    let events = events(&out);
    let end = events.last().expect("an end");
    assert_eq!((events.len(), end.web_hook_event.conference_id.as_str()), (2, "c9999"));
}

#[test]
fn record_is_serialised_only_when_it_has_changed() {
    const CALLS: u64 = 100;
    let (mut calls, mut disk) = (core(), Disk::default());
    for call in 0..CALLS {
        report(&mut calls, leg(call, 129).conf(&format!("c{call}")), at(0.0));
    }
    disk.keep(&mut calls, at(0.0));
    let begun = disk.serialised;
    // A call and its place.
    assert_eq!(begun, 2 * CALLS as usize);
    // The PBX goes away, and for an hour nobody reaches it.
    for attempt in 1..=120 {
        calls.session_lost(at(f64::from(attempt) * 30.0));
        calls.tick(at(f64::from(attempt) * 30.0 + 1.0));
        disk.keep(&mut calls, at(f64::from(attempt) * 30.0 + 1.0));
    }
    assert_eq!(disk.serialised - begun, CALLS as usize, "each is missing once");
    // The agent starts again, twice.
    for boot in 1..=2 {
        calls = started(disk.restore(boot, at(4_000.0)), at(4_000.0));
        disk.keep(&mut calls, at(4_000.0));
    }
    assert_eq!((disk.serialised - begun, disk.repeated.len()), (CALLS as usize, 0));
}

#[test]
fn memory_after_many_ended_calls_is_that_of_before() {
    const CALLS: u64 = 20_000;
    let mut calls = core();
    calls.watching(guid(PHONE), at(0.0));
    let play = |calls: &mut Calls, call: u64, now: Timestamp| {
        // Answered, missed, moved to another conference, and without any.
        let conference = (!call.is_multiple_of(50)).then(|| format!("c{call}"));
        let with = |bits: u32, conference: &Option<String>| match conference {
            Some(conference) => leg(call, bits).conf(conference),
            None => leg(call, bits),
        };
        report(calls, with(129, &conference), now);
        if !call.is_multiple_of(3) {
            report(calls, with(133, &conference), now);
        }
        if call.is_multiple_of(7) {
            report(calls, leg(call, 133).conf(&format!("d{call}")), now);
        }
        report(calls, leg(call, 134).del(), now);
        calls.changes();
    };
    play(&mut calls, 0, at(0.0));
    let day = SignedDuration::from_hours(24);
    let pass = |calls: &mut Calls, until: Timestamp| {
        for minutes in [0, 6, 12] {
            calls.tick(until + SignedDuration::from_mins(minutes));
            calls.changes();
        }
    };
    pass(&mut calls, at(0.0) + day);
    let before = calls.sizes();
    let begun = at(0.0) + day + day;
    for call in 1..=CALLS {
        let now = begun + SignedDuration::from_secs(i64::try_from(call).expect("small"));
        play(&mut calls, call, now);
        calls.tick(now);
    }
    let busy = calls.sizes();
    assert!(busy["ended spots"] > 8_000, "{busy:?}");
    assert!(busy.iter().all(|(name, size)| *name == "ended spots" || *size <= before[name]), "{busy:?}");
    pass(&mut calls, begun + SignedDuration::from_secs(i64::try_from(CALLS).expect("small")) + day);
    assert_eq!(calls.sizes(), before);
}

#[test]
fn event_fits_into_a_message_whatever_the_pbx_says_and_however_often() {
    let mut calls = core();
    // Each of these takes more space in JSON than in the frame, or four bytes.
    for text in ["\u{1}", "\"", "\u{1f4de}"] {
        let name = text.repeat(2_000);
        let mut out = Vec::new();
        let bits = |n: u32| if n.is_multiple_of(2) { 133 } else { 133 | 0x100 };
        for n in 0..200 {
            let frame = serde_json::json!({
                "mt": "CallInfo", "user": 1, "call": 7, "state": bits(n), "conf": "c1", "msg": "r-ct",
                "peer": {"e164": format!("{n}{name}"), "dn": format!("{n}{name}")},
                "no": [{"type": "leg2", "e164": format!("{n}{name}"), "dn": name}],
            });
            let Ok(Frame::Rcc(RccFrame::CallInfo(info))) = Frame::parse(&frame.to_string()) else {
                panic!("not a CallInfo")
            };
            out.extend(report(&mut calls, info.into_report(1), at(f64::from(n))));
        }
        // From here on it is only held and retrieved.
        for n in 200..10_000 {
            out.extend(report(&mut calls, leg(7, bits(n)), at(f64::from(n))));
        }
        out.extend(report(&mut calls, leg(7, 134).del(), at(10_000.0)));
        let end = events(&out).last().map(|event| shared::event::message::seal(event).expect("JSON")).expect("an end");
        assert!(end.len() < MESSAGE, "{} bytes", end.len());
    }
}

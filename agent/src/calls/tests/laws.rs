//! Laws that hold whatever the PBX sends.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;
use shared::event::CallDetails;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Report {
        user: bool,
        call: u64,
        bits: u32,
        conf: Option<u8>,
        peer: Option<u8>,
        cause: Option<u16>,
        parked: bool,
        sent: bool,
        del: bool,
    },
    /// The table answers a question; until then, what is reported waits.
    Answer,
    Tick,
    Lose,
    Settle,
    /// The agent is killed and started again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let bits = prop_oneof![
        8 => prop::sample::select(vec![129u32, 131, 132, 133, 134, 135, 1, 3, 4, 5, 6, 7]),
        2 => prop::sample::select(vec![0u32, 8, 136, 261, 389, 517, 645, 263, 1156]),
        1 => 0u32..2048,
    ];
    let report = (any::<bool>(), 0u64..4, bits, prop::option::of(0u8..3), prop::option::of(0u8..3))
        .prop_flat_map(|(user, call, bits, conf, peer)| {
            (
                Just((user, call, bits, conf, peer)),
                prop::option::of(prop_oneof![0u16..128, Just(TAKEN_ELSEWHERE)]),
                prop::bool::weighted(0.1),
                prop::bool::weighted(0.1),
                prop::bool::weighted(0.2),
            )
        })
        .prop_map(|((user, call, bits, conf, peer), cause, parked, sent, del)| Step::Report {
            user,
            call,
            bits,
            conf,
            peer,
            cause,
            parked,
            sent,
            del,
        });
    prop_oneof![20 => report, 10 => Just(Step::Answer), 3 => Just(Step::Tick), 1 => Just(Step::Lose), 1 => Just(Step::Settle), 1 => Just(Step::Restart)]
}

/// Plays the steps and then lets everything end, as it would after the PBX had gone away for good.
fn run(steps: &[Step]) -> Vec<Output> {
    let (mut calls, mut disk) = (core(), Disk::default());
    let mut session = 1;
    let mut out = Vec::new();
    let mut questions: VecDeque<LegId> = VecDeque::new();
    let mut now = at(0.0);
    for (n, step) in steps.iter().enumerate() {
        now = at(n as f64 * 0.7);
        let outputs = match step {
            Step::Report { user, call, bits, conf, peer, cause, parked, sent, del } => {
                let mut report = leg(*call, 0).session(session).user_handle(u64::from(*user));
                report.state = Phase::from_state(*bits).map(|_| state(*bits));
                report.conference = conf.map(|conf| Arc::from(format!("c{conf}")));
                report.peer = peer.map(|peer| party(&peer.to_string()));
                report.cause = *cause;
                report.last = *del;
                if *parked {
                    report = report.related(Relation::ParkedTo, "77");
                }
                if *sent {
                    report = report.related(Relation::SentTo, "60");
                    report.state = Some(state(134));
                }
                calls.report(&guid(if *user { PHONE } else { OTHER }), report, now)
            }
            Step::Answer => questions.pop_front().map(|leg| calls.learn(leg, Some(&[]), now)).unwrap_or_default(),
            Step::Tick => calls.tick(now),
            Step::Lose => {
                session += 1;
                let out = calls.session_lost(now);
                calls.session_started(now);
                out
            }
            Step::Settle => calls
                .users_with_missing_calls()
                .iter()
                .flat_map(|user| settle(&mut calls, user, Some(0), None, &[], now))
                .collect(),
            Step::Restart => {
                session += 1;
                questions.clear();
                calls = started(disk.restore(n as u128 + 1, now), now);
                Vec::new()
            }
        };
        disk.keep(&mut calls, now);
        if matches!(step, Step::Settle) {
            disk.repeated.clear(); // Its evidence is a number of channels that changes and changes back within one moment.
        }
        for output in outputs {
            match output {
                Output::Ask(leg, _) => questions.push_back(leg),
                other => out.push(other),
            }
        }
    }
    let end = now + SignedDuration::from_secs(10);
    out.extend(calls.session_lost(end));
    calls.session_started(end);
    out.extend(calls.tick(end + SignedDuration::from_hours(5)));
    assert_eq!(calls.live_calls(), 0, "a call without an end");
    assert!(disk.repeated.is_empty(), "records were serialised that had not changed: {:#?}", disk.repeated);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn each_call_has_each_status_once_and_in_order(steps in prop::collection::vec(step(), 0..60)) {
        let mut told: HashMap<CallId, Vec<Status>> = HashMap::new();
        let out = run(&steps);
        for event in events(&out) {
            let before = told.entry(event.call_id()).or_default();
            prop_assert!(before.iter().all(|status| *status < event.status()), "{before:?} then {:?}\n{}", event.status(), show(&out));
            before.push(event.status());
        }
        for (call, statuses) in told {
            prop_assert_eq!(statuses.last(), Some(&Status::Disconnected), "{} has no end\n{}", call, show(&out));
        }
    }

    #[test]
    fn beginning_and_answer_of_a_call_never_change(steps in prop::collection::vec(step(), 0..60)) {
        let out = run(&steps);
        let (mut begun, mut answered) = (HashMap::new(), HashMap::new());
        for event in events(&out) {
            let told = &event.web_hook_event;
            prop_assert_eq!(*begun.entry(event.call_id()).or_insert(told.start_time), told.start_time, "{}", show(&out));
            if let Some(pickup) = told.pickup_time {
                prop_assert_eq!(*answered.entry(event.call_id()).or_insert(pickup), pickup, "{}", show(&out));
            }
        }
    }

    #[test]
    fn durations_and_flags_agree(steps in prop::collection::vec(step(), 0..60)) {
        for event in events(&run(&steps)) {
            let e = &event.web_hook_event;
            prop_assert_eq!(e.connected, e.pickup_time.is_some());
            match e.status {
                Status::Ringing => prop_assert!(!e.connected && !e.outgoing && e.conversation_time == -1 && e.total_time == -1),
                Status::Connected => prop_assert!(e.connected && e.conversation_time == 0 && e.total_time == -1),
                Status::Disconnected => {
                    prop_assert!(e.end_time.is_some() && e.total_time >= 0);
                    prop_assert_eq!(e.conversation_time >= 0, e.connected);
                    prop_assert!(e.conversation_time <= e.total_time);
                }
            }
        }
    }

    #[test]
    fn outcomes_exclude_each_other(steps in prop::collection::vec(step(), 0..60)) {
        for event in events(&run(&steps)) {
            let (e, details) = (&event.web_hook_event, event.details.clone().expect("details"));
            let CallDetails { missed, answered_elsewhere, abandoned, last_seen_at, .. } = details;
            prop_assert!(!(missed && answered_elsewhere) && (missed || !abandoned));
            prop_assert!(!(missed || answered_elsewhere) || (e.status == Status::Disconnected && !e.outgoing && !e.connected));
            prop_assert_eq!(last_seen_at.is_some(), event.inferred);
            prop_assert!(last_seen_at.is_none_or(|seen| seen <= event.occurred_at));
        }
    }

    #[test]
    fn what_is_remembered_begins_before_the_end_is_told(steps in prop::collection::vec(step(), 0..60)) {
        let out = run(&steps);
        for (n, output) in out.iter().enumerate() {
            if let Output::Event(event) = output
                && event.status() == Status::Disconnected
                && let Some((conference, direction, count)) = named_from(event)
            {
                let tells = |item: &LegItem| item.conference == conference && item.direction == direction && item.ended > count;
                let written = out[..n].iter().any(|output| matches!(output, Output::Remember(_, item) if tells(item)));
                prop_assert!(written, "{}", show(&out));
            }
        }
    }
}

/// What a call was named from; nothing for a call that never had a conference when it was named.
fn named_from(event: &CallEvent) -> Option<(String, Direction, u32)> {
    let conferences = (0..3).map(|n| format!("c{n}"));
    let directions = [Direction::Incoming, Direction::Outgoing];
    let spots = conferences.flat_map(|conference| directions.map(|direction| (conference.clone(), direction)));
    spots.flat_map(|(conference, direction)| (0..60).map(move |n| (conference.clone(), direction, n))).find(
        |(conference, direction, n)| {
            CallId::of_conference("master", &event.user_guid, conference, *direction, *n) == event.call_id()
        },
    )
}

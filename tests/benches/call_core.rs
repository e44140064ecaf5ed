//! How many reports the call core takes on one core.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use easyconnect_agent::calls::{
    Calls, LegId, LegReport, LegState, Origin, Output, Party, Phase, UserGuid, UserIdentity,
};
use jiff::{SignedDuration, Timestamp};
use shared::event::Direction;
use uuid::Uuid;

use crate::report::Report;

const USERS: u64 = 500;
const CALLS: u64 = 200_000;
const GOAL: f64 = 500_000.0;

pub(crate) fn measure(report: &mut Report) {
    let origin = Origin { pbx_id: Arc::from("master"), agent_id: Arc::from("bench/1") };
    let mut calls = Calls::new(origin, Uuid::nil());
    let users: Vec<UserGuid> = (0..USERS).map(|n| Arc::from(format!("{n:032x}"))).collect();
    for (n, user) in users.iter().enumerate() {
        calls.user_is(
            user.clone(),
            UserIdentity { extension: n.to_string(), name: format!("User {n}"), ..UserIdentity::default() },
        );
    }
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let peer = Party { number: "00472591687".to_owned(), name: String::new(), e164: None, object: false };

    // The reports are made beforehand, so that only the core is timed.
    let phases = [Phase::Setup, Phase::Proceeding, Phase::Alerting, Phase::Connected, Phase::DisconnectSent];
    let mut reports = Vec::with_capacity((CALLS * 6) as usize);
    for call in 0..CALLS {
        let user = call % USERS;
        let conference: Arc<str> = Arc::from(format!("{call:032x}"));
        for (n, phase) in phases.iter().chain([&Phase::DisconnectSent]).enumerate() {
            let state =
                LegState { phase: *phase, direction: Direction::Incoming, held_by_user: false, held_by_peer: false };
            reports.push((
                user,
                LegReport {
                    leg: LegId { session: 1, user, call },
                    state: Some(state),
                    conference: Some(conference.clone()),
                    peer: (n == 0).then(|| peer.clone()),
                    related: Vec::new(),
                    peer_changed: false,
                    cause: (n >= 4).then_some(16),
                    running_for: None,
                    last: n == 5,
                },
            ));
        }
    }

    let (count, begun) = (reports.len(), Instant::now());
    let mut events = 0u64;
    for (n, (user, report)) in reports.into_iter().enumerate() {
        let now = start + SignedDuration::from_millis(n as i64);
        for output in calls.report(&users[user as usize], report, now) {
            events += u64::from(matches!(black_box(output), Output::Event(_)));
        }
    }
    let per_second = count as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(events, CALLS * 3, "each call rings, connects and ends");
    report.line("call core", &format!("{per_second:.0} /s"), "-", "CallInfo/s >= 500,000", per_second >= GOAL);
}

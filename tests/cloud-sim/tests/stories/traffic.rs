//! Calls as they come: some are answered, some are missed, some go out; their events follow each other by seconds.

use std::time::Duration;

use jiff::Timestamp;
use shared::event::{CallEvent, Status};
use shared::ids::CallId;
use tokio::time::{Instant, sleep_until};

use crate::stack::Stack;

/// How much later than the first agent another one may report the same event.
const LATER: Duration = Duration::from_secs(3);

/// How many calls there are, and how they lie in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub(crate) calls: usize,
    /// They begin within this time.
    pub(crate) over: Duration,
    /// Between two events of a call, at most.
    pub(crate) gap: Duration,
}

impl Traffic {
    /// As people call.
    pub(crate) fn usual(calls: usize) -> Self {
        Self { calls, over: Duration::from_secs(20), gap: Duration::from_secs(8) }
    }

    /// All at once, and each over in a second or two.
    pub(crate) fn burst(calls: usize) -> Self {
        Self { calls, over: Duration::from_millis(300), gap: Duration::from_millis(500) }
    }
}

/// An event to come.
#[derive(Debug)]
struct Due {
    at: Instant,
    agent: usize,
    call: CallId,
    status: Status,
    /// When it happens, which is the same for all agents.
    occurred_at: Timestamp,
}

impl Stack {
    /// Lets calls happen, and returns when all their events were reported.
    pub(crate) async fn traffic(&self, traffic: Traffic) -> Vec<CallId> {
        let begun = (Instant::now(), self.cloud.now());
        let mut due: Vec<Due> = Vec::new();
        let mut calls = Vec::new();
        for _ in 0..traffic.calls {
            let call = CallId::from_uuid(self.chance.random().uuid());
            calls.push(call);
            let mut happens = self.chance.between(Duration::ZERO, traffic.over);
            for status in self.statuses() {
                let occurred_at = begun.1.checked_add(happens).expect("a time");
                for agent in 0..self.agents.len() {
                    let later = if agent == 0 { Duration::ZERO } else { self.chance.between(Duration::ZERO, LATER) };
                    due.push(Due { at: begun.0 + happens + later, agent, call, status, occurred_at });
                }
                // An agent reports a call's events in order, also one that is late.
                let latest = if self.agents.len() > 1 { LATER } else { Duration::ZERO };
                happens += latest + self.chance.between(Duration::from_millis(20), traffic.gap);
            }
        }
        due.sort_by_key(|due| (due.at, due.agent, due.call));
        for Due { at, agent, call, status, occurred_at } in due {
            sleep_until(at).await;
            self.expect(call, status);
            let event = (call.to_string(), status.sequence().into());
            self.occurred.lock().expect("no panic").insert(event, occurred_at);
            self.agents[agent].report(&CallEvent::example(call, status, occurred_at));
        }
        calls
    }

    /// One call with these events, one after the other. `before` comes when its id is known.
    pub(crate) async fn traffic_of_one(&self, statuses: &[Status], before: impl Fn(&Self, CallId)) -> CallId {
        let call = CallId::from_uuid(self.chance.random().uuid());
        before(self, call);
        for status in statuses {
            self.expect(call, *status);
            self.agents[0].report(&CallEvent::example(call, *status, self.cloud.now()));
        }
        call
    }

    fn statuses(&self) -> Vec<Status> {
        match self.chance.number(1, 5) {
            1 => vec![Status::Ringing, Status::Disconnected],
            2 => vec![Status::Connected, Status::Disconnected],
            _ => vec![Status::Ringing, Status::Connected, Status::Disconnected],
        }
    }

    /// Who has to have the event; it also has to lie under its call, and in the feed.
    pub(crate) fn expect(&self, call: CallId, status: Status) {
        let audience = self.audience(status);
        for who in audience.iter().map(String::as_str).chain(["record", "feed"]) {
            self.ledger.sent(&format!("{who} {call}"), status.sequence().into());
        }
    }
}

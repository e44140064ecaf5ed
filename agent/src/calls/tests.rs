//! Every sequence of calls that the PBX is known to produce, and the laws that hold for those it is not.

mod bounds;
mod evidence;
mod laws;
mod outcome;
mod restart;
mod sequences;
mod two_agents;
mod updates;
mod view;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use shared::event::{CallChange, CallEvent, Direction, Status};
use shared::ids::CallId;
use shared::tables::LegItem;
use uuid::Uuid;

use super::call_core::ALIASES;
use super::*;

pub(crate) const PHONE: &str = "00000000000000000000000000000042";
pub(crate) const OTHER: &str = "00000000000000000000000000000043";
const QUEUE: &str = "00000000000000000000000000000078";

pub(crate) fn at(seconds: f64) -> Timestamp {
    let base: Timestamp = "2022-09-16T11:57:43Z".parse().expect("a time");
    base + SignedDuration::from_secs_f64(seconds)
}

pub(crate) fn guid(text: &str) -> UserGuid {
    Arc::from(text)
}

fn user(extension: &str, name: &str) -> UserIdentity {
    UserIdentity { extension: extension.to_owned(), name: name.to_owned(), ..UserIdentity::default() }
}

fn origin() -> Origin {
    Origin { pbx_id: Arc::from("master"), agent_id: Arc::from("rack/1") }
}

pub(crate) fn core() -> Calls {
    started(Calls::new(origin(), Uuid::nil()), at(0.0))
}

/// The session begins and the PBX shows its users.
fn started(mut calls: Calls, now: Timestamp) -> Calls {
    calls.user_is(guid(PHONE), user("42", "Thomas De Wilde"));
    calls.user_is(guid(OTHER), user("43", "Reception"));
    calls.user_is(guid(QUEUE), UserIdentity { queue: true, ..user("78", "Support") });
    calls.session_started(now);
    calls
}

/// The disk of an agent: the last text of each record.
#[derive(Debug, Default)]
struct Disk {
    texts: HashMap<RecordKey, String>,
    seen: Option<Timestamp>,
    /// Records that were serialised, and what those of them said that had said it before.
    serialised: usize,
    repeated: Vec<String>,
}

impl Disk {
    fn keep(&mut self, calls: &mut Calls, now: Timestamp) {
        for (subject, text) in calls.changes() {
            match text {
                Some(text) => {
                    self.serialised += 1;
                    if self.texts.get(&subject) == Some(&text) {
                        self.repeated.push(text.clone());
                    }
                    self.texts.insert(subject, text);
                }
                None => drop(self.texts.remove(&subject)),
            }
            self.seen = Some(now);
        }
    }

    /// The core of the agent's next run, before it has its PBX.
    fn restore(&self, boot: u128, now: Timestamp) -> Calls {
        Calls::restore(origin(), Uuid::from_u128(boot), self.records(), now)
    }

    fn records(&self) -> Records {
        let mut records = Records::default();
        for (subject, text) in &self.texts {
            match subject {
                RecordKey::Call(_) => records.add_call(text),
                RecordKey::Spot(key) => records.add_spot(key, text),
            }
            .expect("a record");
        }
        if let Some(seen) = self.seen {
            records.seen_at(seen);
        }
        records
    }
}

pub(crate) fn state(bits: u32) -> LegState {
    LegState {
        phase: Phase::from_state(bits).expect("a phase"),
        direction: if bits & 0x80 == 0 { Direction::Outgoing } else { Direction::Incoming },
        held_by_user: bits & 0x100 != 0,
        held_by_peer: bits & 0x200 != 0,
    }
}

pub(crate) fn party(number: &str) -> Party {
    Party { number: number.to_owned(), name: format!("Name of {number}"), ..Party::default() }
}

/// A report in the making; `call` is the handle, `bits` the PBX's state.
pub(crate) fn leg(call: u64, bits: u32) -> LegReport {
    LegReport {
        leg: LegId { session: 1, user: 1, call },
        state: Some(state(bits)),
        conference: None,
        peer: None,
        related: Vec::new(),
        peer_changed: false,
        cause: None,
        running_for: None,
        last: false,
    }
}

impl LegReport {
    pub(crate) fn conf(mut self, conference: &str) -> Self {
        self.conference = Some(Arc::from(conference));
        self
    }

    pub(crate) fn peer(mut self, number: &str) -> Self {
        self.peer = Some(party(number));
        self
    }

    pub(crate) fn cause(mut self, cause: u16) -> Self {
        self.cause = Some(cause);
        self
    }

    pub(crate) fn related(mut self, relation: Relation, number: &str) -> Self {
        self.related.push((relation, party(number)));
        self
    }

    pub(crate) fn told(mut self) -> Self {
        self.peer_changed = true;
        self
    }

    pub(crate) fn user_handle(mut self, user: u64) -> Self {
        self.leg.user = user;
        self
    }

    pub(crate) fn session(mut self, session: u64) -> Self {
        self.leg.session = session;
        self
    }

    pub(crate) fn running(mut self, seconds: u64) -> Self {
        self.running_for = Some(seconds);
        self
    }

    pub(crate) fn del(mut self) -> Self {
        self.last = true;
        self
    }
}

/// Answers every question with "nothing is known", as a fresh table would.
pub(crate) fn settle_questions(calls: &mut Calls, outputs: Vec<Output>, now: Timestamp) -> Vec<Output> {
    let mut out = Vec::new();
    for output in outputs {
        match output {
            Output::Ask(leg, _) => out.extend(calls.learn(leg, Some(&[]), now)),
            other => out.push(other),
        }
    }
    out
}

/// Feeds reports of user 42, half a second apart, and returns the outputs.
pub(crate) fn play(calls: &mut Calls, start: f64, reports: Vec<LegReport>) -> Vec<Output> {
    let mut out = Vec::new();
    for (n, report) in reports.into_iter().enumerate() {
        let now = at(start + n as f64 / 2.0);
        let outputs = calls.report(&guid(PHONE), report, now);
        out.extend(settle_questions(calls, outputs, now));
    }
    out
}

/// Settles with evidence: the PBX keeps its count of the user's calls up to date, or tells none.
fn settle(
    calls: &mut Calls,
    user: &UserGuid,
    channels: Option<u32>,
    others_since: Option<Timestamp>,
    items: &[LegItem],
    now: Timestamp,
) -> Vec<Output> {
    calls.channels_are(user, channels.map(|channels| channels + 1));
    calls.channels_are(user, channels);
    calls.settle(user, others_since, items, now)
}

pub(crate) fn events(outputs: &[Output]) -> Vec<&CallEvent> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Event(event) => Some(&**event),
            _ => None,
        })
        .collect()
}

/// The events in a form that a person can check against the sequence.
pub(crate) fn show(outputs: &[Output]) -> String {
    let mut text = String::new();
    for event in events(outputs) {
        let e = &event.web_hook_event;
        let clock =
            |time: Option<shared::time::PublishedTime>| time.map_or("-".to_owned(), |t| t.to_text()[11..19].to_owned());
        let _ = writeln!(
            text,
            "{:12} {} {}->{} connected={} talk={} total={} start={} pickup={} end={} conf={} cause={:?}{}",
            e.status.as_str(),
            &e.call_id.to_string()[..8],
            e.from,
            e.to,
            e.connected,
            e.conversation_time,
            e.total_time,
            clock(Some(e.start_time)),
            clock(e.pickup_time),
            clock(e.end_time),
            e.conference_id,
            event.cause,
            if event.inferred { " inferred" } else { "" },
        );
        for c in &e.conference_events {
            let _ = writeln!(
                text,
                "    {:?} from {} to {}",
                c.kind,
                c.from.as_deref().unwrap_or("-"),
                c.to.as_deref().unwrap_or("-")
            );
        }
    }
    text
}

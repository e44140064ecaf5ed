//! What happened in the PBX, who could see it, and whether that is what a receiver was told.
//!
//! The simulator is looked at many times a second. What is demanded of an agent is only what it must have seen: it monitored
//! everybody, was well, and reached the cloud from before a call until a while after it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use shared::event::Status;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Scene;
use super::injector::View;
use crate::pbx::monitors;

const LOOK_EVERY: Duration = Duration::from_millis(25);
/// An agent that was well for so long after the end of a call has told all of it.
const TELLS_WITHIN: Duration = Duration::from_secs(3);
/// The cloud's clock tells whole seconds, so an agent's idea of it may be off by one.
const CLOCK_ERROR: jiff::SignedDuration = jiff::SignedDuration::from_millis(1500);

/// A call between an outside number and a desk that nobody hands on, so that it has one name from its beginning to its end.
#[derive(Clone, Debug, Default)]
struct Plain {
    /// What it was seen to go through.
    rang: bool,
    talked: bool,
    /// When it was seen alive last.
    alive: Option<(Instant, Timestamp)>,
    /// Which agents have seen all of it so far.
    seen_by: [bool; 2],
}

#[derive(Debug, Default)]
struct Pages {
    /// By the outside number and the desk.
    plain: BTreeMap<(String, String), Plain>,
    /// Every `UserCall` that the PBX has heard.
    user_calls: Vec<Value>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Pages>);

/// What came of the comparison.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    told: usize,
    calls: usize,
    plain: usize,
    /// Of the plain calls, how many an agent saw from beginning to end.
    pub well_seen: usize,
    inferred: usize,
    pub complaints: Vec<String>,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { told, calls, plain, well_seen, inferred, complaints } = self;
        write!(
            f,
            "told: {told} events of {calls} calls, {inferred} ends concluded; {well_seen} of {plain} plain calls were seen from \
             beginning to end by one agent; {} complaints",
            complaints.len()
        )
    }
}

impl Ledger {
    /// A plain call begins soon.
    pub(super) fn expect(&self, number: &str, desk: &str) {
        let key = (number.to_owned(), desk.to_owned());
        self.0.lock().expect("no panic").plain.insert(key, Plain::default());
    }

    pub(super) fn user_calls(&self) -> Vec<Value> {
        self.0.lock().expect("no panic").user_calls.clone()
    }

    fn look(&self, state: &Value, saw: [bool; 2], sees: [bool; 2]) {
        let now = (Instant::now(), Timestamp::now());
        let mut pages = self.0.lock().expect("no panic");
        for call in state["calls"].as_array().into_iter().flatten() {
            let legs = call["legs"].as_array().map(Vec::as_slice).unwrap_or_default();
            let numbers = legs.iter().filter_map(|leg| leg["number"].as_str());
            let pairs = numbers.flat_map(|number| legs.iter().map(move |leg| (number, leg)));
            for (number, leg) in pairs {
                let Some(desk) = leg["extension"].as_str() else { continue };
                let Some(plain) = pages.plain.get_mut(&(number.to_owned(), desk.to_owned())) else { continue };
                if plain.alive.is_none() {
                    plain.seen_by = [saw[0] && sees[0], saw[1] && sees[1]];
                }
                // What is left of a leg after its end is a tone.
                match leg["state"].as_str() {
                    Some("disconnected") => continue,
                    Some("alerting") => plain.rang |= leg["direction"] == "received",
                    Some("connected") => plain.talked = true,
                    _ => {}
                }
                plain.alive = Some(now);
            }
        }
        for plain in pages.plain.values_mut() {
            if plain.alive.is_some_and(|(at, _)| at.elapsed() < TELLS_WITHIN) {
                for (seen, sees) in plain.seen_by.iter_mut().zip(sees) {
                    *seen &= sees;
                }
            }
        }
    }

    fn keep(&self, entries: impl IntoIterator<Item = Value>) {
        let mut pages = self.0.lock().expect("no panic");
        for entry in entries {
            if entry["mt"] == "UserCall" && !pages.user_calls.contains(&entry) {
                pages.user_calls.push(entry);
            }
        }
    }

    /// Compares what happened with the events that a receiver accepted, in the order in which they came.
    pub(super) fn judge(&self, events: &[Value]) -> Judgement {
        let pages = self.0.lock().expect("no panic");
        let mut judgement = Judgement { told: events.len(), plain: pages.plain.len(), ..Judgement::default() };
        let mut calls: BTreeMap<&str, Vec<Status>> = BTreeMap::new();
        let mut by_parties: HashMap<(&str, &str), Vec<&Value>> = HashMap::new();
        for event in events {
            let text = |name: &str| event[name].as_str().unwrap_or_default();
            let status = serde_json::from_value(event["status"].clone()).expect("a status");
            calls.entry(text("CallId")).or_default().push(status);
            judgement.inferred += usize::from(event["inferred"] == true);
            let number = if event["outgoing"] == true { text("toE164") } else { text("fromE164") };
            by_parties.entry((number, text("monitoredExtension"))).or_default().push(event);
        }
        judgement.calls = calls.len();
        for (call, statuses) in &calls {
            if !statuses.is_sorted_by(|a, b| a < b) || statuses.last() != Some(&Status::Disconnected) {
                judgement.complaints.push(format!("call {call} was told as {statuses:?}"));
            }
        }
        for ((number, desk), plain) in &pages.plain {
            let told = by_parties.get(&(number.as_str(), desk.as_str())).map(Vec::as_slice).unwrap_or_default();
            let what = || format!("{number} with {desk}, {plain:?}: told {told:?}");
            let ids: BTreeSet<&str> = told.iter().filter_map(|event| event["CallId"].as_str()).collect();
            if ids.len() > 1 {
                judgement.complaints.push(format!("one call has {} names: {}", ids.len(), what()));
            }
            let has = |status: &str| told.iter().any(|event| event["status"] == status);
            let Some((_, alive)) = plain.alive else {
                continue; // The PBX was down when somebody dialled.
            };
            for end in told.iter().filter(|event| event["status"] == "disconnected") {
                let at: Timestamp = end["occurredAt"].as_str().unwrap_or_default().parse().expect("a time");
                if at + CLOCK_ERROR < alive {
                    judgement.complaints.push(format!("an end was told of a call that went on: {}", what()));
                }
            }
            if plain.seen_by.contains(&true) {
                judgement.well_seen += 1;
                let missing =
                    plain.rang && !has("ringing") || plain.talked && !has("connected") || !has("disconnected");
                if missing {
                    judgement.complaints.push(format!("something was not told: {}", what()));
                }
            }
        }
        judgement
    }
}

/// Looks until told to stop.
pub(super) async fn observe(scene: Arc<Scene>, views: [Arc<View>; 2], mut stopped: watch::Receiver<bool>) {
    let mut saw = [false; 2];
    let mut log_read_at: Option<Instant> = None;
    while !*stopped.borrow_and_update() {
        let state = scene.pbx.0.state();
        let sees = [0, 1].map(|n: usize| views[n].is_well() && monitors(&state, views[n].tls));
        scene.ledger.look(&state, saw, sees);
        saw = sees;
        // The simulator keeps its latest frames only.
        if log_read_at.is_none_or(|at| at.elapsed() > Duration::from_secs(2)) {
            log_read_at = Some(Instant::now());
            scene.ledger.keep(scene.pbx.0.log());
        }
        sleep(LOOK_EVERY).await;
    }
    scene.ledger.keep(scene.pbx.0.log());
}

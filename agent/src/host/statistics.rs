//! What the agent counts while it works. It is written where something happens, and read by the heartbeat, the metrics and
//! the administrator's questions, so that all of them tell the same.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::histogram;
use serde::{Deserialize, Serialize};
use shared::event::{CallEvent, Status};
use tokio::sync::broadcast;
use tracing::error;

/// From when the API had written a command to when its end was written down.
pub const COMMAND_SECONDS: &str = "easyconnect_agent_command_duration_seconds";
/// The latest events that are kept for `easyconnect-agent events`.
const RECENT: usize = 100;

/// With one name, neither agent knows that the other still sees the calls that it has lost itself.
const NAMESAKE: &str = "Another agent of this stack has the same name: give each its own `agent.name`.";

/// How the agent's work with a part of the cloud goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Working {
    /// It was not tried yet.
    Unknown,
    Yes,
    No,
}

/// The outcome of the latest attempt.
#[derive(Debug, Default)]
struct LatestAttempt(AtomicU8);

impl LatestAttempt {
    fn set(&self, worked: bool) {
        self.0.store(if worked { 1 } else { 2 }, Ordering::Relaxed);
    }

    fn get(&self) -> Working {
        match self.0.load(Ordering::Relaxed) {
            0 => Working::Unknown,
            1 => Working::Yes,
            _ => Working::No,
        }
    }
}

/// The parts of the cloud that the agent needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudLinks {
    pub events_queue: Working,
    pub commands_queue: Working,
    pub exchange_table: Working,
}

impl CloudLinks {
    /// Commands are heard, other agents hear of this one, and no event is being refused. That events were never sent does
    /// not speak against the queue: nobody may have called yet.
    pub fn is_working(self) -> bool {
        self.commands_queue == Working::Yes && self.exchange_table == Working::Yes && self.events_queue != Working::No
    }
}

/// The operation and the end of a command.
type Ended = (&'static str, &'static str);

#[derive(Debug)]
struct Counts {
    sessions: AtomicU64,
    events: [AtomicU64; 3],
    updates: AtomicU64,
    accepted_events: AtomicU64,
    hopeless_events: AtomicU64,
    nameless_calls: AtomicU64,
    commands: Mutex<BTreeMap<Ended, u64>>,
    events_queue: LatestAttempt,
    commands_queue: LatestAttempt,
    exchange_table: LatestAttempt,
    has_namesake: AtomicBool,
    recent: Mutex<VecDeque<Arc<CallEvent>>>,
    live: broadcast::Sender<Arc<CallEvent>>,
}

#[derive(Clone, Debug)]
pub struct Statistics(Arc<Counts>);

impl Default for Statistics {
    fn default() -> Self {
        Self(Arc::new(Counts {
            sessions: AtomicU64::default(),
            events: Default::default(),
            updates: AtomicU64::default(),
            accepted_events: AtomicU64::default(),
            hopeless_events: AtomicU64::default(),
            nameless_calls: AtomicU64::default(),
            commands: Mutex::default(),
            events_queue: LatestAttempt::default(),
            commands_queue: LatestAttempt::default(),
            exchange_table: LatestAttempt::default(),
            has_namesake: AtomicBool::default(),
            recent: Mutex::default(),
            live: broadcast::channel(RECENT).0,
        }))
    }
}

impl Statistics {
    /// The PBX accepted a login.
    pub fn session_begun(&self) {
        self.0.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// The agent saw an event. Updates are counted, and not shown to who listens.
    pub fn event(&self, event: &CallEvent) {
        if event.update.is_some() {
            self.0.updates.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.0.events[usize::from(event.status().sequence() - 1)].fetch_add(1, Ordering::Relaxed);
        let event = Arc::new(event.clone());
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.truncate(RECENT - 1);
        recent.push_front(event.clone());
        let _ = self.0.live.send(event); // Mostly nobody listens.
    }

    /// The events queue took an event.
    pub fn event_accepted(&self) {
        self.0.accepted_events.fetch_add(1, Ordering::Relaxed);
    }

    /// The events queue will never take an event.
    pub fn event_hopeless(&self) {
        self.0.hopeless_events.fetch_add(1, Ordering::Relaxed);
    }

    pub fn nameless_calls(&self, so_far: u64) {
        self.0.nameless_calls.store(so_far, Ordering::Relaxed);
    }

    /// The end of a command is written down, so long after the API had written the command.
    pub fn command_ended(&self, operation: &'static str, state: &'static str, age: Duration) {
        let mut commands = self.0.commands.lock().unwrap_or_else(PoisonError::into_inner);
        *commands.entry((operation, state)).or_default() += 1;
        histogram!(COMMAND_SECONDS, "operation" => operation).record(age);
    }

    pub fn events_queue(&self, worked: bool) {
        self.0.events_queue.set(worked);
    }

    pub fn commands_queue(&self, worked: bool) {
        self.0.commands_queue.set(worked);
    }

    pub fn exchange_table(&self, worked: bool) {
        self.0.exchange_table.set(worked);
    }

    /// Another agent has this one's name.
    pub fn has_namesake(&self, there_is_one: bool) {
        if there_is_one && !self.0.has_namesake.swap(there_is_one, Ordering::Relaxed) {
            error!("{NAMESAKE}");
        }
        self.0.has_namesake.store(there_is_one, Ordering::Relaxed);
    }

    /// The problem that the counts show, if any.
    pub fn problem(&self) -> Option<&'static str> {
        let cloud = self.cloud();
        if self.0.has_namesake.load(Ordering::Relaxed) {
            Some(NAMESAKE)
        } else if cloud.commands_queue == Working::No {
            Some("The commands queue cannot be heard; the log of the agent and its `check` tell why.")
        } else if cloud.exchange_table == Working::No {
            Some(
                "The exchange table does not answer, so commands are left to other agents; the log of the agent and its `check` tell why.",
            )
        } else if cloud.events_queue == Working::No {
            Some("The events queue takes nothing; the log of the agent and its `check` tell why.")
        } else {
            None
        }
    }

    pub fn cloud(&self) -> CloudLinks {
        CloudLinks {
            events_queue: self.0.events_queue.get(),
            commands_queue: self.0.commands_queue.get(),
            exchange_table: self.0.exchange_table.get(),
        }
    }

    /// Sessions after the first one.
    pub fn reconnects(&self) -> u64 {
        self.0.sessions.load(Ordering::Relaxed).saturating_sub(1)
    }

    pub fn events(&self) -> u64 {
        self.0.events.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub fn events_by_status(&self) -> impl Iterator<Item = (Status, u64)> {
        let counts = self.0.events.each_ref().map(|count| count.load(Ordering::Relaxed));
        [Status::Ringing, Status::Connected, Status::Disconnected].into_iter().zip(counts)
    }

    pub fn updates(&self) -> u64 {
        self.0.updates.load(Ordering::Relaxed)
    }

    pub fn accepted_events(&self) -> u64 {
        self.0.accepted_events.load(Ordering::Relaxed)
    }

    pub fn hopeless_events(&self) -> u64 {
        self.0.hopeless_events.load(Ordering::Relaxed)
    }

    pub fn calls_without_conference(&self) -> u64 {
        self.0.nameless_calls.load(Ordering::Relaxed)
    }

    pub fn commands(&self) -> BTreeMap<Ended, u64> {
        self.0.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many commands ended so.
    pub fn commands_ended(&self, state: &str) -> u64 {
        self.commands().iter().filter(|((_, ended), _)| *ended == state).map(|(_, count)| count).sum()
    }

    /// The latest events, oldest first, and all that come from now on; none is missed between them.
    pub fn listen(&self) -> (Vec<Arc<CallEvent>>, broadcast::Receiver<Arc<CallEvent>>) {
        let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        (recent.iter().rev().cloned().collect(), self.0.live.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use shared::ids::CallId;

    use super::*;

    fn call(name: u128) -> CallId {
        CallId::from_uuid(uuid::Uuid::from_u128(name))
    }

    #[tokio::test]
    async fn who_listens_misses_nothing_and_the_oldest_are_forgotten() {
        let statistics = Statistics::default();
        for name in 0..105 {
            statistics.event(&CallEvent::example(call(name), Status::Ringing, Timestamp::UNIX_EPOCH));
        }
        let (recent, mut live) = statistics.listen();
        statistics.event(&CallEvent::example(call(105), Status::Disconnected, Timestamp::UNIX_EPOCH));
        let names: Vec<CallId> = recent.iter().map(|event| event.call_id()).collect();
        assert_eq!(names, (5..105).map(call).collect::<Vec<_>>());
        assert_eq!(live.recv().await.expect("an event").call_id(), call(105));
        let counts: Vec<u64> = statistics.events_by_status().map(|(_, count)| count).collect();
        assert_eq!((counts, statistics.events()), (vec![105, 0, 1], 106));
    }

    #[test]
    fn the_cloud_works_unless_the_latest_attempt_failed() {
        let statistics = Statistics::default();
        assert!(!statistics.cloud().is_working(), "nothing is known yet");
        statistics.commands_queue(true);
        statistics.exchange_table(true);
        assert!(statistics.cloud().is_working(), "that nobody called is no fault");
        statistics.events_queue(false);
        assert!(!statistics.cloud().is_working());
        statistics.events_queue(true);
        statistics.commands_queue(false);
        assert!(!statistics.cloud().is_working());
    }

    #[test]
    fn commands_are_counted_by_their_ends() {
        let statistics = Statistics::default();
        for (operation, state) in [("MakeCall", "succeeded"), ("HoldCall", "succeeded"), ("MakeCall", "expired")] {
            statistics.command_ended(operation, state, Duration::from_millis(20));
        }
        assert_eq!((statistics.commands_ended("succeeded"), statistics.commands_ended("failed")), (2, 0));
        assert_eq!(statistics.commands()[&("MakeCall", "expired")], 1);
        statistics.session_begun();
        assert_eq!(statistics.reconnects(), 0);
        statistics.session_begun();
        assert_eq!(statistics.reconnects(), 1);
    }
}

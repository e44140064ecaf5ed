//! The heartbeat: writes the agent's status into the exchange table every ten seconds and on every change. A change of the
//! number of calls alone waits for the next heartbeat, because it changes all day.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use shared::agent_status::{self, AgentStatus, BEAT_EVERY};
use shared::clock::CloudClock;
use shared::ids::CommandId;
use shared::tables::{Exchange, SlotTaken};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::events::outbox::OutboxStatus;
use crate::host::access_key::AccessKeyAge;
use crate::host::statistics::Statistics;
use crate::host::status::ControllerStatus;
use crate::host::workers::Workers;

/// Changes come in bursts. Those within this time share a heartbeat.
const GATHER: Duration = Duration::from_millis(50);
const KEEP_SECONDS: i64 = 24 * 60 * 60;

/// Everything that the agent reports of itself.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub clock: CloudClock,
    pub agent_id: Arc<str>,
    pub name: String,
    pub os: String,
    pub started_at: Timestamp,
    pub status: watch::Receiver<ControllerStatus>,
    pub outbox: watch::Receiver<OutboxStatus>,
    /// The two-party commands of this agent.
    pub running: watch::Receiver<BTreeSet<CommandId>>,
    pub statistics: Statistics,
    pub workers: Workers,
    /// What is wrong with the configuration that was read last while the agent ran.
    pub configuration: watch::Receiver<Option<String>>,
    pub access_key: AccessKeyAge,
}

impl Snapshot {
    pub fn now(&self) -> AgentStatus {
        self.of(&self.status.borrow())
    }

    fn of(&self, status: &ControllerStatus) -> AgentStatus {
        let now = self.clock.now();
        let outbox = self.outbox.borrow();
        let age_of = |at: Timestamp| (now.as_millisecond() - at.as_millisecond()).max(0);
        AgentStatus {
            agent_id: self.agent_id.to_string(),
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pbx_id: status.pbx_id.as_deref().map(str::to_owned),
            slot: status.slot,
            pbx: status.link,
            session_since: status.session_since.map(Timestamp::as_millisecond),
            started_at: self.started_at.as_millisecond(),
            updated_at: now.as_millisecond(),
            visible_users: status.visible_users,
            live_calls: status.live_calls,
            waiting_events: u32::try_from(outbox.depth).unwrap_or(u32::MAX),
            prefixes: status.prefixes.clone(),
            running: self.running.borrow().iter().copied().collect(),
            vitals: agent_status::Vitals {
                os: self.os.clone(),
                reconnects: self.statistics.reconnects(),
                events: self.statistics.events(),
                dropped_events: outbox.dropped,
                oldest_event_age_ms: outbox.oldest.map(age_of),
                commands_succeeded: self.statistics.commands_ended("succeeded"),
                commands_failed: self.statistics.commands_ended("failed"),
                commands_expired: self.statistics.commands_ended("expired"),
                clock_ahead_ms: self.clock.machine_is_ahead_by().map(|ahead| ahead.as_millis() as i64),
                access_key_since: self.access_key.since().map(Timestamp::as_millisecond),
            },
            problem: joined(
                self.workers
                    .problem()
                    .or_else(|| status.problem.clone())
                    .or_else(|| outbox.problem.clone())
                    .or_else(|| self.statistics.problem().map(str::to_owned)),
                self.configuration.borrow().clone(),
            ),
            monitored_users: status.monitored_users,
            placed: Some(status.placed.clone()),
            refusals: status.refusals.clone(),
            expires_at: now.as_second() + KEEP_SECONDS,
        }
    }
}

/// What is wrong with the configuration may be why something else is wrong, so neither hides the other.
fn joined(problem: Option<String>, configuration: Option<String>) -> Option<String> {
    match (problem, configuration) {
        (Some(problem), Some(configuration)) => Some(format!("{problem}; {configuration}")),
        (problem, configuration) => problem.or(configuration),
    }
}

/// The system by the name that it gives itself, and its processor.
pub fn os() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    format!("{}, {}", name.map_or(std::env::consts::OS, |name| name.trim_matches('"')), std::env::consts::ARCH)
}

/// `M` is a message to the controller.
#[derive(Debug)]
pub struct Heartbeat<M> {
    pub exchange: Exchange,
    pub snapshot: Snapshot,
    /// Gets the two-party commands that a heartbeat has listed, once it is written.
    pub listed: watch::Sender<BTreeSet<CommandId>>,
    pub controller: mpsc::Sender<M>,
    /// The message that the PBX's slot has changed.
    pub slot_is: fn(SlotTaken) -> M,
    /// How many slots this agent knows the commands queues of.
    pub queues: usize,
}

impl<M> Heartbeat<M> {
    /// Writes heartbeats until stopped, then a final one.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut beat = interval(BEAT_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut two_party_commands = self.snapshot.running.clone();
        let mut told = ControllerStatus::starting();
        loop {
            tokio::select! {
                biased;
                _ = beat.tick() => {}
                changed = self.snapshot.status.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    sleep(GATHER).await;
                    if self.snapshot.status.borrow_and_update().is_same_but_for_calls(&told) {
                        continue;
                    }
                }
                // A command waits until it is listed, so this heartbeat is written at once.
                Ok(()) = two_party_commands.changed() => {}
                () = stop.cancelled() => break,
            }
            let status = self.snapshot.status.borrow_and_update().clone();
            two_party_commands.mark_unchanged();
            self.beat(&status).await;
            told = status;
        }
        let last = self.snapshot.now();
        let left = if last.running.is_empty() {
            self.exchange.leave(&self.snapshot.agent_id).await
        } else {
            // Another agent has to find the commands that are not finished.
            self.exchange.beat(&last.gone()).await
        };
        if let Err(error) = left {
            warn!("The agent leaves without saying so: {error}");
        }
    }

    async fn beat(&self, status: &ControllerStatus) {
        let item = self.snapshot.of(status);
        let beaten = self.exchange.beat(&item).await;
        self.snapshot.statistics.exchange_table(beaten.is_ok());
        match beaten {
            Ok(()) => {
                drop(self.listed.send_replace(item.running.into_iter().collect()));
                self.snapshot.access_key.accepted(&self.snapshot.clock);
            }
            Err(error) => warn!("The heartbeat was not heard: {error}"),
        }
        let Some(pbx_id) = &status.pbx_id else { return };
        match self.exchange.take_slot(pbx_id, self.queues).await {
            Ok(SlotTaken::Slot(slot)) if status.slot == Some(slot) => {}
            // While the table was out of reach nobody knew it, or an administrator has freed it.
            Ok(taken) => drop(self.controller.try_send((self.slot_is)(taken))),
            Err(error) => warn!("The slot of the PBX is not confirmed: {error}"),
        }
    }
}

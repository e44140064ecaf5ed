//! Ends what a two-party command has begun, on this agent or on a dead one.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use shared::agent_status::AgentStatus;
use shared::codes::Code;
use shared::command::{ACT_WITHIN, CommandState, Dial, Stage};
use shared::ids::{CallId, CommandId};
use shared::operation::Operation;
use shared::tables::TableError;
use shared::time::from_millis;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::context::{TwoPartyCommands, named};
use crate::commands::request::ControllerRequest;
use crate::host::status::ControllerStatus;
use crate::pbx::session::FIRST_SETTLING;

/// A PBX that is out of reach for longer will have lost its calls, or the parties will have hung up.
const PATIENCE: Duration = Duration::from_secs(120);
/// From a frame until its call is seen, and how far the clocks of two agents may differ.
const BEGINS_WITHIN: Duration = Duration::from_secs(4);
/// From the beginning of a call that a command for one call has placed until its agent counts it among its own.
const NAMED_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Whether what was begun has been ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupResult {
    Yes,
    /// The PBX was out of reach for too long, or refused.
    OutOfReach,
    /// The agent stops while the PBX is out of reach.
    Stopped,
}

/// Whether a call that began then may be the one that this dial caused. The frame of a dial goes out while its command may act, or not
/// at all; what a queue calls later is somebody else's.
pub fn may_have_caused(dial: &Dial, begun: Timestamp) -> bool {
    let latest = from_millis(dial.at).checked_add(ACT_WITHIN + BEGINS_WITHIN);
    latest.is_ok_and(|latest| begun <= latest)
}

/// The calls of other commands.
#[derive(Debug, Default)]
struct OtherCommands {
    named: BTreeSet<CallId>,
    /// Dialled, and not named yet: any call to this number may be theirs.
    unnamed: Vec<Dial>,
    /// Up to when the other agents have told which calls their commands for one call have placed; `None`: nobody else is there.
    told_until: Option<i64>,
}

impl TwoPartyCommands {
    /// Ends the calls of these dials: those that are named, and for a dial without a name the calls to its number that no
    /// other command names. Waits for the PBX session, and after a new one began until its calls have come back.
    pub async fn clean_up(&self, id: CommandId, dials: &[Dial], stop: &CancellationToken) -> CleanupResult {
        if dials.is_empty() {
            return CleanupResult::Yes;
        }
        let until = Instant::now() + PATIENCE;
        let mut status = self.status.clone();
        loop {
            let since = tokio::select! {
                biased;
                up = timeout_at(until, status.wait_for(ControllerStatus::is_up)) => match up {
                    Ok(Ok(status)) => status.session_since,
                    Ok(Err(_)) => return CleanupResult::Stopped,
                    Err(_) => return CleanupResult::OutOfReach,
                },
                () = stop.cancelled() => return CleanupResult::Stopped,
            };
            let ended = self.sweep(id, dials).await;
            if ended && sees_everything(dials, since, self.clock.now()) {
                return CleanupResult::Yes;
            }
            if Instant::now() >= until {
                return CleanupResult::OutOfReach;
            }
            sleep(LOOK_AGAIN_AFTER).await;
        }
    }

    /// Ends the calls that are there now. Returns whether none of them is left.
    async fn sweep(&self, id: CommandId, dials: &[Dial]) -> bool {
        let (mut calls, mut all): (BTreeSet<CallId>, bool) = (named(dials).collect(), true);
        let mut unnamed = Vec::new();
        for dial in dials.iter().filter(|dial| dial.call_id.is_none()) {
            match self.calls_of(dial).await {
                Some(found) if found.is_empty() => {}
                Some(found) => unnamed.push((dial, found)),
                None => all = false,
            }
        }
        if !unnamed.is_empty() {
            match self.others(id).await {
                Ok(others) => {
                    for (dial, mut found) in unnamed {
                        found.retain(|call| !others.named.contains(call));
                        // A call that another command may name in a moment is left alone until then.
                        if found.is_empty() || !others.may_own(dial) {
                            calls.extend(found);
                        } else {
                            all = false;
                        }
                    }
                }
                Err(error) => {
                    warn!(command.id = %id, "Calls without a name are left for now: {error}");
                    all = false;
                }
            }
        }
        for call_id in calls {
            match self.operate(Operation::DisconnectCall { call_id, cause: None }).await {
                Err(refusal) if refusal.code != Code::CallNotFound => {
                    warn!(command.id = %id, call.id = %call_id, code = refusal.code.as_str(), "A call is not ended yet");
                    all = false;
                }
                _ => {}
            }
        }
        all
    }

    async fn calls_of(&self, dial: &Dial) -> Option<Vec<CallId>> {
        let (reply, answer) = oneshot::channel();
        self.controller.send(ControllerRequest::CallsOf { dial: dial.clone(), reply }).await.ok()?;
        answer.await.ok()
    }

    /// The calls of all agents' commands but this one.
    async fn others(&self, id: CommandId) -> Result<OtherCommands, TableError> {
        let agents = self.exchange.known_agents().await?;
        let mut others = OtherCommands::of(&agents, id, self.clock.now());
        let running: BTreeSet<CommandId> = agents.into_iter().flat_map(|agent| agent.running).collect();
        for other in running.into_iter().filter(|other| *other != id) {
            let Some(command) = self.exchange.command(other).await? else { continue };
            if command.state != CommandState::Running {
                continue;
            }
            others.named.extend(named(&command.dials));
            // A command that is being cleaned up, like this one, places no call any more.
            if command.stage != Some(Stage::CleaningUp) {
                others.unnamed.extend(command.dials.into_iter().filter(|dial| dial.call_id.is_none()));
            }
        }
        Ok(others)
    }
}

impl OtherCommands {
    /// What the heartbeats tell of commands for one call. Of those of this agent the controller knows itself, and neither it nor the dead
    /// owner, in whose heartbeats the command stands, is waited for.
    fn of(agents: &[AgentStatus], id: CommandId, now: Timestamp) -> Self {
        let named = agents.iter().flat_map(|agent| agent.placed.iter().flatten()).copied().collect();
        let is_at_work = |agent: &&AgentStatus| agent.can_act(now) && !agent.running.contains(&id);
        let told = agents.iter().filter(is_at_work).filter(|agent| agent.placed.is_some());
        Self { named, unnamed: Vec::new(), told_until: told.map(|agent| agent.updated_at).min() }
    }

    fn may_own(&self, dial: &Dial) -> bool {
        let names_by = dial.at + (ACT_WITHIN + BEGINS_WITHIN + NAMED_WITHIN).as_millis() as i64;
        self.told_until.is_some_and(|told| told < names_by)
            || self.unnamed.iter().any(|other| other.via == dial.via && other.number == dial.number)
    }
}

/// Whether this session shows every call that these dials may have caused: it was there when they were made, or what was
/// there before it has had its time to come back.
fn sees_everything(dials: &[Dial], since: Option<Timestamp>, now: Timestamp) -> bool {
    let Some(since) = since else { return false };
    let saw_all = dials.iter().all(|dial| dial.at >= since.as_millisecond());
    saw_all || now.duration_since(since).unsigned_abs() >= FIRST_SETTLING
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::identity::tests::agent;

    fn dial(number: &str, at: i64) -> Dial {
        Dial { via: "77".to_owned(), number: number.to_owned(), at, call_id: None }
    }

    #[test]
    fn calls_of_an_earlier_session_have_time_to_come_back() {
        let since = from_millis(100_000);
        let sees = |at, now| sees_everything(&[dial("50", 200_000), dial("51", at)], Some(since), from_millis(now));
        assert!(sees(100_000, 100_001));
        assert!(!sees(99_999, 104_999));
        assert!(sees(99_999, 105_000));
        assert!(!sees_everything(&[], None, from_millis(200_000)));
    }

    #[test]
    fn only_a_call_that_began_with_the_dial_may_be_its_own() {
        let begins = |begun| may_have_caused(&dial("50", 100_000), from_millis(begun));
        assert!(begins(100_000) && begins(109_000));
        assert!(!begins(110_500), "its frame would have been too late");
    }

    #[test]
    fn call_of_another_agent_s_command_for_one_call_is_left_alone() {
        let id = CommandId::random();
        let call = CallId::of_handle(uuid::Uuid::nil(), 1, 1, 1);
        let at = |updated_at: i64, placed: &[CallId]| AgentStatus {
            placed: Some(placed.to_vec()),
            ..agent("other", updated_at)
        };
        let dead = AgentStatus { running: vec![id], ..at(100_000, &[]) };
        let now = from_millis(116_000);
        let alone = OtherCommands::of(std::slice::from_ref(&dead), id, now);
        assert!(!alone.may_own(&dial("50", 100_000)), "nobody else could have dialled");
        // Until the other agent has had the time to dial and to tell it, the call may be its own.
        let early = OtherCommands::of(&[dead.clone(), at(114_999, &[])], id, now);
        assert!(early.may_own(&dial("50", 100_000)));
        let late = OtherCommands::of(&[dead, at(115_000, &[call])], id, now);
        assert!(!late.may_own(&dial("50", 100_000)) && late.named.contains(&call));
        // An agent from before does not tell, and a stale one never will.
        for silent in [AgentStatus { placed: None, ..at(100_000, &[]) }, at(80_000, &[])] {
            assert!(!OtherCommands::of(&[silent], id, now).may_own(&dial("50", 100_000)));
        }
    }

    #[test]
    fn dial_of_another_command_without_a_name_protects_its_number() {
        let others = OtherCommands { unnamed: vec![dial("50", 0)], ..OtherCommands::default() };
        assert!(others.may_own(&dial("50", 7)));
        assert!(!others.may_own(&dial("51", 7)));
    }
}

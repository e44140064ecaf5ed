//! Recovery: ends what the commands of dead agents have begun, and finds out whether this agent reports in their place.
//!
//! A crashed agent's two-party commands stand in its heartbeat. Once that is stale, or the agent of the same name is back, one of
//! the others makes such a command its own and only cleans up: nobody can know whether the parties still want to be
//! joined, but nobody is to be left in the queue.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use shared::agent_status::AgentStatus;
use shared::codes::Code;
use shared::command::{Refusal, Stage};
use shared::ids::CommandId;
use shared::tables::{Finish, TableError};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::commands::two_party::{CleanupResult, ProgressRecord, TwoPartyCommands, out_of_reach};
use crate::host::status::ControllerStatus;
use crate::peers::identity::{AgentIdentity, PeerRelation};

const LOOK_EVERY: Duration = Duration::from_secs(10);
/// At the start of a session other requests are more urgent.
const AFTER_OTHERS: Duration = Duration::from_millis(75);
const TELL_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Recovery {
    pub two_party: TwoPartyCommands,
    pub identity: AgentIdentity,
    /// Learns whether this agent is the one that reports updates of live calls.
    pub reporter: watch::Sender<bool>,
}

impl Recovery {
    /// Looks for agents that are gone, whenever the PBX session is up.
    pub async fn run(self, stop: CancellationToken) {
        let mut status = self.two_party.status.clone();
        loop {
            let up = async {
                let up = status.wait_for(ControllerStatus::is_up).await.is_ok();
                sleep(AFTER_OTHERS).await;
                up
            };
            tokio::select! {
                biased;
                up = up => if !up { return },
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.look(&stop).await {
                warn!("What other agents left undone is not known: {error}");
            }
            tokio::select! {
                biased;
                () = sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(&self, stop: &CancellationToken) -> Result<(), TableError> {
        let TwoPartyCommands { exchange, clock, results, .. } = &self.two_party;
        let agents = exchange.known_agents().await?;
        let now = clock.now();
        let pbx_id = self.two_party.status.borrow().pbx_id.clone();
        let relation = |agent: &AgentStatus| self.identity.relation(agent, pbx_id.as_deref(), clock);
        let is_gone = |agent: &&AgentStatus| is_gone(agent, relation(agent), now);
        let is_namesake = |agent: &AgentStatus| relation(agent) == PeerRelation::Namesake && agent.is_fresh(now);
        results.statistics.has_namesake(agents.iter().any(is_namesake));
        let is_reporter = self.identity.is_first(&agents, pbx_id.as_deref(), clock);
        self.reporter.send_if_modified(|known| std::mem::replace(known, is_reporter) != is_reporter);
        for gone in agents.iter().filter(|agent| !agent.running.is_empty()).filter(is_gone) {
            let ends = join_all(gone.running.iter().map(|id| self.end(*id, gone, stop))).await;
            let mut all_over = true;
            for end in ends {
                all_over &= end?;
            }
            if all_over {
                exchange.forget(gone).await?;
            }
        }
        Ok(())
    }

    /// Ends what one command has begun. Returns whether that is done, by this agent or another.
    async fn end(&self, id: CommandId, gone: &AgentStatus, stop: &CancellationToken) -> Result<bool, TableError> {
        let TwoPartyCommands { exchange, clock, random, agent_id, running, .. } = &self.two_party;
        // If this agent dies as well, another one finds the command in its heartbeat.
        let listed = running.list(id);
        if !listed.is_written(TELL_WITHIN).await {
            return Ok(false);
        }
        let token = random.uuid().to_string();
        let Some(command) = exchange.take_over(id, &gone.agent_id, &token, agent_id, clock.now()).await? else {
            return Ok(true);
        };
        info!(command.id = %id, agent = gone.agent_id, "Ending what another agent has begun");
        let record = ProgressRecord::keep(&self.two_party, id, &token, command.dials.clone(), Stage::CleaningUp);
        let cleaned = tokio::select! {
            biased;
            cleaned = self.two_party.clean_up(id, &command.dials, stop) => cleaned,
            () = record.taken_over() => return Ok(true),
        };
        drop(record);
        let refusal = match cleaned {
            CleanupResult::Yes => Refusal::with_detail(
                Code::Interrupted,
                "The agent that called the parties has failed; those of its calls that were still there were ended.",
            ),
            CleanupResult::OutOfReach => out_of_reach(),
            CleanupResult::Stopped => {
                listed.keep();
                return Ok(false);
            }
        };
        self.two_party.results.finish(&command, &token, &Finish::Done(Err(refusal))).await?;
        Ok(true)
    }
}

fn is_gone(agent: &AgentStatus, relation: PeerRelation, now: Timestamp) -> bool {
    match relation {
        // What an agent of another PBX has begun, only that PBX can end.
        PeerRelation::Own | PeerRelation::Elsewhere => false,
        PeerRelation::PreviousRun => true,
        PeerRelation::Namesake | PeerRelation::Other => !agent.is_fresh(now),
    }
}

#[cfg(test)]
mod tests {
    use shared::time::from_millis;

    use super::*;
    use crate::peers::identity::tests::agent;

    #[test]
    fn gone_is_who_is_stale_or_was_this_agent_before() {
        let gone = |relation, updated_at| is_gone(&agent("some", updated_at), relation, from_millis(120_000));
        assert!(!gone(PeerRelation::Other, 99_999), "it is fresh");
        assert!(!gone(PeerRelation::Elsewhere, 0), "its calls are at another PBX");
        assert!(gone(PeerRelation::Other, 89_999));
        assert!(gone(PeerRelation::PreviousRun, 119_999), "nobody but this agent has its name");
        assert!(!gone(PeerRelation::Namesake, 110_000), "two agents have one name, and both are there");
        assert!(gone(PeerRelation::Other, 0), "it has left, and left something undone");
    }
}

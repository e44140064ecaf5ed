//! Which agents hear of a command: those of the PBX that it is for, by the queue of the slot that they report.
//!
//! An agent of an earlier version reports none and listens at the first one. A command for a call that nobody has recorded yet is announced
//! to all PBXs: the one that sees the call carries it out, and the others decline it.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use shared::agent_status::AgentStatus;
use shared::codes::Code;
use shared::command::Command;
use shared::envelope;

use crate::context::Context;
use crate::errors::{ApiError, in_time};

const FIRST: usize = 1;

fn slot_of(agent: &AgentStatus) -> usize {
    agent.slot.unwrap_or(FIRST)
}

/// Whether these agents are at several PBXs.
pub(crate) fn are_at_several_pbxs(agents: &[AgentStatus]) -> bool {
    agents.iter().filter_map(|agent| agent.pbx_id.as_deref()).collect::<BTreeSet<_>>().len() > 1
}

/// The slots whose agents are to hear of a command.
pub(crate) fn slots_for(command: &Command, agents: &[AgentStatus], now: Timestamp) -> BTreeSet<usize> {
    let able = || agents.iter().filter(|agent| agent.can_act(now));
    let mut slots: BTreeSet<usize> = match command.pbx.as_deref() {
        Some(pbx) => able().filter(|agent| agent.is_at(pbx)).map(slot_of).collect(),
        None if command.operation.call_ids().is_empty() => able().map(slot_of).min().into_iter().collect(),
        None => able().map(slot_of).collect(),
    };
    if slots.is_empty() {
        slots.insert(FIRST);
    }
    slots
}

/// Sends the messages that bring agents to the command.
pub(crate) async fn ring(context: &Context, command: &Command, slots: &BTreeSet<usize>) -> Result<(), ApiError> {
    let message = envelope::seal(&command.doorbell()).map_err(|_| ApiError::new(Code::Internal))?;
    let doorbells = slots.iter().filter_map(|slot| context.doorbells.get(slot.saturating_sub(1)));
    try_join_all(doorbells.map(|doorbell| in_time(doorbell.send(message.clone())))).await.map(drop)
}

#[cfg(test)]
mod tests {
    use shared::agent_status::PbxLink;
    use shared::operation::{DialOptions, Operation};
    use shared::time::from_millis;

    use super::*;
    use crate::tests::{CALL_ID, agent, command};

    fn at(pbx: &str, slot: Option<usize>, link: PbxLink) -> AgentStatus {
        AgentStatus { pbx_id: Some(pbx.to_owned()), slot, ..agent(pbx, link) }
    }

    #[test]
    fn only_the_agents_of_one_pbx_hear_of_a_command() {
        let now = from_millis(1_700_000_005_000);
        let call = Operation::MakeCall { from: "42".to_owned(), to: "50".to_owned(), options: DialOptions::default() };
        let answer = Operation::AnswerCall { call_id: CALL_ID.parse().expect("an id") };
        let (up, down) = (PbxLink::Up, PbxLink::Down);
        let agents =
            [at("master", None, up), at("master", Some(1), up), at("branch", Some(3), up), at("away", Some(2), down)];
        let slots = |operation: &Operation, pbx: Option<&str>, agents: &[AgentStatus]| -> Vec<usize> {
            let command = Command { pbx: pbx.map(str::to_owned), ..command(operation.clone()) };
            slots_for(&command, agents, now).into_iter().collect()
        };
        assert_eq!(slots(&call, Some("branch"), &agents), [3]);
        assert_eq!(slots(&call, Some("master"), &agents), [1]);
        assert_eq!(slots(&call, None, &agents), [1], "the directory does not know who acts");
        assert_eq!(slots(&call, None, &agents[2..]), [3]);
        assert_eq!(slots(&answer, Some("branch"), &agents), [3]);
        assert_eq!(slots(&answer, None, &agents), [1, 3], "nobody has recorded the call");
        assert_eq!(slots(&answer, None, &[]), [1]);
        assert!(are_at_several_pbxs(&agents) && !are_at_several_pbxs(&agents[..2]));
    }
}

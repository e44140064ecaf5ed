//! Which of the agents in the table is this one, or was it before a restart.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use shared::agent_status::AgentStatus;
use shared::clock::{BootTime, CloudClock};

/// Two agents' ideas of the cloud's time differ by less.
const CLOCK_ERROR: SignedDuration = SignedDuration::from_secs(2);

/// This agent as others see it.
#[derive(Clone, Debug)]
pub struct Own {
    pub agent_id: Arc<str>,
    /// As configured; it outlives a restart.
    pub name: String,
    pub born: BootTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinship {
    Own,
    /// It has not been heard of since this agent began.
    FormerSelf,
    /// It has this agent's name and is there at the same time: somebody gave one name to two agents.
    Namesake,
    Other,
}

impl Own {
    pub(crate) fn kinship(&self, agent: &AgentStatus, clock: &CloudClock) -> Kinship {
        self.kinship_at(agent, clock.at(self.born))
    }

    fn kinship_at(&self, agent: &AgentStatus, born: Timestamp) -> Kinship {
        if *agent.agent_id == *self.agent_id {
            Kinship::Own
        } else if agent.name != self.name {
            Kinship::Other
        } else if agent.updated_at > (born + CLOCK_ERROR).as_millisecond() {
            Kinship::Namesake
        } else {
            Kinship::FormerSelf
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use shared::agent_status::{PbxLink, Vitals};
    use shared::numbering::DialPrefixes;
    use shared::time::from_millis;

    use super::*;

    pub(crate) fn agent(name: &str, updated_at: i64) -> AgentStatus {
        AgentStatus {
            agent_id: format!("{name}/1"),
            name: name.to_owned(),
            version: String::new(),
            pbx_id: None,
            pbx: PbxLink::Up,
            session_since: None,
            started_at: 0,
            updated_at,
            visible_users: 0,
            live_calls: 0,
            waiting_events: 0,
            prefixes: DialPrefixes::default(),
            running: Vec::new(),
            vitals: Vitals::default(),
            problem: None,
            expires_at: 0,
        }
    }

    #[test]
    fn names_outlive_a_restart() {
        let kinship = |own_id: &str, name: &str, updated_at| {
            let own = Own { agent_id: own_id.into(), name: "own".to_owned(), born: BootTime::now() };
            own.kinship_at(&agent(name, updated_at), from_millis(100_000))
        };
        assert_eq!(kinship("own/1", "own", 120_000), Kinship::Own);
        assert_eq!(kinship("own/2", "own", 99_999), Kinship::FormerSelf);
        assert_eq!(kinship("own/2", "own", 101_999), Kinship::FormerSelf, "its clock may be ahead");
        assert_eq!(kinship("own/2", "own", 110_000), Kinship::Namesake);
        assert_eq!(kinship("own/2", "other", 99_999), Kinship::Other);
    }
}

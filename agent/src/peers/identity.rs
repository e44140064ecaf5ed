//! Which of the agents in the table is this one, or was it before a restart.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use shared::agent_status::AgentStatus;
use shared::clock::{BootTime, CloudClock};

/// Two agents' ideas of the cloud's time differ by less.
const CLOCK_ERROR: SignedDuration = SignedDuration::from_secs(2);

/// This agent as others see it.
#[derive(Clone, Debug)]
pub struct AgentIdentity {
    pub agent_id: Arc<str>,
    /// As configured; it outlives a restart.
    pub name: String,
    pub born: BootTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerRelation {
    Own,
    /// It has not been heard of since this agent began.
    PreviousRun,
    /// It has this agent's name and is there at the same time: somebody gave one name to two agents.
    Namesake,
    Other,
    /// It is an agent of another PBX, whatever its name.
    Elsewhere,
}

impl AgentIdentity {
    /// `pbx_id` is this agent's PBX.
    pub(crate) fn relation(&self, agent: &AgentStatus, pbx_id: Option<&str>, clock: &CloudClock) -> PeerRelation {
        let theirs = agent.pbx_id.as_deref();
        if theirs.is_some() && pbx_id.is_some() && theirs != pbx_id {
            return PeerRelation::Elsewhere;
        }
        self.relation_at(agent, clock.at(self.born))
    }

    /// Whether no agent of this PBX that can see calls stands before this one. Of all agents, the first one reports updates of live
    /// calls: there is no need to agree on that, because two reporters only say things twice.
    pub(crate) fn is_first(&self, agents: &[AgentStatus], pbx_id: Option<&str>, clock: &CloudClock) -> bool {
        let is_there = |agent: &&AgentStatus| {
            matches!(self.relation(agent, pbx_id, clock), PeerRelation::Other | PeerRelation::Namesake)
                && agent.can_act(clock.now())
                && agent.pbx_id.as_deref() == pbx_id
        };
        agents.iter().filter(is_there).all(|agent| *agent.agent_id > *self.agent_id)
    }

    fn relation_at(&self, agent: &AgentStatus, born: Timestamp) -> PeerRelation {
        if *agent.agent_id == *self.agent_id {
            PeerRelation::Own
        } else if agent.name != self.name {
            PeerRelation::Other
        } else if agent.updated_at > (born + CLOCK_ERROR).as_millisecond() {
            PeerRelation::Namesake
        } else {
            PeerRelation::PreviousRun
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
            slot: None,
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
            monitored_users: None,
            placed: None,
            refusals: Vec::new(),
            expires_at: 0,
        }
    }

    #[test]
    fn the_first_agent_that_can_see_calls_reports() {
        let clock = CloudClock::default();
        let own = AgentIdentity { agent_id: "m/1".into(), name: "m".to_owned(), born: clock.boot() };
        let now = clock.now().as_millisecond();
        let other = |name: &str| AgentStatus { pbx_id: Some("pbx".to_owned()), ..agent(name, now) };
        let is_first = |others: &[AgentStatus]| own.is_first(others, Some("pbx"), &clock);
        assert!(is_first(&[]) && is_first(&[other("z")]) && !is_first(&[other("z"), other("a")]));
        assert!(is_first(&[AgentStatus { updated_at: now - 31_000, ..other("a") }]), "it is gone");
        assert!(is_first(&[AgentStatus { pbx: PbxLink::Down, ..other("a") }]), "it sees nothing");
        assert!(is_first(&[AgentStatus { pbx_id: Some("another".to_owned()), ..other("a") }]));
        assert!(is_first(&[AgentStatus { agent_id: "m/0".to_owned(), ..other("m") }]), "its own life before");
    }

    #[test]
    fn agents_of_another_pbx_may_have_the_same_name() {
        let clock = CloudClock::default();
        let own = AgentIdentity { agent_id: "rack/1".into(), name: "rack".to_owned(), born: clock.boot() };
        let later = clock.now().as_millisecond() + 60_000;
        let other = |pbx: Option<&str>| AgentStatus {
            agent_id: "rack/2".to_owned(),
            pbx_id: pbx.map(str::to_owned),
            ..agent("rack", later)
        };
        let relation = |pbx: Option<&str>, own_pbx: Option<&str>| own.relation(&other(pbx), own_pbx, &clock);
        assert_eq!(relation(Some("branch"), Some("master")), PeerRelation::Elsewhere);
        assert_eq!(relation(Some("master"), Some("master")), PeerRelation::Namesake);
        assert_eq!(relation(None, Some("master")), PeerRelation::Namesake, "it may be of this PBX");
        assert_eq!(relation(Some("branch"), None), PeerRelation::Namesake);
    }

    #[test]
    fn names_outlive_a_restart() {
        let relation = |own_id: &str, name: &str, updated_at| {
            let own = AgentIdentity { agent_id: own_id.into(), name: "own".to_owned(), born: BootTime::now() };
            own.relation_at(&agent(name, updated_at), from_millis(100_000))
        };
        assert_eq!(relation("own/1", "own", 120_000), PeerRelation::Own);
        assert_eq!(relation("own/2", "own", 99_999), PeerRelation::PreviousRun);
        assert_eq!(relation("own/2", "own", 101_999), PeerRelation::PreviousRun, "its clock may be ahead");
        assert_eq!(relation("own/2", "own", 110_000), PeerRelation::Namesake);
        assert_eq!(relation("own/2", "other", 99_999), PeerRelation::Other);
    }
}

//! The heartbeat by which an agent shows that it is there, and whether it has its PBX.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{CallId, CommandId};
use crate::numbering::DialPrefixes;

pub const BEAT_EVERY: Duration = Duration::from_secs(10);
pub const STALE_AFTER: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PbxLink {
    Up,
    Down,
}

/// The agent's item in the exchange table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Configured name and boot id: a restarted agent is another one.
    pub agent_id: String,
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub pbx_id: Option<String>,
    /// The slot of its PBX, by whose queue it hears of commands. An older agent, which does not say, hears by the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<usize>,
    pub pbx: PbxLink,
    /// Milliseconds on the cloud's clock; absent while the PBX is out of reach. Another agent that lost its own session
    /// must not conclude ends that this one would have seen.
    #[serde(default)]
    pub session_since: Option<i64>,
    pub started_at: i64,
    pub updated_at: i64,
    pub visible_users: u32,
    /// Those of them whose monitor is open; absent while the PBX still owes answers, and from an older agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitored_users: Option<u32>,
    pub live_calls: u32,
    pub waiting_events: u32,
    #[serde(default)]
    pub prefixes: DialPrefixes,
    /// Long commands that this agent carries out. When it is gone, another agent ends what they began.
    #[serde(default)]
    pub running: Vec<CommandId>,
    /// The latest calls that queues have placed for its commands for one call, and that run. Who cleans up behind a two-party command
    /// must not take them for calls of that one. Absent from an older agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed: Option<Vec<CallId>>,
    /// How it is doing; an older agent does not say so.
    #[serde(default)]
    pub vitals: Vitals,
    /// What stands in the way, for the person who looks at `GET /status`.
    #[serde(default)]
    pub problem: Option<String>,
    /// Users whom the PBX does not let be monitored, with its reasons; the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<String>,
    /// Unix seconds, the table's TTL attribute.
    pub expires_at: i64,
}

/// What the agent has counted since it started, and what it runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Vitals {
    /// System and processor.
    pub os: String,
    /// Sessions with the PBX after the first one.
    pub reconnects: u64,
    /// Events that it has seen.
    pub events: u64,
    /// Events that had to be given up because the disk was full of them.
    pub dropped_events: u64,
    /// How long the oldest event waits for the queue, in milliseconds; none if none waits.
    pub oldest_event_age_ms: Option<i64>,
    /// Commands that it has carried out or refused, by how they ended.
    pub commands_succeeded: u64,
    pub commands_failed: u64,
    pub commands_expired: u64,
    /// How far its machine's clock is ahead of the cloud's, in milliseconds; none before the cloud has answered.
    pub clock_ahead_ms: Option<i64>,
    /// Since when it has used its access key, in milliseconds on the cloud's clock; absent where its credentials are temporary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_since: Option<i64>,
}

impl AgentStatus {
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.as_millisecond() - self.updated_at <= STALE_AFTER.as_millis() as i64
    }

    /// Whether it is an agent of this PBX, as far as it knows its PBX.
    pub fn is_at(&self, pbx_id: &str) -> bool {
        self.pbx_id.as_deref() == Some(pbx_id)
    }

    pub fn can_act(&self, now: Timestamp) -> bool {
        self.is_fresh(now) && self.pbx == PbxLink::Up
    }

    /// The last word of an agent that leaves something undone: nobody has to wait until it is stale.
    pub fn gone(self) -> Self {
        Self { pbx: PbxLink::Down, session_since: None, updated_at: 0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeat_of_an_older_agent_is_understood() {
        let item = serde_json::json!({
            "agentId": "rack/1", "name": "rack", "version": "0.1.0", "pbx": "up", "startedAt": 1, "updatedAt": 2,
            "visibleUsers": 3, "liveCalls": 0, "waitingEvents": 0, "expiresAt": 9,
        });
        let status: AgentStatus = serde_json::from_value(item).expect("a heartbeat");
        assert_eq!(status.vitals, Vitals::default());
        let newer = serde_json::json!({"os": "Debian", "reconnects": 2, "somethingNew": true});
        assert_eq!(serde_json::from_value::<Vitals>(newer).expect("vitals").reconnects, 2);
    }
}

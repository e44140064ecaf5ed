//! The heartbeat by which an agent shows that it is there, and whether it has its PBX.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::CommandId;
use crate::number::DialPrefixes;

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
    pub pbx: PbxLink,
    /// Milliseconds on the cloud's clock; absent while the PBX is out of reach. Another agent that lost its own session
    /// must not conclude ends that this one would have seen.
    #[serde(default)]
    pub session_since: Option<i64>,
    pub started_at: i64,
    pub updated_at: i64,
    pub visible_users: u32,
    pub live_calls: u32,
    pub waiting_events: u32,
    #[serde(default)]
    pub prefixes: DialPrefixes,
    /// Long commands that this agent carries out. When it is gone, another agent ends what they began.
    #[serde(default)]
    pub running: Vec<CommandId>,
    /// What stands in the way, for the person who looks at `GET /status`.
    #[serde(default)]
    pub problem: Option<String>,
    /// Unix seconds, the table's TTL attribute.
    pub expires_at: i64,
}

impl AgentStatus {
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.as_millisecond() - self.updated_at <= STALE_AFTER.as_millis() as i64
    }

    pub fn can_act(&self, now: Timestamp) -> bool {
        self.is_fresh(now) && self.pbx == PbxLink::Up
    }

    /// The last word of an agent that leaves something undone: nobody has to wait until it is stale.
    pub fn gone(self) -> Self {
        Self { pbx: PbxLink::Down, session_since: None, updated_at: 0, ..self }
    }
}

//! The answer to `/status`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use shared::agent_status::{AgentStatus, PbxLink};

use crate::host::statistics::CloudLinks;

/// Why the agent is ready, or not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Readiness {
    pub(super) ready: bool,
    pub(super) pbx: PbxLink,
    /// A worker of the agent that has ended or hangs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failing: Option<String>,
    #[serde(flatten)]
    pub(super) cloud: CloudLinks,
    /// Users who are not monitored, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) refusals: Vec<String>,
}

/// What a running agent says of itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusReport {
    #[serde(flatten)]
    pub(super) readiness: Readiness,
    pub(super) health: Option<SocketAddr>,
    /// Those of the visible users whose monitor is open; none while the PBX still owes answers.
    #[serde(default)]
    pub(super) monitored_users: Option<u32>,
    pub(super) agent: AgentStatus,
}

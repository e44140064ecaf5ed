//! Commands: what an app asks of the PBX, from the request to its answer.
//!
//! The table's item is the truth and the queue only the doorbell. A command is claimed once, acted upon at most once and
//! never late: `queued` → `running` → `succeeded` | `failed`, or `queued` → `expired`.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::codes::Code;
use crate::ids::{CallId, CommandId};

/// An agent acts on a command only while it is younger than this.
pub const ACT_WITHIN: Duration = Duration::from_secs(6);
/// Whoever looks at a queued command older than this turns it into `expired`. The second of distance covers the whole
/// seconds of the `Date` header by which the agent judges the age.
pub const EXPIRE_AFTER: Duration = Duration::from_secs(7);
/// A running command without news for this long reads as `unknown`.
pub const SILENT_AFTER: Duration = Duration::from_secs(60);
/// How long a command, and with it its idempotency key, is kept.
pub const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// What is to be done, with everything the agent needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation")]
pub enum Operation {
    MakeCall {
        /// Extension of the calling user or queue.
        from: String,
        /// Destination as people type it.
        to: String,
    },
    AnswerCall {
        #[serde(rename = "CallId")]
        call_id: CallId,
    },
    DisconnectCall {
        #[serde(rename = "CallId")]
        call_id: CallId,
    },
    TransferCall {
        #[serde(rename = "CallIdA")]
        call_id_a: CallId,
        #[serde(rename = "CallIdB")]
        call_id_b: CallId,
    },
    GetUsers,
    GetCalls,
    GetCall {
        #[serde(rename = "CallId")]
        call_id: CallId,
    },
}

impl Operation {
    /// The operationId under which the API description lists it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MakeCall { .. } => "MakeCall",
            Self::AnswerCall { .. } => "AnswerCall",
            Self::DisconnectCall { .. } => "DisconnectCall",
            Self::TransferCall { .. } => "TransferCall",
            Self::GetUsers => "GetUsers",
            Self::GetCalls => "GetCalls",
            Self::GetCall { .. } => "GetCall",
        }
    }

    /// The calls that an agent must know to be able to act.
    pub fn call_ids(&self) -> Vec<CallId> {
        match self {
            Self::AnswerCall { call_id } | Self::DisconnectCall { call_id } | Self::GetCall { call_id } => {
                vec![*call_id]
            }
            Self::TransferCall { call_id_a, call_id_b } => vec![*call_id_a, *call_id_b],
            Self::MakeCall { .. } | Self::GetUsers | Self::GetCalls => Vec::new(),
        }
    }

    /// Tells this operation with these parameters from every other one.
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        hex::encode(Sha256::digest(text.as_bytes()))
    }

    /// Reads are answered from the agent's memory and change nothing.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::GetUsers | Self::GetCalls | Self::GetCall { .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Expired,
    /// Only ever shown: somebody claimed the command and was not heard of again.
    Unknown,
}

impl CommandState {
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Expired)
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: Code,
    /// What exactly, where the code's own message is too general.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Refusal {
    pub fn new(code: Code) -> Self {
        Self { code, detail: None }
    }

    pub fn with_detail(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: Some(detail.into()) }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

/// What came of a command: the operation's own fields, or the refusal.
pub type Outcome = Result<Value, Refusal>;

/// The command's item in the exchange table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    pub command_id: CommandId,
    pub operation: Operation,
    pub state: CommandState,
    /// Milliseconds on the api function's clock.
    pub created_at: i64,
    pub updated_at: i64,
    /// Tells a repeat from another request under the same idempotency key.
    pub body_hash: String,
    pub key_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Agents that do not know one of the calls.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub declined: BTreeSet<String>,
    /// JSON text, so that the table's number format never touches a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// Unix seconds, the table's TTL attribute.
    pub expires_at: i64,
}

impl Command {
    pub fn queued(
        command_id: CommandId,
        operation: Operation,
        key_id: &str,
        body_hash: String,
        now: Timestamp,
    ) -> Self {
        let created_at = now.as_millisecond();
        Self {
            command_id,
            operation,
            state: CommandState::Queued,
            created_at,
            updated_at: created_at,
            body_hash,
            key_id: key_id.to_owned(),
            token: None,
            owner: None,
            declined: BTreeSet::new(),
            result: None,
            refusal: None,
            expires_at: now.as_second() + KEEP.as_secs() as i64,
        }
    }

    pub fn age(&self, now: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(now.as_millisecond() - self.created_at).unwrap_or(0))
    }

    /// Nobody may claim it any more; the reader writes that down.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.state == CommandState::Queued && self.age(now) > EXPIRE_AFTER
    }

    /// The state to show: a claim that went silent is neither running nor failed.
    pub fn shown_state(&self, now: Timestamp) -> CommandState {
        let silent = now.as_millisecond() - self.updated_at > SILENT_AFTER.as_millis() as i64;
        if self.state == CommandState::Running && silent { CommandState::Unknown } else { self.state }
    }

    pub fn doorbell(&self) -> Doorbell {
        Doorbell { command_id: self.command_id, created_at: self.created_at, call_ids: self.operation.call_ids() }
    }
}

/// The message in the commands queue: it says where to look, not what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Doorbell {
    pub command_id: CommandId,
    pub created_at: i64,
    #[serde(default)]
    pub call_ids: Vec<CallId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    #[test]
    fn a_queued_command_is_overdue_only_after_nobody_may_act() {
        assert!(ACT_WITHIN + Duration::from_secs(1) <= EXPIRE_AFTER);
        let command = Command::queued(CommandId::random(), Operation::GetUsers, "k", String::new(), from_millis(1_000));
        assert!(!command.is_overdue(from_millis(8_000)));
        assert!(command.is_overdue(from_millis(8_001)));
        let running = Command { state: CommandState::Running, ..command };
        assert!(!running.is_overdue(from_millis(9_000)));
        assert_eq!(running.shown_state(from_millis(61_000)), CommandState::Running);
        assert_eq!(running.shown_state(from_millis(61_001)), CommandState::Unknown);
    }
    #[test]
    fn fingerprints_differ_when_anything_does() {
        let call = |from: &str, to: &str| Operation::MakeCall { from: from.to_owned(), to: to.to_owned() };
        assert_eq!(call("42", "50").fingerprint(), call("42", "50").fingerprint());
        assert_ne!(call("42", "50").fingerprint(), call("425", "0").fingerprint());
        assert_ne!(Operation::GetUsers.fingerprint(), Operation::GetCalls.fingerprint());
        assert_eq!(Operation::GetUsers.fingerprint().len(), 64);
    }
}

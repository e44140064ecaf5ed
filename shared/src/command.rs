//! Commands: what an app asks of the PBX, from the request to its answer.
//!
//! The table's item is the truth and the queue only the doorbell. A command is claimed once, acted upon at most once and
//! never late: `queued` → `running` → `succeeded` | `failed`, or `queued` → `expired`.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::codes::Code;
use crate::ids::{CallId, CommandId};
use crate::operation::{Operation, Reach};

/// An agent acts on a command only while it is younger than this.
pub const ACT_WITHIN: Duration = Duration::from_secs(6);
/// Whoever looks at a queued command older than this turns it into `expired`. The second of distance covers the whole
/// seconds of the `Date` header by which the agent judges the age.
pub const EXPIRE_AFTER: Duration = Duration::from_secs(7);
/// A running command without news for this long reads as `unknown`.
pub const SILENT_AFTER: Duration = Duration::from_secs(60);
/// How long a command, and with it its idempotency key, is kept.
pub const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

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

/// One call that a long command places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dial {
    /// Extension of the queue that calls.
    pub via: String,
    /// The number as it is dialled on this PBX.
    pub number: String,
    /// Milliseconds on the cloud's clock, before the frame went out.
    pub at: i64,
    /// The call, once the PBX has shown it.
    #[serde(rename = "CallId", default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<CallId>,
}

/// How far a long command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Both parties are being called.
    Calling,
    /// One party has answered and hears the queue.
    FirstAnswered,
    /// Both have answered and are being joined.
    Joining,
    /// It failed, and what was begun is being ended.
    CleaningUp,
}

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
    #[serde(default)]
    pub reach: Reach,
    /// `pbx.id` of the PBX whose agents are to carry it out. None: whoever can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pbx: Option<String>,
    /// The calls that a long command places, written before their frames go out, so that whoever takes over knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dials: Vec<Dial>,
    /// How far a long command has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
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
    pub fn queued(command_id: CommandId, operation: Operation, key_id: &str, reach: Reach, now: Timestamp) -> Self {
        let created_at = now.as_millisecond();
        Self {
            command_id,
            state: CommandState::Queued,
            created_at,
            updated_at: created_at,
            body_hash: operation.fingerprint(),
            operation,
            key_id: key_id.to_owned(),
            token: None,
            owner: None,
            reach,
            pbx: None,
            dials: Vec::new(),
            stage: None,
            declined: BTreeSet::new(),
            result: None,
            refusal: None,
            expires_at: now.as_second() + KEEP.as_secs() as i64,
        }
    }

    pub fn age(&self, now: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(now.as_millisecond() - self.created_at).unwrap_or(0))
    }

    /// Whether it still exists for whoever asks; the table removes it some time after it no longer does.
    pub fn is_kept(&self, now: Timestamp) -> bool {
        self.expires_at > now.as_second()
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
        Doorbell {
            command_id: self.command_id,
            created_at: self.created_at,
            call_ids: self.operation.call_ids(),
            pbx: self.pbx.clone(),
        }
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
    /// The PBX of the command. Agents of another one leave it alone, should they hear of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pbx: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::PageRequest;
    use crate::time::from_millis;

    #[test]
    fn a_queued_command_is_overdue_only_after_nobody_may_act() {
        assert!(ACT_WITHIN + Duration::from_secs(1) <= EXPIRE_AFTER);
        let command = Command::queued(
            CommandId::random(),
            Operation::GetUsers { page: PageRequest::default() },
            "k",
            Reach::default(),
            from_millis(1_000),
        );
        assert!(!command.is_overdue(from_millis(8_000)));
        assert!(command.is_overdue(from_millis(8_001)));
        let running = Command { state: CommandState::Running, ..command };
        assert!(!running.is_overdue(from_millis(9_000)));
        assert_eq!(running.shown_state(from_millis(61_000)), CommandState::Running);
        assert_eq!(running.shown_state(from_millis(61_001)), CommandState::Unknown);
    }
}

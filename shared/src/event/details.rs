//! What is known of a call beside the published object.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::call::PartyKind;
use crate::ids::CallId;

/// Whether the number of the other party is known, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presentation {
    Shown,
    /// The party has a number and does not show it.
    Withheld,
    /// The PBX names no number and no reason.
    Unknown,
}

impl Presentation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Withheld => "withheld",
            Self::Unknown => "unknown",
        }
    }
}

/// It rests in queues and tables as a part of its event, so what comes later needs a default here, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallDetails {
    /// An incoming call has ended, and nobody took it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub missed: bool,
    /// It rang here, and somebody else took it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub answered_elsewhere: bool,
    /// A queue's call that no operator took. Its announcement may have answered it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub abandoned: bool,
    /// Where the other party is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<PartyKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presentation: Option<Presentation>,
    /// Of an inferred end: the latest moment at which the call was known to be alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// The other call of a transfer that ended this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer_call_id: Option<CallId>,
    /// The monitored user has it on hold.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// The other side has it on hold.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held_by_peer: bool,
    /// It waits in a park position.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parked: bool,
}

//! What can be said of a call in one word: which way it goes, and what has happened to it.

use serde::{Deserialize, Serialize};

/// The three things that happen to a call, in their only order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ringing,
    Connected,
    Disconnected,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ringing => "ringing",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
        }
    }

    /// The position of the status in the call's life; a later event supersedes what comes before it.
    pub fn sequence(self) -> u8 {
        match self {
            Self::Ringing => 1,
            Self::Connected => 2,
            Self::Disconnected => 3,
        }
    }

    pub fn of_sequence(sequence: u8) -> Option<Self> {
        [Self::Ringing, Self::Connected, Self::Disconnected].into_iter().find(|status| status.sequence() == sequence)
    }
}

/// Where the other party of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartyKind {
    Internal,
    External,
}

impl PartyKind {
    /// What follows from a number alone: who withholds it, or has one in international form, is not on this PBX.
    pub fn of_number(number: &str, has_e164: bool) -> Self {
        if has_e164 || number.is_empty() { Self::External } else { Self::Internal }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
        }
    }
}

/// Seen from the monitored user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Incoming,
    Outgoing,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
    }
}

//! What can be asked of the PBX, with everything that an agent needs to do it.
//!
//! The names of the fields are those of the REST API, so a command's item in the table reads like the request that made it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::address::ObjectNames;
use crate::destination::Rules;
use crate::ids::CallId;

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// How a call is placed, beside who calls whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DialOptions {
    /// The number to show instead of the extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_number: Option<String>,
    /// Withholds the number.
    #[serde(default, skip_serializing_if = "is_false")]
    pub clir: bool,
    /// Forwardings of the destination do not apply.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_forwarding: bool,
    /// 3.1 kHz audio instead of speech.
    #[serde(default, skip_serializing_if = "is_false")]
    pub audio: bool,
    /// Remote control code for the calling phone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_control: Option<u8>,
    /// The calling phone, by its hardware id; without it the PBX chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all_fields = "camelCase")]
pub enum Operation {
    MakeCall {
        /// Extension of the calling user or queue.
        from: String,
        /// Destination as people type it.
        to: String,
        #[serde(flatten)]
        options: DialOptions,
    },
    AnswerCall {
        #[serde(rename = "CallId")]
        call_id: CallId,
    },
    DisconnectCall {
        #[serde(rename = "CallId")]
        call_id: CallId,
        /// Q.850; without it an ordinary hang-up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<u8>,
    },
    HoldCall {
        #[serde(rename = "CallId")]
        call_id: CallId,
        /// The held party hears music.
        music: bool,
    },
    RetrieveCall {
        #[serde(rename = "CallId")]
        call_id: CallId,
    },
    TransferCall {
        #[serde(rename = "CallIdA")]
        call_id_a: CallId,
        #[serde(rename = "CallIdB")]
        call_id_b: CallId,
    },
    RedirectCall {
        #[serde(rename = "CallId")]
        call_id: CallId,
        to: String,
        /// Forwardings of the destination apply.
        honour_forwarding: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remote_control: Option<u8>,
    },
    ParkCall {
        #[serde(rename = "CallId")]
        call_id: CallId,
        /// Extension of the user or queue to park at, instead of the call's own user.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<u16>,
    },
    /// Takes over a call that rings or is parked elsewhere: this one, or whatever is there at an extension.
    PickUpCall {
        /// Extension of the user who takes the call.
        extension: String,
        #[serde(rename = "CallId", default, skip_serializing_if = "Option::is_none")]
        call_id: Option<CallId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<String>,
    },
    SendDtmf {
        #[serde(rename = "CallId")]
        call_id: CallId,
        digits: String,
        /// To the user instead of to the other party.
        #[serde(default, skip_serializing_if = "is_false")]
        to_own_party: bool,
    },
    /// Calls two parties from a queue and joins them once both have answered.
    ConnectParties {
        /// Extension of the queue.
        via: String,
        a: String,
        b: String,
        /// How long either may ring.
        ring_seconds: u16,
    },
    SendUserInfo {
        #[serde(rename = "CallId")]
        call_id: CallId,
        uui: String,
        #[serde(default, skip_serializing_if = "is_false")]
        to_own_party: bool,
    },
    SendInfo {
        #[serde(rename = "CallId")]
        call_id: CallId,
        /// Further digits of the called number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digits: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keypad: Option<String>,
        /// Text for the phone's display.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display: Option<String>,
    },
    RemoteControl {
        #[serde(rename = "CallId")]
        call_id: CallId,
        code: u8,
    },
    TransferMedia {
        #[serde(rename = "CallIdA")]
        call_id_a: CallId,
        #[serde(rename = "CallIdB")]
        call_id_b: CallId,
        /// Which ends the media are taken from; neither undoes it.
        #[serde(default, skip_serializing_if = "is_false")]
        user: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        peer: bool,
    },
    GetUsers {
        #[serde(flatten)]
        page: PageRequest,
    },
    GetUser {
        extension: String,
    },
    GetCalls {
        /// Calls of this extension only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extension: Option<String>,
        #[serde(flatten)]
        page: PageRequest,
    },
    GetCall {
        #[serde(rename = "CallId")]
        call_id: CallId,
    },
}

/// Which part is wanted of a list that is too long for one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PageRequest {
    /// Where the earlier page ended, as its `nextCursor` said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    pub limit: u16,
}

impl Operation {
    /// The operationId under which the API description lists it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MakeCall { .. } => "MakeCall",
            Self::AnswerCall { .. } => "AnswerCall",
            Self::DisconnectCall { .. } => "DisconnectCall",
            Self::HoldCall { .. } => "HoldCall",
            Self::RetrieveCall { .. } => "RetrieveCall",
            Self::TransferCall { .. } => "TransferCall",
            Self::RedirectCall { .. } => "RedirectCall",
            Self::ParkCall { .. } => "ParkCall",
            Self::PickUpCall { .. } => "PickUpCall",
            Self::SendDtmf { .. } => "SendDtmf",
            Self::ConnectParties { .. } => "ConnectParties",
            Self::SendUserInfo { .. } => "SendUserInfo",
            Self::SendInfo { .. } => "SendInfo",
            Self::RemoteControl { .. } => "RemoteControl",
            Self::TransferMedia { .. } => "TransferMedia",
            Self::GetUsers { .. } => "GetUsers",
            Self::GetUser { .. } => "GetUser",
            Self::GetCalls { .. } => "GetCalls",
            Self::GetCall { .. } => "GetCall",
        }
    }

    /// The calls that an agent must know to be able to act.
    pub fn call_ids(&self) -> Vec<CallId> {
        match self {
            Self::AnswerCall { call_id }
            | Self::DisconnectCall { call_id, .. }
            | Self::HoldCall { call_id, .. }
            | Self::RetrieveCall { call_id }
            | Self::RedirectCall { call_id, .. }
            | Self::ParkCall { call_id, .. }
            | Self::SendDtmf { call_id, .. }
            | Self::SendUserInfo { call_id, .. }
            | Self::SendInfo { call_id, .. }
            | Self::RemoteControl { call_id, .. }
            | Self::GetCall { call_id } => vec![*call_id],
            Self::TransferCall { call_id_a, call_id_b } | Self::TransferMedia { call_id_a, call_id_b, .. } => {
                vec![*call_id_a, *call_id_b]
            }
            Self::PickUpCall { call_id, .. } => call_id.iter().copied().collect(),
            Self::MakeCall { .. }
            | Self::ConnectParties { .. }
            | Self::GetUsers { .. }
            | Self::GetUser { .. }
            | Self::GetCalls { .. } => Vec::new(),
        }
    }

    /// Who acts, where the request says so by extension; the rest is named by calls.
    pub fn acting_extensions(&self) -> Vec<&str> {
        match self {
            Self::MakeCall { from, .. } => vec![from],
            Self::ConnectParties { via, .. } => vec![via],
            Self::PickUpCall { extension, at, .. } => {
                [Some(extension), at.as_ref()].into_iter().flatten().map(String::as_str).collect()
            }
            Self::ParkCall { at, .. } => at.iter().map(String::as_str).collect(),
            Self::GetUser { extension } => vec![extension],
            Self::GetCalls { extension, .. } => extension.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The numbers that the PBX dials, or looks for an object by.
    pub fn destinations(&self) -> Vec<&str> {
        match self {
            Self::MakeCall { to, .. } | Self::RedirectCall { to, .. } => vec![to],
            Self::ConnectParties { a, b, .. } => vec![a, b],
            Self::ParkCall { at, .. } | Self::PickUpCall { at, .. } => at.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// How many calls it places, each of which may cost money.
    pub fn placed_calls(&self) -> u32 {
        match self {
            Self::MakeCall { .. } | Self::RedirectCall { .. } => 1,
            Self::ConnectParties { .. } => 2,
            _ => 0,
        }
    }

    /// The two numbers that are connected by it, where the request names both.
    pub fn pair(&self) -> Option<(&str, &str)> {
        match self {
            Self::MakeCall { from, to, .. } => Some((from, to)),
            Self::ConnectParties { a, b, .. } => Some((a, b)),
            _ => None,
        }
    }

    /// Whether it dials further digits of a number that only the agent knows.
    pub fn dials_digits(&self) -> bool {
        matches!(self, Self::SendInfo { digits, keypad, .. } if digits.is_some() || keypad.is_some())
    }

    /// The number that the called party is to see instead of the extension.
    pub fn caller_number(&self) -> Option<&str> {
        match self {
            Self::MakeCall { options, .. } => options.caller_number.as_deref(),
            _ => None,
        }
    }

    /// Tells this operation with these parameters from every other one.
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        hex::encode(Sha256::digest(text.as_bytes()))
    }

    /// Reads are answered from the agent's memory and change nothing.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::GetUsers { .. } | Self::GetUser { .. } | Self::GetCalls { .. } | Self::GetCall { .. })
    }
}

/// How far the API key of a command reaches. The agent applies it, because only the agent knows users and calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Only these users and queues and their calls exist for the key, each named as people name them; `None` = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<BTreeSet<String>>,
    /// Destinations that may only be dialled if they are extensions of visible users: the key's patterns cannot judge them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub internal_only: BTreeSet<String>,
    /// What each dialled number has to pass, here with the prefixes of the PBX that dials it: the patterns of the key and
    /// those of the stack. An agent from before they existed goes by `internal_only` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rules>,
    /// The number to show has to be an extension that the key may act for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub own_caller_number: bool,
}

impl Reach {
    pub fn covers(&self, object: &ObjectNames<'_>) -> bool {
        self.extensions.as_ref().is_none_or(|list| object.is_in(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(from: &str, to: &str) -> Operation {
        Operation::MakeCall { from: from.to_owned(), to: to.to_owned(), options: DialOptions::default() }
    }

    #[test]
    fn fingerprints_differ_when_anything_does() {
        assert_eq!(call("42", "50").fingerprint(), call("42", "50").fingerprint());
        assert_ne!(call("42", "50").fingerprint(), call("425", "0").fingerprint());
        let withheld = Operation::MakeCall {
            from: "42".to_owned(),
            to: "50".to_owned(),
            options: DialOptions { clir: true, ..DialOptions::default() },
        };
        assert_ne!(call("42", "50").fingerprint(), withheld.fingerprint());
        assert_eq!(call("42", "50").fingerprint().len(), 64);
    }

    #[test]
    fn an_operation_reads_like_its_request() {
        let text = serde_json::to_string(&call("42", "50")).expect("json");
        assert_eq!(text, r#"{"operation":"MakeCall","from":"42","to":"50"}"#);
        let back: Operation = serde_json::from_str(&text).expect("an operation");
        assert_eq!(back, call("42", "50"));
    }

    #[test]
    fn a_reach_without_a_list_covers_everybody() {
        let object = |extension| ObjectNames { extension, node: "root", ..ObjectNames::default() };
        assert!(Reach::default().covers(&object("42")));
        let only = Reach { extensions: Some(["42".to_owned()].into()), ..Reach::default() };
        assert!(only.covers(&object("42")) && !only.covers(&object("43")));
    }
}

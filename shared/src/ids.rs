//! Identities. Everything that two agents or a repeated attempt must name alike is derived (UUIDv5), the rest is random.
//!
//! The encodings are frozen: a changed byte would make the copies of two agents differ, so golden vectors fix them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::{Direction, Status};

/// The namespace of every derived identity of EasyConnect.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c1f_5f0e_2f7b_4d5e_9a0b_7d3c_54a1_e0c1);

/// Hashes the parts with their lengths, so that no two lists of parts can meet in one encoding.
fn derive(kind: &str, parts: &[&str]) -> Uuid {
    let mut name = String::from(kind);
    for part in parts {
        name.push_str(&format!("|{}:{part}", part.len()));
    }
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id! {
    /// One call of one monitored user, whatever happens to its conference on the way.
    CallId
}
id! {
    /// One status of one call; each status happens once. Or one numbered update of a call.
    EventId
}
id! {
    /// One event for one webhook; it stays the same over attempts and replays and is sent as `webhook-id`.
    DeliveryId
}
id! {
    /// One request to act on the PBX or to read from the agent's memory.
    CommandId
}
id! {
    /// One registered webhook.
    WebhookId
}

impl CallId {
    /// Names the n-th call of a user in a conference: `n` earlier calls of this user, conference and direction have ended.
    pub fn of_conference(pbx: &str, user_guid: &str, conference: &str, direction: Direction, n: u32) -> Self {
        Self(derive("call", &[pbx, user_guid, conference, direction.as_str(), &n.to_string()]))
    }

    /// Names a call whose conference never became known. Only the agent that saw the handle can derive this name; `n` is how
    /// many calls it has named so, because handles are used again.
    pub fn of_handle(boot_id: Uuid, user_handle: u64, call_handle: u64, n: u64) -> Self {
        let boot = boot_id.to_string();
        Self(derive("leg", &[&boot, &user_handle.to_string(), &call_handle.to_string(), &n.to_string()]))
    }
}

impl EventId {
    pub fn new(call: CallId, status: Status) -> Self {
        Self(derive("event", &[&call.to_string(), status.as_str()]))
    }

    /// The n-th update of a call.
    pub fn of_update(call: CallId, revision: u32) -> Self {
        Self(derive("event", &[&call.to_string(), "updated", &revision.to_string()]))
    }

    /// Names what an agent reports of a call beside its statuses, before it is numbered: the same report has the same name, however
    /// often it is sent.
    pub fn of_snapshot(call: CallId, state: &str, at: &str) -> Self {
        Self(derive("snapshot", &[&call.to_string(), state, at]))
    }

    /// Names what is no call event: its kind, what it is about, and when it happened.
    pub fn of_notice(kind: &str, subject: &str, at: &str) -> Self {
        Self(derive("notice", &[kind, subject, at]))
    }
}

impl DeliveryId {
    pub fn new(event: EventId, webhook: WebhookId) -> Self {
        Self(derive("delivery", &[&event.to_string(), &webhook.to_string()]))
    }
}

impl CommandId {
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The same idempotency key of the same API key always names the same command.
    pub fn of_idempotency_key(key_id: &str, idempotency_key: &str) -> Self {
        Self(derive("command", &[key_id, idempotency_key]))
    }
}

impl WebhookId {
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The same idempotency key of the same API key always names the same webhook.
    pub fn of_idempotency_key(key_id: &str, idempotency_key: &str) -> Self {
        Self(derive("webhook", &[key_id, idempotency_key]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden vectors: these values are on receivers' disks and in other agents' memories.
    #[test]
    fn derived_ids_never_change() {
        let call = CallId::of_conference(
            "master",
            "3954ae7854c96301c9dd009033400109",
            "e89277f0e909d31192e80090331032dd",
            Direction::Incoming,
            0,
        );
        let event = EventId::new(call, Status::Ringing);
        let webhook = WebhookId::from_uuid(Uuid::nil());
        insta::assert_snapshot!(format!(
            "{call}\n{event}\n{}\n{}\n{}",
            DeliveryId::new(event, webhook),
            CommandId::of_idempotency_key("key", "order-17"),
            CallId::of_handle(Uuid::nil(), 1, 2, 3),
        ));
        assert_eq!(EventId::of_update(call, 7).to_string(), "9303d019-b464-532c-8770-d42c5203ab37");
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        let name = |user, conf| CallId::of_conference("p", user, conf, Direction::Incoming, 0);
        assert_ne!(name("ab", "c"), name("a", "bc"));
        assert_ne!(
            CallId::of_conference("p", "u", "c", Direction::Incoming, 0),
            CallId::of_conference("p", "u", "c", Direction::Outgoing, 0)
        );
        assert_ne!(
            CallId::of_conference("p", "u", "c", Direction::Incoming, 0),
            CallId::of_conference("p", "u", "c", Direction::Incoming, 1)
        );
    }
}

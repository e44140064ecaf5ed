//! Kinds of what is told: by the agents to the events queue, and by the cloud to webhooks.

use serde::{Deserialize, Serialize};

/// What an event is. Outbox, uplink, queue, `fanout` and feed know no more of one than its kind and three things that follow from it:
///
/// - `rank`: its position in the life of what it is about. What has a rank at or below the highest that is recorded of its group is a
///   repeat or too late, and superseded. A full outbox gives up the lowest rank first.
/// - `group`: what it is about. The events of a group are sent, fanned out and recorded one after the other; groups do not wait for
///   each other.
/// - `dedup`: the same for every copy of it, whichever agent sends it and however often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A status of a call. Its rank is the position of the status, 1 to 3; its group the call; its dedup the event's id, which follows
    /// from call and status.
    #[serde(rename = "call")]
    Call,
    /// Something else has changed on a live call: who is on hold or parked, or the parties. It is a snapshot, so that a repeat does no
    /// harm. Its rank is 0, because it is superseded by its own rules alone and given up before any status; its group the call. Agents
    /// name it by what it says; `fanout` numbers it, and its dedup from then on follows from call and revision.
    #[serde(rename = "call.updated")]
    CallUpdated,
    /// No agent can act any more. This and what follows are notices: the cloud itself makes them, so that they are in no outbox, not in
    /// the events queue and not in the feed. On its way to a webhook each is a group of its own.
    #[serde(rename = "agent.offline")]
    AgentOffline,
    #[serde(rename = "agent.online")]
    AgentOnline,
    /// Another webhook does not accept anything.
    #[serde(rename = "subscription.failing")]
    WebhookFailing,
    /// Another webhook that was failing, or off, accepts again.
    #[serde(rename = "subscription.recovered")]
    WebhookRecovered,
    /// Another webhook wants no more, by its answer 410.
    #[serde(rename = "subscription.off")]
    WebhookOff,
    /// Another webhook has less than a day to live.
    #[serde(rename = "subscription.expiring")]
    WebhookExpiring,
    #[serde(rename = "subscription.expired")]
    WebhookExpired,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Call,
        Self::CallUpdated,
        Self::AgentOffline,
        Self::AgentOnline,
        Self::WebhookFailing,
        Self::WebhookRecovered,
        Self::WebhookOff,
        Self::WebhookExpiring,
        Self::WebhookExpired,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::CallUpdated => "call.updated",
            Self::AgentOffline => "agent.offline",
            Self::AgentOnline => "agent.online",
            Self::WebhookFailing => "subscription.failing",
            Self::WebhookRecovered => "subscription.recovered",
            Self::WebhookOff => "subscription.off",
            Self::WebhookExpiring => "subscription.expiring",
            Self::WebhookExpired => "subscription.expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).expect("json"), kind.as_str());
        }
    }
}

//! A delivery: one event for one subscription, on its way and in the log.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::CallEvent;
use crate::ids::{CallId, DeliveryId, SubscriptionId};
use crate::time::iso_millis;

/// What waits in the deliveries queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub subscription_id: SubscriptionId,
    /// 0 at first, one more for each re-queue or replay; it keeps queue de-duplication from swallowing a wanted repeat.
    pub round: u32,
    pub event: CallEvent,
}

impl Delivery {
    pub fn new(event: CallEvent, subscription_id: SubscriptionId) -> Self {
        Self { subscription_id, round: 0, event }
    }

    pub fn id(&self) -> DeliveryId {
        DeliveryId::new(self.event.event_id, self.subscription_id)
    }

    /// Order is kept inside this group only, so that one call of one receiver never waits for another.
    pub fn group(&self) -> String {
        let call: CallId = self.event.call_id();
        format!("{}.{call}", self.subscription_id)
    }

    pub fn dedup(&self) -> String {
        format!("{}#{}", self.id(), self.round)
    }

    pub fn log_key(&self) -> LogKey {
        LogKey {
            subscription_id: self.subscription_id,
            sort: format!("{}#{}", iso_millis(self.event.occurred_at), self.id()),
        }
    }
}

/// The place of a delivery in the log, sorted by the time of its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKey {
    pub subscription_id: SubscriptionId,
    pub sort: String,
}

impl LogKey {
    /// The delivery's id in URLs and answers.
    pub fn public_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.sort)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    Retrying,
    Parked,
    Delivered,
    Expired,
    Failed,
    Cancelled,
}

impl DeliveryState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Parked => "parked",
            Self::Delivered => "delivered",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing more is to be sent in this round.
    pub fn is_settled(self) -> bool {
        self != Self::Retrying
    }
}

/// One HTTP request of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    pub at: Timestamp,
    pub duration_ms: u64,
    /// The receiver's status, absent when no answer came.
    pub status: Option<u16>,
    /// What happened in plain words, without the receiver's secrets.
    pub outcome: String,
    /// The beginning of the receiver's answer, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// The log item of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryLog {
    pub delivery_id: DeliveryId,
    pub call_id: CallId,
    pub sequence: u8,
    pub round: u32,
    pub state: DeliveryState,
    pub attempt_count: u32,
    pub last_attempt: Option<Attempt>,
    pub next_attempt_at: Option<Timestamp>,
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_one_name() {
        for state in [DeliveryState::Retrying, DeliveryState::Parked, DeliveryState::Cancelled] {
            assert_eq!(serde_json::to_value(state).expect("json"), state.as_str());
        }
    }

    #[test]
    fn an_attempt_without_an_answer_reads_as_one() {
        let text = r#"{"at":"2022-09-16T11:57:43Z","durationMs":7,"status":200,"outcome":"answered 200"}"#;
        let attempt: Attempt = serde_json::from_str(text).expect("an attempt");
        assert_eq!(attempt.answer, None);
        assert_eq!(serde_json::to_string(&attempt).expect("json"), text);
    }

    #[test]
    fn a_repeat_passes_the_queue_and_keeps_its_id() {
        let event = crate::event::tests::sample();
        let first = Delivery::new(event.clone(), SubscriptionId::from_uuid(uuid::Uuid::nil()));
        let repeat = Delivery { round: 1, ..first.clone() };
        assert_eq!(first.id(), repeat.id());
        assert_ne!(first.dedup(), repeat.dedup());
        assert_eq!(first.group(), repeat.group());
    }
}

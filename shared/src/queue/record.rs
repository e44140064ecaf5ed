//! A message of a FIFO batch, and what of the batch goes back.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::outgoing::Outgoing;
use super::waits::{backoff, longest_after};

/// A record that is younger, and was not received before, cannot be another receiver's by now.
const SURELY_OURS: Duration = Duration::from_secs(5);

/// A message of a FIFO batch, as far as its queue is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FifoRecord {
    pub id: String,
    pub receipt: String,
    pub group: String,
    pub sent_at: Option<Timestamp>,
    /// The name of its queue; none if somebody handed it to the function by hand.
    pub queue: Option<String>,
    /// How often it was received, this time included; 0 if the queue did not say it.
    pub receives: u32,
}

/// A message of a batch, as a function is handed it.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Handed")]
pub struct FifoMessage {
    pub record: FifoRecord,
    pub body: String,
}

/// What is read of it. The rest is as long again, and nobody asks for it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handed {
    message_id: Option<String>,
    receipt_handle: Option<String>,
    body: Option<String>,
    attributes: Option<Attributes>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    message_group_id: Option<String>,
    sent_timestamp: Option<String>,
    approximate_receive_count: Option<String>,
}

impl From<Handed> for FifoMessage {
    fn from(handed: Handed) -> Self {
        // Without an id the function's answer cannot name the record; an empty one there returns the whole batch.
        let id = handed.message_id.unwrap_or_default();
        let attributes = handed.attributes.unwrap_or_default();
        let sent_at = attributes.sent_timestamp.and_then(|millis| millis.parse().ok());
        let record = FifoRecord {
            // What has no group stands alone.
            group: attributes.message_group_id.unwrap_or_else(|| id.clone()),
            id,
            receipt: handed.receipt_handle.unwrap_or_default(),
            queue: handed.event_source_arn.and_then(|arn| arn.rsplit(':').next().map(str::to_owned)),
            sent_at: sent_at.and_then(|millis| Timestamp::from_millisecond(millis).ok()),
            receives: attributes.approximate_receive_count.and_then(|count| count.parse().ok()).unwrap_or_default(),
        };
        Self { record, body: handed.body.unwrap_or_default() }
    }
}

impl FifoRecord {
    /// How long the message has been in the queue; none if the queue did not say when it came.
    pub fn waited(&self, now: Timestamp) -> Duration {
        let waited = self.sent_at.map(|sent_at| now.duration_since(sent_at));
        waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default()
    }

    /// How long it waits before it is received again, when nothing else is to be considered. `ceiling` is the longest wait of everyday,
    /// which is exceeded after many receives; `jitter` (−1 to 1) makes it up to a fifth more or less.
    pub fn backoff(&self, now: Timestamp, ceiling: Duration, jitter: f64) -> Duration {
        backoff(self.waited(now), self.receives, ceiling, jitter)
    }

    /// Whether it may be another receiver's by now: it was received before, or nobody knows how long this receive has taken to get
    /// here.
    pub(super) fn is_doubtful(&self, now: Timestamp) -> bool {
        self.receives != 1 || self.sent_at.is_none() || self.waited(now) >= SURELY_OURS
    }

    /// For how long it is this receiver's, from now on. What was received very often has perhaps ended its receivers each time, and is
    /// to last for as long as what was returned.
    pub(super) fn hold(&self, visibility: Duration) -> Duration {
        visibility.max(longest_after(self.receives))
    }

    /// The message for the dead-letter queue, in its group's order and once however often it is set aside.
    pub fn set_aside(&self, body: &str) -> Outgoing {
        // The queue takes no empty message, and this one must not come back for ever.
        let body = if body.is_empty() { "(empty)" } else { body };
        Outgoing { group: self.group.clone(), dedup: self.id.clone(), body: body.to_owned() }
    }
}

/// What of a FIFO batch goes back. A group stops at its first failure: that record returns after a delay, and its followers
/// return behind it at once, so that nothing overtakes.
#[derive(Debug, Default)]
pub struct GoingBack {
    stopped: HashSet<String>,
    ids: Vec<String>,
    visibility: Vec<(String, Duration)>,
}

impl GoingBack {
    /// Whether the group has stopped, so that its later records must go back untouched.
    pub fn holds(&self, group: &str) -> bool {
        self.stopped.contains(group)
    }

    /// Returns a record; `delay` counts for the first one of its group only.
    pub fn push(&mut self, record: &FifoRecord, delay: Duration) {
        let first = self.stopped.insert(record.group.clone());
        self.ids.push(record.id.clone());
        self.visibility.push((record.receipt.clone(), if first { delay } else { Duration::ZERO }));
    }

    /// Leaves a record that is another receiver's to that one. Its followers must not come before it.
    pub fn leave(&mut self, record: &FifoRecord) {
        self.stopped.insert(record.group.clone());
        self.ids.push(record.id.clone());
    }

    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The receipt of each record that is ours and when it is to appear again.
    pub fn visibility(&self) -> &[(String, Duration)] {
        &self.visibility
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(id: &str, group: &str) -> FifoRecord {
        let (receipt, group) = (format!("receipt of {id}"), group.to_owned());
        FifoRecord { id: id.to_owned(), receipt, group, sent_at: None, queue: None, receives: 1 }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).expect("a time")
    }

    #[test]
    fn a_record_knows_its_age_and_its_group() {
        let read = |handed: Value| serde_json::from_value::<FifoMessage>(handed).expect("a message");
        let FifoMessage { record, body } = read(json!({
            "messageId": "id",
            "receiptHandle": "receipt",
            "body": "text",
            "md5OfBody": "1cb251ec0d568de6a929b520c4aed8d1",
            "attributes": {
                "ApproximateReceiveCount": "7",
                "SentTimestamp": "5000",
                "SequenceNumber": "18849496460467696128",
                "MessageGroupId": "call",
                "MessageDeduplicationId": "event",
            },
            "messageAttributes": {"name": {"stringValue": "value", "dataType": "String"}},
            "eventSourceARN": "arn:aws:sqs:eu-central-1:000000000000:events.fifo",
        }));
        assert_eq!((record.id.as_str(), record.receipt.as_str(), body.as_str()), ("id", "receipt", "text"));
        assert_eq!((record.group.as_str(), record.receives), ("call", 7));
        assert_eq!(record.queue.as_deref(), Some("events.fifo"));
        assert_eq!(record.waited(at(7_500)), Duration::from_millis(2_500));
        assert_eq!(record.waited(at(1_000)), Duration::ZERO);
        let bare = read(json!({"messageId": "id", "attributes": null})).record;
        assert_eq!((bare.group.as_str(), bare.waited(at(9))), ("id", Duration::ZERO));
        assert!(!bare.set_aside("").body.is_empty());
    }

    #[test]
    fn a_record_is_surely_ours_when_it_is_young_and_new() {
        let young = FifoRecord { sent_at: Some(at(0)), ..record("1", "a") };
        assert!(!young.is_doubtful(at(4_999)));
        assert!(young.is_doubtful(at(5_000)));
        assert!(FifoRecord { receives: 2, ..young.clone() }.is_doubtful(at(1)));
        assert!(FifoRecord { receives: 0, ..young.clone() }.is_doubtful(at(1)));
        assert!(FifoRecord { sent_at: None, ..young }.is_doubtful(at(1)));
    }

    #[test]
    fn what_ends_its_receivers_is_held_for_longer() {
        let (visibility, minutes) = (Duration::from_secs(20), |minutes: u64| Duration::from_secs(minutes * 60));
        let hold = |receives| FifoRecord { receives, ..record("1", "a") }.hold(visibility);
        assert_eq!([1, 100, 101, 151].map(hold), [visibility, visibility, minutes(5), minutes(30)]);
    }

    #[test]
    fn a_group_stops_at_its_first_failure() {
        let mut back = GoingBack::default();
        assert!(back.is_empty() && !back.holds("a"));
        for (id, group) in [("1", "a"), ("2", "b"), ("3", "a")] {
            back.push(&record(id, group), Duration::from_secs(4));
        }
        assert!(back.holds("a") && !back.holds("c"));
        assert_eq!(back.ids(), ["1", "2", "3"]);
        let delays: Vec<u64> = back.visibility().iter().map(|(_, delay)| delay.as_secs()).collect();
        assert_eq!(delays, [4, 4, 0]);
    }

    #[test]
    fn a_group_stops_behind_what_is_left_to_others() {
        let mut back = GoingBack::default();
        back.leave(&record("1", "a"));
        assert!(back.holds("a"));
        back.push(&record("2", "a"), Duration::from_secs(4));
        assert_eq!(back.ids(), ["1", "2"]);
        assert_eq!(back.visibility(), [("receipt of 2".to_owned(), Duration::ZERO)]);
    }
}

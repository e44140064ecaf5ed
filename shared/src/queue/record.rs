//! A message of a FIFO batch, and what of the batch goes back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use super::Outgoing;
use super::waits::backoff;

/// A message of a FIFO batch, as far as its queue is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FifoRecord {
    pub id: String,
    pub receipt: String,
    pub group: String,
    pub sent_at: Option<Timestamp>,
    /// How often it was received, this time included; 0 if the queue did not say it.
    pub receives: u32,
}

impl FifoRecord {
    /// Reads the system attributes as the queue names them. What has no group stands alone.
    pub fn new(id: Option<String>, receipt: Option<String>, attributes: &HashMap<String, String>) -> Self {
        // Without an id the function's answer cannot name the record; an empty one there returns the whole batch.
        let id = id.unwrap_or_default();
        let number = |name: &str| attributes.get(name).and_then(|number| number.parse::<i64>().ok());
        Self {
            group: attributes.get("MessageGroupId").unwrap_or(&id).clone(),
            id,
            receipt: receipt.unwrap_or_default(),
            sent_at: number("SentTimestamp").and_then(|millis| Timestamp::from_millisecond(millis).ok()),
            receives: number("ApproximateReceiveCount").and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        }
    }

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

    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The receipt of each record and when it is to appear again.
    pub fn visibility(&self) -> &[(String, Duration)] {
        &self.visibility
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, group: &str) -> FifoRecord {
        let (receipt, group) = (format!("receipt of {id}"), group.to_owned());
        FifoRecord { id: id.to_owned(), receipt, group, sent_at: None, receives: 1 }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).expect("a time")
    }

    #[test]
    fn a_record_knows_its_age_and_its_group() {
        let attributes = HashMap::from([
            ("MessageGroupId".to_owned(), "call".to_owned()),
            ("SentTimestamp".to_owned(), "5000".to_owned()),
            ("ApproximateReceiveCount".to_owned(), "7".to_owned()),
        ]);
        let record = FifoRecord::new(Some("id".to_owned()), Some("receipt".to_owned()), &attributes);
        assert_eq!((record.group.as_str(), record.receives), ("call", 7));
        assert_eq!(record.waited(at(7_500)), Duration::from_millis(2_500));
        assert_eq!(record.waited(at(1_000)), Duration::ZERO);
        let bare = FifoRecord::new(Some("id".to_owned()), None, &HashMap::new());
        assert_eq!((bare.group.as_str(), bare.waited(at(9))), ("id", Duration::ZERO));
        assert!(!bare.set_aside("").body.is_empty());
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
}

//! An SQS queue in five verbs, and what of a received FIFO batch goes back to it.

mod outgoing;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry,
};
use jiff::Timestamp;

use crate::aws;

pub use outgoing::{BATCH, Outgoing, Room, Taken, chunks};

const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const JITTER: f64 = 0.2;

#[derive(Debug, thiserror::Error)]
#[error("the queue did not {verb} ({code}): {cause}")]
pub struct QueueError {
    verb: &'static str,
    code: String,
    cause: String,
}

impl QueueError {
    fn new<E>(verb: &'static str, error: &E) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata,
    {
        let (code, cause) = aws::explain(error);
        Self { verb, code, cause }
    }
}

#[derive(Clone, Debug)]
pub struct Received {
    pub body: String,
    pub receipt: String,
}

#[derive(Clone, Debug)]
pub struct Queue {
    pub(crate) client: Client,
    pub(crate) url: String,
}

impl Queue {
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends one message to a standard queue.
    pub async fn send(&self, body: String) -> Result<(), QueueError> {
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).send().await;
        sent.map(drop).map_err(|error| QueueError::new("take the message", &error.into_service_error()))
    }

    /// Sends messages to a FIFO queue in one request, for which [`chunks`] cuts them, and returns, in their order, whether each was taken.
    pub async fn send_fifo(&self, messages: &[Outgoing]) -> Result<Vec<Taken>, QueueError> {
        debug_assert!(messages.len() <= BATCH);
        let entries = messages.iter().enumerate().map(|(n, message)| {
            SendMessageBatchRequestEntry::builder()
                .id(n.to_string())
                .message_group_id(&message.group)
                .message_deduplication_id(&message.dedup)
                .message_body(&message.body)
                .build()
                .expect("id and body are set")
        });
        let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries.collect()));
        let answer = match request.send().await.map_err(SdkError::into_service_error) {
            Ok(answer) => answer,
            Err(error) if messages.len() == 1 && error.is_batch_request_too_long() => {
                return Ok(vec![Taken::No { code: aws::explain(&error).0, hopeless: true }]);
            }
            Err(error) => return Err(QueueError::new("take the batch", &error)),
        };
        let mut taken = vec![Taken::unanswered(); messages.len()];
        let accepted = answer.successful().iter().map(|entry| (entry.id(), Taken::Yes));
        let refused = answer
            .failed()
            .iter()
            .map(|entry| (entry.id(), Taken::No { code: entry.code().to_owned(), hopeless: entry.sender_fault() }));
        for (id, how) in accepted.chain(refused) {
            if let Some(slot) = id.parse::<usize>().ok().and_then(|n| taken.get_mut(n)) {
                *slot = how;
            }
        }
        Ok(taken)
    }

    /// Waits up to `wait` for messages.
    pub async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Received>, QueueError> {
        let limits = aws::retry::after_a_wait(self.client.config().timeout_config(), wait);
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(max.min(BATCH) as i32)
            .wait_time_seconds(wait.as_secs() as i32)
            .customize()
            .config_override(aws_sdk_sqs::Config::builder().timeout_config(limits))
            .send()
            .await
            .map_err(|error| QueueError::new("hand out messages", &error.into_service_error()))?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        Ok(messages
            .filter_map(|message| Some(Received { body: message.body?, receipt: message.receipt_handle? }))
            .collect())
    }

    pub async fn delete(&self, receipt: &str) -> Result<(), QueueError> {
        let deleted = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await;
        deleted.map(drop).map_err(|error| QueueError::new("delete the message", &error.into_service_error()))
    }

    /// Deletes what is finished; best effort, for a message that stays comes again and is found to be finished.
    pub async fn delete_all(&self, receipts: &[String]) -> Result<(), QueueError> {
        for batch in receipts.chunks(BATCH) {
            let entries = batch.iter().enumerate().map(|(n, receipt)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string()).receipt_handle(receipt);
                entry.build().expect("id and receipt are set")
            });
            let deleted = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries.collect()));
            let deleted = deleted.send().await;
            deleted.map_err(|error| QueueError::new("delete the messages", &error.into_service_error()))?;
        }
        Ok(())
    }

    /// Decides when each message appears again; best effort, for the queue's own time-out bounds a failure.
    pub async fn set_visibility(&self, messages: &[(String, Duration)]) -> Result<(), QueueError> {
        for batch in messages.chunks(BATCH) {
            let entries = batch.iter().enumerate().map(|(n, (receipt, delay))| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(n.to_string())
                    .receipt_handle(receipt)
                    .visibility_timeout(whole_seconds(*delay) as i32)
                    .build()
                    .expect("id and receipt are set")
            });
            self.client
                .change_message_visibility_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries.collect()))
                .send()
                .await
                .map_err(|error| QueueError::new("change the visibility", &error.into_service_error()))?;
        }
        Ok(())
    }
}

/// The next wait of a message that has waited `waited` by now, so that each wait doubles the one before: between 1 s and
/// `ceiling`, and up to a fifth more or less, as `jitter` (−1 to 1) says.
pub fn backoff(waited: Duration, ceiling: Duration, jitter: f64) -> Duration {
    waited.clamp(SHORTEST_WAIT, ceiling).mul_f64(1.0 + JITTER * jitter.clamp(-1.0, 1.0))
}

/// The queue counts whole seconds. Only "at once" is zero, because a short wait that became none would spin.
fn whole_seconds(delay: Duration) -> u64 {
    if delay.is_zero() { 0 } else { (delay.as_secs_f64().round() as u64).max(1) }
}

/// A message of a FIFO batch, as far as its queue is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FifoRecord {
    pub id: String,
    pub receipt: String,
    pub group: String,
    pub sent_at: Option<Timestamp>,
}

impl FifoRecord {
    /// Reads the system attributes as the queue names them. What has no group stands alone.
    pub fn new(id: Option<String>, receipt: Option<String>, attributes: &HashMap<String, String>) -> Self {
        // Without an id the function's answer cannot name the record; an empty one there returns the whole batch.
        let id = id.unwrap_or_default();
        Self {
            group: attributes.get("MessageGroupId").unwrap_or(&id).clone(),
            id,
            receipt: receipt.unwrap_or_default(),
            sent_at: attributes
                .get("SentTimestamp")
                .and_then(|millis| millis.parse().ok())
                .and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        }
    }

    /// How long the message has been in the queue; none if the queue did not say when it came.
    pub fn waited(&self, now: Timestamp) -> Duration {
        let waited = self.sent_at.map(|sent_at| now.duration_since(sent_at));
        waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default()
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
        FifoRecord { id: id.to_owned(), receipt: format!("receipt of {id}"), group: group.to_owned(), sent_at: None }
    }

    #[test]
    fn waits_double_within_their_bounds() {
        let (second, ceiling) = (Duration::from_secs(1), Duration::from_secs(30));
        assert_eq!(backoff(Duration::ZERO, ceiling, 0.0), second);
        assert_eq!(backoff(second * 8, ceiling, 0.0), second * 8);
        assert_eq!(backoff(second * 99, ceiling, 1.0), second * 36);
        assert_eq!(backoff(second * 10, ceiling, -1.0), second * 8);
        assert_eq!(backoff(second * 10, ceiling, -7.0), second * 8);
    }

    #[test]
    fn only_at_once_is_zero() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1_400)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1_600)), 2);
    }

    #[test]
    fn a_record_knows_its_age_and_its_group() {
        let attributes = HashMap::from([
            ("MessageGroupId".to_owned(), "call".to_owned()),
            ("SentTimestamp".to_owned(), "5000".to_owned()),
        ]);
        let record = FifoRecord::new(Some("id".to_owned()), Some("receipt".to_owned()), &attributes);
        assert_eq!(record.group, "call");
        let at = |millis| Timestamp::from_millisecond(millis).expect("a time");
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

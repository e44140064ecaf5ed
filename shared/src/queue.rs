//! An SQS queue in five verbs.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, SendMessageBatchRequestEntry};

/// SQS takes and gives at most this many messages at once.
pub const BATCH: usize = 10;

#[derive(Debug, thiserror::Error)]
#[error("the queue did not {verb} ({code}): {cause}")]
pub struct QueueError {
    verb: &'static str,
    code: String,
    cause: String,
}

impl QueueError {
    fn new<E>(verb: &'static str, error: E) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata,
    {
        let code = error.code().unwrap_or("no answer").to_owned();
        Self { verb, code, cause: DisplayErrorContext(error).to_string() }
    }
}

/// One message for a FIFO queue.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub group: String,
    pub dedup: String,
    pub body: String,
}

#[derive(Clone, Debug)]
pub struct Received {
    pub body: String,
    pub receipt: String,
}

#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends one message to a standard queue.
    pub async fn send(&self, body: String) -> Result<(), QueueError> {
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).send().await;
        sent.map(drop).map_err(|error| QueueError::new("take the message", error.into_service_error()))
    }

    /// Sends up to [`BATCH`] messages to a FIFO queue and returns, in their order, whether each was accepted.
    pub async fn send_fifo(&self, messages: &[Outgoing]) -> Result<Vec<bool>, QueueError> {
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
        let answer = self
            .client
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries.collect()))
            .send()
            .await
            .map_err(|error| QueueError::new("take the batch", error.into_service_error()))?;
        let mut accepted = vec![false; messages.len()];
        for entry in answer.successful() {
            if let Some(slot) = entry.id().parse::<usize>().ok().and_then(|n| accepted.get_mut(n)) {
                *slot = true;
            }
        }
        Ok(accepted)
    }

    /// Waits up to `wait` for messages.
    pub async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Received>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(max.min(BATCH) as i32)
            .wait_time_seconds(wait.as_secs() as i32)
            .send()
            .await
            .map_err(|error| QueueError::new("hand out messages", error.into_service_error()))?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        Ok(messages
            .filter_map(|message| Some(Received { body: message.body?, receipt: message.receipt_handle? }))
            .collect())
    }

    pub async fn delete(&self, receipt: &str) -> Result<(), QueueError> {
        let deleted = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await;
        deleted.map(drop).map_err(|error| QueueError::new("delete the message", error.into_service_error()))
    }

    /// Decides when each message appears again; best effort, for the queue's own time-out bounds a failure.
    pub async fn set_visibility(&self, messages: &[(String, Duration)]) -> Result<(), QueueError> {
        for batch in messages.chunks(BATCH) {
            let entries = batch.iter().enumerate().map(|(n, (receipt, delay))| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(n.to_string())
                    .receipt_handle(receipt)
                    .visibility_timeout(delay.as_secs() as i32)
                    .build()
                    .expect("id and receipt are set")
            });
            self.client
                .change_message_visibility_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries.collect()))
                .send()
                .await
                .map_err(|error| QueueError::new("change the visibility", error.into_service_error()))?;
        }
        Ok(())
    }
}

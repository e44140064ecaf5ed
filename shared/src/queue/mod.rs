//! An SQS queue: what goes into it, and what of a received FIFO batch goes back.
//!
//! Order is kept per call and not per site: a message's group is its call, so one stuck receiver delays one call of its own.

mod outgoing;
mod record;
mod waits;

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    SendMessageBatchRequestEntry,
};
use jiff::Timestamp;

use crate::aws::{self, retry};

pub use outgoing::{BATCH, Outgoing, Room, Taken, chunks};
pub use record::{FifoMessage, FifoRecord, GoingBack};
use waits::whole_seconds;

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

    fn of_entry(verb: &'static str, entry: BatchResultErrorEntry) -> Self {
        Self { verb, code: entry.code, cause: entry.message.unwrap_or_default() }
    }
}

const SET_VISIBILITY: &str = "change the visibility";

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
            // This queue is set to take less at once than SQS does.
            Err(error) if error.is_batch_request_too_long() => {
                let (one, other) = messages.split_at(messages.len() / 2);
                let mut taken = Box::pin(self.send_fifo(one)).await?;
                taken.extend(Box::pin(self.send_fifo(other)).await?);
                return Ok(taken);
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
            let Some(n) = id.parse::<usize>().ok().filter(|n| *n < messages.len()) else { continue };
            taken[n] = how.judged(&messages[n].body);
        }
        Ok(taken)
    }

    /// Waits up to `wait` for messages.
    pub async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Received>, QueueError> {
        let limits = retry::after_a_wait(self.client.config().timeout_config(), wait);
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

    /// Decides when each message appears again. Returns, in their order, whether the queue has heard it: it refuses that for a message
    /// that is not this receiver's any more.
    pub async fn set_visibility(&self, messages: &[(String, Duration)]) -> Result<Vec<bool>, QueueError> {
        let mut heard = vec![false; messages.len()];
        let mut rest: Vec<usize> = (0..messages.len()).collect();
        let mut pauses = retry::Pauses::new(self.client.config().sleep_impl());
        loop {
            let mut failed: Vec<BatchResultErrorEntry> = Vec::new();
            for batch in rest.chunks(BATCH) {
                let entries = batch.iter().map(|at| visibility_entry(*at, &messages[*at]));
                let request = self.client.change_message_visibility_batch().queue_url(&self.url);
                let answer = request.set_entries(Some(entries.collect())).send().await;
                let answer = answer.map_err(|error| QueueError::new(SET_VISIBILITY, &error.into_service_error()))?;
                for entry in &answer.successful {
                    if let Some(heard) = entry.id.parse::<usize>().ok().and_then(|at| heard.get_mut(at)) {
                        *heard = true;
                    }
                }
                failed.extend(answer.failed.into_iter().filter(|entry| !entry.sender_fault));
            }
            rest = failed.iter().filter_map(|entry| entry.id.parse().ok()).filter(|at| *at < messages.len()).collect();
            match failed.pop() {
                None => return Ok(heard),
                Some(entry) if !pauses.pause().await => return Err(QueueError::of_entry(SET_VISIBILITY, entry)),
                Some(_) => {}
            }
        }
    }

    /// Makes sure that the records of a batch are this receiver's, for as long as `visibility` from now on, before anything is done for
    /// them: they may have waited for a function for so long that the queue has handed them out again. Returns, in their order, whether
    /// they are. The common batch, whose records have just been sent, costs no request.
    pub async fn renew(
        &self,
        records: &[&FifoRecord],
        visibility: Duration,
        now: Timestamp,
    ) -> Result<Vec<bool>, QueueError> {
        let mut ours = vec![true; records.len()];
        // What is in no queue is nobody else's.
        let name = self.url.rsplit('/').next();
        let queued: Vec<usize> = (0..records.len()).filter(|at| records[*at].queue.as_deref() == name).collect();
        if queued.iter().any(|at| records[*at].is_doubtful(now)) {
            let hold = |at: &usize| (records[*at].receipt.clone(), records[*at].hold(visibility));
            let heard = self.set_visibility(&queued.iter().map(hold).collect::<Vec<_>>()).await?;
            queued.into_iter().zip(heard).for_each(|(at, heard)| ours[at] = heard);
        }
        Ok(ours)
    }
}

fn visibility_entry(at: usize, (receipt, delay): &(String, Duration)) -> ChangeMessageVisibilityBatchRequestEntry {
    ChangeMessageVisibilityBatchRequestEntry::builder()
        .id(at.to_string())
        .receipt_handle(receipt)
        .visibility_timeout(whole_seconds(*delay) as i32)
        .build()
        .expect("id and receipt are set")
}

//! SQS: its requests, each carried out at one moment. Only a receive may wait.

mod queue;
mod requests;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::counts::{FaultKind, QueueCount};
use crate::error::{Answer, ApiError};
use crate::world::World;
use queue::{Outgoing, Queue, sequence_number};
use requests::{Batch, CreateQueue, GetAttributes, QueueName, QueueOnly, Receipt, Receive, Send, SetAttributes, read};
use settings::{LARGEST, Settings};

pub(crate) use queue::Received;
pub(crate) use settings::ARN;

const MOST_ENTRIES: usize = 10;
const LONGEST_WAIT: u64 = 20;
const LONGEST_HIDDEN: u64 = 43_200;
/// A request is billed anew for each of these.
const BILLED: usize = 64 * 1024;
const PURGE_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Queues {
    queues: BTreeMap<String, Queue>,
    /// What queue URLs begin with.
    base: String,
}

/// What a request has come to.
#[derive(Debug)]
pub(crate) enum Progress {
    Done(Answer),
    /// A receive waits at most until then for a message; one that is hidden may become visible earlier.
    Waits {
        until: Duration,
        next: Option<Duration>,
    },
}

impl Queues {
    pub(crate) fn new(base: String) -> Self {
        Self { queues: BTreeMap::new(), base }
    }

    /// `began`: when the request came; a receive waits from then on.
    pub(crate) fn answer(&mut self, operation: &str, body: &Json, began: Duration, world: &mut World<'_>) -> Progress {
        if operation == "ReceiveMessage" {
            return self.receive(body, began, world).unwrap_or_else(|error| Progress::Done(Err(error)));
        }
        Progress::Done(self.at_once(operation, body, world))
    }

    fn at_once(&mut self, operation: &str, body: &Json, world: &mut World<'_>) -> Answer {
        match operation {
            "CreateQueue" => return self.create(body),
            "GetQueueUrl" => {
                let QueueName { queue_name } = read(body)?;
                self.named(&queue_name)?;
                return Ok(json!({"QueueUrl": self.url(&queue_name)}));
            }
            "ListQueues" => {
                let urls: Vec<String> = self.queues.keys().map(|name| self.url(name)).collect();
                return Ok(json!({"QueueUrls": urls}));
            }
            _ => {}
        }
        let name = name_in(body)?;
        let queue = self.queues.get_mut(&name).ok_or_else(no_queue)?;
        let mut payload = Payload::default();
        let answer = match operation {
            "DeleteQueue" => {
                read::<QueueOnly>(body)?;
                self.queues.remove(&name);
                Ok(json!({}))
            }
            "PurgeQueue" => {
                read::<QueueOnly>(body)?;
                purge(queue, world.now)
            }
            "SetQueueAttributes" => {
                let request: SetAttributes = read(body)?;
                queue.settings.change(&request.attributes).map(|()| json!({}))
            }
            "GetQueueAttributes" => attributes(queue, &read(body)?, world.now),
            "SendMessage" => {
                let request: Send = read(body)?;
                payload.add(request.message_body.len());
                send(queue, request, world)
            }
            "SendMessageBatch" => send_batch(queue, read(body)?, &mut payload, world),
            "DeleteMessage" => {
                let request: Receipt = read(body)?;
                payload.add(0);
                queue.delete(&request.receipt_handle, world.now).map(|()| json!({}))
            }
            "DeleteMessageBatch" => {
                receipts(read(body)?, &mut payload, world, |entry, now| queue.delete(&entry.receipt_handle, now))
            }
            "ChangeMessageVisibility" => {
                payload.add(0);
                change_visibility(queue, &read(body)?, world.now).map(|()| json!({}))
            }
            "ChangeMessageVisibilityBatch" => {
                receipts(read(body)?, &mut payload, world, |entry, now| change_visibility(queue, entry, now))
            }
            other => {
                Err(ApiError::new("UnsupportedOperation", format!("cloud-sim does not simulate the operation {other}")))
            }
        };
        payload.count(&name, operation, world);
        answer
    }

    fn create(&mut self, body: &Json) -> Answer {
        let request: CreateQueue = read(body)?;
        let name = request.queue_name;
        let mut settings = Settings::new();
        settings.change(&request.attributes)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let stem = name.strip_suffix(".fifo").filter(|_| settings.fifo).unwrap_or(&name);
        if settings.fifo != name.ends_with(".fifo") || stem.is_empty() || name.len() > 80 || !stem.chars().all(is_name)
        {
            return Err(ApiError::new(
                "InvalidParameterValue",
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
            ));
        }
        let url = self.url(&name);
        if let Some(existing) = self.queues.get(&name) {
            if existing.settings.shown(&name) != settings.shown(&name) {
                return Err(ApiError::new(
                    "QueueNameExists",
                    "A queue already exists with the same name and a different value for attributes",
                ));
            }
            return Ok(json!({"QueueUrl": url}));
        }
        self.queues.insert(name.clone(), Queue::new(name, settings));
        Ok(json!({"QueueUrl": url}))
    }

    fn url(&self, name: &str) -> String {
        format!("{}/000000000000/{name}", self.base)
    }

    fn named(&mut self, name: &str) -> Answer<&mut Queue> {
        self.queues.get_mut(name).ok_or_else(no_queue)
    }

    fn receive(&mut self, body: &Json, began: Duration, world: &mut World<'_>) -> Answer<Progress> {
        let request: Receive = read(body)?;
        let name = name_in(body)?;
        let settings = self.named(&name)?.settings.clone();
        let most = request.max_number_of_messages.unwrap_or(1);
        if !(1..=MOST_ENTRIES).contains(&most) {
            return Err(invalid("MaxNumberOfMessages", &most, "Must be between 1 and 10, if provided."));
        }
        let wait = bounded("WaitTimeSeconds", request.wait_time_seconds, LONGEST_WAIT)?;
        let wait = wait.unwrap_or(settings.receive_wait);
        let hidden = bounded("VisibilityTimeout", request.visibility_timeout, LONGEST_HIDDEN)?;
        let received = self.hand_out(&name, most, hidden.unwrap_or(settings.visibility), wait.is_zero(), world)?;
        if received.is_empty() && world.now < began + wait {
            let next = self.named(&name)?.next_visible(world.now);
            return Ok(Progress::Waits { until: began + wait, next });
        }
        count_received(&name, &received, world);
        if received.is_empty() {
            return Ok(Progress::Done(Ok(json!({}))));
        }
        let wanted: BTreeSet<String> =
            request.attribute_names.into_iter().chain(request.message_system_attribute_names).collect();
        let show = |received: &Received| {
            let message = &received.message;
            let mut shown = json!({
                "MessageId": message.id,
                "ReceiptHandle": received.receipt,
                "MD5OfBody": message.md5(),
                "Body": message.body,
            });
            let attributes: BTreeMap<&str, String> = message
                .attributes()
                .into_iter()
                .filter(|(name, _)| wanted.contains("All") || wanted.contains(*name))
                .collect();
            if !attributes.is_empty() {
                shown["Attributes"] = json!(attributes);
            }
            shown
        };
        Ok(Progress::Done(Ok(json!({"Messages": received.iter().map(show).collect::<Vec<_>>()}))))
    }

    fn hand_out(
        &mut self,
        name: &str,
        most: usize,
        hidden: Duration,
        short: bool,
        world: &mut World<'_>,
    ) -> Answer<Vec<Received>> {
        let queue = self.named(name)?;
        let (received, dead) = queue.receive(most, hidden, short, world);
        let redrive = queue.settings.redrive.clone();
        if let Some(to) = redrive.and_then(|redrive| self.queues.get_mut(&redrive.to)) {
            for message in dead {
                to.take_dead(message, world.now);
            }
        }
        Ok(received)
    }

    /// A receive of the event source mapping, which is one request like another.
    pub(crate) fn poll(&mut self, name: &str, most: usize, world: &mut World<'_>) -> Answer<Vec<Received>> {
        let hidden = self.named(name)?.settings.visibility;
        let received = self.hand_out(name, most, hidden, false, world)?;
        if !received.is_empty() {
            count_received(name, &received, world);
        }
        Ok(received)
    }

    /// A poll of the event source mapping that found nothing.
    pub(crate) fn count_empty_poll(name: &str, world: &mut World<'_>) {
        count_received(name, &[], world);
    }

    /// The event source mapping deletes what a function has finished, in one request.
    pub(crate) fn delete_all(&mut self, name: &str, receipts: &[String], world: &mut World<'_>) -> Answer<()> {
        let messages = receipts.len() as u64;
        let count = QueueCount { requests: 1, billed: 1, messages, bytes: 0 };
        world.counts_queue(name, "DeleteMessageBatch", count);
        let queue = self.named(name)?;
        for receipt in receipts {
            // What is somebody else's by now stays theirs.
            drop(queue.delete(receipt, world.now));
        }
        Ok(())
    }

    pub(crate) fn next_visible(&self, name: &str, now: Duration) -> Option<Duration> {
        self.queues.get(name)?.next_visible(now)
    }

    pub(crate) fn bodies(&self, name: &str) -> Vec<String> {
        self.queues.get(name).map(Queue::bodies).unwrap_or_default()
    }

    /// Visible, in flight, delayed; nothing where there is no such queue.
    pub(crate) fn depth(&mut self, name: &str, now: Duration) -> (usize, usize, usize) {
        self.queues.get_mut(name).map(|queue| queue.depth(now)).unwrap_or_default()
    }
}

/// Bytes of messages in a request or its answer.
#[derive(Debug, Default)]
struct Payload {
    messages: u64,
    bytes: usize,
}

impl Payload {
    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    fn count(&self, queue: &str, operation: &str, world: &mut World<'_>) {
        let billed = self.bytes.div_ceil(BILLED).max(1) as u64;
        let count = QueueCount { requests: 1, billed, messages: self.messages, bytes: self.bytes as u64 };
        world.counts_queue(queue, operation, count);
    }
}

fn count_received(name: &str, received: &[Received], world: &mut World<'_>) {
    let mut payload = Payload::default();
    for received in received {
        payload.add(received.message.bytes());
    }
    payload.count(name, "ReceiveMessage", world);
}

/// The name of the queue whose URL a request gives.
pub(crate) fn name_in(body: &Json) -> Answer<String> {
    let url = body["QueueUrl"]
        .as_str()
        .ok_or_else(|| ApiError::new("MissingParameter", "The request must contain the parameter QueueUrl."))?;
    Ok(url.rsplit('/').next().unwrap_or_default().to_owned())
}

fn no_queue() -> ApiError {
    ApiError::new("QueueDoesNotExist", "The specified queue does not exist.")
}

fn invalid(name: &str, value: &dyn std::fmt::Display, reason: &str) -> ApiError {
    let message = format!("Value {value} for parameter {name} is invalid. Reason: {reason}");
    ApiError::new("InvalidParameterValue", message)
}

fn bounded(name: &str, seconds: Option<u64>, most: u64) -> Answer<Option<Duration>> {
    match seconds {
        Some(seconds) if seconds > most => {
            Err(invalid(name, &seconds, &format!("Must be >= 0 and <= {most}, if provided.")))
        }
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

fn purge(queue: &mut Queue, now: Duration) -> Answer {
    if queue.purged_at.is_some_and(|at| at + PURGE_EVERY > now) {
        let message = format!("Only one PurgeQueue operation on {} is allowed every 60 seconds.", queue.name);
        return Err(ApiError::new("PurgeQueueInProgress", message).at_status(403));
    }
    queue.purged_at = Some(now);
    queue.purge();
    Ok(json!({}))
}

fn attributes(queue: &mut Queue, request: &GetAttributes, now: Duration) -> Answer {
    let (visible, in_flight, delayed) = queue.depth(now);
    let mut attributes = queue.settings.shown(&queue.name);
    attributes.extend([
        ("ApproximateNumberOfMessages", visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", delayed.to_string()),
    ]);
    let all = request.attribute_names.iter().any(|name| name == "All");
    attributes.retain(|name, _| all || request.attribute_names.iter().any(|wanted| wanted == name));
    Ok(json!({"Attributes": attributes}))
}

fn send(queue: &mut Queue, request: Send, world: &mut World<'_>) -> Answer {
    let md5 = body_md5(&request.message_body);
    let outgoing = Outgoing {
        delay: bounded("DelaySeconds", request.delay_seconds, 900)?,
        body: request.message_body,
        group: request.message_group_id,
        deduplication: request.message_deduplication_id,
    };
    let fifo = queue.settings.fifo;
    let (id, sequence) = queue.send(outgoing, world)?;
    let mut answer = json!({"MessageId": id, "MD5OfMessageBody": md5});
    if fifo {
        answer["SequenceNumber"] = json!(sequence_number(sequence));
    }
    Ok(answer)
}

fn body_md5(body: &str) -> String {
    use md5::Digest;
    hex::encode(md5::Md5::digest(body.as_bytes()))
}

fn send_batch(queue: &mut Queue, batch: Batch<Send>, payload: &mut Payload, world: &mut World<'_>) -> Answer {
    check_entries(batch.entries.iter().map(|entry| entry.id.as_str()))?;
    let total: usize = batch.entries.iter().map(|entry| entry.message_body.len()).sum();
    if total > LARGEST {
        let message = format!("Batch requests cannot be longer than {LARGEST} bytes. You have sent {total} bytes.");
        return Err(ApiError::new("BatchRequestTooLong", message));
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (entry, fails) in failing(batch.entries, world) {
        payload.add(entry.message_body.len());
        let id = entry.id.clone();
        match if fails { Err(internal()) } else { send(queue, entry, world) } {
            Ok(mut answer) => {
                answer["Id"] = json!(id);
                successful.push(answer);
            }
            Err(error) => failed.push(failure(&id, &error)),
        }
    }
    Ok(json!({"Successful": successful, "Failed": failed}))
}

fn receipts(
    batch: Batch<Receipt>,
    payload: &mut Payload,
    world: &mut World<'_>,
    mut act: impl FnMut(&Receipt, Duration) -> Answer<()>,
) -> Answer {
    check_entries(batch.entries.iter().map(|entry| entry.id.as_str()))?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (entry, fails) in failing(batch.entries, world) {
        payload.add(0);
        match if fails { Err(internal()) } else { act(&entry, world.now) } {
            Ok(()) => successful.push(json!({"Id": entry.id})),
            Err(error) => failed.push(failure(&entry.id, &error)),
        }
    }
    Ok(json!({"Successful": successful, "Failed": failed}))
}

/// Each entry, and whether chance lets it fail.
fn failing<T>(entries: Vec<T>, world: &mut World<'_>) -> Vec<(T, bool)> {
    let fails = if world.dice.injects(FaultKind::PartialBatch, world.counts) {
        world.dice.some_of(entries.len(), true)
    } else {
        vec![false; entries.len()]
    };
    entries.into_iter().zip(fails).collect()
}

fn internal() -> ApiError {
    ApiError::new("InternalError", "Request processing failed because of an unknown error, exception, or failure.")
        .at_status(500)
}

fn failure(id: &str, error: &ApiError) -> Json {
    json!({"Id": id, "Code": error.code, "Message": error.message, "SenderFault": error.status < 500})
}

fn check_entries<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> Answer<()> {
    let (mut seen, count) = (BTreeSet::new(), ids.len());
    if count == 0 {
        let message = "There should be at least one entry in the request.";
        return Err(ApiError::new("EmptyBatchRequest", message));
    }
    if count > MOST_ENTRIES {
        let message = format!("Maximum number of entries per request are {MOST_ENTRIES}. You have sent {count}.");
        return Err(ApiError::new("TooManyEntriesInBatchRequest", message));
    }
    for id in ids {
        let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !(1..=80).contains(&id.len()) || !id.chars().all(is_id) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. \
                           It can be at most 80 letters long.";
            return Err(ApiError::new("InvalidBatchEntryId", message));
        }
        if !seen.insert(id) {
            return Err(ApiError::new("BatchEntryIdsNotDistinct", format!("Id {id} repeated.")));
        }
    }
    Ok(())
}

fn change_visibility(queue: &mut Queue, entry: &Receipt, now: Duration) -> Answer<()> {
    let hidden = bounded("VisibilityTimeout", entry.visibility_timeout, LONGEST_HIDDEN)?;
    let hidden = hidden.ok_or_else(|| {
        ApiError::new("MissingParameter", "The request must contain the parameter VisibilityTimeout.")
    })?;
    queue.change_visibility(&entry.receipt_handle, hidden, now)
}

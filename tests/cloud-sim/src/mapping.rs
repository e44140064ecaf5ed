//! The Lambda event source mapping: polls a queue, invokes a function with batches, deletes what it has finished.
//!
//! What the real one does and a kind one does not: batches of several groups run side by side, first a few and then more and more
//! of them, an invocation that takes too long is killed where it waits, a throttled one leaves its messages hidden until their
//! visibility ends and received once more, and an answer that names a message that was not in the batch returns all of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::batches::{Batches, Scaling};
use crate::cloud::Cloud;
use crate::counts::FaultKind;
use crate::engine::{Engine, Wait};
use crate::queues::{ARN, Queues, Received};

const LONG_POLL: Duration = Duration::from_secs(20);
/// Why a function fails as a whole.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// What is mapped, and how.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Name of the queue.
    pub queue: String,
    /// Name of the function, for the counts.
    pub function: String,
    /// Messages in a batch, at most 10.
    pub batch_size: usize,
    /// Batches at a time, once the mapping has grown; beyond them nothing is received.
    pub maximum_concurrency: usize,
    /// Environments that the function may have; an invocation beyond them is throttled. None: enough.
    pub reserved_concurrency: Option<usize>,
    /// After this the invocation is killed.
    pub timeout: Duration,
    /// The function's memory, for what it is billed.
    pub memory_mib: u32,
    /// Long polls that are open at a time; each is billed every 20 s, also when nothing comes.
    pub pollers: usize,
    /// Whether the function names the messages that failed (`ReportBatchItemFailures`).
    pub partial_responses: bool,
}

impl Mapping {
    pub fn new(queue: impl Into<String>, function: impl Into<String>) -> Self {
        Self {
            queue: queue.into(),
            function: function.into(),
            batch_size: 10,
            maximum_concurrency: 1000,
            reserved_concurrency: None,
            timeout: Duration::from_secs(3),
            memory_mib: 128,
            pollers: 5,
            partial_responses: true,
        }
    }
}

/// A mapping at work. Dropped, it ends at once, and kills what it has invoked.
#[derive(Debug)]
pub struct RunningMapping {
    pollers: JoinSet<()>,
    batches: Arc<Batches>,
    scaling: Scaling,
}

impl RunningMapping {
    /// Receives nothing more, and waits for what has been invoked.
    pub async fn stop(mut self) {
        drop(self.scaling);
        self.batches.all().await;
        self.pollers.shutdown().await;
    }
}

struct Mapped<H> {
    cloud: Cloud,
    mapping: Mapping,
    handler: H,
    environments: Option<Arc<Semaphore>>,
    /// The process that asks the queue.
    name: String,
    batches: Arc<Batches>,
}

impl Cloud {
    /// Invokes `handler` with the messages of a queue and the moment at which it will be killed.
    pub fn map<H, F>(&self, mapping: Mapping, handler: H) -> RunningMapping
    where
        H: Fn(SqsEvent, Timestamp) -> F + Send + Sync + 'static,
        F: Future<Output = Result<SqsBatchResponse, HandlerError>> + Send + 'static,
    {
        let concurrency = mapping.maximum_concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let batches = Arc::new(Batches::new(concurrency));
        let environments = mapping.reserved_concurrency.map(|most| Arc::new(Semaphore::new(most)));
        let count = mapping.pollers.clamp(1, concurrency);
        let name = format!("mapping of {}", mapping.function);
        let (cloud, batches_of_it) = (self.clone(), batches.clone());
        let mapped = Arc::new(Mapped { cloud, mapping, handler, environments, name, batches: batches_of_it });
        let mut pollers = JoinSet::new();
        for _ in 0..count {
            pollers.spawn(poll(mapped.clone()));
        }
        RunningMapping { pollers, scaling: Scaling::of(&batches), batches }
    }
}

async fn poll<H, F>(mapped: Arc<Mapped<H>>)
where
    H: Fn(SqsEvent, Timestamp) -> F + Send + Sync + 'static,
    F: Future<Output = Result<SqsBatchResponse, HandlerError>> + Send + 'static,
{
    let mut invocations = JoinSet::new();
    loop {
        let Ok(permit) = mapped.batches.one().await else { return };
        let batch = mapped.receive().await;
        if !batch.is_empty() {
            invocations.spawn(invoke(mapped.clone(), batch, permit));
        }
        while invocations.try_join_next().is_some() {}
    }
}

async fn invoke<H, F>(mapped: Arc<Mapped<H>>, batch: Vec<Received>, _permit: OwnedSemaphorePermit)
where
    H: Fn(SqsEvent, Timestamp) -> F + Send + Sync + 'static,
    F: Future<Output = Result<SqsBatchResponse, HandlerError>> + Send + 'static,
{
    let _busy = mapped.batches.busy();
    sleep(mapped.latency()).await;
    let environment = mapped.environments.as_ref().map(|environments| environments.clone().try_acquire_owned());
    let is_throttled = matches!(environment, Some(Err(_)));
    if is_throttled || mapped.injects(FaultKind::ThrottledInvocation) {
        return;
    }
    let limit = mapped.mapping.timeout;
    let crash_after = mapped.injects(FaultKind::CrashedInvocation).then(|| mapped.draw(limit));
    let deadline = mapped.cloud.now().checked_add(limit).unwrap_or(Timestamp::MAX);
    let started = Instant::now();
    let mut invocation = JoinSet::new();
    // A task of its own: a panic is an error of the function, and to drop it kills it where it waits.
    invocation.spawn((mapped.handler)(event(&mapped.mapping.queue, &batch), deadline));
    let ended = timeout(crash_after.unwrap_or(limit), invocation.join_next()).await;
    if ended.is_err() && crash_after.is_none() {
        mapped.cloud.engine().counts.fault(FaultKind::TimeOut);
    }
    invocation.shutdown().await;
    let response = match ended {
        Ok(Some(Ok(Ok(response)))) => Some(response),
        _ => None,
    };
    let finished = response.as_ref().and_then(|response| finished(&batch, response, mapped.mapping.partial_responses));
    mapped.count(batch.len(), started.elapsed(), finished.is_none());
    drop(environment);
    let Some(finished) = finished.filter(|finished| !finished.is_empty()) else { return };
    if mapped.injects(FaultKind::LostDelete) {
        return;
    }
    sleep(mapped.latency()).await;
    let now = mapped.cloud.since_1970();
    let (queue, mut engine) = (&mapped.mapping.queue, mapped.cloud.engine());
    let (_, queues, mut world) = engine.split(now, &mapped.name);
    // A queue that was deleted meanwhile has no messages to delete.
    drop(queues.delete_all(queue, &finished, &mut world));
    drop(engine);
    mapped.cloud.notify();
}

impl<H> Mapped<H> {
    /// One long poll.
    async fn receive(&self) -> Vec<Received> {
        sleep(self.latency()).await;
        let until = self.cloud.since_1970() + LONG_POLL;
        let queue = &self.mapping.queue;
        let most = self.mapping.batch_size.clamp(1, 10);
        self.cloud
            .until(|engine: &mut Engine, now| {
                let (_, queues, mut world) = engine.split(now, &self.name);
                let received = queues.poll(queue, most, &mut world).unwrap_or_default();
                if !received.is_empty() {
                    return Ok(received);
                }
                if now >= until {
                    Queues::count_empty_poll(queue, &mut world);
                    return Ok(received);
                }
                let next = queues.next_visible(queue, now);
                Err(Wait { at: next.map_or(until, |next| next.min(until)) })
            })
            .await
    }

    /// Half of a request's time.
    fn latency(&self) -> Duration {
        let mut engine = self.cloud.engine();
        let (low, high) = engine.dice.faults.latency;
        engine.dice.between(low / 2, high / 2)
    }

    fn injects(&self, kind: FaultKind) -> bool {
        let engine = &mut *self.cloud.engine();
        engine.dice.injects(kind, &mut engine.counts)
    }

    fn draw(&self, most: Duration) -> Duration {
        self.cloud.engine().dice.between(Duration::ZERO, most)
    }

    fn count(&self, records: usize, took: Duration, is_error: bool) {
        let Mapping { function, memory_mib, .. } = &self.mapping;
        self.cloud.engine().counts.invocation(function, *memory_mib, records, took, is_error);
    }
}

/// The receipts of what is to be deleted; none if the answer fails the batch as a whole.
fn finished(batch: &[Received], response: &SqsBatchResponse, partial: bool) -> Option<Vec<String>> {
    let failed: BTreeSet<&str> = if partial {
        response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
    } else {
        BTreeSet::new()
    };
    let known: BTreeSet<&str> = batch.iter().map(|received| received.message.id.as_str()).collect();
    failed.is_subset(&known).then(|| {
        let finished = batch.iter().filter(|received| !failed.contains(received.message.id.as_str()));
        finished.map(|received| received.receipt.clone()).collect()
    })
}

fn event(queue: &str, batch: &[Received]) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = batch.iter().map(|received| record(queue, received)).collect();
    event
}

fn record(queue: &str, received: &Received) -> SqsMessage {
    let message = &received.message;
    let mut record = SqsMessage::default();
    record.message_id = Some(message.id.clone());
    record.receipt_handle = Some(received.receipt.clone());
    record.body = Some(message.body.clone());
    record.md5_of_body = Some(message.md5());
    record.attributes =
        message.attributes().into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<HashMap<_, _>>();
    record.event_source = Some("aws:sqs".to_owned());
    record.event_source_arn = Some(format!("{ARN}{queue}"));
    record.aws_region = Some("eu-central-1".to_owned());
    record
}

//! Events from the outbox to the cloud's queue: in order per call, several calls at a time, for as long as it takes.
//!
//! At most one event of a call is unacknowledged: a batch holds one event of a call, and the next follows its acceptance.
//! So the queue never sees a call's events in another order, whatever is lost or sent twice on the way.

use std::collections::{HashSet, VecDeque};
use std::fmt::{Debug, Display};
use std::time::Duration;

use anyhow::Context;
use shared::event::message::EventTag;
use shared::ids::CallId;
use shared::queue::{BATCH, Outgoing, Queue, QueueError, Room, Taken};
use shared::random::Random;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::events::outbox::{Outbox, OutboxEvent, Settled};
use crate::host::backoff::Backoff;
use crate::host::concurrency::Concurrency;
use crate::host::statistics::Statistics;

/// Batches that may be on their way at once, at first and at most.
const BATCHES: Concurrency = Concurrency::new(4, 32);

/// Where events go: a FIFO queue, or in tests what stands in for it.
pub trait EventQueue: Clone + Debug + Send + 'static {
    type Error: Display + Send;

    /// Sends as many messages as there is [`Room`] for, and returns, in their order, whether each was taken.
    fn send(&self, messages: Vec<Outgoing>) -> impl Future<Output = Result<Vec<Taken>, Self::Error>> + Send;
}

impl EventQueue for Queue {
    type Error = QueueError;

    async fn send(&self, messages: Vec<Outgoing>) -> Result<Vec<Taken>, QueueError> {
        self.send_fifo(&messages).await
    }
}

#[derive(Debug)]
pub struct Uplink<Q = Queue> {
    queue: Q,
    outbox: Outbox,
    statistics: Statistics,
    events: mpsc::UnboundedReceiver<OutboxEvent>,
    /// Got from the outbox and not accepted, in order.
    backlog: VecDeque<OutboxEvent>,
    /// Calls with an event on its way.
    on_the_way: HashSet<CallId>,
    backoff: Backoff,
    batches: Concurrency,
    /// After a refusal nothing is sent before this moment.
    resume_at: Option<Instant>,
}

/// A batch, what became of it, and how long that took.
type Sent<E> = (Vec<OutboxEvent>, Result<Vec<Taken>, E>, Duration);

impl<Q: EventQueue> Uplink<Q> {
    pub fn new(
        queue: Q,
        outbox: Outbox,
        events: mpsc::UnboundedReceiver<OutboxEvent>,
        statistics: Statistics,
        random: Random,
    ) -> Self {
        Self {
            queue,
            outbox,
            statistics,
            events,
            backlog: VecDeque::new(),
            on_the_way: HashSet::new(),
            backoff: Backoff::quick(random),
            batches: BATCHES,
            resume_at: None,
        }
    }

    /// Sends until told to stop. What is not accepted by then stays in the outbox.
    /// A batch whose task has panicked ends the uplink, because its calls would wait for it for ever.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut batches: JoinSet<Sent<Q::Error>> = JoinSet::new();
        loop {
            while batches.len() < self.batches.limit() && self.resume_at.is_none() {
                let batch = self.next_batch();
                if batch.is_empty() {
                    break;
                }
                let queue = self.queue.clone();
                batches.spawn(async move {
                    let begun = Instant::now();
                    let sent = queue.send(batch.iter().map(message).collect()).await;
                    (batch, sent, begun.elapsed())
                });
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(sent) = batches.join_next() => match sent {
                    Ok((batch, result, took)) => self.settle(batch, result, took),
                    Err(error) => return Err(error).context("a batch was lost"),
                },
                () = async { sleep_until(self.resume_at.unwrap_or_else(Instant::now)).await }, if self.resume_at.is_some() => {
                    self.resume_at = None;
                }
                Some(event) = self.events.recv() => self.backlog.push_back(event),
            }
            while let Ok(event) = self.events.try_recv() {
                self.backlog.push_back(event);
            }
        }
    }

    /// The oldest events, one of each call.
    fn next_batch(&mut self) -> Vec<OutboxEvent> {
        let mut batch = Vec::new();
        let mut room = Room::default();
        let mut at = 0;
        let mut skipped = HashSet::new();
        while at < self.backlog.len() {
            let OutboxEvent { tag: EventTag { group, .. }, body, .. } = &self.backlog[at];
            if self.on_the_way.contains(group) || !skipped.insert(*group) {
                at += 1;
                continue;
            }
            if !room.takes(body) {
                break;
            }
            self.on_the_way.insert(*group);
            batch.extend(self.backlog.remove(at));
        }
        batch
    }

    fn settle(&mut self, batch: Vec<OutboxEvent>, result: Result<Vec<Taken>, Q::Error>, took: Duration) {
        // A queue that answers and takes none of them does not work either.
        let is_taken_in_part = result.as_ref().is_ok_and(|taken| taken.iter().any(Taken::is_yes));
        self.statistics.events_queue(is_taken_in_part);
        let taken = result.unwrap_or_else(|error| {
            let waiting = self.outbox.status().borrow().depth;
            warn!(waiting, "Events wait: {error}");
            vec![Taken::unanswered(); batch.len()]
        });
        let (mut settled, mut again) = (Vec::new(), Vec::new());
        for (event, taken) in batch.into_iter().zip(taken) {
            let EventTag { group, dedup, .. } = event.tag;
            self.on_the_way.remove(&group);
            match taken {
                Taken::Yes => {
                    debug!(event.id = %dedup, "Event accepted");
                    self.statistics.event_accepted();
                    settled.push((event.number, Settled::Accepted));
                }
                Taken::No { code, hopeless: true } => {
                    self.statistics.event_hopeless();
                    error!(event.id = %dedup, call.id = %group, code, "The queue will never take this event");
                    settled.push((event.number, Settled::Refused));
                }
                Taken::No { code, hopeless: false } => {
                    debug!(event.id = %dedup, code, "Event refused for now");
                    again.push(event);
                }
            }
        }
        if !settled.is_empty() {
            self.outbox.settle(settled);
        }
        if again.is_empty() {
            self.backoff.reset();
            // Batches fill up before there are more of them.
            self.batches.succeeded(took, self.backlog.len() / BATCH);
            return;
        }
        self.batches.failed();
        if is_taken_in_part {
            self.backoff.reset(); // Calls that the queue takes do not wait long for those that it does not.
        }
        warn!(events = again.len(), "Events go again");
        // Back to the front: later events of these calls stand behind them.
        for event in again.into_iter().rev() {
            self.backlog.push_front(event);
        }
        self.resume_at = Some(Instant::now() + self.backoff.pause());
    }
}

fn message(event: &OutboxEvent) -> Outgoing {
    event.tag.message(event.body.clone())
}

#[cfg(test)]
mod tests;

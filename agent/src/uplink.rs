//! Events to the cloud's queue: in order per call, several calls at a time, for as long as it takes.
//!
//! At most one event of a call is unacknowledged: a batch holds one event of a call, and the next follows its acceptance.
//! So the queue never sees a call's events in another order, whatever is lost or sent twice on the way.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::RngExt;
use shared::envelope;
use shared::event::CallEvent;
use shared::ids::CallId;
use shared::queue::{BATCH, Outgoing, Queue, QueueError, Taken};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, warn};

/// Batches that may be on their way at once.
const BATCHES: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Hands events to the uplink.
#[derive(Clone, Debug)]
pub struct UplinkSender {
    events: mpsc::UnboundedSender<CallEvent>,
    waiting: Arc<AtomicUsize>,
}

impl UplinkSender {
    pub fn send(&self, event: CallEvent) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.events.send(event).is_err() {
            error!("An event came after the uplink had ended");
        }
    }
}

/// How many events the queue has not accepted yet.
#[derive(Clone, Debug)]
pub struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    pub fn len(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug)]
pub struct Uplink {
    queue: Queue,
    events: mpsc::UnboundedReceiver<CallEvent>,
    waiting: Arc<AtomicUsize>,
    /// Read and not accepted, in order.
    backlog: VecDeque<CallEvent>,
    /// Calls with an event on its way.
    on_the_way: HashSet<CallId>,
    backoff: Duration,
    /// After a refusal nothing is sent before this moment.
    resume_at: Option<Instant>,
}

type Sent = (Vec<CallEvent>, Result<Vec<Taken>, QueueError>);

impl Uplink {
    pub fn new(queue: Queue) -> (UplinkSender, Backlog, Self) {
        let (sender, events) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let uplink = Self {
            queue,
            events,
            waiting: waiting.clone(),
            backlog: VecDeque::new(),
            on_the_way: HashSet::new(),
            backoff: Duration::ZERO,
            resume_at: None,
        };
        (UplinkSender { events: sender, waiting: waiting.clone() }, Backlog(waiting), uplink)
    }

    /// Sends until all senders are gone and everything is accepted.
    pub async fn run(mut self) {
        let mut batches: JoinSet<Sent> = JoinSet::new();
        let mut open = true;
        while open || !self.backlog.is_empty() || !batches.is_empty() {
            while batches.len() < BATCHES && self.resume_at.is_none() {
                let batch = self.next_batch();
                if batch.is_empty() {
                    break;
                }
                let queue = self.queue.clone();
                batches.spawn(async move {
                    let sent = send(&queue, &batch).await;
                    (batch, sent)
                });
            }
            tokio::select! {
                event = self.events.recv(), if open => match event {
                    Some(event) => self.backlog.push_back(event),
                    None => open = false,
                },
                Some(sent) = batches.join_next() => match sent {
                    Ok((batch, result)) => self.settle(batch, result),
                    Err(error) => error!("A batch was lost: {error}"),
                },
                () = async { sleep_until(self.resume_at.unwrap_or_else(Instant::now)).await }, if self.resume_at.is_some() => {
                    self.resume_at = None;
                }
            }
            while let Ok(event) = self.events.try_recv() {
                self.backlog.push_back(event);
            }
        }
    }

    /// The oldest events, one of each call.
    fn next_batch(&mut self) -> Vec<CallEvent> {
        let mut batch = Vec::new();
        let mut at = 0;
        let mut skipped = HashSet::new();
        while at < self.backlog.len() && batch.len() < BATCH {
            let call = self.backlog[at].call_id();
            if self.on_the_way.contains(&call) || !skipped.insert(call) {
                at += 1;
                continue;
            }
            self.on_the_way.insert(call);
            batch.extend(self.backlog.remove(at));
        }
        batch
    }

    fn settle(&mut self, batch: Vec<CallEvent>, result: Result<Vec<Taken>, QueueError>) {
        let taken = result.unwrap_or_else(|error| {
            warn!(waiting = self.waiting.load(Ordering::Relaxed), "Events wait: {error}");
            vec![Taken::unanswered(); batch.len()]
        });
        let mut again = Vec::new();
        for (event, taken) in batch.into_iter().zip(taken) {
            self.on_the_way.remove(&event.call_id());
            match taken {
                Taken::Yes => debug!(event.id = %event.event_id, "Event accepted"),
                Taken::No { code, hopeless: true } => {
                    error!(event.id = %event.event_id, call.id = %event.call_id(), code, "The queue will never take this event");
                }
                Taken::No { code, hopeless: false } => {
                    debug!(event.id = %event.event_id, code, "Event refused for now");
                    again.push(event);
                    continue;
                }
            }
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        if again.is_empty() {
            self.backoff = Duration::ZERO;
            return;
        }
        warn!(events = again.len(), "Events go again");
        // Back to the front: later events of these calls stand behind them.
        for event in again.into_iter().rev() {
            self.backlog.push_front(event);
        }
        self.backoff = (self.backoff * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.resume_at = Some(Instant::now() + self.backoff.mul_f64(rand::rng().random_range(0.5..1.0)));
    }
}

async fn send(queue: &Queue, batch: &[CallEvent]) -> Result<Vec<Taken>, QueueError> {
    let messages: Vec<Outgoing> = batch
        .iter()
        .map(|event| Outgoing {
            group: event.call_id().to_string(),
            dedup: event.event_id.to_string(),
            body: envelope::seal(event).expect("an event is always JSON"),
        })
        .collect();
    queue.send_fifo(&messages).await
}

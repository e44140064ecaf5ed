//! An agent as the cloud sees it: an outbox that outlives it, and an uplink with the rules of `agent/src/uplink.rs`.
//!
//! At most one event of a call is unacknowledged. What was not seen to be accepted is sent again, after any restart, with the
//! same group and deduplication id.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloud_sim::{Cloud, KillPoint, Process};
use shared::aws;
use shared::config::Vars;
use shared::event::CallEvent;
use shared::event::message::{self, EventTag};
use shared::queue::{BATCH, Outgoing, Queue, Taken};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::machine::{Chance, Variables, platform};

const BATCHES: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a service manager, or a person, takes to start it anew. In the longest of these the queue forgets what it has seen.
const RESTARTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(400));
/// Requests after which an agent has certainly died, if it is one that dies.
const LATEST_DEATH: u64 = 40;

/// Clones are the same agent.
#[derive(Clone, Debug)]
pub(crate) struct Agent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cloud: Cloud,
    name: String,
    events_url: String,
    chance: Chance,
    /// How many of its lives end at one of its requests.
    deaths: Mutex<f64>,
    outbox: Mutex<Outbox>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Outbox {
    /// Not accepted, as far as it was seen; in order, but for what is on its way.
    waiting: VecDeque<Outgoing>,
    on_the_way: Vec<Outgoing>,
}

impl Agent {
    pub(crate) fn new(cloud: &Cloud, name: &str, events_url: &str, chance: &Chance) -> Self {
        Self(Arc::new(Inner {
            cloud: cloud.clone(),
            name: name.to_owned(),
            events_url: events_url.to_owned(),
            chance: chance.clone(),
            deaths: Mutex::new(0.0),
            outbox: Mutex::default(),
            more: Notify::new(),
        }))
    }

    /// The event is in its outbox.
    pub(crate) fn report(&self, event: &CallEvent) {
        let event = CallEvent { agent_id: format!("{}/1", self.0.name), ..event.clone() };
        let body = message::seal(&event).expect("an event is always JSON");
        self.outbox().waiting.push_back(EventTag::from(&event).message(body));
        self.0.more.notify_one();
    }

    pub(crate) fn is_idle(&self) -> bool {
        let outbox = self.outbox();
        outbox.waiting.is_empty() && outbox.on_the_way.is_empty()
    }

    /// How many of its lives from now on end at one of its requests.
    pub(crate) fn let_die(&self, deaths: f64) {
        *self.0.deaths.lock().unwrap_or_else(PoisonError::into_inner) = deaths;
    }

    /// One life after the other.
    pub(crate) async fn live(self) {
        for life in 1_u64.. {
            let process = self.0.cloud.process(format!("{}-{life}", self.0.name));
            let deaths = *self.0.deaths.lock().unwrap_or_else(PoisonError::into_inner);
            if self.0.chance.happens(deaths) {
                let request = self.0.chance.number(1, LATEST_DEATH);
                let before = self.0.chance.happens(0.5);
                process.kill_at(if before { KillPoint::Before(request) } else { KillPoint::After(request) });
            }
            // It ends by its death only.
            let _ = process.run(self.uplink(&process)).await;
            self.outbox().recover();
            sleep(self.0.chance.between(RESTARTS.0, RESTARTS.1)).await;
        }
    }

    async fn uplink(&self, process: &Process) {
        let queue = self.queue(process);
        let (mut batches, mut backoff) = (JoinSet::new(), Duration::ZERO);
        let mut resume_at: Option<Instant> = None;
        loop {
            while batches.len() < BATCHES && resume_at.is_none() {
                let batch = self.outbox().next_batch();
                if batch.is_empty() {
                    break;
                }
                let queue = queue.clone();
                batches.spawn(async move {
                    let taken = queue.send_fifo(&batch).await;
                    let taken = taken.unwrap_or_else(|_| vec![Taken::unanswered(); batch.len()]);
                    (batch, taken)
                });
            }
            tokio::select! {
                biased;
                Some(sent) = batches.join_next() => {
                    let (batch, taken) = sent.expect("a batch does not panic");
                    let all = self.outbox().settle(&batch, &taken);
                    if all {
                        backoff = Duration::ZERO;
                    } else {
                        backoff = (backoff * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                        resume_at = Some(Instant::now() + self.0.chance.between(backoff / 2, backoff));
                    }
                }
                () = async { sleep_until(resume_at.unwrap_or_else(Instant::now)).await }, if resume_at.is_some() => {
                    resume_at = None;
                }
                () = self.0.more.notified() => {}
            }
        }
    }

    fn queue(&self, process: &Process) -> Queue {
        let variables = Variables::new([("EVENTS_QUEUE_URL".to_owned(), self.0.events_url.clone())].into());
        let platform = platform(process, &self.0.chance);
        let client = aws::sqs(&aws::function_config(&variables, &platform), &platform.clock());
        Queue::new(client, variables.get("EVENTS_QUEUE_URL").expect("it was just set"))
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.0.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// The oldest events, one of each call.
    fn next_batch(&mut self) -> Vec<Outgoing> {
        let mut busy: BTreeSet<String> = self.on_the_way.iter().map(|event| event.group.clone()).collect();
        let (mut batch, mut at) = (Vec::new(), 0);
        while at < self.waiting.len() && batch.len() < BATCH {
            if busy.insert(self.waiting[at].group.clone()) {
                batch.extend(self.waiting.remove(at));
            } else {
                at += 1;
            }
        }
        self.on_the_way.extend(batch.iter().cloned());
        batch
    }

    /// Returns whether all were taken.
    fn settle(&mut self, batch: &[Outgoing], taken: &[Taken]) -> bool {
        let again: Vec<&Outgoing> =
            batch.iter().zip(taken).filter(|(_, taken)| !taken.is_yes()).map(|(event, _)| event).collect();
        let is_in_batch = |event: &Outgoing| batch.iter().any(|sent| sent.dedup == event.dedup);
        self.on_the_way.retain(|event| !is_in_batch(event));
        // Back to the front: later events of these calls stand behind them.
        for event in again.iter().rev() {
            self.waiting.push_front((*event).clone());
        }
        again.is_empty()
    }

    /// What a new life finds: all that was not seen to be accepted.
    fn recover(&mut self) {
        for event in std::mem::take(&mut self.on_the_way).into_iter().rev() {
            self.waiting.push_front(event);
        }
    }
}

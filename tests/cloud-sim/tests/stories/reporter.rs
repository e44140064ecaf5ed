//! The part of an agent that sends events: its real outbox and its real uplink. What a PBX would have reported is given to it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloud_sim::{Cloud, Process};
use easyconnect_agent::calls::Changes;
use easyconnect_agent::events::outbox::{Opened, Outbox, OutboxStatus};
use easyconnect_agent::events::uplink::Uplink;
use easyconnect_agent::host::statistics::Statistics;
use shared::aws;
use shared::event::CallEvent;
use shared::queue::Queue;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::lives::Lives;
use crate::machine::{Chance, agent_config, platform};

const OUTBOX: u64 = 1 << 30;

/// Clones are the same agent.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    pub(crate) lives: Lives,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cloud: Cloud,
    events_url: String,
    chance: Chance,
    /// Reported, and not known to be on disk. A PBX tells the next life of the agent what the one before may have missed.
    reported: Mutex<VecDeque<CallEvent>>,
    more: Notify,
    outbox: Mutex<Option<watch::Receiver<OutboxStatus>>>,
}

impl Reporter {
    pub(crate) fn new(cloud: &Cloud, name: &str, events_url: &str, chance: &Chance) -> Self {
        let shared = Shared {
            cloud: cloud.clone(),
            events_url: events_url.to_owned(),
            chance: chance.clone(),
            reported: Mutex::default(),
            more: Notify::new(),
            outbox: Mutex::default(),
        };
        Self { lives: Lives::new(cloud, name, chance), shared: Arc::new(shared) }
    }

    /// The agent has seen this, or will.
    pub(crate) fn report(&self, event: &CallEvent) {
        let event = CallEvent { agent_id: format!("{}/1", self.lives.name()), ..event.clone() };
        self.reported().push_back(event);
        self.shared.more.notify_one();
    }

    /// Events that were reported and that the queue has not taken.
    pub(crate) fn waiting(&self) -> u64 {
        let outbox = self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        self.reported().len() as u64 + outbox.as_ref().map_or(0, |status| status.borrow().depth)
    }

    /// Whether it has sent everything.
    pub(crate) fn is_idle(&self) -> bool {
        let outbox = self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        self.reported().is_empty() && outbox.as_ref().is_some_and(|status| status.borrow().depth == 0)
    }

    pub(crate) async fn live(self) {
        let life = |process| {
            let reporter = self.clone();
            async move { reporter.work(&process).await }
        };
        self.lives.live(life).await;
    }

    async fn work(&self, process: &Process) {
        let Shared { chance, events_url, .. } = &*self.shared;
        // Whoever drops this drops what the outbox has not written.
        let mut disk = JoinSet::new();
        let run = |work| {
            disk.spawn(work);
            Ok(())
        };
        let opened = Outbox::open_on(self.lives.state_dir(), OUTBOX, run).expect("the outbox of the life before");
        let Opened { outbox, events, .. } = opened;
        *self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(outbox.status());
        let platform = platform(process, chance);
        let client = aws::sqs(&agent_config(&platform).await, &platform.clock());
        let queue = Queue::new(client, events_url.clone());
        let uplink = Uplink::new(queue, outbox.clone(), events, Statistics::default(), chance.random());
        let (ended, ()) = tokio::join!(uplink.run(CancellationToken::new()), self.write_down(&outbox));
        ended.expect("no batch panics");
    }

    async fn write_down(&self, outbox: &Outbox) {
        loop {
            let events: Vec<CallEvent> = self.reported().iter().cloned().collect();
            if events.is_empty() {
                self.shared.more.notified().await;
                continue;
            }
            outbox.put(&events, Changes::new(), self.shared.cloud.now());
            outbox.flushed().await;
            self.reported().drain(..events.len());
        }
    }

    fn reported(&self) -> MutexGuard<'_, VecDeque<CallEvent>> {
        self.shared.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The shared names of calls and their ends, which agents keep in the exchange table.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use shared::agent_status::AgentStatus;
use shared::clock::CloudClock;
use shared::random::Random;
use shared::tables::{Exchange, LegItem};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::calls::{LegId, Spot, UserGuid};
use crate::peers::identity::{AgentIdentity, PeerRelation};
use crate::peers::writer::{NameUpdate, NameWriter};

/// The name of a call waits at most this long for what other agents have written.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// An agent that stops does not wait longer than this for a table that is out of reach.
const FINISH_WITHIN: Duration = Duration::from_secs(3);

/// An answer from the table, for the controller.
#[derive(Debug)]
pub enum LookupResult {
    /// `None`: the table was out of reach.
    Legs { leg: LegId, items: Option<Vec<LegItem>> },
    /// What decides about the missing calls of a user after a lost session.
    Missing { user: UserGuid, items: Vec<LegItem>, others_since: Option<Timestamp> },
}

#[derive(Debug)]
pub struct SharedNames {
    exchange: Exchange,
    clock: CloudClock,
    identity: AgentIdentity,
    answers: mpsc::UnboundedSender<LookupResult>,
    updates: mpsc::UnboundedSender<NameUpdate>,
    tasks: TaskTracker,
}

impl SharedNames {
    /// Also returns the work of the writer, which ends when this has ended and all is written.
    pub fn new(
        exchange: Exchange,
        clock: CloudClock,
        identity: AgentIdentity,
        answers: mpsc::UnboundedSender<LookupResult>,
        random: Random,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (updates, written) = mpsc::unbounded_channel();
        let tasks = TaskTracker::new();
        let table = exchange.clone();
        let write = move |update: NameUpdate| {
            let table = table.clone();
            async move { table.remember_leg(&update.pbx_id, &update.user, &update.item).await }
        };
        let writer = tasks.track_future(NameWriter::new(write, random).run(written));
        (Self { exchange, clock, identity, answers, updates, tasks }, writer)
    }

    /// Finds out what is known about the calls of these spots, each by its own key: a user's day may be long. The answer comes within
    /// [`ASK_WITHIN`], or says that there is none.
    pub fn ask(&self, pbx_id: Arc<str>, leg: LegId, spots: Vec<Spot>) {
        let (exchange, answers, clock) = (self.exchange.clone(), self.answers.clone(), self.clock.clone());
        self.tasks.spawn(async move {
            let read = try_join_all(spots.iter().map(|Spot { user, conference, direction }| {
                exchange.leg(&pbx_id, user, (conference, *direction), clock.now())
            }));
            let items = match timeout(ASK_WITHIN, read).await {
                Ok(Ok(items)) => Some(items.into_iter().flatten().collect()),
                Ok(Err(error)) => {
                    warn!("Names come from this agent's memory alone: {error}");
                    None
                }
                Err(_) => {
                    warn!("Names come from this agent's memory alone: the table does not answer");
                    None
                }
            };
            let _ = answers.send(LookupResult::Legs { leg, items });
        });
    }

    /// Looks up what other agents know about calls that did not come back. Without an answer the calls stay open for now.
    pub fn ask_about_missing(&self, pbx_id: Arc<str>, users: Vec<UserGuid>) {
        let (exchange, answers, clock) = (self.exchange.clone(), self.answers.clone(), self.clock.clone());
        let identity = self.identity.clone();
        self.tasks.spawn(async move {
            let settled: Result<(), shared::tables::TableError> = async {
                let agents = exchange.agents(clock.now()).await?;
                // An earlier run of this agent has no session any more.
                let is_there = |agent: &&AgentStatus| {
                    matches!(
                        identity.relation(agent, Some(&*pbx_id), &clock),
                        PeerRelation::Other | PeerRelation::Namesake
                    ) && agent.can_act(clock.now())
                };
                let others = agents.iter().filter(is_there);
                let others_since = others.filter_map(|agent| agent.session_since).min();
                let others_since = others_since.map(shared::time::from_millis);
                for user in users {
                    let items = exchange.legs(&pbx_id, &user, clock.now()).await?;
                    let _ = answers.send(LookupResult::Missing { user, items, others_since });
                }
                Ok(())
            }
            .await;
            if let Err(error) = settled {
                warn!("Missing calls stay open for now: {error}");
            }
        });
    }

    /// Begins to write what other agents may need.
    pub fn remember(&self, pbx_id: Arc<str>, user: UserGuid, item: LegItem) {
        let _ = self.updates.send(NameUpdate { pbx_id, user, item }); // The writer outlives this.
    }

    /// Waits until everything begun is written, for a while.
    pub async fn finish(self) {
        let Self { updates, tasks, .. } = self;
        drop(updates);
        tasks.close();
        if timeout(FINISH_WITHIN, tasks.wait()).await.is_err() {
            warn!("Other agents do not hear of every ended call: the table does not answer");
        }
    }
}

//! What agents remember together: names of calls and their ends, in the exchange table.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use shared::clock::CloudClock;
use shared::tables::{Exchange, LegItem};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::calls::{LegId, UserGuid};

/// A name must not wait longer than this for what others may know.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// An agent that stops does not wait longer than this for a table that is out of reach.
const FINISH_WITHIN: Duration = Duration::from_secs(3);

/// An answer from the table, for the desk.
#[derive(Debug)]
pub enum Recollection {
    /// `None`: the table was out of reach.
    Legs { leg: LegId, items: Option<Vec<LegItem>> },
    /// What settles the missing calls of a user after a lost session.
    Missing { user: UserGuid, items: Vec<LegItem>, others_since: Option<Timestamp> },
}

#[derive(Debug)]
pub struct Memory {
    exchange: Exchange,
    clock: CloudClock,
    agent_id: Arc<str>,
    answers: mpsc::UnboundedSender<Recollection>,
    tasks: TaskTracker,
}

impl Memory {
    pub fn new(
        exchange: Exchange,
        clock: CloudClock,
        agent_id: Arc<str>,
        answers: mpsc::UnboundedSender<Recollection>,
    ) -> Self {
        Self { exchange, clock, agent_id, answers, tasks: TaskTracker::new() }
    }

    /// Finds out what is known about a user's calls. The answer comes within [`ASK_WITHIN`], or says that there is none.
    pub fn ask(&self, pbx_id: Arc<str>, leg: LegId, user: UserGuid) {
        let (exchange, answers, clock) = (self.exchange.clone(), self.answers.clone(), self.clock.clone());
        self.tasks.spawn(async move {
            let items = match timeout(ASK_WITHIN, exchange.legs(&pbx_id, &user, clock.now())).await {
                Ok(Ok(items)) => Some(items),
                Ok(Err(error)) => {
                    warn!("Names come from this agent's memory alone: {error}");
                    None
                }
                Err(_) => {
                    warn!("Names come from this agent's memory alone: the table does not answer");
                    None
                }
            };
            let _ = answers.send(Recollection::Legs { leg, items });
        });
    }

    /// Finds out what others know about calls that did not come back. No answer means that it cannot be told now.
    pub fn ask_about_missing(&self, pbx_id: Arc<str>, users: Vec<UserGuid>) {
        let (exchange, answers, clock) = (self.exchange.clone(), self.answers.clone(), self.clock.clone());
        // One of this agent's name was this one before a restart, and sees nothing any more.
        let own = self.agent_id.split('/').next().unwrap_or_default().to_owned();
        self.tasks.spawn(async move {
            let settled: Result<(), shared::tables::TableError> = async {
                let agents = exchange.agents(clock.now()).await?;
                let others = agents.iter().filter(|agent| agent.name != own && agent.can_act(clock.now()));
                let others_since = others.filter_map(|agent| agent.session_since).min();
                let others_since = others_since.map(shared::time::from_millis);
                for user in users {
                    let items = exchange.legs(&pbx_id, &user, clock.now()).await?;
                    let _ = answers.send(Recollection::Missing { user, items, others_since });
                }
                Ok(())
            }
            .await;
            if let Err(error) = settled {
                warn!("Missing calls stay open for now: {error}");
            }
        });
    }

    /// Begins to write down what others may have to know. It is tried for a while; counts only grow, so a late write of an
    /// old count does no harm.
    pub fn remember(&self, pbx_id: Arc<str>, user: UserGuid, item: LegItem) {
        let exchange = self.exchange.clone();
        self.tasks.spawn(async move {
            let write = || exchange.remember_leg(&pbx_id, &user, &item);
            let patience = ExponentialBuilder::default().with_jitter().with_max_times(6);
            if let Err(error) = write.retry(patience).await {
                warn!("Other agents do not hear of an ended call: {error}");
            }
        });
    }

    /// Waits until everything begun is written, for a while.
    pub async fn finish(self) {
        self.tasks.close();
        if timeout(FINISH_WITHIN, self.tasks.wait()).await.is_err() {
            warn!("Other agents do not hear of every ended call: the table does not answer");
        }
    }
}

//! The heartbeat: what this agent is and how it is doing, every ten seconds and on every change.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use shared::agent_status::{AgentStatus, BEAT_EVERY};
use shared::clock::CloudClock;
use shared::tables::Exchange;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::desk::{DeskStatus, Request};
use crate::uplink::Backlog;

/// Changes come in bursts; they share a beat.
const GATHER: Duration = Duration::from_millis(50);
const KEEP_SECONDS: i64 = 24 * 60 * 60;

#[derive(Debug)]
pub struct Pulse {
    pub exchange: Exchange,
    pub clock: CloudClock,
    pub agent_id: Arc<str>,
    pub name: String,
    pub started_at: Timestamp,
    pub status: watch::Receiver<DeskStatus>,
    pub backlog: Backlog,
    pub desk: mpsc::Sender<Request>,
}

impl Pulse {
    /// Beats until stopped, then takes leave.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut beat = interval(BEAT_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                changed = self.status.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    sleep(GATHER).await;
                }
                () = stop.cancelled() => break,
            }
            let status = self.status.borrow_and_update().clone();
            self.beat(&status).await;
        }
        if let Err(error) = self.exchange.leave(&self.agent_id).await {
            warn!("The agent leaves without saying so: {error}");
        }
    }

    async fn beat(&self, status: &DeskStatus) {
        let now = self.clock.now();
        let item = AgentStatus {
            agent_id: self.agent_id.to_string(),
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pbx_id: status.pbx_id.as_deref().map(str::to_owned),
            pbx: status.link,
            session_since: status.session_since.map(Timestamp::as_millisecond),
            started_at: self.started_at.as_millisecond(),
            updated_at: now.as_millisecond(),
            visible_users: status.visible_users,
            live_calls: status.live_calls,
            waiting_events: u32::try_from(self.backlog.len()).unwrap_or(u32::MAX),
            prefixes: status.prefixes.clone(),
            problem: status.problem.clone(),
            expires_at: now.as_second() + KEEP_SECONDS,
        };
        if let Err(error) = self.exchange.beat(&item).await {
            warn!("The heartbeat was not heard: {error}");
        }
        let Some(pbx_id) = &status.pbx_id else { return };
        match self.exchange.register_pbx(pbx_id, now).await {
            Ok(None) => {}
            // While this agent was out of reach, another PBX took its place.
            Ok(Some(other)) => drop(self.desk.try_send(Request::GiveWay { to: other })),
            Err(error) => warn!("The PBX's registration was not renewed: {error}"),
        }
    }
}

//! The health endpoint: how the agent is doing, for users of its machine.
//!
//! Monitoring gets `/live`, `/ready` and `/metrics` on a loopback port: every local user can read them, so they hold no
//! number and no name of a person. What does, `/status` and `/events`, is served on a Unix socket in the state folder that
//! only the agent's own user (and root) can open.

mod ask;
mod bounded;
pub mod metrics;
mod report;
mod socket;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use shared::agent_status::{AgentStatus, PbxLink};
use shared::event::CallEvent;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::host::statistics::Statistics;
use crate::host::workers::Workers;
use bounded::Bounded;
use report::{Readiness, StatusReport};

pub use ask::{events, status};

/// The file in the state folder with the address of the loopback port, for administrators who let the system choose it.
pub const ADDRESS_FILE: &str = "health.addr";
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The open sockets, before anything is served on them.
#[derive(Debug)]
pub struct Listeners {
    port: Option<TcpListener>,
    address: Option<SocketAddr>,
    /// `None` if the disk had no room for its name.
    socket: Option<UnixListener>,
    state_dir: PathBuf,
}

impl Listeners {
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let state_dir = config.agent.state_dir.clone();
        let socket = socket::listen(&state_dir).await?;
        let mut port = None;
        if let Some(listen) = config.health.listen.0 {
            match TcpListener::bind(listen).await {
                Ok(listener) => port = Some(listener),
                // Calls must not wait for monitoring, and monitoring will notice.
                Err(error) => error!("Nothing listens at `health.listen` {listen}: {error}"),
            }
        }
        let address = port.as_ref().map(TcpListener::local_addr).transpose()?;
        write_address(&state_dir.join(ADDRESS_FILE), address);
        Ok(Self { port, address, socket, state_dir })
    }

    /// Serves nothing.
    pub fn none(config: &Config) -> Self {
        Self { port: None, address: None, socket: None, state_dir: config.agent.state_dir.clone() }
    }

    /// Answers until stopped. Open answers are cut off then.
    pub async fn serve(
        self,
        snapshot: impl Fn() -> AgentStatus + Send + Sync + 'static,
        statistics: Statistics,
        workers: Workers,
        monitored_users: impl Fn() -> Option<u32> + Send + Sync + 'static,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        if let Some(address) = self.address {
            info!("Health at http://{address}/ready");
        }
        let health = Arc::new(HealthState {
            snapshot: Box::new(snapshot),
            monitored_users: Box::new(monitored_users),
            statistics,
            workers,
            address: self.address,
        });
        let port = async {
            match self.port {
                Some(listener) => axum::serve(Bounded::new(listener), for_everybody(health.clone())).await,
                None => std::future::pending().await,
            }
        };
        let socket = async {
            match self.socket {
                Some(listener) => axum::serve(listener, for_the_administrator(health.clone())).await,
                None => std::future::pending().await,
            }
        };
        let upkeep = async {
            let mut due = interval(UPKEEP_EVERY);
            loop {
                due.tick().await;
                metrics::upkeep();
            }
        };
        let ended = tokio::select! {
            ended = port => ended.context("the health port ended"),
            ended = socket => ended.context("the agent's socket ended"),
            () = upkeep => Ok(()),
            () = stop.cancelled() => Ok(()),
        };
        socket::remove(&self.state_dir);
        let _ = std::fs::remove_file(self.state_dir.join(ADDRESS_FILE));
        ended
    }
}

/// It is a convenience, and a full disk must not keep the agent from the calls. An address of an earlier run is worse than none.
fn write_address(file: &Path, address: Option<SocketAddr>) {
    let _ = std::fs::remove_file(file);
    if let Some(address) = address
        && let Err(error) = std::fs::write(file, format!("{address}\n"))
    {
        warn!("The address of the health port cannot be written to {}: {error}", file.display());
        let _ = std::fs::remove_file(file);
    }
}

struct HealthState {
    /// How the agent is doing at this moment.
    snapshot: Box<dyn Fn() -> AgentStatus + Send + Sync>,
    monitored_users: Box<dyn Fn() -> Option<u32> + Send + Sync>,
    statistics: Statistics,
    workers: Workers,
    address: Option<SocketAddr>,
}

type SharedHealth = State<Arc<HealthState>>;

fn for_everybody(health: Arc<HealthState>) -> Router {
    let router = Router::new().route("/live", get(async || "live\n")).route("/ready", get(ready));
    router.route("/metrics", get(figures)).with_state(health)
}

fn for_the_administrator(health: Arc<HealthState>) -> Router {
    let router = Router::new().route("/status", get(report)).route("/events", get(tell_events));
    router.with_state(health)
}

impl HealthState {
    fn readiness(&self, status: &AgentStatus) -> Readiness {
        let (cloud, failing) = (self.statistics.cloud(), self.workers.problem());
        let ready = status.pbx == PbxLink::Up && cloud.is_working() && failing.is_none();
        Readiness { ready, pbx: status.pbx, failing, cloud, refusals: status.refusals.clone() }
    }
}

async fn ready(State(health): SharedHealth) -> Response {
    let readiness = health.readiness(&(health.snapshot)());
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness)).into_response()
}

async fn figures(State(health): SharedHealth) -> Response {
    let status = (health.snapshot)();
    let ready = health.readiness(&status).ready;
    let text = metrics::render(&status, &health.statistics, ready);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn report(State(health): SharedHealth) -> Json<StatusReport> {
    let agent = (health.snapshot)();
    let monitored_users = (health.monitored_users)();
    Json(StatusReport { readiness: health.readiness(&agent), health: health.address, monitored_users, agent })
}

#[derive(Debug, Deserialize)]
struct EventsQuery {
    #[serde(default)]
    tail: bool,
}

/// The latest events, one JSON object per line, and with `tail` those that come.
async fn tell_events(State(health): SharedHealth, Query(wanted): Query<EventsQuery>) -> Response {
    let (recent, live) = health.statistics.listen();
    let recent = stream::iter(recent).map(|event| line(&event));
    let live = stream::unfold(live, async |mut live| match live.recv().await {
        Ok(event) => Some((line(&event), live)),
        Err(RecvError::Lagged(missed)) => Some((format!("{{\"missed\":{missed}}}\n").into(), live)),
        Err(RecvError::Closed) => None,
    });
    let lines = recent.chain(live.take(if wanted.tail { usize::MAX } else { 0 }));
    let body = Body::from_stream(lines.map(Ok::<Bytes, Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn line(event: &CallEvent) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_told_if_the_disk_lets_it_and_never_an_old_one() {
        let folder = std::env::temp_dir().join(format!("easyconnect-health-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).expect("a folder");
        let file = folder.join(ADDRESS_FILE);
        write_address(&file, Some(([127, 0, 0, 1], 9870).into()));
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "127.0.0.1:9870\n");
        write_address(&file, None);
        assert!(!file.exists());
        std::fs::create_dir(&file).expect("something that cannot be written to");
        write_address(&file, Some(([127, 0, 0, 1], 9870).into()));
        std::fs::remove_dir_all(&folder).expect("the folder is removed");
    }
}

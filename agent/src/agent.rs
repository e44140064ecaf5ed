//! The agent as a whole: what is built from the configuration, and how it runs and stops.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use shared::aws::{self, Location};
use shared::clock::CloudClock;
use shared::queue::Queue;
use shared::tables::Exchange;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;
use uuid::Uuid;

use crate::config::Config;
use crate::connect::Connector;
use crate::desk::{Desk, DeskStatus, Fatal};
use crate::downlink::{Downlink, RECEIVERS};
use crate::memory::Memory;
use crate::pbx::link::Dialer;
use crate::pbx::tls;
use crate::pulse::Pulse;
use crate::running::Running;
use crate::takeover::Takeover;
use crate::uplink::Uplink;

/// How long a stopping agent may take to hand over what it has.
const GRACE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Agent {
    desk: Desk,
    downlink: Downlink,
    takeover: Takeover,
    pulse: Pulse,
    uplink: Uplink,
}

impl Agent {
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let location = Location { region: config.aws.region.clone(), endpoint_url: config.aws.endpoint_url.clone() };
        let sdk = aws::sdk_config(location).await;
        let clock = CloudClock::new();
        let (sqs, dynamodb) = (aws::sqs(&sdk, &clock), aws::dynamodb(&sdk, &clock));
        let exchange = Exchange::new(dynamodb, config.aws.exchange_table);

        let boot_id = Uuid::new_v4();
        let agent_id: Arc<str> = Arc::from(format!("{}/{boot_id}", config.agent.name));
        let (uplink_sender, backlog, uplink) = Uplink::new(Queue::new(sqs.clone(), config.aws.events_queue_url));
        let (status, watch_status) = watch::channel(DeskStatus::starting());
        let (requests, requested) = mpsc::channel(64);
        let (answers, recollections) = mpsc::unbounded_channel();

        let dialer = Dialer {
            tls: tls::client_config(&config.pbx)?,
            password: config.pbx.password()?,
            url: config.pbx.url,
            app: config.pbx.app,
        };
        let desk = Desk {
            dialer,
            monitor: config.pbx.monitor,
            dtmf_recv: config.pbx.dtmf_recv,
            configured_pbx_id: config.pbx.id,
            agent_id: agent_id.clone(),
            boot_id,
            clock: clock.clone(),
            exchange: exchange.clone(),
            memory: Memory::new(exchange.clone(), clock.clone(), agent_id.clone(), answers),
            recollections,
            requests: requested,
            uplink: uplink_sender,
            status,
        };
        let running = Running::default();
        let connector = Connector {
            exchange: exchange.clone(),
            clock: clock.clone(),
            agent_id: agent_id.clone(),
            desk: requests.clone(),
            status: watch_status.clone(),
            running: running.clone(),
        };
        let takeover = Takeover { connector: connector.clone(), name: config.agent.name.clone() };
        let downlink = Downlink {
            queue: Queue::new(sqs, config.aws.commands_queue_url),
            exchange: exchange.clone(),
            clock: clock.clone(),
            agent_id: agent_id.clone(),
            desk: requests.clone(),
            status: watch_status.clone(),
            connector,
            tasks: TaskTracker::new(),
        };
        let pulse = Pulse {
            exchange,
            started_at: clock.now(),
            clock,
            agent_id,
            name: config.agent.name,
            status: watch_status,
            backlog,
            running,
            desk: requests,
        };
        Ok(Self { desk, downlink, takeover, pulse, uplink })
    }

    /// Runs until `shutdown`, then stops in the order of the data: no new commands, no PBX, and at last no event unsent.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        info!(version = env!("CARGO_PKG_VERSION"), agent = %self.pulse.agent_id, "Agent started");
        let (stop_commands, stop_desk, stop_pulse) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let (commands, backlog) = (self.downlink.tasks.clone(), self.pulse.backlog.clone());
        let mut receivers = JoinSet::new();
        for _ in 0..RECEIVERS {
            receivers.spawn(self.downlink.clone().run(stop_commands.clone()));
        }
        drop(self.downlink);
        commands.spawn(self.takeover.run(stop_commands.clone()));
        let mut desk: JoinHandle<Result<(), Fatal>> = tokio::spawn(self.desk.run(stop_desk.clone()));
        let pulse = tokio::spawn(self.pulse.run(stop_pulse.clone()));
        let uplink = tokio::spawn(self.uplink.run());

        let ended = tokio::select! {
            () = shutdown => None,
            ended = &mut desk => Some(ended),
        };
        info!("Stopping");
        let drained = timeout(GRACE, async {
            stop_commands.cancel();
            receivers.join_all().await;
            commands.close();
            let _ = timeout(Duration::from_secs(5), commands.wait()).await;
            stop_desk.cancel();
            let ended = match ended {
                Some(ended) => ended,
                None => desk.await,
            };
            // What the desk interrupted is written down before the agent takes leave.
            let _ = timeout(Duration::from_secs(5), commands.wait()).await;
            stop_pulse.cancel();
            let _ = pulse.await;
            let _ = uplink.await;
            ended
        });
        match drained.await {
            Ok(ended) => Ok(ended.context("the desk failed")??),
            Err(_) => bail!("stopped with {} events that the queue has not accepted", backlog.len()),
        }
    }
}

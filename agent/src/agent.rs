//! The agent as a whole: what is built from the configuration, and how it runs and stops.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use aws_config::SdkConfig;
use futures_util::future::BoxFuture;
use shared::aws;
use shared::clock::{CloudClock, Machine, ThisMachine};
use shared::queue::Queue;
use shared::random::Random;
use shared::tables::Exchange;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::commands::receiver::{CommandReceiver, RECEIVERS};
use crate::commands::recovery::Recovery;
use crate::commands::request::ControllerRequest;
use crate::commands::results::Results;
use crate::commands::running::RunningCommands;
use crate::commands::two_party::TwoPartyCommands;
use crate::config::Config;
use crate::controller::Controller;
use crate::events::outbox::{Opened, Outbox};
use crate::events::uplink::Uplink;
use crate::host::access_key::AccessKeyAge;
use crate::host::credentials;
use crate::host::health::Listeners;
use crate::host::reloadable::ReloadableCredentials;
use crate::host::sdk;
use crate::host::statistics::Statistics;
use crate::host::status::ControllerStatus;
use crate::host::systemd::{self, SystemdNotifier};
use crate::host::workers::{RunningWorker, Supervisor, Workers};
use crate::pbx::identity::PbxIdentity;
use crate::pbx::link::{Dialer, Network, Tcp};
use crate::peers::directory::DirectoryWriter;
use crate::peers::heartbeat::{self, Heartbeat, Snapshot};
use crate::peers::identity::AgentIdentity;
use crate::peers::lookup::SharedNames;
use crate::reload::{ReloadSource, Reloader};

/// How long a stopping agent may take to hand over what it has.
const GRACE: Duration = Duration::from_secs(20);
/// The last heartbeat does not take longer. An agent that stops without one is considered offline after 30 s.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// How long a stopping agent still sends events. The rest is on disk and is sent after the next start.
const SEND_FOR: Duration = Duration::from_secs(3);

/// Everything outside the process that an agent uses. A simulation that runs agents in its own process replaces it.
#[derive(Debug)]
pub struct Host {
    pub machine: Arc<dyn Machine>,
    pub random: Random,
    /// How AWS is reached.
    pub sdk: SdkConfig,
    /// How the PBX is reached.
    pub network: Arc<dyn Network>,
    pub outbox: Opened,
    pub health: Listeners,
    /// When and what to read again; never, if there is none.
    pub reload: Option<(ReloadSource, ReloadableCredentials)>,
}

impl Host {
    /// This machine, as the configuration describes it.
    pub async fn of(config: &Config, reload: ReloadSource) -> anyhow::Result<Self> {
        let health = Listeners::open(config).await?;
        let sdk = sdk::config(config.aws.location()?).await;
        credentials::require(&sdk, &config.aws).await?;
        let (sdk, credentials) = ReloadableCredentials::new(&sdk);
        Ok(Self {
            machine: Arc::new(ThisMachine),
            random: Random::default(),
            sdk,
            network: Arc::new(Tcp),
            outbox: Outbox::open(&config.agent.state_dir, config.agent.outbox_mib.bytes())?,
            health,
            reload: Some((reload, credentials)),
        })
    }
}

pub struct Agent {
    controller: Controller,
    receiver: CommandReceiver,
    recovery: Recovery,
    systemd: SystemdNotifier,
    heartbeat: Heartbeat<ControllerRequest>,
    directory: DirectoryWriter,
    uplink: Uplink,
    outbox: Outbox,
    health: Listeners,
    /// The work of the writer of shared names.
    name_writer: BoxFuture<'static, ()>,
    reloader: Option<Reloader>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("id", &self.heartbeat.snapshot.agent_id).finish_non_exhaustive()
    }
}

impl Agent {
    pub async fn build(config: Config, reload: ReloadSource) -> anyhow::Result<Self> {
        let host = Host::of(&config, reload).await?;
        Self::build_on(host, config)
    }

    /// The same on another host than this machine.
    pub fn build_on(host: Host, config: Config) -> anyhow::Result<Self> {
        let Host { machine, random, sdk, network, outbox, health, reload } = host;
        let key_in_use = reload.as_ref().map(|(_, credentials)| credentials.key_in_use()).unwrap_or_default();
        let access_key = AccessKeyAge::new(key_in_use, &config.agent.state_dir);
        let (tell_configuration, configuration) = watch::channel(None);
        let (requests, requested) = mpsc::channel(64);
        let reloading = |(source, credentials)| {
            let (controller, problem) = (requests.clone(), tell_configuration.clone());
            Reloader::new(source, credentials, config.clone(), network.clone(), controller, problem)
        };
        let reloader = reload.map(reloading).transpose()?;
        let clock = CloudClock::on(machine);
        let (sqs, dynamodb) = (aws::sqs(&sdk, &clock), aws::dynamodb(&sdk, &clock));
        let commands_queues: Arc<[Queue]> =
            config.aws.commands_queues().iter().map(|url| Queue::new(sqs.clone(), url.clone())).collect();
        let queues = commands_queues.len();
        let exchange = Exchange::new(dynamodb, config.aws.exchange_table);

        let boot_id = random.uuid();
        let agent_id: Arc<str> = Arc::from(format!("{}/{boot_id}", config.agent.name));
        let identity =
            AgentIdentity { agent_id: agent_id.clone(), name: config.agent.name.clone(), born: clock.boot() };
        let statistics = Statistics::default();
        let Opened { outbox, events, records, late } = outbox;
        let queue = Queue::new(sqs, config.aws.events_queue_url);
        let uplink = Uplink::new(queue, outbox.clone(), events, statistics.clone(), random.clone());
        let (status, watch_status) = watch::channel(ControllerStatus::starting());
        let (home_list, wanted) = watch::channel(None);
        let directory = DirectoryWriter { exchange: exchange.clone(), random: random.clone(), wanted };
        let (answers, lookups) = mpsc::unbounded_channel();
        // Until others are known there are none. Two that report at once only say things twice.
        let (reporter, is_reporter) = watch::channel(true);

        let (shared_names, name_writer) =
            SharedNames::new(exchange.clone(), clock.clone(), identity.clone(), answers, random.clone());
        let dialers = Dialer::all(&network, &config.pbx)?;
        let controller = Controller {
            dialers,
            monitor: config.pbx.monitor,
            dtmf_recv: config.pbx.dtmf_recv,
            identity: PbxIdentity::new(config.pbx.id.as_deref(), &config.agent.state_dir),
            agent_id: agent_id.clone(),
            boot_id,
            clock: clock.clone(),
            random: random.clone(),
            exchange: exchange.clone(),
            queues,
            shared_names,
            lookups,
            requests: requested,
            outbox: outbox.clone(),
            records,
            late,
            status,
            home_list,
            statistics: statistics.clone(),
            is_reporter,
        };
        let running = RunningCommands::default();
        let two_party = TwoPartyCommands {
            exchange: exchange.clone(),
            clock: clock.clone(),
            random: random.clone(),
            agent_id: agent_id.clone(),
            controller: requests.clone(),
            status: watch_status.clone(),
            running: running.clone(),
            results: Results {
                exchange: exchange.clone(),
                clock: clock.clone(),
                random: random.clone(),
                statistics: statistics.clone(),
            },
        };
        let recovery = Recovery { two_party: two_party.clone(), identity, reporter };
        let receiver = CommandReceiver {
            queue: commands_queues[0].clone(),
            queues: commands_queues,
            exchange: exchange.clone(),
            clock: clock.clone(),
            random,
            agent_id: agent_id.clone(),
            controller: requests.clone(),
            status: watch_status.clone(),
            two_party,
            statistics: statistics.clone(),
            tasks: TaskTracker::new(),
        };
        let snapshot = Snapshot {
            started_at: clock.now(),
            clock,
            agent_id,
            name: config.agent.name,
            os: heartbeat::os(),
            status: watch_status.clone(),
            outbox: outbox.status(),
            running: running.changes(),
            statistics,
            workers: Workers::default(),
            configuration,
            access_key,
        };
        let shown = snapshot.clone();
        let systemd = SystemdNotifier {
            status: watch_status,
            line: Box::new(move || systemd::describe(&shown.now(), shown.status.borrow().monitored_users)),
            are_alive: ask_workers(snapshot.workers.clone(), requests.clone(), outbox.clone()),
        };
        let heartbeat = Heartbeat {
            exchange,
            snapshot,
            listed: running.heartbeats(),
            controller: requests,
            slot_is: ControllerRequest::SlotIs,
            queues,
        };
        let name_writer = Box::pin(name_writer);
        Ok(Self {
            controller,
            receiver,
            recovery,
            systemd,
            heartbeat,
            directory,
            uplink,
            outbox,
            health,
            name_writer,
            reloader,
        })
    }

    /// Runs until `shutdown`, then stops in the order of the data: no new commands, no PBX, and at last no event in memory. A worker
    /// that ends early stops the agent in the same order, as far as the others still can, and its reason is the agent's.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        info!(version = env!("CARGO_PKG_VERSION"), agent = %self.heartbeat.snapshot.agent_id, "Agent started");
        let [stop_commands, stop_controller, stop_heartbeat, stop_uplink, stop_health] =
            std::array::from_fn(|_| CancellationToken::new());
        let (commands, outbox, snapshot) = (self.receiver.tasks.clone(), self.outbox, self.heartbeat.snapshot.clone());
        let mut supervisor = Supervisor::new(snapshot.workers.clone());
        let receivers: Vec<RunningWorker> = (0..RECEIVERS)
            .map(|_| {
                let receiving = self.receiver.clone().run(stop_commands.clone());
                supervisor.spawn("receiver of commands", &stop_commands, infallible(receiving))
            })
            .collect();
        drop(self.receiver);
        let recovery = commands.track_future(self.recovery.run(stop_commands.clone()));
        let _recovery = supervisor.spawn("recovery", &stop_commands, infallible(recovery));
        let systemd = commands.track_future(self.systemd.run(stop_commands.clone()));
        let _systemd = supervisor.spawn("service", &stop_commands, infallible(systemd));
        let reload_until = stop_commands.clone();
        let _reloader = self
            .reloader
            .map(|reloader| supervisor.spawn("reloader", &stop_commands, infallible(reloader.run(reload_until))));
        let controller = supervisor.spawn("controller", &stop_controller, self.controller.run(stop_controller.clone()));
        let _names = supervisor.spawn_servant("writer of shared names", self.name_writer);
        // The health endpoint answers until the last event is sent.
        let health = {
            let (status, shown) = (snapshot.status.clone(), snapshot.clone());
            let monitored_users = move || status.borrow().monitored_users;
            let (statistics, workers) = (snapshot.statistics.clone(), snapshot.workers.clone());
            self.health.serve(move || shown.now(), statistics, workers, monitored_users, stop_health.clone())
        };
        let health = supervisor.spawn("health endpoint", &stop_health, health);
        let _directory =
            supervisor.spawn("directory", &stop_controller, infallible(self.directory.run(stop_controller.clone())));
        let heartbeat =
            supervisor.spawn("heartbeat", &stop_heartbeat, infallible(self.heartbeat.run(stop_heartbeat.clone())));
        let uplink = supervisor.spawn("uplink", &stop_uplink, self.uplink.run(stop_uplink.clone()));
        let disk = outbox.clone();
        // Its thread works as long as there is an `Outbox`, and there is one here.
        let _disk =
            supervisor.spawn("outbox", &CancellationToken::new(), infallible(async move { disk.ended().await }));

        let failed = tokio::select! {
            biased;
            () = shutdown => None,
            reason = supervisor.early_end() => Some(reason),
        };
        info!("Stopping");
        let drained = timeout(GRACE, async {
            stop_commands.cancel();
            for receiver in receivers {
                let _ = receiver.await;
            }
            commands.close();
            let _ = timeout(Duration::from_secs(5), commands.wait()).await;
            stop_controller.cancel();
            let _ = controller.await;
            // What the controller interrupted is written down before the last heartbeat.
            let _ = timeout(Duration::from_secs(5), commands.wait()).await;
            stop_heartbeat.cancel();
            let _ = timeout(LEAVE_WITHIN, heartbeat).await;
            let _ = timeout(SEND_FOR, outbox.emptied()).await;
            stop_uplink.cancel();
            let _ = uplink.await;
            outbox.flushed().await;
        });
        let drained = drained.await;
        stop_health.cancel();
        let _ = timeout(LEAVE_WITHIN, health).await;
        if let Some(reason) = failed.or_else(|| supervisor.ended()) {
            return Err(reason);
        }
        let left = outbox.status().borrow().clone();
        if left.unwritten > 0 {
            bail!("stopped with {} events that neither the queue nor the disk has taken", left.unwritten);
        }
        if left.depth > 0 {
            warn!(events = left.depth, "Events wait on disk for the next start");
        }
        drained.map_err(|_| anyhow::anyhow!("stopped before everything was handed over"))
    }
}

async fn infallible(work: impl Future<Output = ()>) -> Result<(), Infallible> {
    work.await;
    Ok(())
}

/// What asks the workers that are asked for a sign of life, and looks after the others.
fn ask_workers(
    workers: Workers,
    controller: mpsc::Sender<ControllerRequest>,
    outbox: Outbox,
) -> Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync> {
    Box::new(move || {
        let (workers, controller, outbox) = (workers.clone(), controller.clone(), outbox.clone());
        Box::pin(async move {
            let probe = async {
                let (reply, answer) = oneshot::channel();
                controller.send(ControllerRequest::Probe { reply }).await.is_ok() && answer.await.is_ok()
            };
            let (controls, writes) =
                tokio::join!(workers.ask("controller", probe), workers.ask("outbox", outbox.answers()));
            controls && writes && workers.problem().is_none()
        })
    })
}

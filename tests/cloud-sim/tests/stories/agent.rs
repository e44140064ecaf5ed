//! The whole agent at a simulated PBX. Nothing of it is a stand-in: its state is on disk, and it speaks to the PBX through a pipe.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Process};
use easyconnect_agent::agent::{Agent, Host};
use easyconnect_agent::config::Config;
use easyconnect_agent::events::outbox::{Outbox, OutboxStatus};
use easyconnect_agent::host::health::Listeners;
use easyconnect_agent::pbx::link::Network;
use easyconnect_agent::pbx::tcp::Stream;
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use pbx_sim::InMemory;
use pbx_sim::world::DEFAULT_PASSWORD;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::lives::Lives;
use crate::machine::{Chance, WallClock, agent_config, platform_with};
use crate::template::Template;
use crate::way::{Decide, Fate, through};

/// The one address at which there is a PBX.
pub(crate) const PBX: &str = "ws://127.0.0.1/PBX0/APPS/websocket";

/// Clones are the same agent.
#[derive(Clone, Debug)]
pub(crate) struct WholeAgent {
    pub(crate) lives: Lives,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pbx: Arc<InMemory>,
    /// Which of its PBXs, if not the first one.
    at: Option<String>,
    config: Config,
    ledger: Ledger,
    chance: Chance,
    wall: WallClock,
    /// What becomes of its requests on their way.
    way: Mutex<Option<Decide>>,
    outbox: Mutex<Option<watch::Receiver<OutboxStatus>>>,
    /// Ends its present life as a service manager does.
    stop: Mutex<CancellationToken>,
}

impl WholeAgent {
    pub(crate) fn new(
        (cloud, template, ledger): (&Cloud, &Template, &Ledger),
        name: &str,
        pbx: &Arc<InMemory>,
        ahead: SignedDuration,
        chance: &Chance,
    ) -> Self {
        Self::dialling((cloud, template, ledger), name, pbx, ahead, chance, &[PBX])
    }

    /// The same with these addresses of the PBX.
    pub(crate) fn dialling(
        (cloud, template, ledger): (&Cloud, &Template, &Ledger),
        name: &str,
        pbx: &Arc<InMemory>,
        ahead: SignedDuration,
        chance: &Chance,
        urls: &[&str],
    ) -> Self {
        let lives = Lives::new(cloud, name, chance);
        let config = configuration(name, lives.state_dir(), template, urls);
        Self::of(lives, config, (pbx, None), ledger, chance, ahead)
    }

    /// The same at one of several PBXs. With the configuration of an agent of the only PBX, it knows the first commands queue alone.
    pub(crate) fn at(
        (cloud, template, ledger): (&Cloud, &Template, &Ledger),
        name: &str,
        (pbx, at): (&Arc<InMemory>, &str),
        knows_all_queues: bool,
        chance: &Chance,
    ) -> Self {
        let lives = Lives::new(cloud, name, chance);
        let mut config = configuration(name, lives.state_dir(), template, &[PBX]);
        config.pbx.id = Some(at.to_owned());
        if !knows_all_queues {
            config.aws.commands_queue_url = Some(std::mem::take(&mut config.aws.commands_queue_urls).swap_remove(0));
        }
        Self::of(lives, config, (pbx, Some(at.to_owned())), ledger, chance, SignedDuration::ZERO)
    }

    fn of(
        lives: Lives,
        config: Config,
        (pbx, at): (&Arc<InMemory>, Option<String>),
        ledger: &Ledger,
        chance: &Chance,
        ahead: SignedDuration,
    ) -> Self {
        let shared = Shared {
            pbx: pbx.clone(),
            at,
            config,
            ledger: ledger.clone(),
            chance: chance.clone(),
            wall: WallClock::ahead_by(ahead),
            way: Mutex::default(),
            outbox: Mutex::default(),
            stop: Mutex::default(),
        };
        Self { lives, shared: Arc::new(shared) }
    }

    /// Somebody sets the clock of its machine.
    pub(crate) fn set_clock(&self, ahead: SignedDuration) {
        self.shared.wall.set(ahead);
    }

    /// From its next life on this decides by target and body what becomes of its requests.
    pub(crate) fn decide(&self, decide: impl Fn(&str, &str) -> Fate + Send + Sync + 'static) {
        *self.shared.way.lock().unwrap_or_else(PoisonError::into_inner) = Some(Decide::new(decide));
    }

    /// Its package is replaced: the service manager stops it, and starts the new program when it has ended.
    pub(crate) fn replace(&self) {
        self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    /// Synced writes of its present life.
    pub(crate) fn writes(&self) -> u64 {
        let outbox = self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        outbox.as_ref().map_or(0, |status| status.borrow().writes)
    }

    /// Whether it has sent every event.
    pub(crate) fn is_idle(&self) -> bool {
        let outbox = self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        outbox.as_ref().is_some_and(|status| status.borrow().depth == 0)
    }

    pub(crate) async fn live(self) {
        let life = |process| {
            let agent = self.clone();
            async move { agent.work(&process).await }
        };
        self.lives.live(life).await;
    }

    async fn work(&self, process: &Process) {
        let Shared { pbx, at, config, ledger, chance, wall, way, outbox, stop } = &*self.shared;
        let stopped = CancellationToken::new();
        *stop.lock().unwrap_or_else(PoisonError::into_inner) = stopped.clone();
        // Whoever drops this drops what the outbox has not written.
        let mut disk = JoinSet::new();
        let run = |work| {
            disk.spawn(work);
            Ok(())
        };
        let cap = config.agent.outbox_mib.bytes();
        let opened = Outbox::open_on(self.lives.state_dir(), cap, run).expect("the outbox of the life before");
        *outbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened.outbox.status());
        let mut platform = platform_with(process, chance, wall.clone());
        if let Some(decide) = way.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            platform.http_client = through(platform.http_client, decide);
        }
        let host = Host {
            sdk: agent_config(&platform).await,
            machine: platform.machine,
            random: platform.random,
            network: Arc::new(Pipes { pbx: pbx.clone(), at: at.clone(), chance: chance.clone() }),
            outbox: opened,
            health: Listeners::none(config),
            reload: None,
        };
        let agent = Agent::build_on(host, config.clone()).expect("an agent");
        let ended = agent.run(stopped.cancelled()).await;
        if stopped.is_cancelled() && ended.is_ok() {
            return;
        }
        ledger.wrong(format!("agent {} ended by itself: {ended:?}", process.name()));
    }
}

/// The configuration of an agent at the simulated PBX.
pub(crate) fn configuration(name: &str, state_dir: &Path, template: &Template, urls: &[&str]) -> Config {
    let config = json!({
        "agent": {"name": name, "state_dir": state_dir},
        "pbx": {"url": urls, "app": "easyconnect", "password": DEFAULT_PASSWORD},
        "aws": {
            "events_queue_url": template.queue_url("EventsQueue"),
            "commands_queue_urls": template.commands_queues(),
            "exchange_table": "exchange",
        },
    });
    serde_json::from_value(config).expect("a configuration")
}

/// The way to the PBX.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) pbx: Arc<InMemory>,
    /// Which of its PBXs, if not the first one.
    pub(crate) at: Option<String>,
    pub(crate) chance: Chance,
}

impl Network for Pipes {
    fn connect<'a>(&'a self, host: &'a str, _port: u16) -> BoxFuture<'a, anyhow::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            sleep(self.chance.between(std::time::Duration::from_millis(1), std::time::Duration::from_millis(5))).await;
            anyhow::ensure!(PBX.contains(host), "no route to {host}");
            let stream = match &self.at {
                Some(pbx) => self.pbx.connect_to(pbx),
                None => self.pbx.connect(),
            };
            let stream = stream.context("connection refused")?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

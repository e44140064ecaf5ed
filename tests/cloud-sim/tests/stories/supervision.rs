//! Parts of an agent that panic. What they stand on is real but for one thing that panics when it is used.

use std::sync::Arc;
use std::time::Duration;

use cloud_sim::story::tell;
use cloud_sim::{Cloud, Faults};
use easyconnect_agent::agent::{Agent, Host};
use easyconnect_agent::events::outbox::Outbox;
use easyconnect_agent::host::health::Listeners;
use easyconnect_agent::pbx::link::Network;
use easyconnect_agent::pbx::tcp::Stream;
use futures_util::future::{BoxFuture, pending};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::agent::{PBX, Pipes, configuration};
use crate::commands::pbx;
use crate::lives::Lives;
use crate::machine::{agent_config, platform};
use crate::stack::Stack;
use crate::way::{Decide, Fate, through};

/// What panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// The request to AWS with this operation, and this in its body.
    Request(&'static str, &'static str),
    /// The way to the PBX.
    Network,
    /// The thread of the outbox.
    Disk,
}

#[derive(Debug)]
struct BrokenNetwork;

impl Network for BrokenNetwork {
    fn connect<'a>(&'a self, _host: &'a str, _port: u16) -> BoxFuture<'a, anyhow::Result<Box<dyn Stream>>> {
        panic!("a bug of the story")
    }
}

/// Runs an agent in which this panics, with a few calls; returns why it ended, if it did within a minute.
async fn run(cloud: Cloud, ledger: cloud_sim::story::Ledger, broken: Broken) -> Option<String> {
    let mut stack = Stack::start(cloud.clone(), ledger, 1).await;
    let pbx = pbx(&cloud, 1);
    let (lives, process) = (Lives::new(&cloud, "rack", &stack.chance), cloud.process("rack-1"));
    let config = configuration("rack", lives.state_dir(), &stack.template, &[PBX]);
    let mut disk = JoinSet::new();
    let (bug, broke) = oneshot::channel();
    let work = |work| {
        disk.spawn(async move {
            tokio::select! {
                biased;
                Ok(()) = broke => panic!("a bug of the story"),
                () = work => {}
            }
        });
        Ok(())
    };
    let outbox = Outbox::open_on(lives.state_dir(), 1 << 30, work).expect("a new outbox");
    let mut platform = platform(&process, &stack.chance);
    let decide = move |target: &str, body: &str| {
        if let Broken::Request(operation, part) = broken {
            assert!(!(target.ends_with(operation) && body.contains(part)), "a bug of the story");
        }
        Fate::Arrives
    };
    platform.http_client = through(platform.http_client, Decide::new(decide));
    let network: Arc<dyn Network> = match broken {
        Broken::Network => Arc::new(BrokenNetwork),
        _ => Arc::new(Pipes { pbx: pbx.clone(), at: None, chance: stack.chance.clone() }),
    };
    let host = Host {
        sdk: agent_config(&platform).await,
        machine: platform.machine,
        random: platform.random,
        network,
        outbox,
        health: Listeners::none(&config),
        reload: None,
    };
    let agent = Agent::build_on(host, config).expect("an agent");
    let calls = async {
        sleep(Duration::from_secs(5)).await;
        if broken == Broken::Disk {
            let _ = bug.send(());
        }
        loop {
            let _ = pbx.control("/call", json!({"from": "+3247000000", "to": "42"}));
            sleep(Duration::from_secs(2)).await;
            let _ = pbx.control("/hangup", json!({"extension": "42"}));
            sleep(Duration::from_secs(2)).await;
        }
    };
    let ended = tokio::select! {
        ended = timeout(Duration::from_secs(60), agent.run(pending())) => ended.ok(),
        () = calls => None,
    };
    drop(disk);
    stack.settle().await;
    ended.map(|ended| ended.map_or_else(|error| format!("{error:#}"), |()| "without a reason".to_owned()))
}

fn check(broken: Broken, reason: Option<&str>) {
    let mut ended = None;
    tell(1, Faults::latency_only(), |cloud, ledger| {
        let ended = &mut ended;
        async move { *ended = run(cloud, ledger, broken).await }
    })
    .expect("a story without violations");
    match reason {
        Some(reason) => assert!(ended.as_deref().is_some_and(|ended| ended.contains(reason)), "{broken:?}: {ended:?}"),
        None => assert_eq!(ended, None),
    }
}

#[test]
fn agent_without_a_fault_does_not_end() {
    check(Broken::Nothing, None);
}

#[test]
fn panic_of_a_worker_ends_the_agent_with_its_reason() {
    for (broken, reason) in [
        (Broken::Network, "the controller panicked: a bug of the story"),
        (Broken::Disk, "the outbox has ended by itself"),
        (Broken::Request("SendMessageBatch", ""), "the uplink failed: a batch was lost"),
        (Broken::Request("PutItem", "AGENT"), "the heartbeat panicked: a bug of the story"),
        (Broken::Request("ReceiveMessage", ""), "the receiver of commands panicked: a bug of the story"),
        (Broken::Request("Query", "AGENT"), "the recovery panicked: a bug of the story"),
        (Broken::Request("PutItem", "LEG#"), "the writer of shared names panicked: a bug of the story"),
    ] {
        check(broken, Some(reason));
    }
}

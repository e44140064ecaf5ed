//! The agent's disk over an upgrade and the way back: what the outbox of one version has written, the other one sends.

use std::path::Path;

use cloud_sim::story::tell;
use cloud_sim::{Cloud, Faults, Process};
use serde_json::Value as Json;
use shared::event::{CallEvent, Status};
use shared::ids::CallId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::before::its;
use crate::lives::Lives;
use crate::machine::{Chance, agent_config, platform};

const CAP: u64 = 1 << 30;
const QUEUE: &str = "events.fifo";
const CALLS: usize = 5;

/// One life of an agent of either version: writes what is reported and, if it may, sends what there is.
macro_rules! life {
    ($name:ident, $agent:ident, $shared:ident, $platform:expr) => {
        async fn $name(
            process: &Process,
            chance: &Chance,
            folder: &Path,
            url: &str,
            reported: &[CallEvent],
            sends: bool,
        ) {
            use $agent::calls::Changes;
            use $agent::events::outbox::{Opened, Outbox};
            use $agent::events::uplink::Uplink;
            use $agent::host::statistics::Statistics;

            let mut disk = JoinSet::new();
            let run = |work| {
                disk.spawn(work);
                Ok(())
            };
            let Opened { outbox, events, .. } =
                Outbox::open_on(folder, CAP, run).expect("the outbox of the other version");
            let reported: Vec<$shared::event::CallEvent> = reported
                .iter()
                .map(|event| serde_json::from_value(serde_json::to_value(event).expect("JSON")).expect("an event"))
                .collect();
            outbox.put(&reported, Changes::new(), process.cloud().now());
            outbox.flushed().await;
            if sends {
                let config = agent_config(&platform(process, chance)).await;
                let platform = $platform(platform(process, chance));
                let queue = $shared::queue::Queue::new($shared::aws::sqs(&config, &platform.clock()), url.to_owned());
                let uplink = Uplink::new(queue, outbox.clone(), events, Statistics::default(), platform.random);
                let stop = CancellationToken::new();
                let emptied = async {
                    outbox.emptied().await;
                    stop.cancel();
                };
                let (ended, ()) = tokio::join!(uplink.run(stop.clone()), emptied);
                ended.expect("no batch panics");
            } else {
                drop(events);
            }
            // The next life may have the folder when the disk's own task has ended.
            drop(outbox);
            while disk.join_next().await.is_some() {}
        }
    };
}

life!(before, before_agent, before_shared, its);
life!(present, easyconnect_agent, shared, std::convert::identity);

/// The events of some calls, in the order in which they come.
fn events(chance: &Chance, cloud: &Cloud) -> Vec<CallEvent> {
    let calls = (0..CALLS).map(|_| CallId::from_uuid(chance.random().uuid()));
    let statuses = [Status::Ringing, Status::Connected, Status::Disconnected];
    calls.flat_map(|call| statuses.map(|status| CallEvent::example(call, status, cloud.now()))).collect()
}

fn story(upgrade: bool) {
    let told = tell(1, Faults::latency_only(), async |cloud: Cloud, ledger| {
        let (chance, process) = (Chance::new(1), cloud.process("rack"));
        let lives = Lives::new(&cloud, "rack", &chance);
        let (folder, url) = (lives.state_dir(), cloud.make_fifo(QUEUE, &[]));
        let all = events(&chance, &cloud);
        let (first, second) = all.split_at(all.len() / 2);
        if upgrade {
            before(&process, &chance, folder, &url, first, false).await;
            present(&process, &chance, folder, &url, second, true).await;
        } else {
            present(&process, &chance, folder, &url, first, false).await;
            before(&process, &chance, folder, &url, second, true).await;
        }
        for event in &all {
            ledger.sent(&event.call_id().to_string(), event.sequence().into());
        }
        for body in cloud.bodies(QUEUE) {
            // The functions of both versions have to read it.
            let body: Json = serde_json::from_str(&body).expect("JSON");
            let told = &body["event"]["webHookEvent"];
            let told = if told.is_object() { told } else { &body["webHookEvent"] };
            let status: Status = serde_json::from_value(told["status"].clone()).expect("a status");
            ledger.accepted(told["CallId"].as_str().expect("a call"), status.sequence().into());
        }
    });
    assert!(told.is_ok(), "{:?}", told.map_err(|failure| failure.violations));
}

#[test]
fn outbox_of_the_earlier_agent_is_sent_by_the_present_one() {
    story(true);
}

#[test]
fn outbox_of_the_present_agent_is_sent_by_the_earlier_one() {
    story(false);
}

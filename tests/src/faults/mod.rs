//! Two agents on one PBX in a bad hour: agents die and freeze, sockets break in every way, the PBX restarts, the cloud is out of
//! reach, while people call each other and programs place calls. What comes of it is judged by what the simulator knows.

mod commands;
mod injector;
mod ledger;
mod people;

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::proxy::Proxy;
use crate::{AgentOptions, Inbox, Pbx, Stack, eventually, eventually_within};
use injector::{Injected, Site};
use ledger::Ledger;
use pbx_sim::world::World;

#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// How long things go wrong.
    pub lasts: Duration,
    /// How often somebody calls, and a program places a call.
    pub call_every: Duration,
    pub command_every: Duration,
    /// The longest outage of the cloud, and the longest half-open socket.
    pub longest_outage: Duration,
}

/// Beside the four desks of the default world.
const MORE_DESKS: u32 = 6;
const PATIENCE: Duration = Duration::from_secs(150);

/// What all take part in.
#[derive(Debug)]
struct Scene {
    stack: Stack,
    pbx: Pbx,
    inbox: Inbox,
    ledger: Ledger,
}

/// Panics unless nothing is lost, nothing comes twice, nothing is out of order, and no command acts late or twice.
///
/// `EASYCONNECT_SEED` makes the same choices as an earlier run; what the machine makes of their timing is its own.
#[expect(clippy::print_stdout, reason = "the seed and the faults of a run have to be known")]
pub async fn tell(story: Story) {
    let seed = seed();
    println!("faults for {:?}: EASYCONNECT_SEED={seed}", story.lasts);
    let choices = |part: u32| StdRng::seed_from_u64(u64::from(seed) * 10 + u64::from(part));

    // Nothing goes stale, so that everything has to arrive.
    let stack = Stack::start_with(&[
        "RingingFreshSeconds=86400",
        "ConnectedFreshSeconds=86400",
        "CallsPerHour=0",
        "CallsPerPair=0",
    ]);
    let world = World::default().with_users(MORE_DESKS);
    let (stack, pbx, inbox) = tokio::join!(stack, Pbx::start_with(world), Inbox::start());
    let hook = json!({"url": inbox.url("/hook"), "format": "extended"});
    stack.api.post("/webhooks", hook).await.with_status(201);
    let scene = Arc::new(Scene { stack, pbx, inbox, ledger: Ledger::default() });

    let pinned = format!("fingerprint = {:?}", scene.pbx.0.fingerprint());
    let by_name = scene.pbx.0.wss_url().replace("127.0.0.1", "localhost");
    // The simulator tells the agents' connections apart by TLS.
    let one = Site::start(&scene, "one", false, AgentOptions::default()).await;
    let two = AgentOptions { pbx_url: Some(by_name), pbx_lines: pinned, ..AgentOptions::default() };
    let two = Site::start(&scene, "two", true, two).await;
    for site in [&one, &two] {
        site.until_monitoring(&scene).await;
    }

    let (stop, stopped) = watch::channel(false);
    let (watch_to_the_end, watching) = watch::channel(false);
    let observer = tokio::spawn(ledger::observe(scene.clone(), [one.view.clone(), two.view.clone()], watching));
    let calls = tokio::spawn(people::call(scene.clone(), story.call_every, choices(0), stopped.clone()));
    let commands = tokio::spawn(commands::place(scene.clone(), story.command_every, choices(1), stopped.clone()));
    let trouble = |site, part| injector::trouble(&scene, site, story.longest_outage, choices(part), stopped.clone());
    let ((one, of_one), (two, of_two), restarts, ()) = tokio::join!(
        trouble(one, 2),
        trouble(two, 3),
        injector::restart_pbx(&scene, story.lasts, choices(4), stopped.clone()),
        async {
            sleep(story.lasts).await;
            stop.send_replace(true);
        }
    );
    let mut injected = Injected::default();
    for faults in [of_one, of_two, restarts] {
        injected.add(faults);
    }
    let calls = calls.await.expect("the calls end well");
    let commands = commands.await.expect("the commands end well");
    println!("{calls} calls and {} commands; faults: {injected}", commands.len());
    everybody_hangs_up(&scene.pbx).await;

    eventually_within(PATIENCE, "both agents are up, know of no call, and have sent everything", async || {
        let status = scene.stack.api.get("/status").await.ok().body;
        let done = |agent: &Value| agent["pbx"] == "up" && agent["liveCalls"] == 0 && agent["waitingEvents"] == 0;
        let agents = status["agents"].as_array().cloned().unwrap_or_default();
        if agents.len() == 2 && agents.iter().all(done) { Ok(()) } else { Err(status["agents"].to_string()) }
    })
    .await;
    for queue in ["EVENTS_QUEUE_URL", "DELIVERIES_QUEUE_URL"] {
        eventually_within(PATIENCE, &format!("{queue} is empty"), async || {
            match scene.stack.messages_in(queue).await {
                0 => Ok(()),
                n => Err(format!("{n} messages")),
            }
        })
        .await;
    }
    watch_to_the_end.send_replace(true);
    observer.await.expect("the observer ends well");
    let judged = scene.ledger.judge(&scene.inbox.accepted());
    println!("{judged}");
    commands::judge(&scene, &commands).await;
    assert!(judged.complaints.is_empty(), "EASYCONNECT_SEED={seed}\n{}", judged.complaints.join("\n"));
    assert!(judged.well_seen > 0, "EASYCONNECT_SEED={seed}: no call was seen well enough to demand anything");
    drop((one, two));
}

/// Of this run: that of an earlier one, or any.
pub fn seed() -> u32 {
    match std::env::var("EASYCONNECT_SEED") {
        Ok(seed) => seed.parse().expect("EASYCONNECT_SEED is a number"),
        Err(_) => rand::random(),
    }
}

async fn everybody_hangs_up(pbx: &Pbx) {
    eventually("everybody has hung up", async || {
        let calls = pbx.0.state()["calls"].as_array().cloned().unwrap_or_default();
        for call in &calls {
            for leg in call["legs"].as_array().into_iter().flatten() {
                let who = leg["extension"].as_str().or(leg["number"].as_str());
                // Whoever is gone already cannot hang up.
                let _ = pbx.0.control("/hangup", json!({"extension": who, "id": call["id"]}));
            }
        }
        if calls.is_empty() { Ok(()) } else { Err(format!("{} calls", calls.len())) }
    })
    .await;
}

/// A way to the cloud for one agent.
async fn way(stack: &Stack) -> Proxy {
    Proxy::start(stack.var("AWS_ENDPOINT_URL"), &[]).await
}

//! What goes wrong with one agent and its connections, at random, and how it is mended.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::Signal;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Scene, way};
use crate::pbx::monitors;
use crate::proxy::Proxy;
use crate::{Agent, AgentOptions, eventually_within};

/// An agent that went through an outage of the cloud waits before it tries again: as long as the outage was, up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// What it needs to send what has waited.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(2);
/// In the beginning nothing goes wrong for so long, so that both agents see some calls from beginning to end.
const FIRST_QUIET: Duration = Duration::from_secs(10);
const REDIALS_WITHIN: Duration = Duration::from_secs(90);

/// How many faults there were, by kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Injected(BTreeMap<&'static str, usize>);

impl Injected {
    fn count(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (kind, count) in other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.values().sum::<usize>())?;
        for (n, (kind, count)) in self.0.iter().enumerate() {
            write!(f, "{}{kind} {count}", if n == 0 { " (" } else { ", " })?;
        }
        f.write_str(if self.0.is_empty() { "" } else { ")" })
    }
}

/// What others have to know about an agent: whether it can see, think and speak.
#[derive(Debug)]
pub(super) struct View {
    pub tls: bool,
    frozen: AtomicBool,
    cloud: Mutex<Reach>,
}

/// An agent's way to the cloud.
#[derive(Clone, Copy, Debug)]
enum Reach {
    OutSince(Instant),
    /// From then on what it says is heard at once.
    WellFrom(Instant),
}

impl View {
    /// Whether the agent itself is well and has been for long enough; its PBX session is the simulator's to tell.
    pub(super) fn is_well(&self) -> bool {
        let reach = *self.cloud.lock().expect("no panic");
        !self.frozen.load(Ordering::SeqCst) && matches!(reach, Reach::WellFrom(from) if from <= Instant::now())
    }

    fn cloud_is_out(&self) {
        *self.cloud.lock().expect("no panic") = Reach::OutSince(Instant::now());
    }

    fn cloud_is_back(&self) {
        let mut reach = self.cloud.lock().expect("no panic");
        if let Reach::OutSince(since) = *reach {
            let pause = since.elapsed().min(LONGEST_PAUSE);
            *reach = Reach::WellFrom(Instant::now() + pause + CATCHES_UP_WITHIN);
        }
    }
}

/// An agent with its own way to the cloud.
#[derive(Debug)]
pub(super) struct Site {
    name: &'static str,
    pub view: Arc<View>,
    proxy: Proxy,
    options: AgentOptions,
    agent: Agent,
}

impl Site {
    pub(super) async fn start(scene: &Scene, name: &'static str, tls: bool, options: AgentOptions) -> Self {
        let proxy = way(&scene.stack).await;
        let options = AgentOptions { aws_endpoint: Some(proxy.url()), ..options };
        let agent = Agent::spawn(&scene.stack, &scene.pbx, name, &options);
        let cloud = Mutex::new(Reach::WellFrom(Instant::now()));
        let view = View { tls, frozen: AtomicBool::new(false), cloud };
        Self { name, view: Arc::new(view), proxy, options, agent }
    }

    pub(super) async fn until_monitoring(&self, scene: &Scene) {
        eventually_within(REDIALS_WITHIN, &format!("agent {} monitors", self.name), async || {
            let state = scene.pbx.0.state();
            if monitors(&state, self.view.tls) { Ok(()) } else { Err(state["connections"].to_string()) }
        })
        .await;
    }

    fn start_again(&mut self, scene: &Scene) {
        self.agent = Agent::spawn(&scene.stack, &scene.pbx, self.name, &self.options);
    }
}

/// Waits, but not longer than the story lasts.
async fn pause(duration: Duration, stopped: &mut watch::Receiver<bool>) {
    tokio::select! {
        () = sleep(duration) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

/// Lets one thing after the other happen to an agent, and leaves it well.
pub(super) async fn trouble(
    scene: &Scene,
    mut site: Site,
    longest_outage: Duration,
    mut choices: StdRng,
    mut stopped: watch::Receiver<bool>,
) -> (Site, Injected) {
    let mut injected = Injected::default();
    let longest = longest_outage.as_millis() as u64;
    pause(FIRST_QUIET, &mut stopped).await;
    loop {
        let millis = |choices: &mut StdRng, most: u64| Duration::from_millis(choices.random_range(0..=most));
        // So long that mostly one of the two agents is well.
        let quiet = millis(&mut choices, 10_000);
        let (kind, short, long) =
            (choices.random_range(0..100u32), millis(&mut choices, 3000), millis(&mut choices, longest));
        pause(quiet, &mut stopped).await;
        if *stopped.borrow() {
            break;
        }
        match kind {
            0..20 => {
                site.agent.kill();
                injected.count("kill -9");
                pause(short, &mut stopped).await;
                site.start_again(scene);
            }
            20..27 => {
                site.agent.signal(Signal::TERM);
                site.agent.ended().await;
                injected.count("orderly restart");
                site.start_again(scene);
            }
            27..37 => {
                site.view.frozen.store(true, Ordering::SeqCst);
                site.agent.freeze();
                injected.count("freeze");
                pause(long, &mut stopped).await;
                site.agent.thaw();
                site.view.frozen.store(false, Ordering::SeqCst);
            }
            37..57 => {
                if scene.pbx.strike(site.view.tls, &json!({"kind": "drop", "down_ms": short.as_millis() as u64})) {
                    injected.count("socket dropped");
                }
            }
            57..64 => {
                if scene.pbx.strike(site.view.tls, &json!({"kind": "garbage"})) {
                    injected.count("garbage");
                }
            }
            64..72 => {
                if scene.pbx.strike(site.view.tls, &json!({"kind": "cut_mid_frame"})) {
                    injected.count("cut in a frame");
                }
            }
            72..79 => {
                if scene.pbx.strike(site.view.tls, &json!({"kind": "silent"})) {
                    injected.count("half-open socket");
                    pause(long, &mut stopped).await;
                    // Unless the agent has found out by itself.
                    let sockets = scene.pbx.connections(site.view.tls);
                    if sockets.iter().any(|socket| socket["silent"] == true) {
                        scene.pbx.strike(site.view.tls, &json!({"kind": "drop"}));
                    }
                }
            }
            79..91 => {
                site.view.cloud_is_out();
                if kind % 2 == 0 {
                    site.proxy.cut();
                    injected.count("cloud out of reach");
                } else {
                    site.proxy.fall_silent();
                    injected.count("cloud silent");
                }
                pause(long, &mut stopped).await;
                site.proxy.mend();
                site.view.cloud_is_back();
            }
            _ => {
                site.view.cloud_is_out();
                site.proxy.throttle();
                injected.count("cloud throttles");
                pause(long, &mut stopped).await;
                site.proxy.mend();
                site.view.cloud_is_back();
            }
        }
    }
    site.until_monitoring(scene).await;
    (site, injected)
}

/// Restarts the PBX now and then: all calls and connections are lost, and nobody is told.
pub(super) async fn restart_pbx(
    scene: &Scene,
    lasts: Duration,
    mut choices: StdRng,
    mut stopped: watch::Receiver<bool>,
) -> Injected {
    let mut injected = Injected::default();
    // Twice in a minute, but not in the rhythm of anything else.
    let times = (lasts.as_secs() / 30).max(1);
    let between = lasts / u32::try_from(times).expect("a short story");
    for _ in 0..times {
        let (wait, down) = (choices.random_range(0.2..0.9), choices.random_range(0..2500u64));
        pause(between.mul_f64(wait), &mut stopped).await;
        if *stopped.borrow() {
            break;
        }
        scene.pbx.fault(&json!({"kind": "restart", "down_ms": down}));
        injected.count("PBX restarted");
        pause(between.mul_f64(1.0 - wait), &mut stopped).await;
    }
    injected
}

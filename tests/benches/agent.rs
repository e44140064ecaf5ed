//! The agent as a process: its memory, what an event costs it, and how soon an event is on its way.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use easyconnect_tests::{Agent, AgentOptions, Pbx, Sink, eventually, paths};
use pbx_sim::world::World;
use serde_json::{Value, json};
use tokio::time::{interval, sleep};

use crate::report::{Report, mebibytes, millis};

const USERS: u32 = 500;
const LIVE: usize = 100;
const MEMORY_GOAL: u64 = 20_000_000;
const SINGLE_CALLS: usize = 300;
const LATENCY_GOAL: Duration = Duration::from_millis(5);
const BURSTS: usize = 40;
/// Calls that end before memory is measured again, at the rate that an agent has to keep up with on a slow line.
const ENDED: usize = 20_000;
const ENDED_PER_SECOND: u32 = 200;
const RATE_GOAL: f64 = 2_000.0;

pub(crate) async fn measure(report: &mut Report) {
    // On a real disk; the system's folder for temporary files may be in memory.
    let folder = Cleanup(paths::repository().join(format!("target/bench-agent-{}", std::process::id())));
    let bench = Bench::start(&folder.0, "memory").await;
    bench.memory(report, "fresh").await;
    bench.end_many().await;
    bench.memory(report, &format!("after {ENDED} ended calls, {ENDED_PER_SECOND} a second")).await;
    drop(bench);
    let bench = Bench::start(&folder.0, "speed").await;
    bench.latency(report, &folder.0).await;
    bench.cost(report).await;
}

struct Cleanup(PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Bench {
    pbx: Pbx,
    sink: Sink,
    agent: Agent,
}

fn number(n: usize) -> String {
    format!("+3249{n:07}")
}

fn desk(n: usize) -> String {
    (1000 + n % USERS as usize).to_string()
}

impl Bench {
    async fn start(folder: &Path, name: &str) -> Self {
        let (sink, pbx) = tokio::join!(Sink::start(), Pbx::start_with(World::default().with_users(USERS)));
        let options = AgentOptions { log_level: Some("info".to_owned()), ..AgentOptions::default() };
        let agent = Agent::spawn_in(folder, &sink.cloud(), &pbx, name, &options);
        pbx.until_monitored(false).await;
        Self { pbx, sink, agent }
    }

    fn call(&self, n: usize) -> Value {
        self.pbx.control("/call", &json!({"from": number(n), "to": desk(n)}))["id"].clone()
    }

    fn answer(&self, n: usize, call: &Value) {
        self.pbx.control("/answer", &json!({"extension": desk(n), "id": call}));
    }

    /// Waits until so many events have come since the last time.
    async fn until_taken(&self, events: usize) {
        eventually("all events have come", async || match self.sink.count() {
            count if count >= events => Ok(()),
            count => Err(format!("{count} of {events}")),
        })
        .await;
    }

    async fn memory(&self, report: &mut Report, when: &str) {
        let idle = self.agent.process().memory();
        let calls: Vec<Value> = (0..LIVE).map(|n| self.call(n)).collect();
        self.until_taken(LIVE).await;
        calls.iter().enumerate().for_each(|(n, call)| self.answer(n, call));
        self.until_taken(2 * LIVE).await;
        let busy = self.agent.process().memory();
        let goal = format!("<= {}", mebibytes(MEMORY_GOAL));
        let figure = format!("agent's memory, {when}");
        report.line(&figure, &mebibytes(busy), &mebibytes(idle), &goal, busy <= MEMORY_GOAL);
        report.note(&format!(
            "with {USERS} users and {LIVE} live calls; floor of the memory: the same agent before these calls"
        ));
        (0..LIVE).for_each(|n| self.pbx.hang_up(&number(n)));
        self.until_taken(3 * LIVE).await;
        self.sink.take();
    }

    /// Calls that nobody answers, one after the other.
    async fn end_many(&self) {
        let mut tick = interval(Duration::from_secs(1) / ENDED_PER_SECOND);
        for n in 0..ENDED {
            tick.tick().await;
            self.call(n);
            self.pbx.hang_up(&number(n));
        }
        self.until_taken(2 * ENDED).await;
        self.sink.take();
    }

    /// From the moment at which the PBX knows of an answered call until the request with the event has come in; a bare write with a
    /// sync in turn. The way through two sockets of this machine is in it, too.
    async fn latency(&self, report: &mut Report, folder: &Path) {
        let bare = File::create(folder.join("bare")).expect("a file");
        let (mut sent, mut synced) = (Vec::new(), Vec::new());
        for n in 0..SINGLE_CALLS {
            let call = self.call(n);
            self.until_taken(1).await;
            self.sink.take();
            // What the call's beginning left to be written is on disk by then.
            sleep(Duration::from_millis(120)).await;
            let begun = Instant::now();
            bare.write_all_at(&[1; 4096], n as u64 * 4096).expect("written");
            bare.sync_data().expect("synced");
            synced.push(begun.elapsed());

            let begun = Instant::now();
            self.answer(n, &call);
            self.until_taken(1).await;
            let taken = self.sink.take().remove(0);
            assert_eq!(taken.status, "connected");
            sent.push(taken.at.duration_since(begun));
            self.pbx.hang_up(&number(n));
            self.until_taken(1).await;
            self.sink.take();
        }
        for (name, percent) in [("p50", 50), ("p99", 99)] {
            let (sent, synced) = (percentile(&mut sent, percent), percentile(&mut synced, percent));
            let above = sent.saturating_sub(synced);
            let goal = format!("<= {} above floor (now {})", millis(LATENCY_GOAL), millis(above));
            let figure = format!("frame of the PBX to event sent, {name}");
            report.line(&figure, &millis(sent), &millis(synced), &goal, above <= LATENCY_GOAL);
        }
        report.note("floor: one write of 4 KiB and its sync");
    }

    /// A hundred calls at once, from their beginning to their end.
    async fn burst(&self) {
        let calls: Vec<Value> = (0..LIVE).map(|n| self.call(n)).collect();
        self.until_taken(LIVE).await;
        calls.iter().enumerate().for_each(|(n, call)| self.answer(n, call));
        self.until_taken(2 * LIVE).await;
        (0..LIVE).for_each(|n| self.pbx.hang_up(&number(n)));
        self.until_taken(3 * LIVE).await;
        self.sink.take();
    }

    /// A hundred calls at once, again and again: what each event costs the agent, whatever else the machine does.
    async fn cost(&self, report: &mut Report) {
        let (before, begun) = (self.agent.process().cpu_time(), Instant::now());
        for _ in 0..BURSTS {
            self.burst().await;
        }
        let events = 3 * LIVE * BURSTS;
        let (cpu, took) = (self.agent.process().cpu_time() - before, begun.elapsed());
        let rate = events as f64 / cpu.as_secs_f64();
        report.line(
            "agent's events per second of one core",
            &format!("{rate:.0} /s"),
            "-",
            ">= 2,000 /s",
            rate >= RATE_GOAL,
        );
        let per_thousand = cpu.mul_f64(1000.0 / events as f64);
        let goal = Duration::from_secs_f64(1000.0 / RATE_GOAL);
        report.line(
            "agent's CPU time per 1,000 events",
            &millis(per_thousand),
            "-",
            &format!("<= {}", millis(goal)),
            per_thousand <= goal,
        );
        report.note(&format!("{events} events in {} of this machine's time, in bursts of {LIVE}", millis(took)));
    }
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

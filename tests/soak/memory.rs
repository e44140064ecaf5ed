//! An agent in a PBX that is busier than any real one: its memory stays as it is.

use std::time::Duration;

use easyconnect_tests::process::{Curve, mebibytes};
use easyconnect_tests::{Agent, AgentOptions, Pbx, Sink};
use pbx_sim::world::World;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use crate::seconds;

const CALLS_PER_SECOND: u64 = 50;
const DESKS: u32 = 100;
/// How long a call waits and lasts, which makes a hundred open calls at any moment.
const STEP: Duration = Duration::from_secs(1);
/// An agent remembers this many ended calls, so that what it uses grows until there were so many.
const REMEMBERED: u64 = 8_704;
const FILLED_PER_SECOND: u64 = 200;
/// What memory may have gained between the first and the last third of the time.
const GROWTH: u64 = 3 << 20;

/// `EASYCONNECT_MEMORY_SECONDS` makes it shorter or longer than ten minutes.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this for")]
async fn memory_is_flat_at_fifty_calls_per_second() {
    let lasts = seconds("EASYCONNECT_MEMORY_SECONDS", 600);
    let folder = tempfolder();
    let (sink, pbx) = tokio::join!(Sink::start(), Pbx::start_with(World::default().with_users(DESKS)));
    let pbx = std::sync::Arc::new(pbx);
    let options = AgentOptions { log_level: Some("info".to_owned()), ..AgentOptions::default() };
    let agent = Agent::spawn_in(&folder.0, &sink.cloud(), &pbx, "one", &options);
    pbx.until_monitored(false).await;

    let given_up = REMEMBERED + REMEMBERED / 10;
    let mut tick = paced(FILLED_PER_SECOND);
    for n in 0..given_up {
        tick.tick().await;
        let number = number(n);
        pbx.control("/call", &json!({"from": number, "to": desk(n)}));
        pbx.hang_up(&number);
    }

    let (begun, mut calls, mut open) = (Instant::now(), 0u64, JoinSet::new());
    let (mut memory, mut told, mut looked_at) = (Curve::default(), 0, Instant::now());
    let mut tick = paced(CALLS_PER_SECOND);
    while begun.elapsed() < lasts {
        tick.tick().await;
        let (pbx, n) = (pbx.clone(), given_up + calls);
        calls += 1;
        open.spawn(async move {
            let call = pbx.control("/call", &json!({"from": number(n), "to": desk(n)}));
            sleep(STEP).await;
            pbx.control("/answer", &json!({"extension": desk(n), "id": call["id"]}));
            sleep(STEP).await;
            pbx.hang_up(&number(n));
        });
        while open.try_join_next().is_some_and(|ended| ended.is_ok()) {}
        if looked_at.elapsed() > STEP {
            looked_at = Instant::now();
            memory.add(agent.process().memory());
            told += sink.take().len();
        }
    }
    while let Some(ended) = open.join_next().await {
        ended.expect("a call ends well");
    }
    let all = (2 * given_up + 3 * calls) as usize;
    easyconnect_tests::eventually("every event has been sent", async || {
        told += sink.take().len();
        if told == all { Ok(()) } else { Err(format!("{told} of {all}")) }
    })
    .await;
    let (first, last) = memory.thirds();
    println!(
        "{calls} calls in {lasts:?}, {told} events; memory {:.1} MiB, later {:.1} MiB",
        mebibytes(first),
        mebibytes(last)
    );
    assert!(last <= first + GROWTH, "memory has grown");
}

fn paced(per_second: u64) -> Interval {
    let mut tick = interval(Duration::from_secs(1) / u32::try_from(per_second).expect("a pace"));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    tick
}

fn number(n: u64) -> String {
    format!("+3249{n:08}")
}

fn desk(n: u64) -> String {
    (1000 + n % u64::from(DESKS)).to_string()
}

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempfolder() -> Folder {
    Folder(std::env::temp_dir().join(format!("easyconnect-memory-{}", std::process::id())))
}

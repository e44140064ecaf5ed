//! An agent in a PBX that is busier than any real one: its memory stays as it is.

use std::time::Duration;

use easyconnect_tests::process::{Curve, mebibytes};
use easyconnect_tests::{Agent, AgentOptions, Pbx, Sink};
use pbx_sim::world::World;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::seconds;

const CALLS_PER_SECOND: u64 = 50;
const DESKS: u32 = 100;
/// How many seconds a call waits and lasts; so many times fifty are open at any moment.
const STEP: Duration = Duration::from_secs(1);
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

    let mut tick = interval(Duration::from_millis(1000 / CALLS_PER_SECOND));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (begun, mut calls, mut open) = (Instant::now(), 0u64, JoinSet::new());
    let (mut memory, mut told, mut looked_at) = (Curve::default(), 0, Instant::now());
    while begun.elapsed() < lasts {
        tick.tick().await;
        let (pbx, n) = (pbx.clone(), calls);
        calls += 1;
        open.spawn(async move {
            let (number, desk) = (format!("+3249{n:08}"), (1000 + n % u64::from(DESKS)).to_string());
            let call = pbx.control("/call", &json!({"from": number, "to": desk}));
            sleep(STEP).await;
            pbx.control("/answer", &json!({"extension": desk, "id": call["id"]}));
            sleep(STEP).await;
            pbx.hang_up(&number);
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
    let all = 3 * calls as usize;
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

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tempfolder() -> Folder {
    Folder(std::env::temp_dir().join(format!("easyconnect-memory-{}", std::process::id())))
}

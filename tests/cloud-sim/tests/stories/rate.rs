//! How fast events go through the cloud side when there are many: `make bench rate`.
//!
//! Three hundred events a second while requests take their time, meet each other, conflict and are throttled, with few environments. The
//! simulator's clock stands still while a function computes, so this is about waiting: for requests, for each other, for a free environment.

use std::sync::Mutex;
use std::time::Duration;

use cloud_sim::Faults;
use cloud_sim::story::tell;

use crate::receivers::Manners;
use crate::stack::{Concurrency, Stack};
use crate::traffic::Traffic;

const EVENTS_A_SECOND: usize = 300;
const SECONDS: u64 = 10;
const CONCURRENCY: Concurrency = Concurrency { fanout: 5, deliver: 20 };
const OFTEN: f64 = 0.005;
const GOAL: Duration = Duration::from_secs(1);

fn faults() -> Faults {
    Faults {
        conflicts: OFTEN,
        cancellations: OFTEN,
        throttled_requests: OFTEN,
        throttled_items: OFTEN,
        latency: (Duration::from_millis(5), Duration::from_millis(20)),
        ..Faults::latency_only()
    }
}

/// It never fails for what it finds: it reports.
#[test]
#[ignore = "it takes a minute; `make bench rate` runs it"]
fn three_hundred_events_a_second() {
    let measured = Mutex::new((0, Vec::new()));
    let told = tell(1, faults(), |cloud, ledger| async {
        let mut stack = Stack::start_with(cloud, ledger, 1, Some(CONCURRENCY)).await;
        stack.webhook("good.example", Manners::good()).await;
        stack.agent("agent");
        // A call has 2.6 events on average.
        let calls = EVENTS_A_SECOND * SECONDS as usize * 10 / 26;
        let traffic = Traffic { calls, over: Duration::from_secs(SECONDS), gap: Duration::from_secs(2) };
        let begun = tokio::time::Instant::now();
        let calls = stack.traffic(traffic).await;
        let (ways, took) = (stack.ways(), begun.elapsed());
        *measured.lock().expect("no panic") = (took.as_millis(), ways);
        stack.judge(&calls).await;
    });
    if let Err(failure) = told {
        panic!("{failure}");
    }
    let (took, mut ways) = measured.into_inner().expect("no panic");
    ways.sort_unstable();
    let share = |percent: usize| Duration::from_millis(ways[(ways.len() - 1) * percent / 100]);
    let rate = ways.len() as f64 / (took as f64 / 1000.0);
    println!("{} events, {rate:.0} a second: from the event to its delivery in the queue", ways.len());
    let verdict = if share(99) <= GOAL { "met" } else { "missed" };
    println!("median {:?}, p99 {:?}, longest {:?}   goal p99 <= {GOAL:?}: {verdict}", share(50), share(99), share(100));
}

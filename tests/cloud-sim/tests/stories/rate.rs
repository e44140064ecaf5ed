//! How fast events go through the cloud side when there are many: `make bench rate`.
//!
//! Three hundred events a second while requests take their time, meet each other, conflict and are throttled, with few environments. The
//! simulator's clock stands still while a function computes, so this is about waiting: for requests, for each other, for a free environment.

use std::sync::Mutex;
use std::time::Duration;

use cloud_sim::Faults;
use cloud_sim::story::tell;
use jiff::Timestamp;
use serde_json::json;
use shared::delivery::Delivery;
use shared::event::{CallEvent, Status};
use shared::ids::CallId;
use tokio::time::{Instant, sleep};

use crate::receivers::Manners;
use crate::stack::{Concurrency, Stack};
use crate::traffic::Traffic;

const EVENTS_A_SECOND: usize = 300;
const SECONDS: u64 = 10;
const CONCURRENCY: Concurrency = Concurrency { fanout: 5, deliver: 20, lanes: 2 };
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
        let begun = Instant::now();
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

fn report(what: &str, measured: impl std::fmt::Debug, goal: impl std::fmt::Debug, is_met: bool) {
    println!("{what}: {measured:?}   goal {goal:?}: {}", if is_met { "met" } else { "missed" });
}

/// A black hole and a receiver of nine seconds beside one that is quick.
#[test]
#[ignore = "it takes minutes; `make bench rate` runs it"]
fn fifty_events_a_second_beside_a_black_hole() {
    const A_SECOND: usize = 50;
    const FOR: u64 = 40;
    let waits = Mutex::new(Vec::new());
    let told = tell(1, faults(), |cloud, ledger| async {
        let mut stack = Stack::start_with(cloud, ledger, 1, Some(CONCURRENCY)).await;
        stack.webhook("hole.example", Manners::hole()).await;
        stack.webhook("slow.example", Manners::slow(Duration::from_secs(9))).await;
        stack.webhook("good.example", Manners::good()).await;
        stack.agent("agent");
        let calls = A_SECOND * FOR as usize * 10 / 26;
        stack.traffic(Traffic { calls, over: Duration::from_secs(FOR), gap: Duration::from_secs(2) }).await;
        sleep(Duration::from_secs(30)).await;
        *waits.lock().expect("no panic") = stack.waits_of("good.example", Timestamp::MIN);
    });
    // What the others are owed is not waited for.
    drop(told);
    let waits = waits.into_inner().expect("no panic");
    let share = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    println!("{A_SECOND} events a second beside a black hole and one of 9 s: {} at the healthy receiver", waits.len());
    report(
        "p99 from the event to the healthy receiver",
        share(99),
        Duration::from_secs(2),
        share(99) <= Duration::from_secs(2),
    );
    println!("median {:?}, longest {:?}", share(50), share(100));
}

/// All for one webhook, which is paused.
#[test]
#[ignore = "it takes minutes; `make bench rate` runs it"]
fn a_hundred_parks_a_second() {
    const A_SECOND: usize = 100;
    const FOR: u64 = 20;
    let measured = Mutex::new((0, Duration::ZERO, Duration::ZERO));
    let told = tell(1, faults(), |cloud, ledger| async {
        let mut stack = Stack::start_with(cloud, ledger, 1, Some(CONCURRENCY)).await;
        stack.webhook("one.example", Manners::good()).await;
        stack.owner("one.example", "pause").await;
        stack.agent("agent");
        let calls = A_SECOND * FOR as usize * 10 / 26;
        let begun = Instant::now();
        stack.traffic(Traffic { calls, over: Duration::from_secs(FOR), gap: Duration::from_secs(2) }).await;
        let events = stack.occurred.lock().expect("no panic").len();
        let told_in = begun.elapsed();
        let partition = format!("PARKED#{}", stack.receivers.webhook("one.example"));
        while stack.cloud.items("state", &partition).len() < events && begun.elapsed() < told_in * 10 {
            sleep(Duration::from_millis(100)).await;
        }
        *measured.lock().expect("no panic") = (events, told_in, begun.elapsed());
    });
    drop(told);
    let (events, told_in, took) = measured.into_inner().expect("no panic");
    let rate = events as f64 / told_in.as_secs_f64();
    println!("{events} events for a paused webhook, {rate:.0} a second");
    report(
        "until the last one was parked",
        took - told_in,
        Duration::from_secs(2),
        took - told_in <= Duration::from_secs(2),
    );
}

/// Everything of a long outage, when it is over.
#[test]
#[ignore = "it takes minutes; `make bench rate` runs it"]
fn a_park_of_ten_thousand_empties() {
    const CALLS: usize = 10_000;
    let took = Mutex::new(Duration::ZERO);
    let told = tell(1, faults(), |cloud, ledger| async {
        let stack = Stack::start_with(cloud, ledger, 1, Some(CONCURRENCY)).await;
        stack.webhook("one.example", Manners::good()).await;
        stack.owner("one.example", "pause").await;
        let webhook = stack.receivers.webhook("one.example");
        for _ in 0..CALLS {
            let call = CallId::from_uuid(stack.chance.random().uuid());
            let event = CallEvent::example(call, Status::Disconnected, stack.cloud.now());
            let delivery = Delivery::of_call(event, webhook.parse().expect("an id"));
            stack.ledger.sent(&format!("one.example {call}"), Status::Disconnected.sequence().into());
            stack.put(&json!({
                "pk": {"S": format!("PARKED#{webhook}")},
                "sk": {"S": delivery.park_key()},
                "v": {"N": "1"},
                "round": {"N": "0"},
                "delivery": {"S": serde_json::to_string(&delivery).expect("JSON")},
            }));
        }
        let begun = Instant::now();
        stack.owner("one.example", "resume").await;
        let partition = format!("PARKED#{webhook}");
        while !stack.cloud.items("state", &partition).is_empty() && begun.elapsed() < Duration::from_secs(3 * 3600) {
            sleep(Duration::from_secs(1)).await;
        }
        *took.lock().expect("no panic") = begun.elapsed();
    });
    if let Err(failure) = told {
        println!("{failure}");
    }
    let took = took.into_inner().expect("no panic");
    let rate = CALLS as f64 / took.as_secs_f64();
    report("a park of 10,000 was empty after", took, "it empties", took < Duration::from_secs(3 * 3600));
    println!("{rate:.0} deliveries a second, ten calls side by side");
}

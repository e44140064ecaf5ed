//! What is out of service for long: a receiver, the tables, and the queues.

use std::time::Duration;

use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};
use serde_json::json;
use tokio::time::sleep;

use crate::judge::Summary;
use crate::receivers::Manners;
use crate::seeds::{FEW_SEEDS, OFTEN, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

/// For how long the queues are out of service.
const HOURS: usize = 2;
/// Longer than a delivery may hold up its call.
const DEAD_FOR: Duration = Duration::from_secs(25 * 60);

async fn dead_receiver(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("dead.example", Manners::dead()).await;
    stack.webhook("good.example", Manners::good()).await;
    stack.agent("rack");
    let mut calls = stack.traffic(Traffic::usual(4)).await;
    sleep(DEAD_FOR).await;
    calls.extend(stack.traffic(Traffic::burst(4)).await);
    stack.receivers.behave("dead.example", Manners::good());
    calls.extend(stack.traffic(Traffic::usual(4)).await);
    stack.judge(&calls).await
}

#[test]
fn a_receiver_gets_what_is_fresh_when_it_is_back() {
    tell_all(FEW_SEEDS, Faults::latency_only, dead_receiver).verdict("dead receiver");
}

#[test]
fn a_receiver_gets_what_is_fresh_when_it_is_back_whatever_goes_wrong() {
    tell_all(FEW_SEEDS, || Faults::all(OFTEN), dead_receiver).verdict("dead receiver with every fault");
}

/// One of the parked deliveries was written by a newer version, which was rolled back.
async fn unreadable_parked_delivery(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("dead.example", Manners::dead()).await;
    stack.agent("rack");
    let mut calls = stack.traffic(Traffic::burst(3)).await;
    sleep(DEAD_FOR).await;
    let parked = format!("PARKED#{}", stack.receivers.webhook("dead.example"));
    let mut spoilt = stack.cloud.items("state", &parked).pop().expect("something is parked");
    let sort_key = spoilt["sk"]["S"].as_str().expect("a sort key").to_owned();
    spoilt["v"] = json!({"N": "2"});
    stack.put(&spoilt);
    let mut parts = sort_key.split('#').skip(1);
    let (call, number) = (parts.next().expect("a call"), parts.next().and_then(|text| text.parse().ok()));
    stack.ledger.accounted(&format!("dead.example {call}"), number.expect("a number"), "it cannot be read");
    stack.receivers.behave("dead.example", Manners::good());
    calls.extend(stack.traffic(Traffic::burst(2)).await);
    stack.judge(&calls).await
}

#[test]
fn a_parked_delivery_that_cannot_be_read_stops_no_other() {
    tell_all(1, Faults::latency_only, unreadable_parked_delivery).verdict("unreadable parked delivery");
}

/// A night without tables: ends of calls are worth three days.
async fn tables_out_of_service(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    stack.cloud.set_faults(Faults { table_errors: 1.0, ..Faults::latency_only() });
    let calls = stack.traffic(Traffic::burst(1)).await;
    sleep(Duration::from_secs(10 * 3600)).await;
    stack.cloud.set_faults(Faults::latency_only());
    stack.judge(&calls).await
}

#[test]
fn tables_are_out_of_service_for_a_night() {
    tell_all(1, Faults::latency_only, tables_out_of_service).verdict("tables out of service");
}

/// Events wait in the agent's outbox, more of them than its uplink takes into its hands at once, and it dies over it.
async fn queues_out_of_service(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    stack.let_die(0.0, 0.7);
    stack.cloud.set_faults(Faults { queue_errors: 1.0, ..Faults::latency_only() });
    let mut calls = Vec::new();
    for _ in 0..HOURS {
        calls.extend(stack.traffic(Traffic::burst(70)).await);
        sleep(Duration::from_secs(3600)).await;
    }
    stack.cloud.set_faults(Faults::latency_only());
    calls.extend(stack.traffic(Traffic::usual(5)).await);
    stack.judge(&calls).await
}

#[test]
fn queues_are_out_of_service_for_hours() {
    tell_all(2, Faults::latency_only, queues_out_of_service).verdict("queues out of service");
}

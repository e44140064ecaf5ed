//! Whoever pages through the feed while it grows sees every event once, and a call's events in order.

use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};

use crate::judge::Summary;
use crate::seeds::{HALF_THE_SEEDS, OFTEN, SEEDS, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

async fn story(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.agent("rack");
    stack.poller("poller-1");
    stack.poller("poller-2");
    let mut calls = stack.traffic(Traffic::burst(10)).await;
    calls.extend(stack.traffic(Traffic::burst(10)).await);
    stack.judge(&calls).await
}

#[test]
fn a_poller_sees_every_event_once() {
    tell_all(SEEDS, || Faults::all(OFTEN), story).verdict("polling");
}

#[test]
fn a_poller_sees_every_event_once_on_an_ordinary_day() {
    tell_all(HALF_THE_SEEDS, Faults::latency_only, story).verdict("polling without faults");
}

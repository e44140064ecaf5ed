//! Many events at the same moment: each is recorded once under its call and once in the feed.

use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};

use crate::judge::Summary;
use crate::seeds::{OFTEN, SEEDS, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

async fn story(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.agent("rack");
    let mut calls = stack.traffic(Traffic::burst(15)).await;
    calls.extend(stack.traffic(Traffic::burst(15)).await);
    stack.judge(&calls).await
}

#[test]
fn every_event_is_recorded_once() {
    tell_all(SEEDS, || Faults::all(OFTEN), story).verdict("recording");
}

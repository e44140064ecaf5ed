//! Calls by the hour, as `GET /stats` tells them.

use std::time::Duration;

use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};
use serde_json::Value as Json;
use tokio::time::sleep;

use crate::judge::Summary;
use crate::receivers::Manners;
use crate::seeds::{FEW_SEEDS, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

/// After this time the hours of before are closed, and were moved out of the head.
const LATER: Duration = Duration::from_secs(4 * 3600);

fn sum(hours: &Json, name: &str) -> u64 {
    let hours = hours.as_array().expect("hours");
    hours.iter().map(|hour| hour[name].as_u64().expect("a number")).sum()
}

/// Two agents tell of the same calls, some of them hours before the others.
async fn hours(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    stack.agent("attic");
    let mut calls = stack.traffic(Traffic::burst(5)).await;
    stack.settle_events().await;
    let first = stack.api.get("/stats").await;
    sleep(LATER).await;
    calls.extend(stack.traffic(Traffic::burst(2)).await);
    stack.settle_events().await;

    let stats = stack.api.get("/stats").await;
    let missed = stack.api.get("/events?missedOnly=true&limit=200").await["events"].as_array().map_or(0, Vec::len);
    for hours in [&stats["hours"], &stats["pbxHours"]] {
        assert_eq!((sum(hours, "calls"), sum(hours, "missed")), (7, missed as u64), "{stats}");
    }
    assert_eq!(stats["hours"].as_array().map(Vec::len), Some(25));
    let with_calls = |stats: &Json| {
        let hours = stats["hours"].as_array().expect("hours").iter().filter(|hour| hour["calls"] != 0);
        hours.cloned().collect::<Vec<_>>()
    };
    assert!(with_calls(&stats).starts_with(&with_calls(&first)), "what was moved is told as before: {first} {stats}");
    let moved = stack
        .cloud
        .counts()
        .table_causes
        .keys()
        .any(|cause| cause.operation == "PutItem" && cause.keys.contains("HOURS"));
    assert!(moved, "the hours have items of their own");
    stack.judge(&calls).await
}

#[test]
fn every_call_counts_once_in_its_hour() {
    tell_all(FEW_SEEDS, Faults::latency_only, hours).verdict("hours");
}

/// A batch that dies behind the add comes again.
async fn hours_and_deaths(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    stack.let_die(0.02, 0.0);
    let calls = stack.traffic(Traffic::burst(5)).await;
    stack.settle_events().await;
    let stats = stack.api.get("/stats").await;
    assert!(sum(&stats["hours"], "calls") >= 5, "{stats}");
    stack.judge(&calls).await
}

#[test]
fn a_crash_leaves_no_call_out_of_its_hour() {
    tell_all(FEW_SEEDS, Faults::latency_only, hours_and_deaths).verdict("hours and deaths");
}

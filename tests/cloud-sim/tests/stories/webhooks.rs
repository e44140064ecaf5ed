//! Webhooks that are made, changed and spoilt while events come.

use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};
use serde_json::json;
use shared::event::Status;

use crate::judge::Summary;
use crate::receivers::Manners;
use crate::seeds::{FEW_SEEDS, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

async fn new_webhook(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("old.example", Manners::good()).await;
    stack.agent("rack");
    let mut calls = stack.traffic(Traffic::burst(3)).await;
    stack.webhook("new.example", Manners::good()).await;
    // What is still on its way to the fan-out goes to whoever is there when it comes.
    stack.account_for("new.example", "reported before", |_| true);
    calls.extend(stack.traffic(Traffic::burst(3)).await);
    stack.judge(&calls).await
}

#[test]
fn a_webhook_has_every_event_after_its_answer() {
    tell_all(FEW_SEEDS, Faults::latency_only, new_webhook).verdict("new webhook");
}

async fn changed_filter(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    let mut calls = stack.traffic(Traffic::burst(3)).await;
    stack.settle_events().await;
    stack.restrict("one.example", &[Status::Disconnected]).await;
    calls.extend(stack.traffic(Traffic::burst(3)).await);
    stack.judge(&calls).await
}

#[test]
fn a_changed_filter_holds_from_its_answer_on() {
    tell_all(FEW_SEEDS, Faults::latency_only, changed_filter).verdict("changed filter");
}

/// A webhook that a newer version has written, which was rolled back.
async fn unreadable_webhook(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    let id = "00000000-0000-4000-8000-000000000001";
    stack.put(&json!({"pk": {"S": "WEBHOOK"}, "sk": {"S": id}, "id": {"S": id}, "target": {"M": {}}}));
    stack.agent("rack");
    let calls = stack.traffic(Traffic::burst(3)).await;
    stack.judge(&calls).await
}

#[test]
fn a_webhook_that_cannot_be_read_stops_no_other() {
    tell_all(1, Faults::latency_only, unreadable_webhook).verdict("unreadable webhook");
}

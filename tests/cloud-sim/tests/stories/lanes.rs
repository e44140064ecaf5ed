//! Receivers that are slow, dead, picky or paused, and what becomes of others and of what waits for them.

use std::time::Duration;

use axum::http::Method;
use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};
use deliver::Limits;
use serde_json::json;
use shared::event::Status;
use shared::ids::CallId;
use tokio::time::sleep;

use crate::judge::Summary;
use crate::receivers::Manners;
use crate::seeds::{FEW_SEEDS, HALF_THE_SEEDS, OFTEN, SEEDS, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

const MINUTE: Duration = Duration::from_secs(60);
/// A receiver that nothing is the matter with has an event by then, 99 times of 100.
const IN_TIME: Duration = Duration::from_secs(2);

/// A black hole and one that takes nine seconds, beside one that is quick.
async fn isolation(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("hole.example", Manners::hole()).await;
    stack.webhook("slow.example", Manners::slow(Duration::from_secs(9))).await;
    stack.webhook("good.example", Manners::good()).await;
    stack.agent("rack");
    // The first batches teach who is slow.
    let mut calls = stack.traffic(Traffic { calls: 10, over: Duration::from_secs(20), gap: MINUTE / 20 }).await;
    stack.until("hole.example", "slow").await;
    stack.until("slow.example", "slow").await;
    // A request that was under way when they were found out holds its environment until it ends.
    sleep(Limits::default().total).await;
    let since = stack.cloud.now();
    calls.extend(stack.traffic(Traffic { calls: 60, over: Duration::from_secs(20), gap: MINUTE / 20 }).await);
    sleep(IN_TIME).await;
    let waits = stack.waits_of("good.example", since);
    let late = waits.iter().filter(|wait| **wait > IN_TIME).count();
    if late * 100 > waits.len() {
        stack.ledger.wrong(format!("{late} of {} events came late, {:?} at last", waits.len(), waits.last()));
    }
    stack.judge(&calls).await
}

#[test]
fn a_slow_receiver_holds_up_nobody_else() {
    tell_all(FEW_SEEDS, Faults::latency_only, isolation).verdict("isolation");
}

/// What sends deliveries is out of service while a receiver refuses, and the first answer afterwards is a refusal, too.
async fn deliver_down(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    let mut calls = stack.traffic(Traffic::usual(3)).await;
    stack.receivers.behave("one.example", Manners::dead());
    calls.extend(stack.traffic(Traffic::usual(2)).await);
    stack.until("one.example", "slow").await;
    stack.break_deliver(true);
    calls.extend(stack.traffic(Traffic::burst(4)).await);
    sleep(MINUTE * 20).await;
    stack.break_deliver(false);
    sleep(MINUTE).await;
    let webhook = stack.webhook_of("one.example").await;
    if webhook["state"] == "failing" {
        stack.ledger.wrong(format!("an outage of ours is held against the receiver: {webhook}"));
    }
    stack.receivers.behave("one.example", Manners::good());
    stack.judge(&calls).await
}

#[test]
fn an_outage_of_ours_is_not_held_against_a_receiver() {
    tell_all(FEW_SEEDS, Faults::latency_only, deliver_down).verdict("deliver down");
}

/// A dead receiver of what is worth half a minute only.
async fn dead_for_ringing(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("phone.example", Manners::dead()).await;
    stack.restrict("phone.example", &[Status::Ringing]).await;
    stack.agent("rack");
    let mut calls: Vec<CallId> = Vec::new();
    for _ in 0..30 {
        calls.extend(stack.traffic(Traffic::burst(2)).await);
        sleep(MINUTE * 2).await;
    }
    stack.until("phone.example", "failing").await;
    stack.receivers.behave("phone.example", Manners::good());
    // Whoever leaves it alone for five minutes has not seen it yet.
    sleep(MINUTE * 5).await;
    for _ in 0..4 {
        calls.extend(stack.traffic(Traffic::burst(2)).await);
        sleep(MINUTE).await;
    }
    stack.judge(&calls).await
}

#[test]
fn a_dead_receiver_of_ringing_only_is_failing() {
    tell_all(FEW_SEEDS, Faults::latency_only, dead_for_ringing).verdict("dead for ringing");
}

/// One call's events are refused for their own sake.
async fn poison(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("picky.example", Manners::good()).await;
    stack.agent("rack");
    let poison = stack.traffic_of_one(&[Status::Disconnected], |stack, call| {
        stack.receivers.refuse("picky.example", call, Status::Disconnected);
    });
    let mut calls = vec![poison.await];
    for _ in 0..12 {
        calls.extend(stack.traffic(Traffic::burst(2)).await);
        sleep(MINUTE * 2).await;
    }
    stack.until("picky.example", "active").await;
    let path = format!("/webhooks/{}/deliveries?state=failed", stack.receivers.webhook("picky.example"));
    let page = stack.api.get(&path).await;
    let failed = page["deliveries"].as_array().expect("deliveries");
    if failed.len() != 1 {
        stack.ledger.wrong(format!("{} deliveries have failed", failed.len()));
    }
    stack.ledger.accounted(&format!("picky.example {}", calls[0]), Status::Disconnected.sequence().into(), "failed");
    stack.judge(&calls).await
}

#[test]
fn one_refused_delivery_does_not_stand_for_all() {
    tell_all(FEW_SEEDS, Faults::latency_only, poison).verdict("poison");
}

/// One event is refused until its webhook gets its own lane, while the next one of its call stands behind it.
async fn behind_a_parked_one(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("picky.example", Manners::good()).await;
    stack.agent("rack");
    let refuse = |stack: &Stack, call| stack.receivers.refuse("picky.example", call, Status::Connected);
    let call = stack.traffic_of_one(&[Status::Connected, Status::Disconnected], refuse).await;
    stack.until("picky.example", "slow").await;
    sleep(MINUTE / 6).await;
    stack.receivers.forgive("picky.example");
    stack.judge(&[call]).await
}

#[test]
fn what_stands_behind_a_parked_event_waits_for_it() {
    tell_all(FEW_SEEDS, Faults::latency_only, behind_a_parked_one).verdict("behind a parked one");
}

/// What waits is sent by the settings of now.
async fn changed_while_parked(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    stack.owner("one.example", "pause").await;
    let before = stack.traffic(Traffic::burst(5)).await;
    sleep(MINUTE / 4).await;
    stack.restrict("one.example", &[Status::Disconnected]).await;
    let ends = u64::from(Status::Disconnected.sequence());
    stack.account_for("one.example", "not wanted any more", |number| number != ends);
    let mut calls = before;
    calls.extend(stack.traffic(Traffic::burst(5)).await);
    stack.owner("one.example", "resume").await;
    stack.until("one.example", "active").await;
    for (_, number) in stack.receivers.accepted_at("one.example").keys() {
        if *number != ends {
            stack.ledger.wrong(format!("status {number} was sent, which is not wanted any more"));
        }
    }
    stack.judge(&calls).await
}

#[test]
fn what_waits_is_sent_by_the_settings_of_now() {
    tell_all(FEW_SEEDS, Faults::latency_only, changed_while_parked).verdict("changed while parked");
}

/// Its owner wants nothing for a while, and then everything.
async fn paused(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    let mut calls = stack.traffic(Traffic::burst(3)).await;
    stack.owner("one.example", "pause").await;
    // What was under way when it was paused may still be sent.
    sleep(MINUTE / 4).await;
    let sent = stack.receivers.accepted_at("one.example").len();
    calls.extend(stack.traffic(Traffic::usual(8)).await);
    sleep(MINUTE * 3).await;
    let now = stack.receivers.accepted_at("one.example").len();
    if now > sent {
        stack.ledger.wrong(format!("{} events were sent to a webhook that is paused", now - sent));
    }
    stack.owner("one.example", "resume").await;
    calls.extend(stack.traffic(Traffic::usual(8)).await);
    stack.until("one.example", "active").await;
    stack.judge(&calls).await
}

#[test]
fn a_paused_webhook_gets_what_is_fresh_when_it_is_resumed() {
    tell_all(FEW_SEEDS, Faults::latency_only, paused).verdict("paused");
}

#[test]
fn a_paused_webhook_gets_what_is_fresh_whatever_goes_wrong() {
    tell_all(HALF_THE_SEEDS, || Faults::all(OFTEN), paused).verdict("paused with every fault");
}

/// A receiver is mended after twenty minutes of refusals. What waits for it waits no longer.
async fn mended(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::dead()).await;
    stack.agent("rack");
    let calls = stack.traffic(Traffic::usual(6)).await;
    sleep(MINUTE * 20).await;
    stack.receivers.behave("one.example", Manners::good());
    stack.owner("one.example", "resume").await;
    let ends = || stack.receivers.accepted_at("one.example").len();
    // A worker that waits looks every fifteen seconds.
    sleep(MINUTE / 4 + IN_TIME).await;
    if ends() < calls.len() {
        stack.ledger.wrong(format!("{} of {} calls' ends have come, long after they could", ends(), calls.len()));
    }
    stack.judge(&calls).await
}

#[test]
fn a_mended_receiver_gets_everything_at_once() {
    tell_all(FEW_SEEDS, Faults::latency_only, mended).verdict("mended");
}

/// The worker dies again and again while it sends what has waited.
async fn worker_dies(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    stack.owner("one.example", "pause").await;
    let calls = stack.traffic(Traffic::burst(12)).await;
    sleep(MINUTE / 4).await;
    stack.let_die(0.9, 0.0);
    stack.owner("one.example", "resume").await;
    sleep(MINUTE).await;
    stack.judge(&calls).await
}

#[test]
fn a_worker_that_dies_repeats_only_what_the_log_does_not_know() {
    tell_all(SEEDS, Faults::latency_only, worker_dies).verdict("worker dies");
}

/// What its owner does not want any more.
async fn purged(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    stack.owner("one.example", "pause").await;
    let mut calls = stack.traffic(Traffic::burst(6)).await;
    sleep(MINUTE / 4).await;
    stack.owner("one.example", "purge").await;
    stack.account_for("one.example", "purged", |_| true);
    stack.owner("one.example", "resume").await;
    stack.until("one.example", "active").await;
    if !stack.receivers.accepted_at("one.example").is_empty() {
        stack.ledger.wrong("something was sent that was purged");
    }
    calls.extend(stack.traffic(Traffic::burst(6)).await);
    stack.judge(&calls).await
}

#[test]
fn what_is_purged_is_not_sent() {
    tell_all(FEW_SEEDS, Faults::latency_only, purged).verdict("purged");
}

/// As many requests a minute as its owner wants.
async fn limited(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    const A_MINUTE: usize = 30;
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    let wanted = json!({"url": "https://one.example/hook", "maxPerMinute": A_MINUTE});
    let path = format!("/webhooks/{}", stack.receivers.webhook("one.example"));
    let (status, changed) = stack.api.insist(Method::PUT, &path, Some(&wanted)).await;
    assert_eq!(status, 200, "{changed}");
    stack.agent("rack");
    let calls = stack.traffic(Traffic::burst(20)).await;
    sleep(MINUTE).await;
    let accepted = stack.receivers.accepted_at("one.example").len();
    if accepted > A_MINUTE + 2 {
        stack.ledger.wrong(format!("{accepted} requests were made in about a minute"));
    }
    stack.judge(&calls).await
}

#[test]
fn a_webhook_takes_as_many_requests_as_its_owner_says() {
    tell_all(FEW_SEEDS, Faults::latency_only, limited).verdict("limited");
}

/// Receivers that go to and fro between good and bad, while everything else goes wrong.
async fn to_and_fro(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    stack.let_die(0.2, 0.2);
    let mut calls = stack.traffic(Traffic::usual(4)).await;
    for manners in [Manners::dead(), Manners::good(), Manners::slow(Duration::from_secs(4)), Manners::bad(0.3)] {
        stack.receivers.behave("one.example", manners);
        calls.extend(stack.traffic(Traffic::usual(6)).await);
        sleep(MINUTE).await;
    }
    stack.judge(&calls).await
}

#[test]
fn a_receiver_goes_to_and_fro_whatever_goes_wrong() {
    tell_all(HALF_THE_SEEDS, || Faults::all(OFTEN), to_and_fro).verdict("to and fro with every fault");
}

//! Updates of live calls: what a receiver learns at a transfer, and what holds of updates whatever goes wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use cloud_sim::story::{Ledger, Violation, tell};
use cloud_sim::{Cloud, Faults};
use jiff::SignedDuration;
use pbx_sim::InMemory;
use serde_json::{Value as Json, json};
use shared::event::{CallChange, CallEvent, CallState, CallUpdate, Status};
use shared::ids::{CallId, EventId};
use shared::time::iso_millis;
use tokio::time::sleep;

use crate::commands::pbx;
use crate::judge::Summary;
use crate::poller::whole_feed_of;
use crate::receivers::{Manners, is_update};
use crate::seeds::{OFTEN, SEEDS, tell_all};
use crate::stack::Stack;

const CUSTOMER: &str = "+32472591687";
const HOST: &str = "desk.example";
const SOON: Duration = Duration::from_secs(3);

async fn press(pbx: &InMemory, path: &str, body: Json) {
    pbx.control(path, body).unwrap_or_else(|error| panic!("{path}: {error:?}"));
    sleep(SOON).await;
}

/// What the receiver was told of a user: (`change` or status, from, held).
fn told(stack: &Stack, user: &str) -> Vec<(String, String, bool)> {
    let of_user = stack.receivers.told(HOST).into_iter().filter(|event| event["monitoredExtension"] == user);
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    of_user
        .map(|event| {
            let word = if is_update(&event) { text(&event["change"]) } else { text(&event["status"]) };
            (word, text(&event["fromE164"]), event["held"] == true)
        })
        .collect()
}

fn words(told: &[(String, String, bool)]) -> Vec<&str> {
    told.iter().map(|(word, ..)| word.as_str()).collect()
}

/// Which statuses there are is said by other stories; here nobody has announced them to the ledger.
fn run<F: Future<Output = ()>>(story: impl FnOnce(Cloud, Ledger) -> F) {
    let told = tell(1, Faults::latency_only(), story);
    let violations = told.map_or_else(|failure| failure.violations, |_| Vec::new());
    let wrong: Vec<_> = violations.iter().filter(|found| !matches!(found, Violation::Stranger { .. })).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// A stack with a receiver of updates, and a PBX.
async fn begin(cloud: Cloud, ledger: Ledger) -> (Stack, Arc<InMemory>) {
    let stack = Stack::start(cloud.clone(), ledger, 1).await;
    stack.webhook_with_updates(HOST, Manners::good()).await;
    (stack, pbx(&cloud, 1))
}

/// A call to 42, answered and held; 42 calls 50, who answers; 42 transfers.
#[test]
fn target_of_a_transfer_learns_the_customers_number_at_the_transfer() {
    run(async |cloud: Cloud, ledger| {
        let (mut stack, pbx) = begin(cloud, ledger).await;
        stack.whole_agent("rack", &pbx, SignedDuration::ZERO);
        sleep(Duration::from_secs(10)).await;
        press(&pbx, "/call", json!({"from": CUSTOMER, "to": "42"})).await;
        press(&pbx, "/answer", json!({"extension": "42"})).await;
        press(&pbx, "/hold", json!({"extension": "42"})).await;
        assert_eq!(words(&told(&stack, "42")), ["ringing", "connected", "held"]);
        press(&pbx, "/call", json!({"from": "42", "to": "50"})).await;
        press(&pbx, "/answer", json!({"extension": "50"})).await;
        assert_eq!(words(&told(&stack, "50")), ["ringing", "connected"]);
        press(&pbx, "/transfer", json!({"extension": "42"})).await;
        let told_50 = told(&stack, "50");
        assert!(told_50.iter().any(|(word, from, _)| word == "parties" && from == CUSTOMER), "{told_50:?}");
        assert!(!words(&told_50).contains(&"disconnected"));
        press(&pbx, "/hangup", json!({"extension": CUSTOMER})).await;
        assert_eq!(words(&told(&stack, "50")).last(), Some(&"disconnected"));
        ascending(&stack, HOST);
        // Who has not asked for updates is told none.
        assert!(whole_feed_of(&stack.api, "call").await.iter().all(|event| !is_update(event)));
        assert!(whole_feed_of(&stack.api, "call.updated").await.iter().all(is_update));
        stack.settle().await;
    });
}

/// The same where a queue calls both and joins them.
#[test]
fn party_of_a_connection_learns_the_others_number_when_they_are_joined() {
    run(async |cloud: Cloud, ledger| {
        let (mut stack, pbx) = begin(cloud, ledger).await;
        stack.whole_agent("rack", &pbx, SignedDuration::ZERO);
        sleep(Duration::from_secs(10)).await;
        let parties = json!({"via": "77", "a": "50", "b": CUSTOMER});
        let (status, answer) = stack.api.insist(Method::POST, "/rcc/connect?wait=0", Some(&parties)).await;
        assert_eq!(status, 202, "{answer}");
        sleep(SOON).await;
        press(&pbx, "/answer", json!({"extension": "50"})).await;
        sleep(SOON).await;
        press(&pbx, "/answer", json!({"extension": CUSTOMER})).await;
        sleep(SOON).await;
        let told_50 = told(&stack, "50");
        assert!(told_50.iter().any(|(word, from, _)| word == "parties" && from == CUSTOMER), "{told_50:?}");
        assert!(!words(&told_50).contains(&"disconnected"));
        press(&pbx, "/hangup", json!({"extension": CUSTOMER})).await;
        ascending(&stack, HOST);
        stack.settle().await;
    });
}

/// Of two agents one reports. After its death the other one goes on, and begins with how the calls stand.
#[test]
fn another_agent_goes_on_when_the_one_that_reports_is_dead() {
    run(async |cloud: Cloud, ledger| {
        let (mut stack, pbx) = begin(cloud, ledger).await;
        let first = stack.whole_agent("attic", &pbx, SignedDuration::ZERO);
        stack.whole_agent("rack", &pbx, SignedDuration::ZERO);
        first.lives.restart_within(Duration::from_secs(600), Duration::from_secs(600));
        sleep(Duration::from_secs(30)).await;
        press(&pbx, "/call", json!({"from": CUSTOMER, "to": "42"})).await;
        press(&pbx, "/answer", json!({"extension": "42"})).await;
        press(&pbx, "/hold", json!({"extension": "42"})).await;
        assert_eq!(words(&told(&stack, "42")), ["ringing", "connected", "held"]);
        let items = stack.cloud.items("state", &call_partition(&stack));
        let is_update = |item: &&Json| item["sk"]["S"].as_str().is_some_and(|key| key.starts_with("updated#"));
        assert_eq!(items.iter().filter(is_update).count(), 1, "one agent reports it, or both say the same");
        first.lives.kill();
        // Nobody reports it: the other agent takes this one for alive.
        press(&pbx, "/retrieve", json!({"extension": "42"})).await;
        sleep(Duration::from_secs(45)).await;
        assert_eq!(words(&told(&stack, "42")), ["ringing", "connected", "held", "retrieved"]);
        press(&pbx, "/hold", json!({"extension": "42"})).await;
        assert_eq!(words(&told(&stack, "42")).last(), Some(&"held"));
        press(&pbx, "/hangup", json!({"extension": CUSTOMER})).await;
        ascending(&stack, HOST);
        stack.settle().await;
    });
}

fn call_partition(stack: &Stack) -> String {
    let event = stack.receivers.told(HOST).into_iter().find(|event| event["monitoredExtension"] == "42");
    format!("CALL#{}", event.expect("an event")["CallId"].as_str().expect("an id"))
}

/// Updates may be repeated, but one that comes for the first time has the highest revision so far, a revision has one content, and none
/// comes for the first time after the end.
fn ascending(stack: &Stack, host: &str) {
    let mut calls: BTreeMap<String, (u64, bool, BTreeMap<u64, String>)> = BTreeMap::new();
    for event in stack.receivers.told(host) {
        let (highest, is_over, contents) = calls.entry(event["CallId"].to_string()).or_default();
        if !is_update(&event) {
            *is_over |= event["status"] == "disconnected";
            continue;
        }
        let revision = event["revision"].as_u64().expect("a revision");
        let content = json!([event["from"], event["to"], event["held"], event["eventId"]]).to_string();
        if let Some(before) = contents.get(&revision) {
            if *before != content {
                stack.ledger.wrong(format!("{host}: revision {revision} is both {before} and {content}"));
            }
            continue;
        }
        if revision < *highest || *is_over {
            stack
                .ledger
                .wrong(format!("{host}: revision {revision} comes after {highest}, the call is over: {is_over}"));
        }
        *highest = revision.max(*highest);
        contents.insert(revision, content);
    }
}

/// Calls whose parties change while they live, each change reported by all agents.
async fn calls_with_updates(stack: &Stack, count: usize) -> Vec<(CallId, Vec<String>)> {
    let mut calls = Vec::new();
    for _ in 0..count {
        calls.push((CallId::from_uuid(stack.chance.random().uuid()), Vec::new()));
    }
    let changes = stack.chance.number(2, 5);
    for step in 0..changes + 3 {
        for (call, numbers) in &mut calls {
            let now = stack.cloud.now();
            let status = match step {
                0 => Some(Status::Ringing),
                1 => Some(Status::Connected),
                _ if step == changes + 2 => Some(Status::Disconnected),
                _ => None,
            };
            let mut event = CallEvent::example(*call, status.unwrap_or(Status::Connected), now);
            match status {
                Some(status) => stack.expect(*call, status),
                None => {
                    // The parties come back to what they were before, too.
                    event.web_hook_event.from = format!("00{}", step % 2);
                    numbers.push(event.web_hook_event.from.clone());
                    event.update = Some(CallUpdate { change: CallChange::Parties, revision: 0 });
                    event.event_id =
                        EventId::of_snapshot(*call, &CallState::of(&event).fingerprint(), &iso_millis(now));
                }
            }
            for agent in &stack.agents {
                agent.report(&event);
            }
            sleep(stack.chance.between(Duration::from_millis(5), Duration::from_secs(2))).await;
        }
    }
    calls
}

async fn story(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook_with_updates("good.example", Manners::good()).await;
    stack.webhook_with_updates("bad.example", Manners::bad(0.05)).await;
    stack.webhook("plain.example", Manners::good()).await;
    stack.agent("rack");
    stack.agent("attic");
    stack.let_die(0.3, 0.3);
    let calls = calls_with_updates(&stack, 5).await;
    stack.settle().await;
    for host in ["good.example", "bad.example"] {
        ascending(&stack, host);
    }
    assert!(stack.receivers.told("plain.example").iter().all(|event| !is_update(event)));
    // Each change has its number and its place in the feed, once and in order.
    let feed = whole_feed_of(&stack.api, "call,call.updated").await;
    for (call, numbers) in &calls {
        let of_call: Vec<&Json> = feed.iter().filter(|event| event["CallId"] == call.to_string()).collect();
        let updates: Vec<&Json> = of_call.iter().copied().filter(|event| is_update(event)).collect();
        let revisions: Vec<u64> = updates.iter().filter_map(|event| event["revision"].as_u64()).collect();
        let found: Vec<&str> = updates.iter().filter_map(|event| event["from"].as_str()).collect();
        if revisions != (1..=numbers.len() as u64).collect::<Vec<_>>() || found != *numbers {
            stack.ledger.wrong(format!("{call}: {numbers:?} came as {revisions:?} {found:?}"));
        }
        if of_call.last().is_none_or(|last| is_update(last)) {
            stack.ledger.wrong(format!("{call}: the end is not the last in the feed"));
        }
    }
    let calls: Vec<CallId> = calls.into_iter().map(|(call, _)| call).collect();
    stack.judge(&calls).await
}

#[test]
fn updates_survive_everything() {
    tell_all(SEEDS, || Faults::all(OFTEN), story).verdict("updates");
}

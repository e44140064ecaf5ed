//! Receivers that fail: for a while, for good, for one delivery only, or on purpose.

use std::collections::BTreeMap;
use std::time::Duration;

use easyconnect_tests::{Agent, Answer, Inbox, Manner, Pbx, Stack, eventually, eventually_within, traffic};
use serde_json::{Value, json};
use tokio::time::sleep;

const CALLER: &str = "+32472591687";
const OTHER: &str = "+32475000001";

async fn subscribe(stack: &Stack, inbox: &Inbox) -> String {
    let made = stack.api.post("/webhooks", json!({"url": inbox.url("/hook")})).await.with_status(201);
    made.text("id").to_owned()
}

async fn missed_call(pbx: &Pbx, from: &str, to: &str) {
    pbx.call(from, to);
    pbx.until_leg(to, "alerting").await;
    pbx.hang_up(from);
}

async fn webhook(stack: &Stack, id: &str) -> Answer {
    stack.api.get(&format!("/webhooks/{id}")).await.ok()
}

async fn until_webhook(stack: &Stack, id: &str, what: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
    eventually(&format!("the webhook {what}"), async || match webhook(stack, id).await {
        shown if holds(&shown) => Ok(shown),
        shown => Err(shown.body.to_string()),
    })
    .await
}

/// "status state" of every delivery in the log, oldest first.
async fn log_of(stack: &Stack, id: &str) -> Vec<String> {
    let line = |delivery: &Value| {
        format!("{} {}", delivery["about"].as_str().unwrap_or("?"), delivery["state"].as_str().unwrap_or("?"))
    };
    stack.api.log_of(id).await.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_receiver_is_parked_and_resumed() {
    let stack = Stack::start_with(&["FastLaneSeconds=2", "FailingAfterSeconds=5", "RingingFreshSeconds=25"]);
    let (stack, pbx, dead, healthy) = tokio::join!(stack, Pbx::start(), Inbox::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    dead.behave(Manner::Status(503));
    let id = subscribe(&stack, &dead).await;
    subscribe(&stack, &healthy).await;

    missed_call(&pbx, CALLER, "42").await;
    healthy.expect(&["42 ringing", "42 disconnected"]).await;
    let failing = until_webhook(&stack, &id, "is failing with everything parked", |shown| {
        shown.text("state") == "failing" && shown.body["parked"] == 2
    })
    .await;
    assert!(failing.text("reason").contains("answered 503"), "{}", failing.body);
    // New events park at once, and the queue holds nothing.
    missed_call(&pbx, OTHER, "43").await;
    healthy.expect(&["42 ringing", "42 disconnected", "43 ringing", "43 disconnected"]).await;
    until_webhook(&stack, &id, "has parked what is new", |shown| shown.body["parked"] == 4).await;
    stack.until_empty("DELIVERIES_QUEUE_URL").await;

    // The ringing goes stale meanwhile, and is taken out of what waits.
    eventually_within(Duration::from_secs(90), "both ringings have gone stale", async || {
        match log_of(&stack, &id).await {
            log if log.iter().filter(|line| *line == "ringing expired").count() == 2 => Ok(()),
            log => Err(format!("{log:?}")),
        }
    })
    .await;
    until_webhook(&stack, &id, "has both ends parked", |shown| shown.body["parked"] == 2).await;

    dead.behave(Manner::Status(204));
    dead.forget();
    let resumed = stack.api.post(&format!("/webhooks/{id}/resume"), json!({})).await.ok();
    // It is hoped that it accepts again.
    assert_eq!((resumed.text("state"), &resumed.body["parked"]), ("failing", &json!(2)));
    // Calls go side by side: the order is each call's own.
    missed_call(&pbx, CALLER, "44").await;
    dead.expect(&["42 disconnected", "43 disconnected", "44 ringing", "44 disconnected"]).await;
    let slow = until_webhook(&stack, &id, "accepts again", |shown| shown.body["parked"] == 0).await;
    assert!(["slow", "active"].contains(&slow.text("state")), "{}", slow.body);
    missed_call(&pbx, CALLER, "50").await;
    let all = ["42 disconnected", "43 disconnected", "44 ringing", "44 disconnected", "50 ringing", "50 disconnected"];
    dead.expect(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusing_receiver_that_recovers_by_itself_is_found_by_a_probe() {
    let stack = Stack::start_with(&["FastLaneSeconds=2", "RingingFreshSeconds=300"]);
    let (stack, pbx, inbox) = tokio::join!(stack, Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    inbox.behave(Manner::Status(500));
    let id = subscribe(&stack, &inbox).await;
    missed_call(&pbx, CALLER, "42").await;
    missed_call(&pbx, OTHER, "43").await;
    until_webhook(&stack, &id, "has parked everything", |shown| shown.body["parked"] == 4).await;
    inbox.behave(Manner::Status(204));
    inbox.forget();
    inbox.expect(&["42 ringing", "42 disconnected", "43 ringing", "43 disconnected"]).await;
    until_webhook(&stack, &id, "has nothing parked", |shown| shown.body["parked"] == 0).await;
    let active = eventually_within(Duration::from_secs(90), "the webhook is active", async || {
        let shown = webhook(&stack, &id).await;
        if shown.text("state") == "active" { Ok(shown) } else { Err(shown.body.to_string()) }
    })
    .await;
    assert_eq!((&active.body["parked"], &active.body["reason"]), (&json!(0), &Value::Null));
    let log = log_of(&stack, &id).await;
    assert!(log.len() == 4 && log.iter().all(|line| line.ends_with(" delivered")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_delivery_fails_alone() {
    let stack = Stack::start_with(&["FastLaneSeconds=2", "FailingAfterSeconds=8"]);
    let (stack, pbx, inbox) = tokio::join!(stack, Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    inbox.behave(Manner::RefuseWhatHas(r#""monitoredExtension":"42""#.to_owned()));
    let id = subscribe(&stack, &inbox).await;
    missed_call(&pbx, CALLER, "42").await;
    // Others are accepted all the time.
    let failed = async || log_of(&stack, &id).await.iter().filter(|line| line.ends_with(" failed")).count();
    let mut calls = 0;
    // The second event of the call is refused after the first one has failed.
    while failed().await < 1 {
        missed_call(&pbx, OTHER, "43").await;
        pbx.until_idle().await;
        calls += 1;
    }
    let shown = webhook(&stack, &id).await;
    assert!(["slow", "active"].contains(&shown.text("state")), "{}", shown.body);
    let delivered = || inbox.statuses().iter().filter(|status| status.starts_with("43 ")).count();
    eventually("all the others came", async || match delivered() {
        n if n == calls * 2 => Ok(()),
        n => Err(format!("{n} of {}", calls * 2)),
    })
    .await;
    // It can be sent again by hand once the receiver takes it.
    inbox.behave(Manner::Status(204));
    let log = stack.api.get(&format!("/webhooks/{id}/deliveries?state=failed")).await.ok();
    let delivery = log.body["deliveries"][0]["id"].as_str().expect("an id").to_owned();
    inbox.forget();
    stack.api.post(&format!("/deliveries/{delivery}/replay"), json!({})).await.with_status(202);
    eventually("it came", async || if inbox.received().is_empty() { Err(String::new()) } else { Ok(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receiver_that_wants_no_more_is_switched_off() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    inbox.behave(Manner::Status(410));
    let id = subscribe(&stack, &inbox).await;
    pbx.call(CALLER, "42");
    let off = until_webhook(&stack, &id, "is off", |shown| shown.text("state") == "off").await;
    assert!(off.text("reason").contains("410"), "{}", off.body);
    let call = inbox.events()[0]["CallId"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    pbx.hang_up(CALLER);
    // What was fanned out before is cancelled, and nothing new is.
    stack.until_recorded(call, 3).await;
    stack.until_empty("DELIVERIES_QUEUE_URL").await;
    inbox.behave(Manner::Status(204));
    stack.api.post(&format!("/webhooks/{id}/resume"), json!({})).await.ok();
    until_webhook(&stack, &id, "is off no more", |shown| shown.text("state") != "off").await;
    assert_eq!(inbox.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn receiver_that_fails_for_a_while_gets_everything_in_order() {
    let stack = Stack::start_with(&["RingingFreshSeconds=2"]);
    let (stack, pbx, inbox, healthy) = tokio::join!(stack, Pbx::start(), Inbox::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let id = subscribe(&stack, &inbox).await;
    subscribe(&stack, &healthy).await;
    inbox.behave(Manner::Status(500));
    for extension in ["42", "43", "44"] {
        missed_call(&pbx, CALLER, extension).await;
        pbx.until_idle().await;
    }
    let all = ["42 ringing", "42 disconnected", "43 ringing", "43 disconnected", "44 ringing", "44 disconnected"];
    healthy.expect(&all).await;
    eventually("the ringings have gone stale", async || match log_of(&stack, &id).await {
        log if log.iter().filter(|line| *line == "ringing expired").count() == 3 => Ok(()),
        log => Err(format!("{log:?}")),
    })
    .await;
    inbox.forget();
    inbox.behave(Manner::Status(204));
    inbox.expect(&["42 disconnected", "43 disconnected", "44 disconnected"]).await;
    let shown = webhook(&stack, &id).await;
    assert!(["slow", "active"].contains(&shown.text("state")), "{}", shown.body);
}

/// A receiver that is away for a while in the middle of a busy hour.
#[tokio::test(flavor = "multi_thread")]
async fn hundred_calls_around_an_outage_arrive_in_order_and_once() {
    const CALLS: usize = 100;
    let stack = Stack::start_with(&["RingingFreshSeconds=10"]);
    let (stack, pbx, inbox, healthy) = tokio::join!(stack, Pbx::start(), Inbox::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let id = subscribe(&stack, &inbox).await;
    subscribe(&stack, &healthy).await;
    let outage = async {
        eventually("the first calls were told", async || match inbox.accepted().len() {
            10.. => Ok(()),
            n => Err(n.to_string()),
        })
        .await;
        inbox.behave(Manner::Status(503));
        sleep(Duration::from_secs(20)).await;
        inbox.behave(Manner::Status(204));
    };
    tokio::join!(traffic::place(&pbx, CALLS, Duration::from_millis(300)), outage);

    eventually_within(Duration::from_secs(90), "the healthy receiver was told everything, once", async || {
        traffic::complaint(&traffic::by_call(&healthy.events()), CALLS).map_or(Ok(()), Err)
    })
    .await;
    let log = eventually_within(Duration::from_secs(90), "nothing is under way any more", async || {
        let log = stack.api.log_of(&id).await;
        let open =
            log.iter().filter(|delivery| delivery["state"] == "retrying" || delivery["state"] == "parked").count();
        if open == 0 && log.len() == healthy.count() { Ok(log) } else { Err(format!("{open} of {}", log.len())) }
    })
    .await;

    // What was accepted and what the log says agree, each call's events came in order, and only what went stale is missing.
    let accepted = traffic::by_call(&inbox.accepted());
    let mut logged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for delivery in &log {
        let text = |name: &str| delivery[name].as_str().unwrap_or_default().to_owned();
        match text("state").as_str() {
            "delivered" => logged.entry(text("CallId")).or_default().push(text("about")),
            "expired" => assert_eq!(delivery["about"], "ringing", "{delivery}"),
            _ => panic!("{delivery}"),
        }
    }
    assert_eq!(accepted, logged);
    assert!(log.iter().any(|delivery| delivery["state"] == "expired"), "nothing went stale in the outage");
    assert!(inbox.count() > inbox.accepted().len(), "nothing was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn forbidden_and_hostile_receivers_are_refused_in_plain_words() {
    let stack = Stack::start().await;
    let (forbidden, hostile) = tokio::join!(Inbox::start_at("127.0.0.2"), Inbox::start());
    let api = &stack.api;
    let tried = async |url: &str| {
        let made = api.post("/webhooks", json!({"url": url})).await.with_status(201);
        let path = format!("/webhooks/{}", made.text("id"));
        let tried = api.post(&format!("{path}/test?wait=20"), json!({})).await.ok();
        api.delete(&path).await.with_status(204);
        (tried.body["attempts"][0]["outcome"].as_str().unwrap_or_default().to_owned(), tried)
    };
    let not_public = "the webhook's address is not on the public internet";
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/",
        "http://2130706434/",
        "http://[::1]/",
        "http://localhost.localdomain./",
        &forbidden.url("/"),
    ] {
        let (outcome, _) = tried(url).await;
        // A name that this machine does not know is as good as one that it may not reach.
        assert!(outcome == not_public || outcome == "the host name cannot be resolved", "{url}: {outcome}");
    }
    hostile.behave(Manner::Redirect(forbidden.url("/stolen")));
    assert_eq!(tried(&hostile.url("/")).await.0, "answered 307, and redirects are not followed");
    hostile.behave(Manner::Endless);
    let (outcome, endless) = tried(&hostile.url("/")).await;
    assert_eq!(outcome, "answered 200");
    assert!(endless.body["attempts"][0]["answer"].as_str().is_some_and(|answer| answer.len() <= 4096));
    hostile.behave(Manner::Hang);
    assert_eq!(tried(&hostile.url("/")).await.0, "no answer in time");
    assert!(forbidden.received().is_empty());
}

//! An agent that dies, and a queue that is out of reach: nothing is lost, nothing comes twice, and times stay true.

use easyconnect_tests::{Agent, AgentOptions, Inbox, Pbx, Proxy, Stack, eventually};
use rustix::process::Signal;
use serde_json::Value;
use shared::time::PublishedTime;

const CALLER: &str = "+32472591687";

/// Seconds from a time in an event to another one.
fn seconds_between(from: &Value, to: &Value) -> i64 {
    let second = |time: &Value| {
        let time: PublishedTime = serde_json::from_value(time.clone()).expect("a time");
        time.0.as_second()
    };
    second(to) - second(from)
}

/// Whether each event of a call was concluded rather than told by the PBX.
async fn inferred(stack: &Stack, call: &Value) -> Vec<bool> {
    let history = stack.api.get(&format!("/rcc/calls/{}/events", call.as_str().expect("an id"))).await.ok();
    let events = history.body["events"].as_array().expect("events");
    events.iter().map(|event| event["inferred"].as_bool().expect("a flag")).collect()
}

async fn missed_call(pbx: &Pbx, extension: &str) {
    pbx.call(CALLER, extension);
    pbx.until_leg(extension, "alerting").await;
    pbx.hang_up(CALLER);
    pbx.until_idle().await;
}

/// An answered call of 42, of which the inbox has been told.
async fn answered_call(pbx: &Pbx, inbox: &Inbox) -> Vec<Value> {
    pbx.call(CALLER, "42");
    pbx.until_leg("42", "alerting").await;
    pbx.answer("42");
    inbox.expect(&["42 ringing", "42 connected"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_once_after_an_outage_of_the_queue_and_a_killed_agent() {
    // Nothing goes stale during the outage.
    let stack = Stack::start_with(&["RingingFreshSeconds=3600", "ConnectedFreshSeconds=3600"]);
    let (stack, pbx, inbox) = tokio::join!(stack, Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let proxy = Proxy::start(stack.var("AWS_ENDPOINT_URL"), &[]).await;
    let options = AgentOptions { aws_endpoint: Some(proxy.url()), ..AgentOptions::default() };
    let mut agent = Agent::start_with(&stack, &pbx, "one", &options).await;

    proxy.cut();
    missed_call(&pbx, "42").await;
    missed_call(&pbx, "43").await;
    pbx.call(CALLER, "44");
    pbx.until_leg("44", "alerting").await;
    pbx.answer("44");
    eventually("the agent has told six events", async || match agent.sent_events().len() {
        6 => Ok(()),
        n => Err(n.to_string()),
    })
    .await;
    agent.until_log("Events wait").await;
    agent.kill();
    assert!(inbox.received().is_empty());

    // The queue is still out of reach when the agent is back, and a call goes on meanwhile.
    let mut agent = Agent::spawn(&stack, &pbx, "one", &options);
    agent.until_log("Events of the last run go out now events=6").await;
    eventually("it monitors again", async || match agent.log().matches("Monitoring").count() {
        2 => Ok(()),
        n => Err(n.to_string()),
    })
    .await;
    pbx.hang_up(CALLER);
    eventually("the agent has told the end of the call", async || match agent.sent_events().len() {
        7 => Ok(()),
        n => Err(n.to_string()),
    })
    .await;
    // It leaves without waiting for the queue.
    agent.signal(Signal::TERM);
    assert_eq!(agent.ended().await.code(), Some(0));
    agent.until_log("Events wait on disk for the next start events=7").await;

    let _agent = Agent::spawn(&stack, &pbx, "one", &options);
    proxy.mend();
    let all = [
        "42 ringing",
        "42 disconnected",
        "43 ringing",
        "43 disconnected",
        "44 ringing",
        "44 connected",
        "44 disconnected",
    ];
    inbox.expect(&all).await;
    stack.until_waiting_events(0).await;
    let ids: std::collections::HashSet<String> =
        inbox.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), all.len(), "a webhook came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_ended_while_no_agent_ran_has_its_end() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let mut agent = Agent::start(&stack, &pbx, "one").await;
    let told = answered_call(&pbx, &inbox).await;
    agent.kill();
    pbx.hang_up(CALLER);
    pbx.until_idle().await;

    let _agent = Agent::start(&stack, &pbx, "one").await;
    let events = inbox.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
    let end = &events[2];
    for same in ["CallId", "startTime", "from", "conferenceId"] {
        assert_eq!(told[0][same], end[same], "{same}");
    }
    assert_eq!(told[1]["pickupTime"], end["pickupTime"]);
    assert_eq!(end["connected"], true);
    assert_eq!(end["conversationTime"], seconds_between(&end["pickupTime"], &end["endTime"]));
    assert_eq!(end["totalTime"], seconds_between(&end["startTime"], &end["endTime"]));
    assert_eq!(inferred(&stack, &end["CallId"]).await, [false, false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_goes_on_over_a_killed_agent_keeps_its_name_and_its_times() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let mut agent = Agent::start(&stack, &pbx, "one").await;
    let told = answered_call(&pbx, &inbox).await;
    agent.kill();

    let _agent = Agent::start(&stack, &pbx, "one").await;
    let call = told[0]["CallId"].as_str().expect("an id");
    eventually("the agent shows the call", async || {
        let shown = stack.api.get("/rcc/calls").await;
        let is_shown = shown.status == 200 && shown.body.to_string().contains(call);
        if is_shown { Ok(()) } else { Err(shown.body.to_string()) }
    })
    .await;
    pbx.hang_up("42");
    let events = inbox.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
    let end = &events[2];
    assert_eq!(end["CallId"], call);
    assert_eq!((&end["startTime"], &end["pickupTime"]), (&told[0]["startTime"], &told[1]["pickupTime"]));
    assert_eq!(end["conversationTime"], seconds_between(&end["pickupTime"], &end["endTime"]));
    assert_eq!(inferred(&stack, &end["CallId"]).await, [false, false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_agent_in_the_same_folder_is_refused() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let mut second = Agent::spawn(&stack, &pbx, "one", &AgentOptions::default());
    assert_eq!(second.ended().await.code(), Some(1));
    assert!(second.log().contains("`agent.state_dir`"), "{}", second.log());
}

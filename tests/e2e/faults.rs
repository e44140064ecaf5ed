//! What goes wrong beside a PBX, one thing at a time and all at once: nothing is lost, nothing is told twice, and no agent guesses
//! what another one sees.

use std::path::PathBuf;
use std::time::Duration;

use easyconnect_tests::agent::small_disks_are_possible;
use easyconnect_tests::faults::{self, Story};
use easyconnect_tests::{Agent, AgentOptions, Inbox, Pbx, Proxy, Stack, eventually, traffic};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;

const CALLER: &str = "+32472591687";
const OTHER: &str = "+32472591688";

/// The simulator tells the two agents' connections apart by TLS; they also name the PBX differently.
const ONE: bool = false;
const TWO: bool = true;

/// A missing call is looked at for the first time 5 s after the session began; more than a second look.
const SETTLED: Duration = Duration::from_secs(17);

fn by_name(pbx: &Pbx, options: AgentOptions) -> AgentOptions {
    AgentOptions {
        pbx_url: Some(pbx.0.wss_url().replace("127.0.0.1", "localhost")),
        pbx_lines: format!("fingerprint = {:?}", pbx.0.fingerprint()),
        ..options
    }
}

fn behind(proxy: &Proxy) -> AgentOptions {
    AgentOptions { aws_endpoint: Some(proxy.url()), ..AgentOptions::default() }
}

/// A stack that delivers late events, too, with a receiver who is told everything there is.
async fn start() -> (Stack, Pbx, Inbox) {
    let stack = Stack::start_with(&["RingingFreshSeconds=3600", "ConnectedFreshSeconds=3600"]);
    let (stack, pbx, inbox) = tokio::join!(stack, Pbx::start(), Inbox::start());
    let hook = json!({"url": inbox.url("/hook"), "format": "extended"});
    stack.api.post("/webhooks", hook).await.with_status(201);
    (stack, pbx, inbox)
}

async fn answered(pbx: &Pbx, caller: &str, desk: &str) {
    pbx.call(caller, desk);
    pbx.until_leg(desk, "alerting").await;
    pbx.answer(desk);
    pbx.until_leg(desk, "connected").await;
}

/// Cuts the connection of one agent. It comes back by itself, but not before that time.
fn cut(pbx: &Pbx, agent: bool, down: Duration) {
    assert!(pbx.strike(agent, &json!({"kind": "drop", "down_ms": down.as_millis() as u64})), "nothing to cut");
}

async fn until_cut(pbx: &Pbx, agent: bool) {
    eventually("the connection is cut", async || match pbx.connections(agent) {
        connections if connections.is_empty() => Ok(()),
        connections => Err(format!("{connections:?}")),
    })
    .await;
}

/// Waits until no agent knows of a call or has anything to send.
async fn until_at_rest(stack: &Stack) {
    eventually("the agents are at rest", async || {
        let status = stack.api.get("/status").await.ok().body;
        let rests = |agent: &Value| agent["pbx"] == "up" && agent["liveCalls"] == 0 && agent["waitingEvents"] == 0;
        if status["agents"].as_array().is_some_and(|agents| agents.iter().all(rests)) {
            Ok(())
        } else {
            Err(status["agents"].to_string())
        }
    })
    .await;
    eventually("the events queue is empty", async || match stack.messages_in("EVENTS_QUEUE_URL").await {
        0 => Ok(()),
        n => Err(format!("{n} messages")),
    })
    .await;
}

/// Waits until so many answered calls were told from beginning to end, each status once and in order, and nothing else.
async fn until_whole(inbox: &Inbox, calls: usize) {
    eventually("every call is told as a whole", async || {
        let told = traffic::by_call(&inbox.events());
        let whole = told.values().filter(|statuses| **statuses == ["ringing", "connected", "disconnected"]).count();
        if (whole, told.len()) == (calls, calls) { Ok(()) } else { Err(format!("{calls} calls, {told:?}")) }
    })
    .await;
}

fn inferred(events: &[Value], desk: &str) -> Vec<bool> {
    let ends = events.iter().filter(|event| event["status"] == "disconnected" && event["monitoredExtension"] == desk);
    ends.map(|event| event["inferred"] == true).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_whose_clocks_are_90_seconds_apart_tell_the_same() {
    let (stack, pbx, inbox) = start().await;
    let late = AgentOptions { clock_off_by: -45, ..AgentOptions::default() };
    let early = by_name(&pbx, AgentOptions { clock_off_by: 45, ..AgentOptions::default() });
    let one = Agent::start_with(&stack, &pbx, "one", &late).await;
    let two = Agent::start_with(&stack, &pbx, "two", &early).await;
    // Their logs show what they take for the time of day.
    let apart = two.log_begins_at().duration_since(one.log_begins_at());
    assert!(apart > jiff::SignedDuration::from_secs(85), "{apart:?} apart");

    answered(&pbx, CALLER, "42").await;
    inbox.expect(&["42 ringing", "42 connected"]).await;
    // One of them does not see the end, and must not take the other one's session for a later one than its own loss.
    cut(&pbx, ONE, Duration::from_secs(1));
    until_cut(&pbx, ONE).await;
    pbx.hang_up(CALLER);
    pbx.until_monitored(ONE).await;
    let events = inbox.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
    until_at_rest(&stack).await;
    let call = stack.api.make_call("77", "50").await.ok();
    stack.api.post("/rcc/disconnect", json!({"CallId": call.text("CallId")})).await.ok();

    assert_eq!(inferred(&events, "42"), [false]);
    for event in &events {
        let at: Timestamp = event["occurredAt"].as_str().expect("a time").parse().expect("a time");
        let off = at.duration_since(Timestamp::now()).abs();
        assert!(off < jiff::SignedDuration::from_secs(40), "{off:?} ago: {event}");
    }
    assert!(two.sent_events().is_superset(&one.sent_events()), "{:?}", one.sent_events());
}

#[tokio::test(flavor = "multi_thread")]
async fn end_is_not_guessed_while_the_other_agent_sees_the_call() {
    let (stack, pbx, inbox) = start().await;
    let _one = Agent::start(&stack, &pbx, "one").await;
    let _two = Agent::start_with(&stack, &pbx, "two", &by_name(&pbx, AgentOptions::default())).await;
    answered(&pbx, CALLER, "42").await;
    let events = inbox.expect(&["42 ringing", "42 connected"]).await;
    let call = events[0]["CallId"].clone();

    // This PBX does not tell a new session of running calls.
    pbx.control("/quirks", &json!({"report_running": false}));
    cut(&pbx, ONE, Duration::ZERO);
    until_cut(&pbx, ONE).await;
    pbx.until_monitored(ONE).await;
    // Nothing is to happen, and only time shows that.
    sleep(SETTLED).await;
    assert_eq!(inbox.statuses(), ["42 ringing", "42 connected"]);
    // Whichever agent hears of a command, the one that sees the call carries it out.
    for _ in 0..3 {
        for operation in ["hold", "retrieve"] {
            let path = format!("/rcc/{operation}");
            stack.api.post(&path, json!({"CallId": call})).await.with_status(200);
        }
    }

    pbx.hang_up(CALLER);
    let events = inbox.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
    until_at_rest(&stack).await;
    assert_eq!(inferred(&events, "42"), [false]);
    assert_eq!(inbox.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_agents_lose_their_sockets_one_after_the_other_while_a_call_ends() {
    let (stack, pbx, inbox) = start().await;
    let _one = Agent::start(&stack, &pbx, "one").await;
    let _two = Agent::start_with(&stack, &pbx, "two", &by_name(&pbx, AgentOptions::default())).await;
    answered(&pbx, CALLER, "42").await;
    answered(&pbx, OTHER, "44").await;
    inbox.expect(&["42 ringing", "42 connected", "44 ringing", "44 connected"]).await;

    cut(&pbx, ONE, Duration::from_secs(3));
    until_cut(&pbx, ONE).await;
    cut(&pbx, TWO, Duration::from_secs(3));
    until_cut(&pbx, TWO).await;
    // Nobody sees this end; the other call goes on.
    pbx.hang_up(CALLER);
    let told = ["42 ringing", "42 connected", "42 disconnected", "44 ringing", "44 connected"];
    let events = inbox.expect(&told).await;
    assert_eq!(inferred(&events, "42"), [true]);
    for agent in [ONE, TWO] {
        pbx.until_monitored(agent).await;
    }
    pbx.hang_up(OTHER);
    let told = ["42 ringing", "42 connected", "42 disconnected", "44 ringing", "44 connected", "44 disconnected"];
    let events = inbox.expect(&told).await;
    assert_eq!(inferred(&events, "44"), [false]);
    until_at_rest(&stack).await;
    assert_eq!(inbox.count(), told.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn end_that_only_an_agent_without_the_cloud_saw_is_told_once() {
    let (stack, pbx, inbox) = start().await;
    let proxy = Proxy::start(stack.var("AWS_ENDPOINT_URL"), &[]).await;
    let _one = Agent::start(&stack, &pbx, "one").await;
    let _two = Agent::start_with(&stack, &pbx, "two", &by_name(&pbx, behind(&proxy))).await;
    answered(&pbx, CALLER, "42").await;
    inbox.expect(&["42 ringing", "42 connected"]).await;

    proxy.cut();
    cut(&pbx, ONE, Duration::from_secs(1));
    until_cut(&pbx, ONE).await;
    pbx.hang_up(CALLER);
    pbx.until_monitored(ONE).await;
    // The heartbeat of the other agent is young enough to be trusted when the call is looked for.
    sleep(Duration::from_secs(8)).await;
    assert_eq!(inbox.statuses(), ["42 ringing", "42 connected"]);
    proxy.mend();
    let events = inbox.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
    assert_eq!(inferred(&events, "42"), [false]);
    until_at_rest(&stack).await;
    assert_eq!(inbox.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_that_throttles_is_told_everything_later() {
    let (stack, pbx, inbox) = start().await;
    let proxy = Proxy::start(stack.var("AWS_ENDPOINT_URL"), &[]).await;
    let agent = Agent::start_with(&stack, &pbx, "one", &behind(&proxy)).await;
    proxy.throttle();
    answered(&pbx, CALLER, "42").await;
    agent.until_log("ThrottlingException").await;
    answered(&pbx, OTHER, "44").await;
    pbx.hang_up(CALLER);
    pbx.until_leg("44", "connected").await;
    assert_eq!(inbox.count(), 0);
    proxy.mend();
    inbox.expect(&["42 ringing", "42 connected", "42 disconnected", "44 ringing", "44 connected"]).await;
    pbx.hang_up(OTHER);
    until_at_rest(&stack).await;
    assert_eq!(inbox.count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_a_restart_of_the_pbx_ended_have_one_end_each() {
    let (stack, pbx, inbox) = start().await;
    let _one = Agent::start(&stack, &pbx, "one").await;
    let _two = Agent::start_with(&stack, &pbx, "two", &by_name(&pbx, AgentOptions::default())).await;
    answered(&pbx, CALLER, "42").await;
    pbx.call(OTHER, "44");
    inbox.expect(&["42 ringing", "42 connected", "44 ringing"]).await;
    pbx.fault(&json!({"kind": "restart", "down_ms": 1500}));
    let told = ["42 ringing", "42 connected", "42 disconnected", "44 ringing", "44 disconnected"];
    let events = inbox.expect(&told).await;
    assert_eq!((inferred(&events, "42"), inferred(&events, "44")), (vec![true], vec![true]));

    // The same people call again.
    answered(&pbx, CALLER, "42").await;
    pbx.hang_up(CALLER);
    let again = [&told[..3], &["42 ringing", "42 connected", "42 disconnected"], &told[3..]].concat();
    inbox.expect(&again).await;
    until_at_rest(&stack).await;
    assert_eq!(inbox.count(), again.len());
}

/// Fills the agent's small disk. Returns what it is filled with, and how many calls of 44 there were until it refused. It may take the
/// next one again, because what was sent leaves room in the file.
async fn use_up_the_disk(agent: &Agent, pbx: &Pbx) -> (PathBuf, usize) {
    let filler = agent.state_dir().join("filler");
    let full = std::fs::write(&filler, vec![1; 8 << 20]).expect_err("the disk is full");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    // What the file itself has left has to be used up first.
    let mut calls = 0;
    while !agent.log().contains("The disk refuses events") {
        let number = format!("+3247{calls:07}");
        answered(pbx, &number, "44").await;
        pbx.hang_up(&number);
        pbx.until_idle_but("42").await;
        calls += 1;
        assert!(calls < 200, "the disk never refused anything");
    }
    (filler, calls)
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a test that was skipped has to say so")]
async fn full_disk_keeps_nothing_from_the_queue() {
    if !small_disks_are_possible() {
        println!("skipped: this machine lets no process without rights mount a disk of its own");
        return;
    }
    let (stack, pbx, inbox) = start().await;
    let small = AgentOptions { disk: Some("8m"), ..AgentOptions::default() };
    let agent = Agent::start_with(&stack, &pbx, "one", &small).await;
    answered(&pbx, CALLER, "42").await;
    inbox.expect(&["42 ringing", "42 connected"]).await;

    let (filler, more) = use_up_the_disk(&agent, &pbx).await;
    let calls = 1 + more;
    pbx.hang_up(CALLER);
    until_whole(&inbox, calls).await;

    std::fs::remove_file(&filler).expect("there is room again");
    answered(&pbx, OTHER, "50").await;
    agent.until_log("The disk takes events again").await;
    pbx.hang_up(OTHER);
    until_at_rest(&stack).await;
    until_whole(&inbox, calls + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a test that was skipped has to say so")]
async fn backlog_on_a_full_disk_goes_out_when_the_queue_is_back() {
    if !small_disks_are_possible() {
        println!("skipped: this machine lets no process without rights mount a disk of its own");
        return;
    }
    let (stack, pbx, inbox) = start().await;
    let proxy = Proxy::start(stack.var("AWS_ENDPOINT_URL"), &[]).await;
    let options = AgentOptions { disk: Some("8m"), ..behind(&proxy) };
    let agent = Agent::start_with(&stack, &pbx, "one", &options).await;
    proxy.cut();
    answered(&pbx, CALLER, "42").await;
    let (_, calls) = use_up_the_disk(&agent, &pbx).await;
    pbx.hang_up(CALLER);
    assert!(inbox.received().is_empty());
    proxy.mend();
    until_whole(&inbox, calls + 1).await;
    until_at_rest(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a test that was skipped has to say so")]
async fn agent_that_starts_on_a_full_disk_works() {
    if !small_disks_are_possible() {
        println!("skipped: this machine lets no process without rights mount a disk of its own");
        return;
    }
    let (stack, pbx, inbox) = start().await;
    // Not even a new outbox fits.
    let full = AgentOptions { disk: Some("4k"), ..AgentOptions::default() };
    let agent = Agent::start_with(&stack, &pbx, "one", &full).await;
    stack.until_problem("the disk refuses events").await;
    answered(&pbx, CALLER, "42").await;
    pbx.hang_up(CALLER);
    until_whole(&inbox, 1).await;
    until_at_rest(&stack).await;
    assert!(!agent.log().contains("damaged"), "{}", agent.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn smoke_of_everything_at_once() {
    faults::tell(Story {
        lasts: Duration::from_secs(60),
        call_every: Duration::from_millis(400),
        command_every: Duration::from_millis(1500),
        longest_outage: Duration::from_secs(8),
    })
    .await;
}

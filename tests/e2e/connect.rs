//! A queue calls two parties and joins them. Whatever goes wrong, nobody is left in the queue.

use std::time::Duration;

use easyconnect_tests::{Agent, AgentOptions, Answer, Pbx, Proxy, Stack, Stop, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use shared::agent_status::AgentStatus;
use shared::command::{Command, CommandState, Dial, Stage};
use shared::ids::CommandId;
use shared::operation::{Operation, Reach};
use shared::tables::Claim;

const A: &str = "50";
const B: &str = "+32472591687";

async fn set_up() -> (Stack, Pbx, Agent) {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let agent = Agent::start(&stack, &pbx, "one").await;
    (stack, pbx, agent)
}

fn parties(ring_seconds: u16) -> Value {
    json!({"via": "77", "a": A, "b": "+32 472 59 16 87", "ringSeconds": ring_seconds})
}

/// Asks for the connection and does not wait for it.
async fn begin(stack: &Stack, ring_seconds: u16) -> String {
    let answer = stack.api.post("/rcc/connect?wait=0", parties(ring_seconds)).await.with_status(202);
    for name in ["stage", "CallIdA", "CallIdB"] {
        assert!(answer.body.as_object().is_some_and(|body| body.contains_key(name)), "{}", answer.body);
    }
    answer.text("commandId").to_owned()
}

/// Waits until a command is of this kind.
async fn until(stack: &Stack, command: &str, what: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
    eventually(&format!("the command is {what}"), async || {
        let answer = stack.api.get(&format!("/rcc/commands/{command}")).await.ok();
        if holds(&answer) { Ok(answer) } else { Err(answer.body.to_string()) }
    })
    .await
}

async fn until_failed(stack: &Stack, command: &str, code: &str) -> Answer {
    let answer = until(stack, command, "over", |answer| !["queued", "running"].contains(&answer.text("state"))).await;
    assert_eq!((answer.text("state"), answer.text("code")), ("failed", code), "{}", answer.body);
    answer
}

async fn until_stage(stack: &Stack, command: &str, stage: &str) -> Answer {
    until(stack, command, stage, |answer| answer.text("stage") == stage).await
}

/// Both phones ring and the calls have their names.
async fn until_both_ring(stack: &Stack, pbx: &Pbx, command: &str) {
    for party in [A, B] {
        pbx.until_leg(party, "alerting").await;
    }
    until(stack, command, "named", |answer| !answer.text("CallIdA").is_empty() && !answer.text("CallIdB").is_empty())
        .await;
}

/// Nobody is in a call, and nobody was connected to anybody.
async fn nobody_is_left(pbx: &Pbx) {
    pbx.until_idle().await;
    assert_eq!(pbx.heard("UserTransfer"), 0);
}

async fn joined(second_answers_first: bool) {
    let (stack, pbx, _agent) = set_up().await;
    let command = begin(&stack, 45).await;
    until_both_ring(&stack, &pbx, &command).await;
    let mut callees = [A, B];
    if second_answers_first {
        callees.reverse();
    }
    pbx.answer(callees[0]);
    let halfway = until_stage(&stack, &command, "first_answered").await;
    assert_eq!(halfway.text("state"), "running");
    pbx.answer(callees[1]);
    let done = until(&stack, &command, "over", |answer| answer.text("state") != "running").await;
    assert_eq!(done.text("state"), "succeeded", "{}", done.body);
    for name in ["CallIdA", "CallIdB"] {
        assert_eq!(done.text(name), halfway.text(name));
        assert_eq!(done.text(name).len(), 36, "{}", done.body);
    }
    assert_eq!((pbx.partners(A), pbx.partners(B)), (vec![B.to_owned()], vec![A.to_owned()]));
    assert!(pbx.legs("77").is_empty(), "the queue has left");
    pbx.hang_up(A);
    pbx.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_answer_and_talk() {
    joined(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_answer_in_the_other_order_and_talk() {
    joined(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_waits_has_the_answer() {
    let (stack, pbx, _agent) = set_up().await;
    for party in [A, B] {
        pbx.behave(party, "answer");
    }
    let done = stack.api.post("/rcc/connect", parties(45)).await.ok();
    assert_eq!(done.text("state"), "succeeded");
    assert!(!done.text("CallIdA").is_empty() && !done.text("CallIdB").is_empty(), "{}", done.body);
    assert_eq!(pbx.partners(A), [B]);

    // A phone can be what calls, too: its user hears the parties until they are joined.
    let by_phone = json!({"via": "42", "a": "44", "b": "43"});
    pbx.behave("44", "answer");
    pbx.behave("43", "answer");
    stack.api.post("/rcc/connect", by_phone).await.ok();
    assert_eq!((pbx.partners("44"), pbx.legs("42")), (vec!["43".to_owned()], vec![]));

    stack.api.post("/rcc/connect", json!({"via": "60", "a": "44", "b": "43"})).await.refused(404, "not_monitored");
    stack.api.post("/rcc/connect", json!({"via": "77", "a": "44"})).await.refused(400, "invalid_request");
    stack
        .api
        .post("/rcc/connect", json!({"via": "77", "a": "44", "b": "43", "ringSeconds": 4}))
        .await
        .refused(400, "invalid_request");
}

/// One party cannot be reached: the command names it, and the other phone stops ringing.
async fn unreachable(party: &str, other: &str, field: &str) {
    let (stack, pbx, _agent) = set_up().await;
    pbx.behave(other, "answer");
    for (mode, code) in
        [("busy", "user_busy"), ("unregistered", "destination_out_of_order"), ("reject", "call_rejected")]
    {
        pbx.behave(party, mode);
        let refused = stack.api.post("/rcc/connect", parties(45)).await.refused(422, code);
        assert!(refused.text("message").contains(&format!("`{field}`")), "{}", refused.body);
        nobody_is_left(&pbx).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_party_cannot_be_reached() {
    unreachable(A, B, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_party_cannot_be_reached() {
    unreachable(B, A, "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn party_that_does_not_answer_ends_the_ringing() {
    let (stack, pbx, _agent) = set_up().await;
    let command = begin(&stack, 5).await;
    until_both_ring(&stack, &pbx, &command).await;
    pbx.answer(A);
    pbx.until_leg(A, "connected").await;
    let refused = until_failed(&stack, &command, "no_answer").await;
    assert!(refused.text("message").contains("`b`"), "{}", refused.body);
    nobody_is_left(&pbx).await;

    let command = begin(&stack, 5).await;
    until_failed(&stack, &command, "no_answer").await;
    nobody_is_left(&pbx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn party_that_hangs_up_while_it_waits_ends_the_other_call() {
    let (stack, pbx, _agent) = set_up().await;
    let command = begin(&stack, 45).await;
    until_both_ring(&stack, &pbx, &command).await;
    pbx.answer(B);
    until_stage(&stack, &command, "first_answered").await;
    pbx.hang_up(B);
    let refused = until_failed(&stack, &command, "call_rejected").await;
    assert!(refused.text("message").contains("`b`"), "{}", refused.body);
    nobody_is_left(&pbx).await;
}

/// Begins a connection that one party has answered.
async fn half_connected(stack: &Stack, pbx: &Pbx) -> String {
    let command = begin(stack, 120).await;
    until_both_ring(stack, pbx, &command).await;
    pbx.answer(A);
    until_stage(stack, &command, "first_answered").await;
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn command_that_takes_long_gives_signs_of_life() {
    let (stack, pbx, _agent) = set_up().await;
    let command = half_connected(&stack, &pbx).await;
    let seen = stack.api.get(&format!("/rcc/commands/{command}")).await.ok();
    let later = |answer: &Answer| answer.text("updatedAt") != seen.text("updatedAt");
    let alive = until(&stack, &command, "heard of again", later).await;
    assert_eq!((alive.text("state"), alive.text("stage")), ("running", "first_answered"));
    pbx.answer(B);
    until(&stack, &command, "succeeded", |answer| answer.text("state") == "succeeded").await;
    pbx.until_partner(A, B).await;
}

/// What only time would do: the killed agent's heartbeat is stale.
async fn make_stale(stack: &Stack, name: &str) {
    let agents = stack.exchange.known_agents().await.expect("agents");
    let killed = agents.into_iter().find(|agent| agent.name == name).expect("the killed agent");
    assert!(!killed.running.is_empty(), "its heartbeat lists the command");
    stack.exchange.beat(&AgentStatus { updated_at: 0, ..killed }).await.expect("the heartbeat is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_agent_ends_what_a_killed_one_has_begun() {
    let (stack, pbx, one) = set_up().await;
    let mut agents = [one, Agent::start(&stack, &pbx, "two").await];
    let command = half_connected(&stack, &pbx).await;
    // Which of the two has taken the command is chance.
    let id = command.parse().expect("an id");
    let owner = stack.exchange.command(id).await.expect("a table").expect("a command").owner.expect("an owner");
    let killed =
        agents.iter_mut().find(|agent| owner.starts_with(&format!("{}/", agent.name))).expect("one of the two");
    killed.kill();
    make_stale(&stack, &killed.name).await;
    until_failed(&stack, &command, "interrupted").await;
    nobody_is_left(&pbx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_agent_ends_at_once_what_it_had_begun() {
    let (stack, pbx, mut agent) = set_up().await;
    let command = half_connected(&stack, &pbx).await;
    agent.kill();
    let _again = Agent::start(&stack, &pbx, "one").await;
    until_failed(&stack, &command, "interrupted").await;
    nobody_is_left(&pbx).await;
    eventually("the former agent is forgotten", async || {
        let agents = stack.exchange.known_agents().await.map_err(|error| error.to_string())?;
        if agents.len() == 1 && agents[0].running.is_empty() { Ok(()) } else { Err(format!("{agents:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_agent_cleans_up_before_it_leaves() {
    let (stack, pbx, mut agent) = set_up().await;
    let command = half_connected(&stack, &pbx).await;
    agent.signal(Signal::TERM);
    assert_eq!(agent.ended().await.code(), Some(0));
    until_failed(&stack, &command, "interrupted").await;
    nobody_is_left(&pbx).await;
    assert!(stack.exchange.known_agents().await.expect("agents").is_empty(), "it has taken leave");
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_is_stopped_without_its_pbx_leaves_its_list() {
    let (stack, pbx, mut agent) = set_up().await;
    let command = half_connected(&stack, &pbx).await;
    pbx.fault(&json!({"kind": "drop", "down_ms": 120_000}));
    stack.until_state("pbx_offline").await;
    agent.signal(Signal::TERM);
    assert_eq!(agent.ended().await.code(), Some(0));
    stack.until_state("agent_offline").await;
    assert!(!pbx.partners(A).is_empty(), "it could not end the call");

    pbx.fault(&json!({"kind": "drop", "down_ms": 0}));
    let _next = Agent::start(&stack, &pbx, "two").await;
    until_failed(&stack, &command, "interrupted").await;
    nobody_is_left(&pbx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_socket_ends_the_command_and_its_calls() {
    let (stack, pbx, _agent) = set_up().await;
    let command = half_connected(&stack, &pbx).await;
    pbx.fault(&json!({"kind": "drop"}));
    until_stage(&stack, &command, "cleaning_up").await;
    until_failed(&stack, &command, "interrupted").await;
    nobody_is_left(&pbx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_were_dialled_and_not_named_are_found_by_their_number() {
    let (stack, pbx, _agent) = set_up().await;
    let now = || stack.clock.now();
    let dial = |number: &str, call_id| Dial {
        via: "77".to_owned(),
        number: number.to_owned(),
        at: now().as_millisecond(),
        call_id,
    };
    let insert = async |owner: &str, dials: Vec<Dial>| {
        let operation =
            Operation::ConnectParties { via: "77".to_owned(), a: A.to_owned(), b: "43".to_owned(), ring_seconds: 120 };
        let command = Command::queued(CommandId::random(), operation, &stack.api.key_id(), Reach::default(), now());
        let (id, token) = (command.command_id, CommandId::random().to_string());
        stack.exchange.insert(&command).await.expect("inserted");
        let claim = stack.exchange.claim(id, &token, owner, now()).await.expect("claimed");
        assert!(matches!(claim, Claim::Won { .. }));
        assert!(stack.exchange.progress(id, &token, &dials, Stage::Calling, now()).await.expect("written"));
        id
    };
    // A call that another, living command names; one to a number that nobody dialled; and the one that is to be ended.
    let kept = stack.api.make_call("77", "44").await.ok().text("CallId").parse().expect("an id");
    let living = insert("three/0", vec![dial("44", Some(kept))]).await;
    stack.api.make_call("77", "42").await.ok();
    let orphan = insert("gone/0", vec![dial(A, None), dial("44", None)]).await;
    pbx.call("77", A);
    pbx.until_leg(A, "alerting").await;

    let like = stack.exchange.known_agents().await.expect("agents").remove(0);
    let others = [
        AgentStatus {
            agent_id: "three/0".to_owned(),
            name: "three".to_owned(),
            running: vec![living],
            // Long enough after the dial to tell what it has placed itself.
            updated_at: now().as_millisecond() + 20_000,
            ..like.clone()
        },
        AgentStatus {
            agent_id: "gone/0".to_owned(),
            name: "gone".to_owned(),
            running: vec![orphan],
            updated_at: 0,
            ..like
        },
    ];
    for status in &others {
        stack.exchange.beat(status).await.expect("the heartbeat is written");
    }
    until_failed(&stack, &orphan.to_string(), "interrupted").await;
    assert_eq!((pbx.legs(A).len(), pbx.legs("44").len(), pbx.legs("42").len()), (0, 1, 1));
    let living = stack.exchange.command(living).await.expect("a table").expect("a command");
    assert_eq!(living.state, CommandState::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_dialled_before_it_is_written_down() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let proxy = Proxy::start(stack.var("AWS_ENDPOINT_URL"), &["DynamoDB_20120810.UpdateItem", "dials"]).await;
    let options = AgentOptions { aws_endpoint: Some(proxy.url()), ..AgentOptions::default() };
    let mut agent = Agent::start_with(&stack, &pbx, "one", &options).await;
    proxy.stop(Stop::Answer, 1);
    let command = begin(&stack, 45).await;
    proxy.until_stopped().await;
    eventually("the heartbeat lists the command", async || {
        let agents = stack.exchange.known_agents().await.map_err(|error| error.to_string())?;
        if agents.iter().any(|agent| !agent.running.is_empty()) { Ok(()) } else { Err(format!("{agents:?}")) }
    })
    .await;
    agent.kill();
    proxy.release();
    assert_eq!(pbx.heard("UserCall"), 0);
    let _again = Agent::start(&stack, &pbx, "one").await;
    until_failed(&stack, &command, "interrupted").await;
    assert_eq!(pbx.heard("UserCall"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_wakes_up_late_dials_nobody() {
    let (stack, pbx, agent) = set_up().await;
    agent.freeze();
    let command = begin(&stack, 45).await;
    until(&stack, &command, "expired", |answer| answer.text("state") == "expired").await;
    agent.thaw();
    // A later command is carried out, and it is the only one.
    stack.api.make_call("77", "42").await.ok();
    assert_eq!(pbx.heard("UserCall"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_that_wakes_up_after_it_was_taken_for_gone_does_nothing_more() {
    let (stack, pbx, one) = set_up().await;
    let command = half_connected(&stack, &pbx).await;
    one.freeze();
    let _two = Agent::start(&stack, &pbx, "two").await;
    make_stale(&stack, "one").await;
    until_failed(&stack, &command, "interrupted").await;
    nobody_is_left(&pbx).await;
    one.thaw();
    eventually("no agent has a long command", async || {
        let agents = stack.exchange.known_agents().await.map_err(|error| error.to_string())?;
        let one_is_back = agents.iter().any(|agent| agent.name == "one" && agent.updated_at > 0);
        let idle = agents.iter().all(|agent| agent.running.is_empty());
        if one_is_back && idle { Ok(()) } else { Err(format!("{agents:?}")) }
    })
    .await;
    until_failed(&stack, &command, "interrupted").await;
    nobody_is_left(&pbx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_the_agent_leaves_nobody_behind() {
    let (stack, pbx, first) = set_up().await;
    let mut agent = first;
    for moment in [0, 5, 20, 700] {
        let calls_before = pbx.heard("UserCall");
        let command = begin(&stack, 120).await;
        let id = command.parse().expect("an id");
        while stack.exchange.command(id).await.expect("a table").expect("a command").state == CommandState::Queued {}
        // Not to wait for something, but to meet the command at another moment each time.
        tokio::time::sleep(Duration::from_millis(moment)).await;
        agent.kill();
        let agents = stack.exchange.known_agents().await.expect("agents");
        let is_listed = agents.iter().any(|agent| agent.running.contains(&id));
        agent = Agent::start(&stack, &pbx, "one").await;
        if is_listed {
            until_failed(&stack, &command, "interrupted").await;
        } else {
            assert_eq!(pbx.heard("UserCall"), calls_before, "dialled before it was listed");
        }
        nobody_is_left(&pbx).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn firmware_that_leaves_things_out_is_worked_with() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    pbx.control(
        "/quirks",
        &json!({"omit_conf": true, "empty_peer": true, "info_object": true, "double_events": true, "skip_alert": true,
                "omit_result_src": true, "omit_time": true, "del": "flag"}),
    );
    let mut agent = Agent::start(&stack, &pbx, "one").await;
    let command = begin(&stack, 45).await;
    for party in [A, B] {
        pbx.until_leg(party, "alerting").await;
        pbx.answer(party);
    }
    until(&stack, &command, "succeeded", |answer| answer.text("state") == "succeeded").await;
    assert_eq!(pbx.partners(A), [B]);
    pbx.hang_up(A);
    pbx.until_idle().await;

    let command = begin(&stack, 45).await;
    pbx.until_leg(A, "alerting").await;
    pbx.answer(A);
    until_stage(&stack, &command, "first_answered").await;
    agent.kill();
    let _again = Agent::start(&stack, &pbx, "one").await;
    until_failed(&stack, &command, "interrupted").await;
    pbx.until_idle().await;
}

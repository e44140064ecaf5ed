//! A frozen agent that wakes up late makes no phone ring.

use std::time::Duration;

use easyconnect_tests::{Agent, AgentOptions, Pbx, Proxy, Stack, Stop, eventually};
use serde_json::json;
use shared::command::{ACT_WITHIN, CommandState};

/// The second on top is that of the whole seconds in which the cloud tells the time of a claim.
const TOO_OLD: Duration = ACT_WITHIN.saturating_add(Duration::from_millis(1200));

async fn expired(stack: &Stack, command: &str) {
    eventually("the command has expired", async || {
        let command = stack.api.get(&format!("/rcc/commands/{command}")).await.ok();
        if command.text("state") == "expired" { Ok(()) } else { Err(command.body.to_string()) }
    })
    .await;
}

/// A later command is carried out, and it is the only one.
async fn only_the_next_call_is_made(stack: &Stack, pbx: &Pbx) {
    stack.api.make_call("77", "42").await.ok();
    let calls: Vec<String> = pbx
        .0
        .log()
        .iter()
        .filter(|entry| entry["mt"] == "UserCall")
        .map(|entry| entry["frame"]["e164"].to_string())
        .collect();
    assert_eq!(calls, ["\"42\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_with_a_long_poll_open() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let agent = Agent::start(&stack, &pbx, "one").await;
    agent.freeze();
    let answer = stack.api.make_call("77", "50").await.refused(409, "agent_no_answer");
    agent.thaw();
    expired(&stack, answer.text("commandId")).await;
    only_the_next_call_is_made(&stack, &pbx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_with_a_long_poll_open_and_nobody_looking() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let agent = Agent::start(&stack, &pbx, "one").await;
    agent.freeze();
    let answer = stack.api.post("/rcc/makecall?wait=0", json!({"from": "77", "to": "50"})).await;
    assert_eq!((answer.status, answer.text("state")), (202, "queued"), "{}", answer.body);
    // The command has to age; nothing else shows when.
    tokio::time::sleep(TOO_OLD).await;
    agent.thaw();
    // The API would expire it when asked; here the agent itself has to see that it is too late.
    let id = answer.text("commandId").parse().expect("an id");
    eventually("the agent has let the command expire", async || {
        let command = stack.exchange.command(id).await.map_err(|error| error.to_string())?.ok_or("no command")?;
        if command.state == CommandState::Expired { Ok(()) } else { Err(format!("{:?}", command.state)) }
    })
    .await;
    only_the_next_call_is_made(&stack, &pbx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_while_the_answer_to_its_claim_is_held_back() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let proxy =
        Proxy::start(stack.var("AWS_ENDPOINT_URL"), &["DynamoDB_20120810.UpdateItem", ":queued", ":token"]).await;
    let options = AgentOptions { aws_endpoint: Some(proxy.url()), ..AgentOptions::default() };
    let agent = Agent::start_with(&stack, &pbx, "one", &options).await;
    proxy.stop(Stop::Answer, 1);
    let answer = stack.api.post("/rcc/makecall?wait=0", json!({"from": "77", "to": "50"})).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    proxy.until_stopped().await;
    agent.freeze();
    proxy.release();
    tokio::time::sleep(TOO_OLD).await;
    agent.thaw();
    expired(&stack, answer.text("commandId")).await;
    only_the_next_call_is_made(&stack, &pbx).await;
}

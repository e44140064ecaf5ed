//! Two agents on one PBX, no leader: everything once.

use std::time::Duration;

use easyconnect_tests::{Agent, AgentOptions, Cloud, Inbox, Pbx, Stack, eventually, eventually_within};
use serde_json::{Value, json};

const CALLER: &str = "+32472591687";

async fn other_agent(stack: &Stack, pbx: &Pbx) -> Agent {
    let url = pbx.0.ws_url().replace("127.0.0.1", "localhost");
    let options = AgentOptions { pbx_url: Some(url), ..AgentOptions::default() };
    Agent::start_with(stack, pbx, "two", &options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_comes_once() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let one = Agent::start(&stack, &pbx, "one").await;

    // The second agent starts in the middle of a call.
    pbx.call(CALLER, "42");
    pbx.until_leg("42", "alerting").await;
    pbx.answer("42");
    let mut expected = vec!["42 ringing", "42 connected"];
    inbox.expect(&expected).await;
    let two = other_agent(&stack, &pbx).await;

    // 42 asks 50 and joins the two: the consulted call takes over the first one's conference.
    pbx.control("/hold", &json!({"extension": "42"}));
    pbx.call("42", "50");
    pbx.until_leg("50", "alerting").await;
    pbx.answer("50");
    pbx.until_leg("50", "connected").await;
    pbx.control("/transfer", &json!({"extension": "42"}));
    eventually("50 talks to the caller", async || match pbx.partners("50") {
        partners if partners == [CALLER] => Ok(()),
        partners => Err(format!("{partners:?}")),
    })
    .await;
    expected.extend(["42 connected", "42 disconnected", "42 disconnected", "50 ringing", "50 connected"]);
    until_all(&inbox, &expected).await;
    pbx.hang_up(CALLER);
    expected.push("50 disconnected");
    until_all(&inbox, &expected).await;
    pbx.until_idle().await;

    // A later call proves that no second copy is on its way.
    pbx.call(CALLER, "44");
    pbx.until_leg("44", "alerting").await;
    pbx.hang_up(CALLER);
    expected.extend(["44 ringing", "44 disconnected"]);
    until_all(&inbox, &expected).await;
    let ids: std::collections::HashSet<String> =
        inbox.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), expected.len(), "a webhook came twice");
    // It came once although both agents sent it: all that the second agent saw, it named like the first one.
    let (by_one, by_two) = (one.sent_events(), two.sent_events());
    assert!(by_two.is_subset(&by_one), "only the second agent sent {:?}", by_two.difference(&by_one));
    assert_eq!(by_one.difference(&by_two).count(), 1, "the second agent missed nothing but the first `ringing`");
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_that_offers_a_call_again_is_told_once_each_time() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let one = Agent::start(&stack, &pbx, "one").await;
    let two = other_agent(&stack, &pbx).await;

    pbx.call(CALLER, "78");
    let offers = |statuses: &[String]| statuses.iter().filter(|status| *status == "42 ringing").count();
    eventually("the queue has offered the call to 42 twice", async || match inbox.statuses() {
        statuses if offers(&statuses) >= 2 => Ok(()),
        statuses => Err(format!("{statuses:?}")),
    })
    .await;
    pbx.hang_up(CALLER);
    pbx.until_idle().await;
    let ended = |statuses: &[String]| statuses.iter().filter(|status| *status == "42 disconnected").count();
    eventually("each offer has its end", async || match inbox.statuses() {
        statuses if ended(&statuses) == offers(&statuses) => Ok(()),
        statuses => Err(format!("{statuses:?}")),
    })
    .await;
    let ids: Vec<String> = inbox.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    let different: std::collections::HashSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "a webhook came twice: {:?}", inbox.statuses());
    assert_eq!(one.sent_events(), two.sent_events());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_go_on_when_either_agent_is_killed() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let mut one = Agent::start(&stack, &pbx, "one").await;
    let mut two = other_agent(&stack, &pbx).await;
    one.kill();
    for _ in 0..3 {
        let call = stack.api.make_call("77", "50").await.ok();
        stack.api.post("/rcc/disconnect", json!({"CallId": call.text("CallId")})).await.ok();
    }
    let _three = Agent::start(&stack, &pbx, "three").await;
    two.kill();
    for _ in 0..3 {
        let call = stack.api.make_call("77", "50").await.ok();
        stack.api.post("/rcc/disconnect", json!({"CallId": call.text("CallId")})).await.ok();
    }
    assert_eq!(pbx.heard("UserCall"), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_only_one_agent_knows_is_found() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let _one = Agent::start(&stack, &pbx, "one").await;
    let _two = other_agent(&stack, &pbx).await;
    let nobody = json!({"CallId": shared::ids::CommandId::random()});
    stack.api.post("/rcc/disconnect", nobody).await.refused(404, "call_not_found");

    pbx.call(CALLER, "42");
    let ringing = inbox.expect(&["42 ringing"]).await;
    stack.api.post("/rcc/answer", json!({"CallId": ringing[0]["CallId"]})).await.ok();
    pbx.hang_up("42");
    pbx.until_idle().await;
}

/// Waits until all of these have come; each of them, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn agents_of_one_name_say_so() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _one = Agent::start(&stack, &pbx, "one").await;
    let elsewhere = stack.folder().join("elsewhere");
    let _two = Agent::spawn_in(&elsewhere, &Cloud::from(&stack), &pbx, "one", &AgentOptions::default());
    eventually_within(Duration::from_secs(40), "both agents name the problem", async || {
        let agents = stack.api.get("/status").await.ok().body["agents"].clone();
        let says = |agent: &Value| agent["problem"].as_str().is_some_and(|problem| problem.contains("same name"));
        match agents.as_array() {
            Some(both) if both.len() == 2 && both.iter().all(says) => Ok(()),
            _ => Err(agents.to_string()),
        }
    })
    .await;
}

async fn until_all(inbox: &Inbox, expected: &[&str]) {
    let mut expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
    expected.sort_unstable();
    eventually("all webhooks", async || {
        let mut statuses = inbox.statuses();
        statuses.sort_unstable();
        if statuses == expected { Ok(()) } else { Err(format!("came: {statuses:?}")) }
    })
    .await;
}

//! An app presses "call".

use easyconnect_tests::{Agent, Answer, Inbox, Pbx, Stack};
use serde_json::json;
use shared::agent_status::{AgentStatus, PbxLink};

const MOBILE: &str = "+32 472 59 16 87";
const MOBILE_DIGITS: &str = "+32472591687";

async fn transfer(stack: &Stack, a: &Answer, b: &Answer) -> Answer {
    stack.api.post("/rcc/transfer", json!({"CallIdA": a.text("CallId"), "CallIdB": b.text("CallId")})).await
}

/// The product page's recipe: a queue calls two parties and joins them.
async fn dial_out(second_answers_first: bool) {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let _agent = Agent::start(&stack, &pbx, "one").await;

    let a = stack.api.make_call("77", "50").await.ok();
    let b = stack.api.make_call("77", MOBILE).await.ok();
    assert_eq!(a.text("state"), "succeeded");
    assert_ne!(a.text("CallId"), b.text("CallId"));
    assert_eq!(a.text("conferenceId").len(), 32);
    let mut callees = ["50", MOBILE_DIGITS];
    if second_answers_first {
        callees.reverse();
    }
    for callee in callees {
        pbx.until_leg(callee, "alerting").await;
        pbx.answer(callee);
        pbx.until_leg(callee, "connected").await;
    }
    let call = stack.api.get(&format!("/rcc/calls/{}", b.text("CallId"))).await.ok();
    assert_eq!((call.text("from"), call.text("callState")), ("77", "connected"), "{}", call.body);

    transfer(&stack, &a, &b).await.ok();
    assert_eq!(pbx.partners("50"), [MOBILE_DIGITS]);
    assert_eq!(pbx.partners(MOBILE_DIGITS), ["50"]);
    assert!(pbx.legs("77").is_empty(), "the queue has left");

    pbx.hang_up("50");
    pbx.until_idle().await;
    let expected = [
        "77 connected",
        "77 disconnected",
        "77 connected",
        "77 disconnected",
        "50 ringing",
        "50 connected",
        "50 disconnected",
    ];
    let mut statuses: Vec<String> = easyconnect_tests::eventually("all webhooks of the dial-out", async || {
        let statuses = inbox.statuses();
        if statuses.len() >= expected.len() { Ok(statuses) } else { Err(format!("{statuses:?}")) }
    })
    .await;
    let mut expected: Vec<String> = expected.map(str::to_owned).to_vec();
    statuses.sort_unstable();
    expected.sort_unstable();
    assert_eq!(statuses, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_joins_two_parties() {
    dial_out(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_joins_two_parties_who_answer_in_the_other_order() {
    dial_out(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_party_is_an_error_and_leaves_nothing_behind() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    pbx.behave("50", "busy");
    stack.api.make_call("77", "50").await.refused(422, "user_busy");
    pbx.behave(MOBILE_DIGITS, "busy");
    stack.api.make_call("77", MOBILE).await.refused(422, "user_busy");
    stack.api.make_call("77", "59").await.refused(422, "unallocated_number");
    pbx.until_idle().await;

    let kept = stack.api.make_call("77", "42").await.ok();
    stack.api.post("/rcc/disconnect", json!({"CallId": kept.text("CallId")})).await.ok();
    pbx.until_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_is_answered_from_the_api() {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    let _agent = Agent::start(&stack, &pbx, "one").await;
    pbx.call(MOBILE_DIGITS, "42");
    let ringing = inbox.expect(&["42 ringing"]).await;
    let call = json!({"CallId": ringing[0]["CallId"]});
    let shown = stack.api.get("/rcc/calls").await.ok();
    assert_eq!(shown.body["calls"][0]["CallId"], ringing[0]["CallId"], "{}", shown.body);
    assert_eq!(shown.body["calls"][0]["callState"], "ringing");

    stack.api.post("/rcc/answer", call.clone()).await.ok();
    assert_eq!(pbx.partners("42"), [MOBILE_DIGITS]);
    stack.api.post("/rcc/answer", call.clone()).await.refused(422, "not_answerable");
    stack.api.post("/rcc/disconnect", call.clone()).await.ok();
    pbx.until_idle().await;
    inbox.expect(&["42 ringing", "42 connected", "42 disconnected"]).await;
    stack.api.post("/rcc/disconnect", call).await.refused(404, "call_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_named_and_reach_no_phone() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let mut agent = Agent::start(&stack, &pbx, "one").await;
    let api = &stack.api;

    let outside = api.make_call("60", "42").await.refused(404, "not_monitored");
    assert!(outside.text("message").contains("60"), "{}", outside.body);
    let missing = api.post("/rcc/makecall", json!({"from": "77"})).await.refused(400, "invalid_request");
    assert!(missing.text("message").contains("`to`"), "{}", missing.body);
    let unknown = api.post("/rcc/makecall", json!({"from": "77", "to": "50", "too": "51"})).await;
    assert!(unknown.refused(400, "invalid_request").text("message").contains("`too`"));
    api.with_key(&format!("ec_{}", "0".repeat(72))).make_call("77", "50").await.refused(401, "invalid_key");
    api.with_key("").make_call("77", "50").await.refused(401, "missing_key");
    assert_eq!(pbx.heard("UserCall"), 0);

    pbx.fault(&json!({"kind": "restart", "down_ms": 60_000}));
    stack.until_state("pbx_offline").await;
    api.make_call("77", "50").await.refused(409, "pbx_offline");
    api.get("/rcc/users").await.refused(503, "pbx_offline");

    agent.kill();
    let stale =
        AgentStatus { updated_at: 0, ..stack.exchange.agents(stack.clock.now()).await.expect("agents").remove(0) };
    assert_eq!(stale.pbx, PbxLink::Down);
    stack.exchange.beat(&stale).await.expect("the heartbeat is written");
    api.make_call("77", "50").await.refused(409, "agent_offline");
    api.get("/rcc/users").await.refused(503, "agent_offline");
    assert_eq!(pbx.heard("UserCall"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_agent_answers_nothing_and_rings_nothing_later() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let mut agent = Agent::start(&stack, &pbx, "one").await;
    agent.kill();
    // Its last heartbeat still looks fresh, so the command waits until it has expired.
    let answer = stack.api.make_call("77", "50").await.refused(409, "agent_no_answer");
    let command = stack.api.get(&format!("/rcc/commands/{}", answer.text("commandId"))).await.ok();
    assert_eq!(command.text("state"), "expired");

    let _again = Agent::start(&stack, &pbx, "two").await;
    stack.api.make_call("77", "42").await.ok();
    assert_eq!(pbx.heard("UserCall"), 1, "only the call of the second agent was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_those_of_the_group() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let users = stack.api.get("/rcc/users").await.ok();
    let extensions: Vec<&str> =
        users.body["users"].as_array().expect("users").iter().filter_map(|user| user["extension"].as_str()).collect();
    assert_eq!(extensions, ["42", "43", "44", "50", "77", "78"]);
    assert_eq!(users.body["users"][0]["name"], "Thomas De Wilde");
    assert_eq!(users.body["users"][0]["registered"], true);

    pbx.control("/user", &json!({"extension": "42", "remove": true}));
    stack.until_visible_users(5).await;
    stack.api.make_call("42", "50").await.refused(404, "not_monitored");
}

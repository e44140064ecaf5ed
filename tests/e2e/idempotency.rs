//! A request that is repeated under its name acts once, whatever happens in between.

use easyconnect_tests::idempotency::{self, Repeats};
use easyconnect_tests::{Agent, Pbx, Stack};
use serde_json::json;
use shared::command::Command;
use shared::ids::CommandId;
use shared::operation::{DialOptions, Operation, Reach};

#[tokio::test(flavor = "multi_thread")]
async fn thousand_repeats_are_one_call() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let repeats = Repeats { count: 1000, at_a_time: 50, other_bodies: 10 };
    let half = Repeats { count: repeats.count / 2, other_bodies: repeats.other_bodies / 2, ..repeats };
    let first = idempotency::repeat(&stack, &half).await;
    stack.force_cold_start("API_FUNCTION").await;
    let second = idempotency::repeat(&stack, &half).await;
    assert_eq!(first, second, "the answer is the same, also from a new environment");
    assert_eq!(pbx.heard("UserCall"), 1);
    assert_eq!(pbx.legs("50"), ["alerting"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_whose_function_crashed_before_it_rang_is_carried_out_by_its_repeat() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let operation = Operation::MakeCall { from: "77".to_owned(), to: "50".to_owned(), options: DialOptions::default() };
    let key = stack.api.key_id();
    let id = CommandId::of_idempotency_key(&key, "crashed");
    let command = Command::queued(id, operation, &key, Reach::default(), stack.clock.now());
    stack.exchange.insert(&command).await.expect("the command is written");
    let answer = stack.api.post_named("/rcc/makecall", "crashed", &json!({"from": "77", "to": "50"})).await.ok();
    assert_eq!(answer.text("commandId"), id.to_string());
    assert_eq!(pbx.heard("UserCall"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_belong_to_keys_and_refusals_are_remembered() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    pbx.behave("50", "busy");
    let body = json!({"from": "77", "to": "50", "requestId": "order-17"});
    let busy = stack.api.post("/rcc/makecall", body.clone()).await.refused(422, "user_busy");
    pbx.behave("50", "ring");
    // The same request gets the same answer; it does not try again.
    let again = stack.api.post_named("/rcc/makecall", "order-17", &json!({"to": "50", "from": "77"})).await;
    assert_eq!(again.refused(422, "user_busy").body, busy.body);
    let other = stack.api.post_named("/rcc/makecall", "order-17", &json!({"from": "77", "to": "42"})).await;
    assert_eq!(other.refused(409, "idempotency_conflict").body["commandId"], busy.body["commandId"]);

    let wanted = json!({"name": "crm", "scopes": ["calls:write"]});
    let made = stack.api.post("/apikeys", wanted).await.with_status(201);
    let crm = stack.api.with_key(made.text("key"));
    let own = crm.post("/rcc/makecall", body).await.ok();
    assert_ne!(own.body["commandId"], busy.body["commandId"]);
    assert_eq!(pbx.heard("UserCall"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_expired_says_so_for_ever() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let agent = Agent::start(&stack, &pbx, "one").await;
    agent.freeze();
    let body = json!({"from": "77", "to": "50"});
    let expired = stack.api.post_named("/rcc/makecall", "late", &body).await.refused(409, "agent_no_answer");
    agent.thaw();
    stack.until_state("online").await;
    let again = stack.api.post_named("/rcc/makecall", "late", &body).await.refused(409, "agent_no_answer");
    assert_eq!(again.body, expired.body);
    assert!(again.text("hint").contains("new idempotency key"), "{}", again.body);
    stack.api.post_named("/rcc/makecall", "new", &body).await.ok();
    assert_eq!(pbx.heard("UserCall"), 1);
}

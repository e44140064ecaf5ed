//! What a later version has left in the tables when an earlier one runs again, and what holds from the moment of an answer on.

use aws_sdk_dynamodb::types::AttributeValue;
use easyconnect_tests::{Agent, Inbox, Manner, Pbx, Stack, eventually};
use serde_json::{Value, json};
use shared::aws;
use shared::delivery::Payload;
use shared::event::Status;
use shared::tables::Parked;

const CALLER: &str = "+32472591687";

async fn missed_call(pbx: &Pbx, to: &str) {
    pbx.call(CALLER, to);
    pbx.until_leg(to, "alerting").await;
    pbx.hang_up(CALLER);
}

/// Makes an item of the state table look as if this version had written it.
async fn written_by_version(stack: &Stack, version: u32, pk: &str, sk: &str) {
    let update = aws::dynamodb(&stack.sdk, &stack.clock).update_item().table_name(stack.var("STATE_TABLE"));
    let update = update.key("pk", AttributeValue::S(pk.to_owned())).key("sk", AttributeValue::S(sk.to_owned()));
    let update = update.update_expression("SET v = :v").condition_expression("attribute_exists(pk)");
    let update = update.expression_attribute_values(":v", AttributeValue::N(version.to_string()));
    update.send().await.expect("the item is there");
}

async fn subscribe(stack: &Stack, inbox: &Inbox) -> String {
    let made = stack.api.post("/webhooks", json!({"url": inbox.url("/hook")})).await.with_status(201);
    made.text("id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_has_every_event_after_its_201_and_a_change_holds_from_its_answer_on() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let (first, second) = tokio::join!(Inbox::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    subscribe(&stack, &first).await;
    missed_call(&pbx, "42").await;
    first.expect(&["42 ringing", "42 disconnected"]).await;

    // `fanout` knows the webhooks by now.
    let id = subscribe(&stack, &second).await;
    missed_call(&pbx, "42").await;
    second.expect(&["42 ringing", "42 disconnected"]).await;
    stack.api.put(&format!("/webhooks/{id}"), json!({"url": second.url("/hook"), "extensions": ["50"]})).await.ok();
    missed_call(&pbx, "42").await;
    first
        .expect(&["42 ringing", "42 disconnected", "42 ringing", "42 disconnected", "42 ringing", "42 disconnected"])
        .await;
    missed_call(&pbx, "50").await;
    second.expect(&["42 ringing", "42 disconnected", "50 ringing", "50 disconnected"]).await;

    // What is off wants nothing, and everything again from the answer on.
    second.behave(Manner::Status(410));
    missed_call(&pbx, "50").await;
    eventually("the webhook is off, and both deliveries are over", async || {
        let shown = stack.api.get(&format!("/webhooks/{id}")).await.ok();
        let log = stack.api.log_of(&id).await;
        let cancelled = log.iter().filter(|delivery| delivery["state"] == "cancelled").count();
        if shown.text("state") == "off" && cancelled == 2 { Ok(()) } else { Err(format!("{} {log:?}", shown.body)) }
    })
    .await;
    second.behave(Manner::Status(204));
    second.forget();
    stack.api.post(&format!("/webhooks/{id}/resume"), json!({})).await.ok();
    missed_call(&pbx, "50").await;
    second.expect(&["50 ringing", "50 disconnected"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_a_later_version_stop_nobody_else() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let (first, second) = tokio::join!(Inbox::start(), Inbox::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let (later, own) = (subscribe(&stack, &first).await, subscribe(&stack, &second).await);
    written_by_version(&stack, 2, "WEBHOOK", &later).await;

    missed_call(&pbx, "42").await;
    second.expect(&["42 ringing", "42 disconnected"]).await;
    stack.tick().await;
    let listed = stack.api.get("/webhooks").await.ok();
    let ids: Vec<&Value> = listed.body["webhooks"].as_array().expect("webhooks").iter().map(|w| &w["id"]).collect();
    assert_eq!(ids, [&json!(own)]);
    assert_eq!(first.count(), 0);

    // The later version is back.
    written_by_version(&stack, 1, "WEBHOOK", &later).await;
    stack.state.webhooks_changed().await.expect("the table answers");
    missed_call(&pbx, "42").await;
    first.expect(&["42 ringing", "42 disconnected"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_delivery_of_a_later_version_is_set_aside_and_the_others_are_sent() {
    let stack = Stack::start_with(&["FastLaneSeconds=2", "RingingFreshSeconds=3600"]);
    let (stack, pbx, inbox) = tokio::join!(stack, Pbx::start(), Inbox::start());
    stack.stop_clock().await;
    let _agent = Agent::start(&stack, &pbx, "one").await;
    inbox.behave(Manner::Status(503));
    let id = subscribe(&stack, &inbox).await;
    missed_call(&pbx, "42").await;
    missed_call(&pbx, "50").await;
    let webhook =
        eventually("everything is parked", async || match stack.api.get(&format!("/webhooks/{id}")).await.ok() {
            shown if shown.body["parked"] == 4 => Ok(id.parse().expect("an id")),
            shown => Err(shown.body.to_string()),
        })
        .await;
    let page = stack.state.parked(webhook, None, 9).await.expect("the table answers");
    let first_of_42 = |parked: &&Parked| {
        let Payload::Call(event) = &parked.delivery.payload else { return false };
        event.web_hook_event.monitored_extension == "42" && event.status() == Status::Ringing
    };
    let parked = page.parked.iter().find(first_of_42).expect("it is parked");
    written_by_version(&stack, 2, &format!("PARKED#{id}"), &parked.key).await;

    inbox.behave(Manner::Status(204));
    inbox.forget();
    stack.api.post(&format!("/webhooks/{id}/resume"), json!({})).await.ok();
    inbox.expect(&["42 disconnected", "50 ringing", "50 disconnected"]).await;
    eventually("nothing is parked", async || {
        let shown = stack.api.get(&format!("/webhooks/{id}")).await.ok();
        if shown.body["parked"] == 0 { Ok(()) } else { Err(shown.body.to_string()) }
    })
    .await;
    let aside =
        stack.queue("DELIVERIES_DLQ_URL").receive(9, std::time::Duration::ZERO).await.expect("the queue answers");
    let messages: Vec<Value> = aside.iter().map(|m| serde_json::from_str(&m.body).expect("JSON")).collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!((&messages[0]["v"], &messages[0]["subscriptionId"]), (&json!(2), &json!(id)));
    assert_eq!(messages[0]["event"]["webHookEvent"]["status"], "ringing");
}

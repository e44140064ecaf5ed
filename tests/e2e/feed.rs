//! The feed as the table holds it: what writers that died and older versions leave, and what a receiver is told of it.

use easyconnect_tests::{Stack, feed};
use serde_json::Value;
use shared::aws;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_left_in_the_feed_each_event_comes_once_and_in_order() {
    let stack = Stack::start().await;
    let told = feed::tell(&aws::dynamodb(&stack.sdk, &stack.clock), stack.var("STATE_TABLE")).await;
    let ids: Vec<String> = told.iter().map(|event| event.event_id.to_string()).collect();

    let oldest = stack.api.get("/events").await.ok();
    assert_eq!(event_ids(&oldest.body), ids);
    let again = stack.api.get(&format!("/events?after={}", oldest.text("cursor"))).await.ok();
    assert_eq!((event_ids(&again.body).len(), again.text("cursor")), (0, oldest.text("cursor")));
    // A cursor of the version before.
    assert_eq!(event_ids(&stack.api.get(&format!("/events?after={}", feed::OLDEST)).await.ok().body), ids[1..]);
    let two = stack.api.get("/events?limit=2").await.ok();
    let next = stack.api.get(&format!("/events?limit=2&after={}", two.text("cursor"))).await.ok();
    assert_eq!([event_ids(&two.body), event_ids(&next.body)].concat(), ids[..4]);
    let mut newest = event_ids(&stack.api.get("/events?order=newest").await.ok().body);
    newest.reverse();
    assert_eq!(newest, ids);
    let ended = stack.api.get("/events?statuses=disconnected&minimumDuration=60").await.ok();
    assert_eq!(event_ids(&ended.body), ids[3..4]);
}

fn event_ids(answer: &Value) -> Vec<String> {
    let id = |event: &Value| event["eventId"].as_str().unwrap_or_default().to_owned();
    answer["events"].as_array().expect("events").iter().map(id).collect()
}

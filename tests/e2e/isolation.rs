//! Receivers do not wait for each other.

use std::sync::Arc;

use easyconnect_tests::{Inbox, Manner, Stack, eventually};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::json;
use shared::delivery::Delivery;
use shared::event::{CallEvent, Status};
use shared::ids::{CallId, WebhookId};
use uuid::Uuid;

/// `deliver` is invoked directly, as often at a time as on AWS: a FIFO mapping of the local cloud runs one batch after the other.
#[tokio::test(flavor = "multi_thread")]
async fn receiver_that_hangs_holds_up_no_other() {
    let (stack, hanging, healthy) = tokio::join!(Stack::start(), Inbox::start(), Inbox::start());
    let stack = Arc::new(stack);
    hanging.behave(Manner::Hang);
    let to_hanging = delivery(stack.subscribe(&hanging).await.id);
    let open = tokio::spawn({
        let stack = stack.clone();
        async move { stack.deliver(&to_hanging).await }
    });
    eventually("the request hangs", async || match hanging.count() {
        0 => Err("it has not come".to_owned()),
        _ => Ok(()),
    })
    .await;

    let to = stack.subscribe(&healthy).await.id;
    let deliveries: Vec<Delivery> = std::iter::repeat_with(|| delivery(to)).take(8).collect();
    for answer in join_all(deliveries.iter().map(|delivery| stack.deliver(delivery))).await {
        assert_eq!(answer, json!({"batchItemFailures": []}));
    }
    assert_eq!(healthy.count(), deliveries.len());
    assert!(!open.is_finished(), "the hanging one was still open");
    open.abort();
}

/// The end of a call, which is fresh for days.
fn delivery(to: WebhookId) -> Delivery {
    let call = CallId::from_uuid(Uuid::new_v4());
    Delivery::of_call(CallEvent::example(call, Status::Disconnected, Timestamp::now()), to)
}

//! FIFO queues.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};

use super::messages::{body, receipt, receive};
use crate::sdk::code;
use crate::target::Target;

const WHILE: Duration = Duration::from_secs(10);

/// Sends a message whose deduplication id is its body.
async fn send(target: &Target, url: &str, group: &str, body: &str) -> String {
    let send = target.clients.queues.send_message().queue_url(url).message_body(body).message_group_id(group);
    let sent = send.message_deduplication_id(body).send().await.expect("the message is taken");
    sent.message_id.expect("an id")
}

async fn delete(target: &Target, url: &str, message: &Message) -> String {
    code(target.clients.queues.delete_message().queue_url(url).receipt_handle(receipt(message)).send().await)
}

async fn hide(target: &Target, url: &str, message: &Message, seconds: i32) -> String {
    let change = target.clients.queues.change_message_visibility().queue_url(url).receipt_handle(receipt(message));
    code(change.visibility_timeout(seconds).send().await)
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(body).collect()
}

pub(super) async fn in_order_per_group(target: Arc<Target>) {
    let url = target.fifo(&[]).await;
    for (group, body) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("a", "a3"), ("b", "b2")] {
        send(&target, &url, group, body).await;
    }
    let received = receive(&target, &url, 10, WHILE).await;
    let of = |group: &str| -> Vec<&str> {
        let in_group = |message: &&Message| {
            message.attributes().expect("attributes")[&MessageSystemAttributeName::MessageGroupId] == group
        };
        received.iter().filter(in_group).map(body).collect()
    };
    same!(target, of("a"), ["a1", "a2", "a3"]);
    same!(target, of("b"), ["b1", "b2"]);
    let attributes = received[0].attributes().expect("attributes");
    same!(target, attributes[&MessageSystemAttributeName::MessageDeduplicationId], body(&received[0]));
    same!(target, attributes[&MessageSystemAttributeName::SequenceNumber].len(), 20);
}

pub(super) async fn a_group_waits_for_its_message(target: Arc<Target>) {
    let url = target.fifo(&[]).await;
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        send(&target, &url, group, body).await;
    }
    let first = receive(&target, &url, 1, WHILE).await;
    same!(target, bodies(&first), ["a1"]);
    let others = receive(&target, &url, 10, WHILE).await;
    same!(target, bodies(&others), ["b1"], "the group of what is in flight is locked, others are not");
    same!(target, receive(&target, &url, 10, Duration::ZERO).await.is_empty(), true);
    same!(target, delete(&target, &url, &first[0]).await, "ok");
    same!(target, bodies(&receive(&target, &url, 10, WHILE).await), ["a2"]);
}

pub(super) async fn the_same_message_once(target: Arc<Target>) {
    let url = target.fifo(&[]).await;
    let first = send(&target, &url, "a", "x").await;
    same!(target, send(&target, &url, "a", "x").await, first, "a repeat is the message that was taken");
    let other = send(&target, &url, "b", "x").await;
    same!(target, other != first, true, "another group is another scope");
    let received = receive(&target, &url, 10, WHILE).await;
    same!(target, received.len(), 2, "one of each group");
    for message in &received {
        same!(target, delete(&target, &url, message).await, "ok");
    }
    same!(target, send(&target, &url, "a", "x").await, first, "also when it was deleted since");
    same!(target, receive(&target, &url, 10, Duration::ZERO).await.is_empty(), true, "it does not come again");
}

pub(super) async fn visibility_of_a_group(target: Arc<Target>) {
    let url = target.fifo(&[]).await;
    send(&target, &url, "a", "a1").await;
    send(&target, &url, "a", "a2").await;
    let first = receive(&target, &url, 1, WHILE).await;
    // Its visibility ends, and the whole group is there again.
    same!(target, hide(&target, &url, &first[0], 0).await, "ok", "give back the first");
    let again = receive(&target, &url, 10, WHILE).await;
    same!(target, bodies(&again), ["a1", "a2"], "the whole group");
    same!(target, delete(&target, &url, &first[0]).await, "InvalidParameterValue", "the receipt has expired");
    // What goes back at once waits for what is hidden longer in front of it.
    same!(target, hide(&target, &url, &again[1], 0).await, "ok", "give back the second");
    same!(
        target,
        receive(&target, &url, 10, Duration::ZERO).await.is_empty(),
        true,
        "a hidden message holds its followers"
    );
    same!(target, hide(&target, &url, &again[0], 0).await, "ok", "give back the first again");
    same!(target, bodies(&receive(&target, &url, 10, WHILE).await), ["a1", "a2"], "then all in order");
}

pub(super) async fn dead_letters(target: Arc<Target>) {
    let dead = target.fifo(&[]).await;
    let get = target.clients.queues.get_queue_attributes().queue_url(&dead);
    let arn = get.attribute_names(QueueAttributeName::QueueArn).send().await.expect("an answer");
    let arn = arn.attributes.expect("attributes")[&QueueAttributeName::QueueArn].clone();
    let policy = format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":2}}");
    let url = target.fifo(&[("RedrivePolicy", &policy)]).await;
    send(&target, &url, "a", "a1").await;
    send(&target, &url, "a", "a2").await;
    for _ in 0..2 {
        let received = receive(&target, &url, 1, WHILE).await;
        same!(target, bodies(&received), ["a1"]);
        same!(target, hide(&target, &url, &received[0], 0).await, "ok");
    }
    same!(target, bodies(&receive(&target, &url, 1, WHILE).await), ["a2"], "its followers go on");
    let moved = receive(&target, &dead, 10, WHILE).await;
    same!(target, bodies(&moved), ["a1"]);
    same!(target, moved[0].attributes().expect("attributes")[&MessageSystemAttributeName::MessageGroupId], "a");
}

pub(super) async fn refused_fifo_messages(target: Arc<Target>) {
    let url = target.fifo(&[]).await;
    let send = || target.clients.queues.send_message().queue_url(&url).message_body("x");
    same!(target, code(send().message_deduplication_id("d").send().await), "MissingParameter");
    same!(target, code(send().message_group_id("g").send().await), "InvalidParameterValue");
    let send = || send().message_group_id("g").message_deduplication_id("d");
    same!(target, code(send().delay_seconds(1).send().await), "InvalidParameterValue");
    same!(target, code(send().message_group_id("g".repeat(129)).send().await), "InvalidParameterValue", "a long group");
    same!(
        target,
        code(send().message_deduplication_id("d d").send().await),
        "InvalidParameterValue",
        "a space in an id"
    );
    same!(target, code(send().message_group_id("g".repeat(128)).send().await), "ok");
}

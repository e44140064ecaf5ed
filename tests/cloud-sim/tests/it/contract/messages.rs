//! Messages of a queue, whatever its kind.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry, SendMessageBatchResultEntry,
};

use crate::sdk::code;
use crate::target::Target;

const MEGABYTE: usize = 1024 * 1024;

pub(super) async fn send(target: &Target, url: &str, body: &str) {
    target.clients.queues.send_message().queue_url(url).message_body(body).send().await.expect("the message is taken");
}

/// What comes within a while.
pub(super) async fn receive(target: &Target, url: &str, most: i32, wait: Duration) -> Vec<Message> {
    let receive = target.clients.queues.receive_message().queue_url(url).max_number_of_messages(most);
    let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
    let answer = receive.wait_time_seconds(wait.as_secs() as i32).send().await.expect("an answer");
    answer.messages.unwrap_or_default()
}

pub(super) fn body(message: &Message) -> &str {
    message.body().expect("a body")
}

pub(super) fn receipt(message: &Message) -> &str {
    message.receipt_handle().expect("a receipt")
}

pub(super) async fn send_receive_delete(target: Arc<Target>) {
    let url = target.queue(&[]).await;
    same!(target, receive(&target, &url, 10, Duration::ZERO).await.is_empty(), true);
    let sent = target.clients.queues.send_message().queue_url(&url).message_body("hello").send().await.expect("taken");
    same!(target, sent.md5_of_message_body(), Some("5d41402abc4b2a76b9719d911017c592"));
    let received = receive(&target, &url, 10, Duration::from_secs(5)).await;
    let [message] = received.as_slice() else { panic!("{received:?}") };
    same!(target, (body(message), message.message_id()), ("hello", sent.message_id()));
    same!(target, message.md5_of_body(), sent.md5_of_message_body());
    let attributes = message.attributes().expect("attributes");
    same!(target, attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "1");
    same!(
        target,
        attributes[&MessageSystemAttributeName::SentTimestamp].parse::<u64>().expect("a number") > 1_500_000_000_000,
        true
    );
    for _ in 0..2 {
        let delete = target.clients.queues.delete_message().queue_url(&url).receipt_handle(receipt(message));
        same!(target, code(delete.send().await), "ok", "deleted, also twice");
    }
    same!(target, receive(&target, &url, 10, Duration::ZERO).await.is_empty(), true);
}

pub(super) fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().expect("complete")
}

pub(super) async fn batches_of_messages(target: Arc<Target>) {
    let url = target.queue(&[]).await;
    let entries: Vec<_> = (0..10).map(|n| entry(&n.to_string(), &format!("m{n}"))).collect();
    let answer = target.clients.queues.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await;
    let answer = answer.expect("an answer");
    same!(target, (answer.successful().len(), answer.failed().len()), (10, 0));
    let mut messages = Vec::new();
    while messages.len() < 10 {
        messages.extend(receive(&target, &url, 10, Duration::from_secs(5)).await);
    }
    let visibility = messages.iter().enumerate().map(|(n, message)| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(receipt(message)).visibility_timeout(0).build().expect("complete")
    });
    let change = target.clients.queues.change_message_visibility_batch().queue_url(&url);
    let answer = change.set_entries(Some(visibility.collect())).send().await.expect("an answer");
    same!(target, (answer.successful().len(), answer.failed().len()), (10, 0));
    let mut again = Vec::new();
    while again.len() < 10 {
        again.extend(receive(&target, &url, 10, Duration::from_secs(5)).await);
    }
    let delete = again.iter().enumerate().map(|(n, message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(receipt(message)).build().expect("complete")
    });
    let mut delete: Vec<_> = delete.collect();
    delete[9] =
        DeleteMessageBatchRequestEntry::builder().id("wrong").receipt_handle("nonsense").build().expect("complete");
    let answer = target.clients.queues.delete_message_batch().queue_url(&url).set_entries(Some(delete)).send().await;
    let answer = answer.expect("an answer");
    same!(target, (answer.successful().len(), answer.failed().len()), (9, 1));
    let failed = &answer.failed()[0];
    same!(target, (failed.id(), failed.code(), failed.sender_fault()), ("wrong", "ReceiptHandleIsInvalid", true));
}

pub(super) async fn refused_messages(target: Arc<Target>) {
    let url = target.queue(&[]).await;
    let send = |body: &str| target.clients.queues.send_message().queue_url(&url).message_body(body);
    same!(target, code(send("").send().await), "MissingParameter", "an empty message");
    same!(target, code(send("\u{1}").send().await), "InvalidMessageContents", "a control character");
    same!(
        target,
        code(send("x").message_deduplication_id("d").send().await),
        "InvalidParameterValue",
        "a deduplication id"
    );
    let elsewhere = url.replace("queue-", "nowhere-");
    let answer = target.clients.queues.send_message().queue_url(elsewhere).message_body("x").send().await;
    same!(target, code(answer), "AWS.SimpleQueueService.NonExistentQueue");
    let receive = |most, wait| {
        let receive = target.clients.queues.receive_message().queue_url(&url);
        receive.max_number_of_messages(most).wait_time_seconds(wait).send()
    };
    for (most, wait) in [(0, 0), (11, 0), (1, 21)] {
        same!(target, code(receive(most, wait).await), "InvalidParameterValue", "receive {most} within {wait}");
    }
}

pub(super) async fn refused_batches(target: Arc<Target>) {
    let url = target.queue(&[]).await;
    let send = |entries| target.clients.queues.send_message_batch().queue_url(&url).set_entries(Some(entries)).send();
    for (expected, entries) in [
        ("EmptyBatchRequest", vec![]),
        ("TooManyEntriesInBatchRequest", (0..11).map(|n| entry(&n.to_string(), "x")).collect()),
        ("BatchEntryIdsNotDistinct", vec![entry("a", "x"), entry("a", "y")]),
        ("InvalidBatchEntryId", vec![entry("a b", "x")]),
        ("BatchRequestTooLong", vec![entry("a", &"x".repeat(MEGABYTE / 2 + 1)), entry("b", &"x".repeat(MEGABYTE / 2))]),
    ] {
        same!(target, code(send(entries).await), format!("AWS.SimpleQueueService.{expected}"));
    }
    let answer = send(vec![entry("good", "x"), entry("bad", "\u{1}")]).await.expect("an answer");
    let successful: Vec<&str> = answer.successful().iter().map(SendMessageBatchResultEntry::id).collect();
    let failed: Vec<(&str, bool)> = answer.failed().iter().map(|entry| (entry.id(), entry.sender_fault())).collect();
    same!(target, (successful, failed), (vec!["good"], vec![("bad", true)]), "a batch in part");
}

pub(super) async fn sizes(target: Arc<Target>) {
    let url = target.queue(&[]).await;
    let send = |bytes| target.clients.queues.send_message().queue_url(&url).message_body("x".repeat(bytes)).send();
    same!(target, code(send(MEGABYTE).await), "ok");
    same!(target, code(send(MEGABYTE + 1).await), "InvalidParameterValue");
}

pub(super) async fn receipts(target: Arc<Target>) {
    let url = target.queue(&[]).await;
    send(&target, &url, "x").await;
    let first = receive(&target, &url, 1, Duration::from_secs(5)).await;
    let visible = |receipt: &str, seconds| {
        let change = target.clients.queues.change_message_visibility().queue_url(&url);
        change.receipt_handle(receipt).visibility_timeout(seconds).send()
    };
    same!(target, code(visible(receipt(&first[0]), 0).await), "ok", "give back");
    let again = receive(&target, &url, 1, Duration::from_secs(5)).await;
    let count = &again[0].attributes().expect("attributes")[&MessageSystemAttributeName::ApproximateReceiveCount];
    same!(target, (body(&again[0]), count.as_str()), ("x", "2"), "received again");
    same!(target, receipt(&first[0]) != receipt(&again[0]), true, "another receipt");
    same!(target, code(visible("nonsense", 1).await), "ReceiptHandleIsInvalid");
    same!(target, code(visible(receipt(&again[0]), 43_201).await), "InvalidParameterValue", "hide beyond 12 hours");
    same!(target, code(visible(receipt(&again[0]), 0).await), "ok");
    same!(target, receive(&target, &url, 1, Duration::from_secs(5)).await.len(), 1, "it is visible at once");
}

pub(super) async fn attributes(target: Arc<Target>) {
    let url = target.queue(&[("VisibilityTimeout", "40"), ("MessageRetentionPeriod", "60")]).await;
    send(&target, &url, "a").await;
    send(&target, &url, "b").await;
    receive(&target, &url, 1, Duration::from_secs(5)).await;
    let get = || async {
        let get = target.clients.queues.get_queue_attributes().queue_url(&url);
        let answer = get.attribute_names(QueueAttributeName::All).send().await.expect("an answer");
        let attributes = answer.attributes.expect("attributes");
        let number = |name: QueueAttributeName| attributes[&name].parse::<u64>().expect("a number");
        [
            number(QueueAttributeName::ApproximateNumberOfMessages),
            number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            number(QueueAttributeName::VisibilityTimeout),
            number(QueueAttributeName::MessageRetentionPeriod),
        ]
    };
    same!(target, get().await, [1, 1, 40, 60]);
    target.clients.queues.purge_queue().queue_url(&url).send().await.expect("purged");
    same!(target, get().await[..2], [0, 0]);
    let again = target.clients.queues.purge_queue().queue_url(&url).send().await;
    same!(target, code(again), "AWS.SimpleQueueService.PurgeQueueInProgress", "purge twice");
}

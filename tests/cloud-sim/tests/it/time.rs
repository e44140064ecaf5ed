//! What takes minutes and days.

use std::time::Duration;

use cloud_sim::Cloud;
use serde_json::json;
use tokio::time::sleep;

use crate::plain::item;
use crate::sdk::{Clients, code};
use crate::target::Target;

#[tokio::test(start_paused = true)]
async fn the_time_to_live_deletes_late() {
    let cloud = Cloud::new();
    let target = Target::simulator(&cloud);
    let table = target.table().await;
    let (now, hour) = (cloud.now().as_second(), 60 * 60);
    for n in 0..50 {
        let put = target.clients.tables.put_item().table_name(&table);
        let put = put.set_item(Some(item(json!({"pk": "p", "sk": n.to_string(), "expiresAt": now + hour}))));
        put.send().await.expect("stored");
    }
    // Given another end before its own came.
    let later = item(json!({"pk": "p", "sk": "0", "expiresAt": now + 100 * hour}));
    target.clients.tables.put_item().table_name(&table).set_item(Some(later)).send().await.expect("stored");
    let count = async || {
        target.clients.tables.scan().table_name(&table).consistent_read(true).send().await.expect("an answer").count()
    };
    sleep(Duration::from_secs(hour as u64 + 1)).await;
    assert!(count().await > 40, "most are still there when they have ended");
    sleep(Duration::from_secs(24 * 3600)).await;
    assert!((2..49).contains(&count().await), "a day later some");
    sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(count().await, 1, "after two days none that has ended");
}

#[tokio::test(start_paused = true)]
async fn a_message_can_be_sent_again_after_five_minutes_and_is_kept_for_its_time() {
    let cloud = Cloud::new();
    let url = Target::simulator(&cloud).fifo(&[("MessageRetentionPeriod", "3600")]).await;
    let queues = Clients::of(&cloud.process("test")).queues;
    let send = || {
        let send = queues.send_message().queue_url(&url).message_body("x").message_group_id("g");
        send.message_deduplication_id("x").send()
    };
    let name = url.rsplit('/').next().expect("a name");
    send().await.expect("taken");
    sleep(Duration::from_secs(299)).await;
    send().await.expect("taken, once");
    assert_eq!(cloud.bodies(name), ["x"]);
    sleep(Duration::from_secs(2)).await;
    send().await.expect("taken anew");
    assert_eq!(cloud.depth(name), (2, 0, 0));
    sleep(Duration::from_secs(3_300)).await;
    assert_eq!(cloud.depth(name), (1, 0, 0), "the first one is too old");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_when_something_comes() {
    let cloud = Cloud::new();
    let url = Target::simulator(&cloud).queue(&[]).await;
    let queues = Clients::of(&cloud.process("test")).queues;
    let started = cloud.now();
    let waits = queues.receive_message().queue_url(&url).wait_time_seconds(20).send();
    let sends = async {
        sleep(Duration::from_secs(7)).await;
        queues.send_message().queue_url(&url).message_body("x").send().await.expect("taken");
    };
    let (received, ()) = tokio::join!(waits, sends);
    assert_eq!(received.expect("an answer").messages().len(), 1);
    assert_eq!(cloud.now().duration_since(started).as_secs(), 7);
    let empty = queues.receive_message().queue_url(&url).wait_time_seconds(20).send().await;
    assert!(empty.expect("an answer").messages().is_empty());
    assert_eq!(cloud.now().duration_since(started).as_secs(), 27);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_deleted_comes_again_when_its_visibility_ends() {
    let cloud = Cloud::new();
    let target = Target::simulator(&cloud);
    for (url, late) in [
        (target.queue(&[("VisibilityTimeout", "30")]).await, "ok"),
        (target.fifo(&[("VisibilityTimeout", "30")]).await, "InvalidParameterValue"),
    ] {
        let fifo = url.ends_with(".fifo");
        let queues = target.clients.queues.clone();
        let send = queues.send_message().queue_url(&url).message_body("x");
        let send = if fifo { send.message_group_id("g").message_deduplication_id("x") } else { send };
        send.send().await.expect("taken");
        let receive = || queues.receive_message().queue_url(&url).wait_time_seconds(20).send();
        let started = cloud.now();
        let first = receive().await.expect("an answer").messages.expect("a message");
        assert!(receive().await.expect("an answer").messages().is_empty());
        receive().await.expect("an answer").messages.expect("a message");
        assert_eq!(cloud.now().duration_since(started).as_secs(), 30);
        sleep(Duration::from_secs(30)).await;
        // A standard queue takes the older receipt and keeps what was received again meanwhile.
        let receipt = first[0].receipt_handle().expect("a receipt");
        assert_eq!(code(queues.delete_message().queue_url(&url).receipt_handle(receipt).send().await), late);
        assert_eq!(cloud.depth(url.rsplit('/').next().expect("a name")), (1, 0, 0));
    }
}

//! Batches that are too long, and batches of which a part fails.

use std::time::Duration;

use cloud_sim::Faults;
use serde_json::json;
use shared::queue::{FifoMessage, FifoRecord, Outgoing, Taken, chunks};
use tokio::time::sleep;

use crate::world::World;

const VISIBILITY: Duration = Duration::from_secs(30);

fn message(n: usize, bytes: usize) -> Outgoing {
    Outgoing { group: format!("g{n}"), dedup: format!("d{n}"), body: "x".repeat(bytes) }
}

impl World {
    async fn send(&self, messages: &[Outgoing]) -> Vec<Taken> {
        let mut taken = Vec::new();
        for chunk in chunks(messages) {
            taken.extend(self.queue.send_fifo(&messages[chunk]).await.expect("an answer"));
        }
        taken
    }

    /// Messages as a function is given them.
    fn receive(&self) -> Vec<FifoRecord> {
        let wanted = json!({"QueueUrl": self.queue_url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"]});
        let received = self.cloud.ask("AmazonSQS.ReceiveMessage", &wanted);
        let record = |message: &serde_json::Value| {
            let handed = json!({
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "attributes": message["Attributes"],
                "eventSourceARN": "arn:aws:sqs:eu-central-1:000000000000:deliveries.fifo",
            });
            serde_json::from_value::<FifoMessage>(handed).expect("a message").record
        };
        received["Messages"].as_array().map(|messages| messages.iter().map(record).collect()).unwrap_or_default()
    }

    async fn renew(&self, records: &[FifoRecord]) -> Vec<bool> {
        let records: Vec<&FifoRecord> = records.iter().collect();
        self.queue.renew(&records, VISIBILITY, self.now()).await.expect("an answer")
    }
}

#[tokio::test(start_paused = true)]
async fn long_messages_go_in_several_requests() {
    let world = World::new(1);
    let messages: Vec<Outgoing> = (0..9).map(|n| message(n, 120_000)).collect();
    assert!(world.send(&messages).await.iter().all(Taken::is_yes));
    assert_eq!(world.cloud.depth("deliveries.fifo"), (9, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_no_queue_takes_is_hopeless() {
    let world = World::new(2);
    let taken = world.send(&[message(1, 1_100_000), message(2, 1)]).await;
    assert!(matches!(&taken[0], Taken::No { hopeless: true, .. }), "{taken:?}");
    assert!(taken[1].is_yes());
}

#[tokio::test(start_paused = true)]
async fn a_part_that_failed_is_asked_for_again() {
    let world = World::new(3);
    world.send(&(0..5).map(|n| message(n, 1)).collect::<Vec<_>>()).await;
    let records = world.receive();
    let at_once: Vec<(String, Duration)> =
        records.iter().map(|record| (record.receipt.clone(), Duration::ZERO)).collect();
    world.suffer(Faults { partial_batches: 1.0, ..Faults::none() }, Duration::from_millis(1));
    assert_eq!(world.queue.set_visibility(&at_once).await.expect("an answer"), [true; 5]);
    assert_eq!(world.cloud.depth("deliveries.fifo"), (5, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_has_just_come_costs_no_request() {
    let world = World::new(4);
    world.send(&[message(1, 1), message(2, 1)]).await;
    assert_eq!(world.renew(&world.receive()).await, [true, true]);
    assert_eq!(world.cloud.requests("SQS.ChangeMessageVisibilityBatch"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_has_waited_is_held_for_as_long_as_a_new_one() {
    let world = World::new(5);
    world.send(&[message(1, 1), message(2, 1)]).await;
    let records = world.receive();
    sleep(VISIBILITY - Duration::from_secs(1)).await;
    assert_eq!(world.renew(&records).await, [true, true]);
    sleep(VISIBILITY - Duration::from_secs(1)).await;
    assert_eq!(world.receive(), []);
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_out_again_is_not_ours() {
    let world = World::new(6);
    world.send(&[message(1, 1)]).await;
    let late = world.receive();
    sleep(VISIBILITY).await;
    let other = world.receive();
    assert_eq!((other.len(), other[0].receives), (1, 2));
    assert_eq!(world.renew(&late).await, [false]);
    assert_eq!(world.renew(&other).await, [true]);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_no_queue_is_nobody_else_s() {
    let world = World::new(7);
    world.send(&[message(1, 1)]).await;
    let late = world.receive();
    sleep(VISIBILITY).await;
    let by_hand = FifoRecord { receipt: "none".to_owned(), queue: None, ..late[0].clone() };
    assert_eq!(world.renew(std::slice::from_ref(&by_hand)).await, [true]);
    assert_eq!(world.cloud.requests("SQS.ChangeMessageVisibilityBatch"), 0);
    assert_eq!(world.renew(&[late[0].clone(), by_hand]).await, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_longer_than_the_queue_takes_goes_in_parts() {
    let world = World::new(4);
    let messages: Vec<Outgoing> = (0..10).map(|n| message(n, 250_000)).collect();
    let taken = world.queue.send_fifo(&messages).await.expect("an answer");
    assert!(taken.iter().all(Taken::is_yes), "{taken:?}");
    assert_eq!(world.cloud.depth("deliveries.fifo"), (10, 0, 0));
}

//! Attempts that hang, and answers that are not complete.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep, TokioSleep};
use cloud_sim::{FaultKind, Faults};
use shared::aws::Platform;
use shared::delivery::Delivery;
use shared::event::message::{self, EventMessage};
use shared::event::{CallEvent, Status};
use shared::feed::Writer;
use tokio::time::timeout;

use crate::world::{World, call_id, delivery, parked_log, webhook_id};

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_leaves_time_for_another() {
    let world = World::new(1);
    let delivery = delivery(1, webhook_id(1), world.now());
    let log = parked_log(&delivery, world.now());
    world.suffer(Faults { hung_connections: 1.0, ..Faults::none() }, Duration::from_millis(500));
    let written = timeout(Duration::from_secs(2), world.write_log(&delivery, &log)).await;
    written.expect("in time").expect("written");
    assert_eq!(world.cloud.requests("DynamoDB.PutItem"), 2);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_answer_is_given_up_before_the_function_is() {
    let world = World::new(2);
    world.cloud.set_faults(Faults { hung_connections: 1.0, ..Faults::none() });
    let table = timeout(Duration::from_secs(4), world.state.feed_head()).await.expect("in time");
    assert!(table.expect_err("no answer").to_string().contains("no answer"));
    let queue = timeout(Duration::from_secs(4), world.queue.send_fifo(&[])).await.expect("in time");
    assert!(queue.expect_err("no answer").to_string().contains("no answer"));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_takes_as_long_as_it_should() {
    let world = World::new(3);
    let wait = Duration::from_secs(20);
    assert_eq!(world.queue.receive(1, wait).await.expect("an answer").len(), 0);
    assert_eq!(world.cloud.requests("SQS.ReceiveMessage"), 1);
}

/// Remembers how long it was asked to sleep.
#[derive(Clone, Debug, Default)]
struct Sleeps(Arc<Mutex<Vec<Duration>>>);

impl AsyncSleep for Sleeps {
    fn sleep(&self, duration: Duration) -> Sleep {
        self.0.lock().expect("no panic").push(duration);
        TokioSleep::new().sleep(duration)
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_left_out_is_asked_for_after_a_pause_of_the_platform() {
    let sleeps = Sleeps::default();
    let world = World::on(4, |platform| Platform { sleep: SharedAsyncSleep::new(sleeps.clone()), ..platform });
    let events = [Status::Ringing, Status::Connected, Status::Disconnected]
        .map(|status| CallEvent::example(call_id(1), status, world.now()));
    let sealed = events.map(|event| message::seal(&event).expect("JSON"));
    let messages = sealed.each_ref().map(|text| EventMessage::open(text).expect("a message"));
    let mut writer = Writer::new(vec![None; 3]);
    world.state.settle(&mut writer, &messages.each_ref()).await.expect("recorded");
    sleeps.0.lock().expect("no panic").clear();
    world.suffer(Faults { partial_batches: 1.0, ..Faults::none() }, Duration::from_millis(30));
    assert_eq!(world.state.call_events(call_id(1)).await.expect("read").len(), 3);

    let requests = world.cloud.requests("DynamoDB.BatchGetItem");
    assert!(requests > 1);
    // Each request asks for two time limits.
    let slept = sleeps.0.lock().expect("no panic");
    let pauses = slept.iter().filter(|time| **time < Duration::from_secs(1)).count();
    assert_eq!(pauses, requests - 1, "{slept:?}");
}

/// A batch write that leaves parts out is repeated for these parts until all are written.
#[tokio::test(start_paused = true)]
async fn what_was_not_written_is_written_again() {
    let world = World::new(5);
    let deliveries: Vec<_> = (0..30).map(|n| delivery(n, webhook_id(1), world.now())).collect();
    let item = |delivery: &_| world.state.log_item(&Delivery::log_key(delivery), &parked_log(delivery, world.now()));
    let items = deliveries.iter().map(item).collect::<Result<Vec<_>, _>>().expect("items");
    world.suffer(Faults { throttled_items: 0.5, ..Faults::none() }, Duration::from_secs(2));
    world.state.put_delivery_logs(items).await.expect("written");
    for delivery in &deliveries {
        assert!(world.state.delivery_log(&delivery.log_key()).await.expect("read").is_some());
    }
    assert!(world.cloud.counts().of(FaultKind::ThrottledItem) > 0, "{}", world.cloud.counts());
    assert!(world.cloud.requests("DynamoDB.BatchWriteItem") > 2);
}

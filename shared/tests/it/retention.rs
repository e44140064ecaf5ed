//! What is older than the stack keeps it is shown to nobody, and is still recognised when it comes again.

use std::time::Duration;

use jiff::Timestamp;
use shared::delivery::Delivery;
use shared::event::message::{self, EventMessage};
use shared::event::{CallEvent, Status};
use shared::feed::Writer;
use shared::tables::{KeepDays, Order, StateTable, Wanted};
use tokio::time::sleep;

use crate::world::{World, call_id, parked_log, webhook, webhook_id};

/// Records an event of this time as the first of its call, and returns its number.
async fn record(state: &StateTable, call: u128, at: Timestamp) -> u64 {
    let sealed = message::seal(&CallEvent::example(call_id(call), Status::Ringing, at)).expect("JSON");
    let message = EventMessage::open(&sealed).expect("a message");
    let mut writer = Writer::new(vec![None]);
    state.settle(&mut writer, &[&message]).await.expect("recorded");
    state.feed_head().await.expect("the head").n
}

async fn shown(state: &StateTable) -> Vec<u64> {
    let head = state.feed_head().await.expect("the head");
    state.feed(0, 100, head).await.expect("the feed").entries.iter().map(|entry| entry.n).collect()
}

#[tokio::test(start_paused = true)]
async fn events_and_logs_are_shown_for_as_many_days_as_the_stack_says() {
    let world = World::new(1);
    let keep = |days: &str| world.state.clone().keeping(days.parse::<KeepDays>().expect("days"));
    let (one, month) = (keep("1"), keep("30"));
    let old = world.now();
    let first = record(&one, 1, old).await;
    let delivery = Delivery::of_call(CallEvent::example(call_id(1), Status::Ringing, old), webhook_id(1));
    one.put_webhook(&webhook(1, old)).await.expect("written");
    let item = one.log_item(&delivery.log_key(), &parked_log(&delivery, old)).expect("an item");
    one.put_delivery_logs(vec![item]).await.expect("written");

    sleep(Duration::from_secs(25 * 60 * 60)).await;
    let second = record(&one, 2, world.now()).await;
    assert_eq!(shown(&one).await, [second]);
    assert_eq!(one.call_events(call_id(1)).await.expect("read"), []);
    assert_eq!(one.call_events(call_id(2)).await.expect("read").len(), 1);
    assert_eq!(one.delivery_log(&delivery.log_key()).await.expect("read"), None);
    let (logs, _) = one.delivery_logs(webhook_id(1), None, Order::OldestFirst, None, 10).await.expect("read");
    assert_eq!(logs, []);

    // The same table, kept for longer.
    assert_eq!(shown(&month).await, [first, second]);
    assert!(month.delivery_log(&delivery.log_key()).await.expect("read").is_some());
    // What comes again is not taken for new, though it is shown no more.
    assert_eq!(one.recorded(call_id(1), false).await.expect("read").statuses.len(), 1);
    let wanted = [Wanted { at: delivery.log_key(), with_log: true }];
    let receivers = one.receivers(&wanted).await.expect("read");
    assert!(receivers.of(&delivery.log_key()).expect("read").log.is_some());
}

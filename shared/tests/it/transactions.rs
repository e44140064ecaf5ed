//! Writes that meet transactions, and transactions that meet each other.

use std::time::Duration;

use cloud_sim::{FaultKind, Faults};
use futures_util::future::join_all;
use shared::delivery::DeliveryState;
use shared::tables::{Change, Parked, Parking};

use crate::world::{World, delivery, parked_log, webhook, webhook_id};

const A_WHILE: Duration = Duration::from_millis(150);

#[tokio::test(start_paused = true)]
async fn a_write_that_meets_a_transaction_is_tried_again() {
    let world = World::new(1);
    let delivery = delivery(1, webhook_id(1), world.now());
    let log = parked_log(&delivery, world.now());
    world.suffer(Faults { conflicts: 1.0, ..Faults::none() }, A_WHILE);
    world.state.put_delivery_log(&delivery.log_key(), &log).await.expect("written");
    assert_eq!(world.state.delivery_log(&delivery.log_key()).await.expect("read"), Some(log));
    assert!(world.cloud.requests("DynamoDB.PutItem") > 1);
}

/// The SDK lends a client only so many repeats.
#[tokio::test(start_paused = true)]
async fn many_writes_that_meet_transactions_do_not_use_up_the_repeats() {
    let world = World::new(2);
    world.suffer(Faults { conflicts: 1.0, ..Faults::none() }, A_WHILE);
    let writes = (0..100).map(async |n| {
        let delivery = delivery(n, webhook_id(1), world.now());
        world.state.put_delivery_log(&delivery.log_key(), &parked_log(&delivery, world.now())).await
    });
    for written in join_all(writes).await {
        written.expect("written");
    }
}

/// Deliveries are parked and taken out again, while others change the webhook.
#[tokio::test(start_paused = true)]
async fn a_busy_webhook_is_written_by_all() {
    let world = World::new(3);
    let (state, id) = (&world.state, webhook_id(1));
    state.put_webhook(&webhook(1, world.now())).await.expect("a webhook");
    state.change_state(id, &Change::Fail { reason: "r" }, world.now()).await.expect("changed").expect("it fails");
    world.cloud.set_faults(Faults::latency_only());
    let parks = join_all((0..20).map(async |n| {
        let delivery = delivery(n, id, world.now());
        let parked = Parked { place: delivery.parking_place(), delivery };
        let log = parked_log(&parked.delivery, world.now());
        assert_eq!(state.park(&parked.delivery, &log).await.expect("parked"), Parking::Done);
        let retrying = parked.delivery.closed(Some(log), DeliveryState::Retrying, world.now());
        assert!(state.unpark(&parked, &retrying).await.expect("taken out"));
    }));
    let notes = async {
        for _ in 0..50 {
            state.note_success(id, world.now()).await.expect("noted");
        }
    };
    tokio::join!(parks, notes);
    let known = state.webhook(id).await.expect("read").expect("there");
    assert_eq!(known.health.parked, 0);
    assert!(world.cloud.counts().of(FaultKind::Overlap) > 0, "{}", world.cloud.counts());
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_cancelled_for_no_condition_is_tried_again() {
    for seed in 0..10 {
        let world = World::new(seed);
        let (state, id) = (&world.state, webhook_id(1));
        state.put_webhook(&webhook(1, world.now())).await.expect("a webhook");
        state.change_state(id, &Change::Fail { reason: "r" }, world.now()).await.expect("changed");
        let delivery = delivery(1, id, world.now());
        // Conflicts, throttled items, or both.
        world.suffer(Faults { cancellations: 1.0, ..Faults::none() }, A_WHILE);
        let parked = state.park(&delivery, &parked_log(&delivery, world.now())).await.expect("parked");
        assert_eq!(parked, Parking::Done);
        let health = state.webhook(id).await.expect("read").expect("there").health;
        assert_eq!(health.parked, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_does_not_hold_is_an_answer() {
    let world = World::new(5);
    world.state.put_webhook(&webhook(1, world.now())).await.expect("a webhook");
    let delivery = delivery(1, webhook_id(1), world.now());
    let parked = world.state.park(&delivery, &parked_log(&delivery, world.now())).await.expect("an answer");
    assert_eq!((parked, world.cloud.requests("DynamoDB.TransactWriteItems")), (Parking::NotNow, 1));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_whose_answer_is_lost_is_carried_out_once() {
    let world = World::new(6);
    let (state, id) = (&world.state, webhook_id(1));
    state.put_webhook(&webhook(1, world.now())).await.expect("a webhook");
    state.change_state(id, &Change::Fail { reason: "r" }, world.now()).await.expect("changed");
    let delivery = delivery(1, id, world.now());
    world.suffer(Faults { lost_answers: 1.0, ..Faults::none() }, Duration::from_millis(1));
    state.park(&delivery, &parked_log(&delivery, world.now())).await.expect("parked");
    assert!(world.cloud.requests("DynamoDB.TransactWriteItems") > 1);
    assert_eq!(state.webhook(id).await.expect("read").expect("there").health.parked, 1);
}

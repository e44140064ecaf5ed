//! Writes that meet transactions, and transactions that meet each other.

use std::time::Duration;

use cloud_sim::{FaultKind, Faults};
use futures_util::future::join_all;

use crate::world::{World, delivery, parked_log, webhook, webhook_id};

const A_WHILE: Duration = Duration::from_millis(150);

#[tokio::test(start_paused = true)]
async fn a_write_that_meets_a_transaction_is_tried_again() {
    let world = World::new(1);
    let delivery = delivery(1, webhook_id(1), world.now());
    let log = parked_log(&delivery, world.now());
    world.suffer(Faults { conflicts: 1.0, ..Faults::none() }, A_WHILE);
    world.write_log(&delivery, &log).await.expect("written");
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
        world.write_log(&delivery, &parked_log(&delivery, world.now())).await
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
    world.cloud.set_faults(Faults { conflicts: 0.3, ..Faults::latency_only() });
    let parks = join_all((0..20).map(async |n| {
        let delivery = delivery(n, id, world.now());
        state.park(&delivery, "somebody").await.expect("parked");
        state.take_out(&delivery, "somebody").await.expect("taken out");
    }));
    let notes = async {
        for _ in 0..50 {
            state.note_success(id, world.now()).await.expect("noted");
        }
    };
    tokio::join!(parks, notes);
    assert_eq!(state.parked_count(id, 100).await.expect("counted"), 0);
    assert!(world.cloud.counts().of(FaultKind::Conflict) > 0, "{}", world.cloud.counts());
}

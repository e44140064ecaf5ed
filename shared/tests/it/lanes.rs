//! Lanes and the park: who may change what, also where answers are lost.

use cloud_sim::Faults;
use shared::tables::{Change, Look};
use shared::webhook::{Lane, Lookout, Webhook, WebhookState};
use tokio::time::Duration;

use crate::world::{World, delivery, parked_log, webhook, webhook_id};

const AN_ANSWER: Duration = Duration::from_millis(1);

async fn world(seed: u64) -> World {
    let world = World::new(seed);
    world.state.put_webhook(&webhook(1, world.now())).await.expect("a webhook");
    world
}

fn comes(at: i64) -> Lookout {
    Lookout { next_look_at: Some(at), ..Lookout::default() }
}

async fn stored(world: &World) -> Webhook {
    world.state.webhook(webhook_id(1)).await.expect("read").expect("there")
}

#[tokio::test(start_paused = true)]
async fn a_lane_is_taken_once_also_where_the_answer_is_lost() {
    let world = world(1).await;
    let (state, id) = (&world.state, webhook_id(1));
    world.suffer(Faults { lost_answers: 1.0, ..Faults::none() }, AN_ANSWER);
    let taken = state.take_lane(id, "is slow", &comes(7), world.now()).await.expect("an answer").expect("it is taken");
    assert_eq!((taken.lane(), taken.health.lane_reason.as_deref()), (Lane::Own, Some("is slow")));
    tokio::time::sleep(AN_ANSWER).await;
    assert!(state.take_lane(id, "is slow", &comes(8), world.now()).await.expect("an answer").is_none());
    assert_eq!(stored(&world).await.health.lookout, comes(7));
}

#[tokio::test(start_paused = true)]
async fn a_lane_settles_step_by_step_and_only_from_what_it_was() {
    let world = world(2).await;
    let (state, id) = (&world.state, webhook_id(1));
    state.take_lane(id, "is slow", &comes(7), world.now()).await.expect("an answer");
    let steps = [
        ((Lane::Own, false), (Lane::Own, true), false),
        ((Lane::Settling, true), (Lane::Shared, false), false),
        ((Lane::Own, true), (Lane::Own, false), true),
        ((Lane::Own, true), (Lane::Settling, true), false),
        ((Lane::Own, false), (Lane::Own, true), true),
        ((Lane::Own, true), (Lane::Settling, true), true),
        ((Lane::Settling, true), (Lane::Shared, false), true),
    ];
    for (from, to, changes) in steps {
        tokio::time::sleep(AN_ANSWER * 2).await;
        world.suffer(Faults { lost_answers: 1.0, ..Faults::none() }, AN_ANSWER);
        let changed = state.change_lane(id, from, to, world.now()).await.expect("an answer");
        assert_eq!(changed, changes, "{from:?} to {to:?}");
    }
    let health = stored(&world).await.health;
    assert_eq!((health.lane, health.lane_reason, health.lookout.next_look_at), (Some(Lane::Shared), None, None));
}

/// Before there were lanes.
#[tokio::test(start_paused = true)]
async fn a_webhook_that_was_failing_before_has_its_own_lane() {
    let world = world(3).await;
    let (state, id) = (&world.state, webhook_id(1));
    state.change_state(id, &Change::Fail { reason: "r" }, world.now()).await.expect("changed").expect("it fails");
    assert_eq!(stored(&world).await.lane(), Lane::Own);
    assert!(state.take_lane(id, "is slow", &comes(7), world.now()).await.expect("an answer").is_none());
    assert!(state.change_lane(id, (Lane::Own, false), (Lane::Own, true), world.now()).await.expect("an answer"));
    let look = Look { lookout: Lookout { refusals: 3, ..comes(9) }, last_success_at: Some(8) };
    state.note_look(id, &look).await.expect("noted");
    let health = stored(&world).await.health;
    assert_eq!((health.lane, health.lookout, health.last_success_at), (Some(Lane::Own), look.lookout, Some(8)));
}

#[tokio::test(start_paused = true)]
async fn owners_changes_concern_what_is_parked() {
    let world = world(4).await;
    let (state, id) = (&world.state, webhook_id(1));
    let paused = state.change_state(id, &Change::Pause, world.now()).await.expect("changed").expect("paused");
    assert_eq!((paused.lane(), paused.health.paused_at.is_some()), (Lane::Own, true));
    let resume = |off| Change::Resume { off };
    assert!(state.change_state(id, &resume(true), world.now()).await.expect("an answer").is_none(), "it is not off");
    let resumed = state.change_state(id, &resume(false), world.now()).await.expect("changed").expect("resumed");
    assert_eq!((resumed.lane(), resumed.health.paused_at), (Lane::Own, None));
    let off = Change::SwitchOff { reason: "answered 410" };
    let off = state.change_state(id, &off, world.now()).await.expect("changed").expect("off");
    assert_eq!((off.health.state, off.health.refusing_since.is_some()), (WebhookState::Off, true));
    let on = state.change_state(id, &resume(true), world.now()).await.expect("changed").expect("on again");
    assert_eq!((on.health.state, on.health.reason), (WebhookState::Active, None));
    let told = state.change_state(id, &Change::Recover, world.now()).await.expect("changed").expect("it accepts");
    assert_eq!((told.health.refusing_since, told.health.pending_notices.len()), (None, 2));
    tokio::time::sleep(AN_ANSWER).await;
    assert!(state.change_state(id, &Change::Recover, world.now()).await.expect("an answer").is_none());
}

#[tokio::test(start_paused = true)]
async fn who_takes_out_leaves_what_others_have_parked() {
    let world = world(5).await;
    let (state, delivery) = (&world.state, delivery(1, webhook_id(1), world.now()));
    let count = async || state.parked_count(webhook_id(1), 10).await.expect("counted");
    world.suffer(Faults { lost_answers: 1.0, ..Faults::none() }, AN_ANSWER);
    state.park(&delivery, "one").await.expect("parked");
    state.park(&delivery, "other").await.expect("parked");
    state.take_out(&delivery, "one").await.expect("taken out");
    assert_eq!(count().await, 1);
    state.take_out(&delivery, "other").await.expect("taken out");
    assert_eq!(count().await, 0);
    state.take_out(&delivery, "other").await.expect("nothing is there");

    // A later round stays.
    let again = shared::delivery::Delivery { round: 1, ..delivery.clone() };
    state.park(&again, "one").await.expect("parked");
    state.park(&delivery, "other").await.expect("it is over");
    let parked = state.parked(webhook_id(1), None, 10).await.expect("read").parked.pop().expect("something");
    assert_eq!(parked.delivery, again);
    state.remove_parked(&parked).await.expect("removed");
    assert_eq!(count().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_knows_the_end_is_not_parked_over() {
    let world = world(6).await;
    let (state, delivery) = (&world.state, delivery(1, webhook_id(1), world.now()));
    let (at, log) = (delivery.log_key(), parked_log(&delivery, world.now()));
    assert!(state.put_parked_log(&at, &log).await.expect("written"));
    assert!(state.put_parked_log(&at, &log).await.expect("written"), "it is parked again");
    let ended = delivery.closed(None, shared::delivery::DeliveryState::Delivered, world.now());
    state.put_delivery_logs(vec![state.log_item(&at, &ended).expect("an item")]).await.expect("written");
    assert!(!state.put_parked_log(&at, &log).await.expect("an answer"));
}

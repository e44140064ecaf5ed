//! Conditional writes whose answer is lost: the next attempt meets what the first one has written.

use std::time::Duration;

use cloud_sim::Faults;
use jiff::Timestamp;
use serde_json::json;
use shared::apikey::{ApiKey, KeyHash, Scope, key_of};
use shared::command::{Command, CommandState};
use shared::ids::CommandId;
use shared::operation::{Operation, Reach};
use shared::tables::{Change, Claim, Finish, Inserted};
use shared::time::from_millis;
use shared::webhook::{Kind, PendingNotice, Secret, WebhookState};

use crate::world::{World, webhook, webhook_id};

const TOKEN: &str = "t";

/// From now on the first answers are lost.
fn lose_answers(world: &World) {
    world.suffer(Faults { lost_answers: 1.0, ..Faults::none() }, Duration::from_millis(1));
}

fn command(now: Timestamp) -> Command {
    let id = CommandId::of_idempotency_key("key", "name");
    Command::queued(id, Operation::GetUsers { page: Default::default() }, "key", Reach::default(), now)
}

#[tokio::test(start_paused = true)]
async fn a_change_of_state_is_told() {
    let world = World::new(1);
    let (state, id) = (&world.state, webhook_id(1));
    state.put_webhook(&webhook(1, world.now())).await.expect("a webhook");

    lose_answers(&world);
    let failing = state.change_state(id, &Change::Fail { reason: "r" }, world.now()).await.expect("an answer");
    let health = failing.expect("it is changed").health;
    assert_eq!((health.state, health.pending_notices.len()), (WebhookState::Failing, 1));
    // Who comes second has changed nothing.
    let again = state.change_state(id, &Change::Fail { reason: "r" }, world.now()).await.expect("an answer");
    assert!(again.is_none());

    lose_answers(&world);
    let active = state.change_state(id, &Change::Recover, world.now()).await.expect("an answer");
    assert_eq!(active.expect("it is changed").health.state, WebhookState::Active);
}

#[tokio::test(start_paused = true)]
async fn what_is_noted_is_told() {
    let world = World::new(2);
    let (state, id) = (&world.state, webhook_id(1));
    let mut expiring = webhook(1, world.now());
    let expires_at = world.now().as_second() + 1_000_000;
    expiring.settings.expires_at = Some(expires_at);
    state.put_webhook(&expiring).await.expect("a webhook");
    let (kind, at) = (Kind::WebhookExpiring, world.now().as_millisecond());
    let notice = PendingNotice { kind, at, message: "expires".to_owned() };
    lose_answers(&world);
    let noted = state.note_expiry(id, expires_at, &notice).await.expect("an answer");
    assert_eq!(noted.expect("it is noted").health.pending_notices.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_is_shown() {
    let world = World::new(3);
    let (state, known) = (&world.state, webhook(1, world.now()));
    lose_answers(&world);
    // The webhook that is there then is the one that was to be made.
    let there = state.put_new_webhook(&known).await.expect("an answer");
    assert!(there.is_none_or(|there| there == known));

    let secret = Secret::new("whsec_AAAA");
    lose_answers(&world);
    let rotated = state.rotate_secret(known.id, &known.secret, &secret, &[]).await.expect("an answer");
    assert_eq!(rotated.expect("it is rotated").secret, secret);
    let other = state.rotate_secret(known.id, &known.secret, &Secret::new("whsec_BBBB"), &[]).await;
    assert!(other.expect("an answer").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_changed() {
    let world = World::new(4);
    let hash = KeyHash::of(&key_of([7; 32])).expect("a key");
    let key = ApiKey::new(hash.id(), "name".to_owned(), vec![Scope::Admin]);
    world.state.put_api_key(&hash, &key).await.expect("a key");
    let changed_at = |millis| ApiKey { changed_at: Some(millis), ..key.clone() };
    lose_answers(&world);
    assert!(world.state.change_api_key(&hash, &key, &changed_at(1)).await.expect("an answer"));
    assert!(!world.state.change_api_key(&hash, &key, &changed_at(2)).await.expect("an answer"));
}

#[tokio::test(start_paused = true)]
async fn a_command_is_placed_claimed_and_finished() {
    let world = World::new(5);
    let (exchange, command) = (&world.exchange, command(world.now()));
    let id = command.command_id;
    lose_answers(&world);
    assert!(matches!(exchange.insert(&command).await.expect("an answer"), Inserted::New));
    let later = Command { created_at: command.created_at + 1, ..command.clone() };
    assert!(
        matches!(exchange.insert(&later).await.expect("an answer"), Inserted::Existing(known) if *known == command)
    );

    lose_answers(&world);
    let claim = exchange.claim(id, TOKEN, "agent", world.now()).await.expect("an answer");
    assert!(matches!(claim, Claim::Won { .. }));
    let end = Finish::Done(Ok(json!({})));
    lose_answers(&world);
    assert!(exchange.finish(id, TOKEN, &end, world.now()).await.expect("an answer"));
    assert!(!exchange.finish(id, "other", &end, world.now()).await.expect("an answer"));
    // It has ended otherwise.
    assert!(!exchange.finish(id, TOKEN, &Finish::Expired, world.now()).await.expect("an answer"));
}

#[tokio::test(start_paused = true)]
async fn an_overdue_command_has_expired() {
    let world = World::new(6);
    let (exchange, command) = (&world.exchange, command(from_millis(1)));
    exchange.insert(&command).await.expect("inserted");
    lose_answers(&world);
    let expired = exchange.expire(command.command_id, world.now()).await.expect("an answer");
    assert_eq!(expired.state, CommandState::Expired);
}

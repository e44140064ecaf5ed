//! Webhooks: registered, changed, tried, resumed and deleted. What they are sent is `deliver`'s business.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use shared::apikey::{ApiKey, Scope};
use shared::codes::Code;
use shared::delivery::{Delivery, Drain, Trial};
use shared::envelope;
use shared::event::{CallEvent, Status};
use shared::ids::{CallId, SubscriptionId};
use shared::queue::{Outgoing, Taken};
use shared::subscription::{Secret, Settings, Subscription, SubscriptionState};
use shared::tables::Change;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::Ctx;
use super::deliveries::Shown as ShownDelivery;
use crate::auth;
use crate::context::Context;
use crate::errors::{ApiError, in_time, json};
use crate::request::Incoming;
use crate::webhooks::{self, FIELDS, Shown};

/// As long as Standard Webhooks recommends.
const SECRET_BYTES: usize = 32;
/// While a secret is replaced, the old one signs along.
const BOTH_SECRETS: SignedDuration = SignedDuration::from_hours(24);
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);
/// Parked deliveries of a deleted webhook that are logged as cancelled before the answer.
const CANCELLED_AT_ONCE: usize = 100;

pub(crate) async fn create(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let settings = request.fields(&FIELDS).and_then(|fields| webhooks::settings(&fields, None, context.allow_http));
    let key = own(&context, &request).await?;
    let (settings, now) = (settings?, Timestamp::now());
    not_over(&settings, now)?;
    webhooks::require_own(&key, &settings)?;
    let living = in_time(context.state.subscriptions()).await?;
    if living.iter().filter(|subscription| subscription.is_alive(now)).count() >= context.max_webhooks {
        return Err(ApiError::new(Code::TooManyWebhooks));
    }
    let subscription = Subscription::new(SubscriptionId::random(), settings, new_secret(), now);
    in_time(context.state.put_subscription(&subscription)).await?;
    let mut response = json(StatusCode::CREATED, &Shown::of(&subscription, now).with_secret(&subscription.secret));
    // Power Automate deletes what this address names, so it has to be whole.
    let location =
        format!("{}/webhooks/{}", request.base_url(context.public_url.as_deref()).unwrap_or_default(), subscription.id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

pub(crate) async fn list(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    listed(&context, &request).await.map_err(ApiError::for_read)
}

async fn listed(context: &Context, request: &Incoming) -> Result<Response, ApiError> {
    let key = own(context, request).await?;
    let mut subscriptions = in_time(context.state.subscriptions()).await?;
    subscriptions.retain(|subscription| webhooks::is_own(&key, &subscription.settings));
    subscriptions.sort_by_key(|subscription| (subscription.created_at, subscription.id));
    let now = Timestamp::now();
    let shown: Vec<Shown<'_>> = subscriptions.iter().map(|subscription| Shown::of(subscription, now)).collect();
    Ok(json(StatusCode::OK, &json!({"webhooks": shown})))
}

pub(crate) async fn show(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let found = async {
        let key = own(&context, &request).await?;
        find(&context, &request, &key).await
    };
    let subscription = found.await.map_err(ApiError::for_read)?;
    Ok(json(StatusCode::OK, &Shown::of(&subscription, Timestamp::now())))
}

pub(crate) async fn change(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let fields = request.fields(&FIELDS);
    let key = own(&context, &request).await?;
    let known = find(&context, &request, &key).await?;
    let settings = webhooks::settings(&fields?, Some(&known.settings), context.allow_http)?;
    webhooks::require_own(&key, &settings)?;
    let now = Timestamp::now();
    not_over(&settings, now)?;
    let changed = in_time(context.state.change_settings(known.id, &settings, now)).await?;
    let changed = changed.ok_or_else(|| ApiError::new(Code::WebhookNotFound))?;
    Ok(json(StatusCode::OK, &Shown::of(&changed, Timestamp::now())))
}

/// A platform that edits a flow deletes and creates, and may delete twice: what is gone already is fine.
pub(crate) async fn delete(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let key = own(&context, &request).await?;
    let id: SubscriptionId = request.path_id("WebhookId")?;
    let known = in_time(context.state.subscription(id)).await?;
    if known.is_some_and(|known| webhooks::is_own(&key, &known.settings)) {
        in_time(context.state.delete_subscription(id)).await?;
        // Whatever is not cancelled in time is never sent either.
        let _ = in_time(context.state.cancel_parked(id, CANCELLED_AT_ONCE, Timestamp::now())).await;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Replaces the secret. Receivers have a day to learn the new one.
pub(crate) async fn rotate(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let key = own(&context, &request).await?;
    let known = find(&context, &request, &key).await?;
    let (secret, until) = (new_secret(), (Timestamp::now() + BOTH_SECRETS).as_second());
    let changed = in_time(context.state.rotate_secret(known.id, &known.secret, &secret, until)).await?;
    // Somebody else was quicker; their secret must not be replaced unseen.
    let changed = changed.ok_or_else(|| ApiError::new(Code::Unavailable))?;
    Ok(json(StatusCode::OK, &Shown::of(&changed, Timestamp::now()).with_secret(&secret)))
}

/// Somebody says that the receiver accepts again, or wants again what it had switched off.
pub(crate) async fn resume(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let key = own(&context, &request).await?;
    let known = find(&context, &request, &key).await?;
    let change = Change::Drain { by_hand: true };
    let changed = in_time(context.state.change_state(known.id, &change, Timestamp::now())).await?;
    // One that is active has nothing to resume.
    let Some(draining) = changed else { return Ok(json(StatusCode::OK, &Shown::of(&known, Timestamp::now()))) };
    debug_assert_eq!(draining.health.state, SubscriptionState::Draining);
    let drain = Drain { drain: draining.id, since: draining.health.state_since.unwrap_or_default() };
    queue(&context, drain.group(), drain.dedup(), envelope::seal(&drain)).await?;
    Ok(json(StatusCode::OK, &Shown::of(&draining, Timestamp::now())))
}

/// Sends the fully populated sample, signed, through the same queue and function as everything else, and waits for what comes
/// of it.
pub(crate) async fn test(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let order = request.wait();
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Webhooks])?;
    request.only_params(&["wait"])?;
    let until = request.started + order?;
    let known = find(&context, &request, &key).await?;
    let event = CallEvent::full_example(CallId::from_uuid(Uuid::new_v4()), Status::Disconnected, Timestamp::now());
    // It is sent to a failing webhook, too; one that is off or has expired gets nothing.
    let delivery = Delivery { trial: Some(Trial::Test), ..Delivery::of_call(event, known.id) };
    queue(&context, delivery.group(), delivery.dedup(), envelope::seal(&delivery)).await?;

    let at = delivery.log_key();
    let mut log = None;
    while log.is_none() && Instant::now() < until {
        sleep_until(until.min(Instant::now() + LOOK_EVERY)).await;
        log = in_time(context.state.delivery_log(&at)).await.ok().flatten();
    }
    let status = if log.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let log = log.unwrap_or_else(|| delivery.log(Timestamp::now()));
    Ok(json(status, &ShownDelivery::of(&at, &log)))
}

/// The key of a request that takes no parameters, if it may deal with webhooks.
async fn own(context: &Context, request: &Incoming) -> Result<ApiKey, ApiError> {
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Webhooks])?;
    request.only_params(&[])?;
    Ok(key)
}

/// The webhook in the path, if it exists for this key.
pub(super) async fn find(context: &Context, request: &Incoming, key: &ApiKey) -> Result<Subscription, ApiError> {
    let id: SubscriptionId = request.path_id("WebhookId")?;
    let known = in_time(context.state.subscription(id)).await?;
    let known = known.filter(|known| webhooks::is_own(key, &known.settings));
    known.ok_or_else(|| ApiError::new(Code::WebhookNotFound))
}

/// Sends one message to the deliveries queue.
pub(super) async fn queue(
    context: &Context,
    group: String,
    dedup: String,
    body: Result<String, serde_json::Error>,
) -> Result<(), ApiError> {
    let body = body.map_err(|_| ApiError::new(Code::Internal))?;
    let taken = in_time(context.deliveries.send_fifo(&[Outgoing { group, dedup, body }])).await?;
    if taken.iter().all(Taken::is_yes) { Ok(()) } else { Err(ApiError::new(Code::Unavailable)) }
}

fn not_over(settings: &Settings, now: Timestamp) -> Result<(), ApiError> {
    if settings.expires_at.is_some_and(|at| at <= now.as_second()) {
        return Err(ApiError::invalid("Field `expiresAt` is in the past; the webhook would never be called."));
    }
    Ok(())
}

fn new_secret() -> Secret {
    let random: [u8; SECRET_BYTES] = rand::random();
    Secret::new(format!("whsec_{}", STANDARD.encode(random)))
}

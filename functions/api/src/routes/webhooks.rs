//! Webhooks: registered, changed, tried, paused, resumed and deleted. What they are sent is `deliver`'s business.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest, Sha256};
use shared::apikey::{ApiKey, Scope};
use shared::codes::Code;
use shared::delivery::{Delivery, LaneCall, Payload, Trial};
use shared::envelope;
use shared::ids::{CallId, WebhookId};
use shared::notice::Notice;
use shared::queue::{Outgoing, Taken};
use shared::random::Random;
use shared::tables::{Change, TableError};
use shared::webhook::{Kind, Lane, PreviousSecret, Secret, Settings, Webhook, WebhookState};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::context::{Context, Ctx};
use crate::deliveries::DeliveryView;
use crate::errors::{ApiError, in_time, json};
use crate::request::Incoming;
use crate::trail::{self, Subject};
use crate::webhook_view::{Condition, MOST_COUNTED, PublicState, WebhookView};
use crate::webhooks::{self, FIELDS};
use crate::{auth, directory, sample};

/// As long as Standard Webhooks recommends.
const SECRET_BYTES: usize = 32;
/// While a secret is replaced, the old one signs along.
const BOTH_SECRETS: SignedDuration = SignedDuration::from_hours(24);
/// Secrets beside the present one that a webhook signs with.
const MOST_PREVIOUS_SECRETS: usize = 4;
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);
/// Backlogs of a list that are counted at once.
const COUNTED_AT_ONCE: usize = 10;

pub(crate) async fn create(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let known: Vec<&str> = FIELDS.into_iter().chain(["requestId"]).collect();
    let wanted = request.fields(&known).and_then(|fields| {
        let settings = webhooks::settings(&fields, None, context.allow_http)?;
        Ok((settings, request.idempotency_key(&fields)?, fields.names()))
    });
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Webhooks])?;
    request.only_params(&["requestId"])?;
    let ((settings, name, fields), now) = (wanted?, context.now());
    not_over(&settings, now)?;
    webhooks::require_own(&key, &settings)?;
    directory::require_unambiguous(&context, &settings.filter.extensions).await?;
    let id = match &name {
        Some(name) => WebhookId::of_idempotency_key(&key.id, name),
        None => WebhookId::from_uuid(context.random.uuid()),
    };
    let wanted = Webhook {
        request_hash: name.map(|_| fingerprint(&settings)),
        ..Webhook::new(id, settings, new_secret(&context.random), now)
    };
    let living = in_time(context.state.webhooks()).await?;
    let known = living.iter().find(|known| known.id == id).cloned();
    let webhook = match known {
        Some(known) => {
            // Whoever stored it may have died before it was made known.
            in_time(context.state.webhooks_changed()).await?;
            repeated(known, &wanted)?
        }
        None => {
            if living.iter().filter(|webhook| webhook.is_alive(now)).count() >= context.max_webhooks {
                return Err(ApiError::new(Code::TooManyWebhooks));
            }
            record(&context, &key, "CreateWebhook", &wanted, fields).await?;
            match in_time(context.state.put_new_webhook(&wanted)).await? {
                Some(known) => repeated(known, &wanted)?,
                None => wanted,
            }
        }
    };
    let parked = in_time(parked(&context, &webhook)).await?;
    let mut response = json(StatusCode::CREATED, &WebhookView::of(&webhook, parked, now).with_secret(&webhook.secret));
    // Power Automate deletes what this address names, so it has to be whole.
    let location =
        format!("{}/webhooks/{}", request.base_url(context.public_url.as_deref()).unwrap_or_default(), webhook.id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// The webhook that an earlier request of the same name has made, if it was the same request.
fn repeated(known: Webhook, wanted: &Webhook) -> Result<Webhook, ApiError> {
    if known.request_hash == wanted.request_hash { Ok(known) } else { Err(ApiError::new(Code::IdempotencyConflict)) }
}

fn fingerprint(settings: &Settings) -> String {
    hex::encode(Sha256::digest(serde_json::to_vec(settings).unwrap_or_default()))
}

async fn record(
    context: &Context,
    by: &ApiKey,
    operation: &str,
    about: &Webhook,
    fields: Vec<String>,
) -> Result<(), ApiError> {
    let subject = Subject::Webhook { id: &about.id.to_string(), settings: &about.settings };
    trail::record(context, by, operation, subject, fields, context.now()).await
}

pub(crate) async fn list(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    listed(&context, &request).await.map_err(ApiError::for_read)
}

async fn listed(context: &Context, request: &Incoming) -> Result<Response, ApiError> {
    let key = own_with(context, request, &["state"]).await?;
    let names = &PublicState::NAMES;
    let states = request.query().list("state", names.len(), |entry| entry.choice(names))?;
    let mut webhooks = in_time(context.state.webhooks()).await?;
    let now = context.now();
    webhooks.retain(|webhook| {
        webhooks::is_own(&key, &webhook.settings)
            && (states.is_empty() || states.contains(&Condition::of(webhook, now).state))
    });
    webhooks.sort_by_key(|webhook| (webhook.created_at, webhook.id));
    let counts: Vec<_> = webhooks.iter().map(|webhook| parked(context, webhook)).collect();
    let counts: Vec<u32> = in_time(stream::iter(counts).buffered(COUNTED_AT_ONCE).try_collect()).await?;
    let shown = webhooks.iter().zip(counts).map(|(webhook, parked)| WebhookView::of(webhook, parked, now));
    Ok(json(StatusCode::OK, &json!({"webhooks": shown.collect::<Vec<_>>()})))
}

/// How many deliveries wait for a webhook. In the lane that webhooks share nothing is parked.
async fn parked(context: &Context, webhook: &Webhook) -> Result<u32, TableError> {
    match webhook.lane() {
        Lane::Shared => Ok(0),
        Lane::Own | Lane::Settling => context.state.parked_count(webhook.id, MOST_COUNTED).await,
    }
}

/// The answer with a webhook as it is.
async fn shown(context: &Context, webhook: &Webhook) -> Result<Response, ApiError> {
    let parked = in_time(parked(context, webhook)).await?;
    Ok(json(StatusCode::OK, &WebhookView::of(webhook, parked, context.now())))
}

pub(crate) async fn show(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let answer = async {
        let key = own(&context, &request).await?;
        shown(&context, &find(&context, &request, &key).await?).await
    };
    answer.await.map_err(ApiError::for_read)
}

pub(crate) async fn change(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let fields = request.fields(&FIELDS);
    let key = own(&context, &request).await?;
    let known = find(&context, &request, &key).await?;
    let fields = fields?;
    let settings = webhooks::settings(&fields, Some(&known.settings), context.allow_http)?;
    webhooks::require_own(&key, &settings)?;
    if settings.filter.extensions != known.settings.filter.extensions {
        directory::require_unambiguous(&context, &settings.filter.extensions).await?;
    }
    let now = context.now();
    not_over(&settings, now)?;
    let about = Webhook { settings: settings.clone(), ..known.clone() };
    record(&context, &key, "ChangeWebhook", &about, webhooks::differences(&known.settings, &settings)).await?;
    let changed = in_time(context.state.change_settings(known.id, &settings, now)).await?;
    let changed = changed.ok_or_else(|| ApiError::new(Code::WebhookNotFound))?;
    shown(&context, &changed).await
}

/// A platform that edits a flow deletes and creates, and may delete twice: what is gone already is fine.
pub(crate) async fn delete(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let key = own(&context, &request).await?;
    let id: WebhookId = request.path_id("webhookId")?;
    let known = in_time(context.state.webhook(id)).await?;
    if let Some(known) = known.filter(|known| webhooks::is_own(&key, &known.settings)) {
        record(&context, &key, "DeleteWebhook", &known, Vec::new()).await?;
        in_time(context.state.delete_webhook(id)).await?;
        // It cancels what is parked; without it nothing of that is sent either.
        call_worker(&context, id).await;
    }
    Ok(request.deleted())
}

/// Replaces the secret. Receivers have a day to learn the new one, also when it is replaced again meanwhile.
pub(crate) async fn rotate(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let key = own(&context, &request).await?;
    let known = find(&context, &request, &key).await?;
    let (secret, now) = (new_secret(&context.random), context.now());
    let present = PreviousSecret { secret: known.secret.clone(), until: (now + BOTH_SECRETS).as_second() };
    let previous: Vec<PreviousSecret> = std::iter::once(present).chain(known.valid_previous(now).cloned()).collect();
    if previous.len() > MOST_PREVIOUS_SECRETS {
        return Err(ApiError::new(Code::TooManySecrets));
    }
    // Once the secret is another one, nothing may fail before the answer that shows it.
    let parked = in_time(parked(&context, &known)).await?;
    record(&context, &key, "RotateWebhookSecret", &known, Vec::new()).await?;
    let changed = in_time(context.state.rotate_secret(known.id, &known.secret, &secret, &previous)).await?;
    // Somebody else was quicker; their secret must not be replaced unseen.
    let changed = changed.ok_or_else(|| ApiError::new(Code::Unavailable))?;
    Ok(json(StatusCode::OK, &WebhookView::of(&changed, parked, context.now()).with_secret(&secret)))
}

/// The owner says that the receiver accepts again, wants again what it had switched off, or is to be sent again what was paused.
pub(crate) async fn resume(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let key = own(&context, &request).await?;
    let known = find(&context, &request, &key).await?;
    let off = known.health.state == WebhookState::Off;
    if !off && known.health.paused_at.is_none() && known.lane() == Lane::Shared {
        return shown(&context, &known).await;
    }
    let resumed = changed(&context, &key, "ResumeWebhook", &known, Change::Resume { off }).await?;
    call_worker(&context, resumed.id).await;
    shown(&context, &resumed).await
}

/// The owner wants nothing sent for now. What comes meanwhile is parked.
pub(crate) async fn pause(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let key = own(&context, &request).await?;
    let known = find(&context, &request, &key).await?;
    if known.health.paused_at.is_some() {
        return shown(&context, &known).await;
    }
    // Nobody is called: whoever sends reads first whether it is paused.
    let paused = changed(&context, &key, "PauseWebhook", &known, Change::Pause).await?;
    shown(&context, &paused).await
}

/// The owner does not want what is parked. The worker of the lane cancels it.
pub(crate) async fn purge(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let key = own(&context, &request).await?;
    let known = find(&context, &request, &key).await?;
    if known.lane() == Lane::Shared {
        return shown(&context, &known).await;
    }
    let purged = changed(&context, &key, "PurgeWebhook", &known, Change::Purge).await?;
    call_worker(&context, purged.id).await;
    shown(&context, &purged).await
}

/// Writes down what the owner wants, and makes the change.
async fn changed(
    context: &Context,
    by: &ApiKey,
    operation: &str,
    known: &Webhook,
    change: Change<'_>,
) -> Result<Webhook, ApiError> {
    record(context, by, operation, known, Vec::new()).await?;
    let changed = in_time(context.state.change_state(known.id, &change, context.now())).await?;
    // Meanwhile it was deleted, or switched off or on; the next request finds it as it is.
    changed.ok_or_else(|| ApiError::new(Code::Unavailable))
}

/// Has the worker of a webhook's own lane come at once. Where the call is lost it comes some minutes later, so it fails nothing. To a
/// webhook that was deleted nothing is sent either way.
async fn call_worker(context: &Context, id: WebhookId) {
    let call = LaneCall { lane: id }.message(&context.random.uuid().simple().to_string());
    let taken = in_time(context.lanes.send_fifo(&[call])).await;
    if !taken.is_ok_and(|taken| taken.iter().all(Taken::is_yes)) {
        warn!(webhook.id = %id, "The worker of a lane is not called");
    }
}

/// Sends an example of what the webhook is for, signed, through the same queue and function as everything else, and waits for
/// what comes of it.
pub(crate) async fn test(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let wait = request.wait();
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Webhooks])?;
    request.only_params(&["wait"])?;
    let until = request.started + wait?;
    let known = find(&context, &request, &key).await?;
    // It is sent to a failing webhook, too; one that is off or has expired gets nothing.
    let delivery = Delivery { trial: Some(Trial::Test), ..Delivery::new(example(&context, &known), known.id) };
    queue(&context, delivery.group(), delivery.dedup(), envelope::seal(&delivery)).await?;

    let at = delivery.log_key();
    let mut log = None;
    while log.is_none() && Instant::now() < until {
        sleep_until(until.min(Instant::now() + LOOK_EVERY)).await;
        log = in_time(context.state.delivery_log(&at)).await.ok().flatten();
    }
    let status = if log.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let log = log.unwrap_or_else(|| delivery.log(context.now()));
    Ok(json(status, &DeliveryView::of(&at, &log, &known.settings)))
}

/// Something that this webhook would be told.
fn example(context: &Context, webhook: &Webhook) -> Payload {
    let (settings, now) = (&webhook.settings, context.now());
    let call = || CallId::from_uuid(context.random.uuid());
    match settings.kinds.first() {
        Some(Kind::CallUpdated) => Payload::Call(Box::new(sample::update_wanted_by(&settings.filter, call(), now))),
        Some(kind) if *kind != Kind::Call => {
            let message = "This is a test: nothing has happened.".to_owned();
            Payload::Notice(Notice::new(*kind, now, message, None))
        }
        _ => Payload::Call(Box::new(sample::wanted_by(&settings.filter, call(), now))),
    }
}

/// The key of a request that takes no parameters, if it may deal with webhooks.
async fn own(context: &Context, request: &Incoming) -> Result<ApiKey, ApiError> {
    own_with(context, request, &[]).await
}

/// The same for a request that takes these parameters.
async fn own_with(context: &Context, request: &Incoming, params: &[&str]) -> Result<ApiKey, ApiError> {
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Webhooks])?;
    request.only_params(params)?;
    Ok(key)
}

/// The webhook in the path, if it exists for this key.
pub(super) async fn find(context: &Context, request: &Incoming, key: &ApiKey) -> Result<Webhook, ApiError> {
    let id: WebhookId = request.path_id("webhookId")?;
    let known = in_time(context.state.webhook(id)).await?;
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

fn new_secret(random: &Random) -> Secret {
    Secret::new(format!("whsec_{}", STANDARD.encode(random.bytes::<SECRET_BYTES>())))
}

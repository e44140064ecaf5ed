//! The log of what was sent, and sending it again.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use shared::apikey::Scope;
use shared::codes::Code;
use shared::delivery::{Attempt, Delivery, DeliveryLog, DeliveryState, LogKey};
use shared::envelope;
use shared::ids::{CallId, DeliveryId, SubscriptionId};
use shared::tables::Order;
use shared::time::iso_millis;
use tokio::time::Instant;

use super::Ctx;
use super::webhooks::{find, queue};
use crate::auth;
use crate::context::Context;
use crate::errors::{ApiError, in_time, json};
use crate::fields::Fields;
use crate::request::Incoming;
use crate::webhooks::is_own;

const PAGE: u16 = 50;
/// Log items that one request looks at while it searches for a state.
const MOST_LOOKED_AT: usize = 1_000;
const READ_AT_ONCE: usize = 200;
/// A replay of many ends in time for the answer.
const REPLAY_WITHIN: std::time::Duration = std::time::Duration::from_secs(15);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownAttempt<'a> {
    at: String,
    duration_ms: u64,
    status: Option<u16>,
    outcome: &'a str,
    answer: Option<&'a str>,
}

impl<'a> From<&'a Attempt> for ShownAttempt<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        Self {
            at: iso_millis(attempt.at),
            duration_ms: attempt.duration_ms,
            status: attempt.status,
            outcome: &attempt.outcome,
            answer: attempt.answer.as_deref(),
        }
    }
}

/// A delivery as the log shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown<'a> {
    id: String,
    /// What was sent as `webhook-id`.
    delivery_id: DeliveryId,
    webhook_id: SubscriptionId,
    about: &'a str,
    #[serde(rename = "CallId")]
    call_id: Option<CallId>,
    sequence: Option<u8>,
    occurred_at: &'a str,
    state: DeliveryState,
    round: u32,
    attempt_count: u32,
    attempts: Vec<ShownAttempt<'a>>,
    next_attempt_at: Option<String>,
    updated_at: String,
}

impl<'a> Shown<'a> {
    pub(super) fn of(at: &'a LogKey, log: &'a DeliveryLog) -> Self {
        Self {
            id: at.public_id(),
            delivery_id: log.delivery_id,
            webhook_id: at.subscription_id,
            about: &log.about,
            call_id: log.call_id,
            sequence: log.sequence,
            occurred_at: at.sort.split('#').next().unwrap_or_default(),
            state: log.state,
            round: log.round,
            attempt_count: log.attempt_count,
            attempts: log.attempts.iter().map(ShownAttempt::from).collect(),
            next_attempt_at: log.next_attempt_at.map(iso_millis),
            updated_at: iso_millis(log.updated_at),
        }
    }
}

pub(crate) async fn list(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    listed(&context, &request).await.map_err(ApiError::for_read)
}

async fn listed(context: &Context, request: &Incoming) -> Result<Response, ApiError> {
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Webhooks])?;
    request.only_params(&["state", "since", "limit", "cursor"])?;
    let state = request.query().choice("state", &states())?;
    let since = request.time("since")?;
    let limit = usize::from(request.limit(PAGE)?);
    let mut behind = request.cursor()?.map(place).transpose()?;
    let id = find(context, request, &key).await?.id;

    let (mut found, mut looked_at) = (Vec::new(), 0);
    loop {
        let read = context.state.delivery_logs(id, since, Order::NewestFirst, behind.as_deref(), limit);
        let (page, next) = in_time(read).await?;
        looked_at += page.len();
        found.extend(page.into_iter().filter(|(_, log)| state.is_none_or(|state| log.state == state)));
        behind = next;
        if found.len() > limit {
            // The next page begins behind what is shown, not behind what was looked at.
            found.truncate(limit);
            behind = found.last().map(|(at, _): &(LogKey, DeliveryLog)| at.sort.clone());
            break;
        }
        if behind.is_none() || found.len() == limit || looked_at >= MOST_LOOKED_AT {
            break;
        }
    }
    let deliveries: Vec<Shown<'_>> = found.iter().map(|(at, log)| Shown::of(at, log)).collect();
    let next_cursor = behind.map(|behind| URL_SAFE_NO_PAD.encode(behind));
    Ok(json(StatusCode::OK, &json!({"deliveries": deliveries, "nextCursor": next_cursor})))
}

/// Sends one delivery again, whatever became of it.
pub(crate) async fn replay(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Webhooks])?;
    request.only_params(&[])?;
    let unknown = || ApiError::new(Code::DeliveryNotFound);
    let at = request.path("DeliveryId").and_then(LogKey::from_public_id).ok_or_else(unknown)?;
    let subscription = in_time(context.state.subscription(at.subscription_id)).await?;
    if !subscription.is_some_and(|subscription| is_own(&key, &subscription.settings)) {
        return Err(unknown());
    }
    let log = in_time(context.state.delivery_log(&at)).await?.ok_or_else(unknown)?;
    let delivery = again(&context, &at, &log).await?.ok_or_else(unknown)?;
    queue(&context, delivery.group(), delivery.dedup(), envelope::seal(&delivery)).await?;
    let log = DeliveryLog { round: delivery.round, state: DeliveryState::Retrying, next_attempt_at: None, ..log };
    Ok(json(StatusCode::ACCEPTED, &Shown::of(&at, &log)))
}

/// Sends everything since a time again, oldest first, as far as there is time; the answer says where to go on.
pub(crate) async fn replay_since(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let wanted = request.fields(&["since", "states"]).and_then(|fields| {
        let states = fields.list("states", DeliveryState::ALL.len(), |entry| entry.choice(&states()))?;
        Ok((Fields::time(&fields, "since")?, states))
    });
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Webhooks])?;
    request.only_params(&[])?;
    let (since, wanted) = wanted?;
    let id = find(&context, &request, &key).await?.id;

    let until = Instant::now() + REPLAY_WITHIN;
    let (mut replayed, mut behind, mut next_since) = (0, None, None);
    'pages: loop {
        let read = context.state.delivery_logs(id, Some(since), Order::OldestFirst, behind.as_deref(), READ_AT_ONCE);
        let (page, next) = in_time(read).await?;
        for (at, log) in page.iter().filter(|(_, log)| wanted.is_empty() || wanted.contains(&log.state)) {
            let sent = async {
                let Some(delivery) = again(&context, at, log).await? else { return Ok(0) };
                queue(&context, delivery.group(), delivery.dedup(), envelope::seal(&delivery)).await?;
                Ok::<_, ApiError>(1)
            };
            let sent = if Instant::now() < until { Some(sent.await) } else { None };
            match sent {
                Some(Ok(sent)) => replayed += sent,
                Some(Err(error)) if replayed == 0 => return Err(error),
                // What was sent is told even if it does not go on, with the time to go on from.
                Some(Err(_)) | None => {
                    next_since = at.sort.split('#').next().map(str::to_owned);
                    break 'pages;
                }
            }
        }
        behind = next;
        if behind.is_none() {
            break;
        }
    }
    Ok(json(StatusCode::ACCEPTED, &json!({"replayed": replayed, "nextSince": next_since})))
}

/// The delivery for another round, if its event is still recorded. Tests and notices are not.
async fn again(context: &Context, at: &LogKey, log: &DeliveryLog) -> Result<Option<Delivery>, ApiError> {
    let (Some(call), Some(sequence)) = (log.call_id, log.sequence) else { return Ok(None) };
    let events = in_time(context.state.call_events(call)).await?;
    let event = events.into_iter().find(|event| event.sequence() == sequence);
    Ok(event.map(|event| Delivery {
        round: log.round + 1,
        replayed_at: Some(Timestamp::now().as_millisecond()),
        ..Delivery::of_call(event, at.subscription_id)
    }))
}

fn states() -> [(&'static str, DeliveryState); 6] {
    DeliveryState::ALL.map(|state| (state.as_str(), state))
}

fn place(cursor: &str) -> Result<String, ApiError> {
    let place = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    place.ok_or_else(|| ApiError::invalid("Query parameter `cursor` takes the `nextCursor` of the page before."))
}

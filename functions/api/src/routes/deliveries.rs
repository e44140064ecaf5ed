//! The log of what was sent, and sending it again.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;
use shared::apikey::Scope;
use shared::codes::Code;
use shared::delivery::{Delivery, DeliveryLog, DeliveryState, LogKey};
use shared::envelope;
use shared::event::{CallEvent, Status};
use shared::ids::DeliveryId;
use shared::tables::Order;
use shared::time::iso_millis;
use shared::webhook::Webhook;
use tokio::time::Instant;

use super::pages::Search;
use super::webhooks::{find, queue};
use crate::auth;
use crate::context::{Context, Ctx};
use crate::deliveries::{DeliveryView, WholeDeliveryView};
use crate::errors::{ApiError, in_time, json};
use crate::fields::Fields;
use crate::request::{Incoming, LONGEST_CURSOR};
use crate::webhooks::{STATUSES, is_own};

const PAGE: u16 = 50;
const READ_AT_ONCE: usize = 200;
/// A replay of many ends in time for the answer.
const REPLAY_WITHIN: std::time::Duration = std::time::Duration::from_secs(15);

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
    let behind = request.cursor()?.map(|cursor| sort_key("Query parameter", cursor)).transpose()?;
    let webhook = find(context, request, &key).await?;

    let mut search = Search::new(limit, behind, state.is_none());
    while let Some((behind, amount)) = search.next() {
        let (page, next) =
            in_time(context.state.delivery_logs(webhook.id, since, Order::NewestFirst, behind, amount)).await?;
        let page = page.into_iter().map(|(at, log)| (at.sort.clone(), (at, log))).collect();
        search.add(page, next, |(_, log)| state.is_none_or(|state| log.state == state));
    }
    let (found, behind) = search.end();
    let deliveries: Vec<DeliveryView<'_>> =
        found.iter().map(|(at, log)| DeliveryView::of(at, log, &webhook.settings)).collect();
    let next_cursor = behind.map(|behind| URL_SAFE_NO_PAD.encode(behind));
    Ok(json(StatusCode::OK, &json!({"deliveries": deliveries, "nextCursor": next_cursor})))
}

pub(crate) async fn show(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let shown = async {
        let (at, webhook, log) = named(&context, &request).await?;
        let sent = recorded(&context, &at, &log).await?.map(|event| Delivery {
            queued_at: log.queued_at,
            fanned_out_at: log.fanned_out_at,
            ..Delivery::of_call(event, at.webhook_id)
        });
        Ok(json(StatusCode::OK, &WholeDeliveryView::of(&at, &log, sent.as_ref(), &webhook.settings)))
    };
    shown.await.map_err(ApiError::for_read)
}

/// The delivery in the path with its webhook, if both exist for the key of the request.
async fn named(context: &Context, request: &Incoming) -> Result<(LogKey, Webhook, DeliveryLog), ApiError> {
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Webhooks])?;
    request.only_params(&[])?;
    let unknown = || ApiError::new(Code::DeliveryNotFound);
    let at = request.path("deliveryId").and_then(LogKey::from_public_id).ok_or_else(unknown)?;
    let webhook = in_time(context.state.webhook(at.webhook_id)).await?;
    let webhook = webhook.filter(|webhook| is_own(&key, &webhook.settings)).ok_or_else(unknown)?;
    let log = in_time(context.state.delivery_log(&at)).await?.ok_or_else(unknown)?;
    Ok((at, webhook, log))
}

/// Sends one delivery again, whatever became of it, unless it is still on its way.
pub(crate) async fn replay(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let (at, webhook, log) = named(&context, &request).await?;
    // What is on its way is not sent beside itself.
    if !log.state.is_final() {
        return Err(ApiError::new(Code::DeliveryUnderWay));
    }
    let delivery = again(&context, &at, &log).await?.ok_or_else(|| ApiError::new(Code::DeliveryNotFound))?;
    queue(&context, delivery.group(), delivery.dedup(), envelope::seal(&delivery)).await?;
    let log = DeliveryLog { round: delivery.round, state: DeliveryState::Retrying, next_attempt_at: None, ..log };
    Ok(json(StatusCode::ACCEPTED, &DeliveryView::of(&at, &log, &webhook.settings)))
}

/// Which deliveries are to be sent again.
struct Choice {
    since: Timestamp,
    /// Deliveries of events from then on are left out.
    until: Option<Timestamp>,
    states: Vec<DeliveryState>,
    /// Empty = of every status.
    statuses: Vec<Status>,
}

/// What is sent again unless the request says otherwise: what did not arrive and will not by itself.
const REPLAYED: [DeliveryState; 2] = [DeliveryState::Failed, DeliveryState::Expired];

impl Choice {
    fn read(fields: &Fields) -> Result<Self, ApiError> {
        let states = fields.list("states", DeliveryState::ALL.len(), |entry| {
            let state = entry.choice(&states())?;
            if !state.is_final() {
                let has = format_args!("has `{}`; that is still on its way by itself.", state.as_str());
                return Err(entry.place.refuse(has));
            }
            Ok(state)
        })?;
        let statuses = fields.list("statuses", STATUSES.len(), |entry| entry.choice(&STATUSES))?;
        let (since, until) = (fields.time("since")?, fields.optional("until", Fields::time)?);
        if until.is_some_and(|until| until <= since) {
            return Err(ApiError::invalid("Field `until` has to lie after `since`."));
        }
        Ok(Self { since, until, states: if states.is_empty() { REPLAYED.to_vec() } else { states }, statuses })
    }

    fn wants(&self, log: &DeliveryLog) -> bool {
        let status = log.sequence.and_then(Status::of_sequence).filter(|_| log.revision.is_none());
        self.states.contains(&log.state)
            && (self.statuses.is_empty() || status.is_some_and(|status| self.statuses.contains(&status)))
    }

    /// Whether a delivery lies behind the end, in the order of the log.
    fn is_behind(&self, at: &LogKey) -> bool {
        self.until.is_some_and(|until| at.sort.as_str() >= iso_millis(until).as_str())
    }
}

/// Sends what was chosen again, oldest first, as far as there is time; the answer's cursor says where to go on.
pub(crate) async fn replay_since(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let wanted = request.fields(&["since", "until", "states", "statuses", "cursor"]).and_then(|fields| {
        let cursor = fields.optional("cursor", |fields, name| fields.text(name, LONGEST_CURSOR))?;
        Ok((Choice::read(&fields)?, cursor.as_deref().map(|cursor| sort_key("Field", cursor)).transpose()?))
    });
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Webhooks])?;
    request.only_params(&[])?;
    let (choice, mut behind) = wanted?;
    let id = find(&context, &request, &key).await?.id;

    let until = Instant::now() + REPLAY_WITHIN;
    let mut replayed = 0;
    // The first delivery that there was no time for, or that could not be sent.
    let mut stopped_at: Option<LogKey> = None;
    'pages: loop {
        let read =
            context.state.delivery_logs(id, Some(choice.since), Order::OldestFirst, behind.as_deref(), READ_AT_ONCE);
        let (page, next) = in_time(read).await?;
        for (at, log) in page {
            if choice.is_behind(&at) {
                break 'pages;
            }
            if choice.wants(&log) {
                let sent = if Instant::now() < until { Some(send_again(&context, &at, &log).await) } else { None };
                match sent {
                    Some(Ok(sent)) => replayed += u32::from(sent),
                    Some(Err(error)) if replayed == 0 => return Err(error),
                    // What was sent is told even if it does not go on.
                    Some(Err(_)) | None => {
                        stopped_at = Some(at);
                        break 'pages;
                    }
                }
            }
            behind = Some(at.sort);
        }
        match next {
            // Behind what is shown, entries may be over whose sort keys are passed, too.
            Some(next) => behind = Some(next),
            None => break,
        }
    }
    let next_since = stopped_at.as_ref().and_then(|at| at.sort.split('#').next());
    let next_cursor = next_since.map(|_| URL_SAFE_NO_PAD.encode(behind.unwrap_or_else(|| iso_millis(choice.since))));
    Ok(json(StatusCode::ACCEPTED, &json!({"replayed": replayed, "nextSince": next_since, "nextCursor": next_cursor})))
}

/// Queues another round of a delivery. `false`: its event is no longer recorded, or it was a test or a notice.
async fn send_again(context: &Context, at: &LogKey, log: &DeliveryLog) -> Result<bool, ApiError> {
    let Some(delivery) = again(context, at, log).await? else { return Ok(false) };
    queue(context, delivery.group(), delivery.dedup(), envelope::seal(&delivery)).await?;
    Ok(true)
}

/// The delivery for another round, if its event is still recorded. Tests and notices are not.
async fn again(context: &Context, at: &LogKey, log: &DeliveryLog) -> Result<Option<Delivery>, ApiError> {
    Ok(recorded(context, at, log).await?.map(|event| Delivery {
        round: log.round + 1,
        replayed_at: Some(context.now().as_millisecond()),
        ..Delivery::of_call(event, at.webhook_id)
    }))
}

/// The event of a delivery.
async fn recorded(context: &Context, at: &LogKey, log: &DeliveryLog) -> Result<Option<CallEvent>, ApiError> {
    let Some(call) = log.call_id else { return Ok(None) };
    if let Some(revision) = log.revision {
        let update = in_time(context.state.call_update(call, revision)).await?;
        return Ok(update.filter(|event| DeliveryId::new(event.event_id, at.webhook_id) == log.delivery_id));
    }
    let events = in_time(context.state.call_events(call)).await?;
    Ok(events.into_iter().find(|event| DeliveryId::new(event.event_id, at.webhook_id) == log.delivery_id))
}

fn states() -> [(&'static str, DeliveryState); 6] {
    DeliveryState::ALL.map(|state| (state.as_str(), state))
}

/// The sort key in the log that a cursor stands for.
fn sort_key(what: &str, cursor: &str) -> Result<String, ApiError> {
    let sort_key = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    sort_key
        .filter(|sort_key| !sort_key.is_empty())
        .ok_or_else(|| ApiError::invalid(format!("{what} `cursor` takes the `nextCursor` of the answer before.")))
}

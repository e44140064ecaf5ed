//! Calls by the hour, and how deliveries fare, for whoever looks.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use shared::apikey::Scope;
use shared::codes::Code;
use shared::delivery::{DeliveryLog, LogKey};
use shared::tables::Order;
use shared::time::iso_millis;

use crate::auth;
use crate::context::{Context, Ctx};
use crate::errors::{ApiError, in_time, json};
use crate::request::Incoming;
use crate::stats;

/// What is told without `from`.
const USUAL: SignedDuration = SignedDuration::from_hours(24);
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Logs of deliveries that one request reads, shared by the webhooks.
const MOST_LOGS: usize = 1_000;
const LEAST_LOGS_OF_A_WEBHOOK: usize = 20;
const WEBHOOKS_AT_ONCE: usize = 8;
/// It reads as much as several ordinary requests.
const WEIGHT: i64 = 5;

pub(crate) async fn stats(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    told(&context, &request).await.map_err(ApiError::for_read)
}

async fn told(context: &Context, request: &Incoming) -> Result<Response, ApiError> {
    let key = context.admit_weighing(&request.key, WEIGHT).await?;
    auth::require(&key, &[Scope::Webhooks, Scope::CallsRead])?;
    // The counters are of all users together.
    if key.extensions.is_some() {
        let message = "The API key has a list of extensions, and statistics are of all users.";
        let hint = "Use a key without a list of extensions.";
        return Err(ApiError::with_message(Code::ExtensionNotAllowed, message).with_hint(hint));
    }
    request.only_params(&["from", "to"])?;
    let (from, to) = span(request, context.now())?;
    let calls = in_time(context.state.calls_by_hour(from, to)).await?;
    let deliveries = if key.may(Scope::Webhooks) { Some(read(context, from, to).await?) } else { None };
    let read = deliveries.as_ref().map(|(logs, _)| logs.len());
    let complete = deliveries.as_ref().map(|(_, complete)| *complete);
    let logs = deliveries.map(|(logs, _)| logs);
    let answer = json!({
        "from": iso_millis(from),
        "to": iso_millis(to),
        "hours": stats::hours(&calls, from, to),
        "pbxHours": stats::pbx_hours(calls, to),
        "deliveriesRead": read,
        "deliveriesComplete": complete,
        "deliveries": logs.as_deref().map(stats::outcomes).unwrap_or_default(),
        "latencies": logs.as_deref().map(stats::latencies).unwrap_or_default(),
        "pbxLatencies": logs.as_deref().map(stats::pbx_latencies).unwrap_or_default(),
    });
    Ok(json(StatusCode::OK, &answer))
}

fn span(request: &Incoming, now: Timestamp) -> Result<(Timestamp, Timestamp), ApiError> {
    let to = request.time("to")?.unwrap_or(now).min(now);
    let from = match request.time("from")? {
        Some(from) => from,
        None => to.checked_sub(USUAL).unwrap_or(Timestamp::MIN),
    };
    if from >= to {
        return Err(ApiError::invalid("Query parameter `from` has to lie before `to` and before now."));
    }
    if to.duration_since(from) > LONGEST {
        return Err(ApiError::invalid("Between the query parameters `from` and `to` lie at most 7 days."));
    }
    Ok((from, to))
}

/// The latest deliveries of all webhooks, which a key without a list of extensions may see, and whether these are all.
async fn read(
    context: &Context,
    from: Timestamp,
    to: Timestamp,
) -> Result<(Vec<(LogKey, DeliveryLog)>, bool), ApiError> {
    let webhooks = in_time(context.state.webhooks()).await?;
    let limit = (MOST_LOGS / webhooks.len().max(1)).max(LEAST_LOGS_OF_A_WEBHOOK);
    // What is behind `to` is passed by the place where a page ends.
    let behind = iso_millis(to);
    let reads = webhooks
        .iter()
        .map(|webhook| webhook.id)
        .map(|id| in_time(context.state.delivery_logs(id, Some(from), Order::NewestFirst, Some(&behind), limit)));
    let reads: Vec<_> = reads.collect();
    let pages: Vec<_> = stream::iter(reads).buffer_unordered(WEBHOOKS_AT_ONCE).try_collect().await?;
    let complete = pages.iter().all(|(_, next)| next.is_none());
    Ok((pages.into_iter().flat_map(|(logs, _)| logs).collect(), complete))
}

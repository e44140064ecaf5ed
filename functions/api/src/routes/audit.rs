//! Who dialled what.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;
use shared::apikey::Scope;
use shared::codes::Code;
use shared::ids::CommandId;
use shared::tables::AuditEntry;
use shared::time::{from_millis, iso_millis};

use super::Ctx;
use crate::auth;
use crate::context::Context;
use crate::errors::{ApiError, in_time, json};
use crate::request::Incoming;

const PAGE: u16 = 100;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    time: String,
    key_id: String,
    key_name: String,
    operation: String,
    from: String,
    to: String,
    #[serde(rename = "toE164")]
    to_e164: Option<String>,
    command_id: Option<CommandId>,
    refusal: Option<Code>,
}

impl From<AuditEntry> for Shown {
    fn from(entry: AuditEntry) -> Self {
        Self {
            time: iso_millis(from_millis(entry.time)),
            key_id: entry.key_id,
            key_name: entry.key_name,
            operation: entry.operation,
            from: entry.from,
            to: entry.to,
            to_e164: entry.to_e164,
            command_id: entry.command_id,
            refusal: entry.refusal,
        }
    }
}

pub(crate) async fn audit(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    report(&context, &request).await.map_err(ApiError::for_read)
}

async fn report(context: &Context, request: &Incoming) -> Result<Response, ApiError> {
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Admin])?;
    request.only_params(&["day", "limit", "cursor"])?;
    let day = day(request, Timestamp::now())?;
    let before = request.cursor()?.map(|cursor| position(cursor, day)).transpose()?;
    let limit = request.limit(PAGE)?;
    let (entries, next) = in_time(context.state.audit_of(day, before.as_deref(), limit.into())).await?;
    let entries: Vec<Shown> = entries.into_iter().map(Shown::from).collect();
    let next = next.map(|next| URL_SAFE_NO_PAD.encode(next));
    Ok(json(StatusCode::OK, &json!({"entries": entries, "nextCursor": next})))
}

fn day(request: &Incoming, now: Timestamp) -> Result<Date, ApiError> {
    let Some(text) = request.param("day")? else { return Ok(TimeZone::UTC.to_datetime(now).date()) };
    let complete = text.len() == "2027-01-31".len();
    text.parse()
        .ok()
        .filter(|_| complete)
        .ok_or_else(|| ApiError::invalid("Query parameter `day` takes a day in UTC, such as 2027-01-31."))
}

/// The place in a day's trail that a cursor names.
fn position(cursor: &str, day: Date) -> Result<String, ApiError> {
    let place = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    place.filter(|place| place.starts_with(&day.to_string())).ok_or_else(|| {
        ApiError::invalid("Query parameter `cursor` takes the `nextCursor` of the page before, of the same day.")
    })
}

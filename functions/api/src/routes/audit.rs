//! The audit trail: who dialled what, who moved and ended calls, who made and changed keys and webhooks.

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
use shared::tables::{AuditEntry, AuditKind};
use shared::time::{from_millis, iso_millis};

use super::pages::Search;
use crate::auth;
use crate::context::{Context, Ctx};
use crate::errors::{ApiError, in_time, json};
use crate::request::Incoming;

const PAGE: u16 = 100;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AuditView {
    time: String,
    kind: AuditKind,
    key_id: String,
    key_name: String,
    operation: String,
    from: String,
    to: String,
    #[serde(rename = "toE164")]
    to_e164: Option<String>,
    caller_number: Option<String>,
    subject: Option<String>,
    subject_name: Option<String>,
    fields: Vec<String>,
    command_id: Option<CommandId>,
    refusal: Option<Code>,
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            time: iso_millis(from_millis(entry.time)),
            kind: entry.kind,
            key_id: entry.key_id,
            key_name: entry.key_name,
            operation: entry.operation,
            from: entry.from,
            to: entry.to,
            to_e164: entry.to_e164,
            caller_number: entry.caller_number,
            subject: entry.subject,
            subject_name: entry.subject_name,
            fields: entry.fields,
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
    request.only_params(&["day", "kind", "limit", "cursor"])?;
    let day = day(request, context.now())?;
    let kinds = AuditKind::ALL.map(|kind| (kind.as_str(), kind));
    let kind = request.query().choice("kind", &kinds)?;
    let before = request.cursor()?.map(|cursor| sort_key(cursor, day)).transpose()?;
    let limit = request.limit(PAGE)?;
    let mut search = Search::new(limit.into(), before, kind.is_none());
    while let Some((before, amount)) = search.next() {
        let (page, next) = in_time(context.state.audit_of(day, before, amount)).await?;
        search.add(page, next, |entry| kind.is_none_or(|kind| entry.kind == kind));
    }
    let (entries, next) = search.end();
    let entries: Vec<AuditView> = entries.into_iter().map(AuditView::from).collect();
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

/// The sort key in a day's trail that a cursor stands for.
fn sort_key(cursor: &str, day: Date) -> Result<String, ApiError> {
    let sort_key = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    sort_key.filter(|sort_key| sort_key.starts_with(&day.to_string())).ok_or_else(|| {
        ApiError::invalid("Query parameter `cursor` takes the `nextCursor` of the page before, of the same day.")
    })
}

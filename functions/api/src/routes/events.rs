//! Events for receivers that cannot be called: they ask.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::json;
use shared::apikey::Scope;
use shared::event::{CallEvent, ExtendedEvent, Status};
use shared::ids::CallId;
use shared::operation::Reach;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::Ctx;
use crate::auth;
use crate::context::Context;
use crate::errors::{ApiError, in_time, json};
use crate::request::Incoming;
use crate::webhooks;

const PAGE: u16 = 100;
const LONGEST_WAIT: u32 = 20;
const FIRST_LOOK: Duration = Duration::from_millis(50);
const SLOWEST_LOOK: Duration = Duration::from_millis(500);
/// Events that one request looks at while it searches for wanted ones.
const MOST_LOOKED_AT: u64 = 1_000;
/// Digits of a cursor: each number of so many fits into 64 bits.
const MOST_DIGITS: usize = 19;
const PARAMS: [&str; 10] = [
    "after",
    "limit",
    "wait",
    "extensions",
    "statuses",
    "direction",
    "missedOnly",
    "party",
    "numberPrefix",
    "minimumDuration",
];

pub(crate) async fn list(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    listed(&context, &request).await.map_err(ApiError::for_read)
}

async fn listed(context: &Context, request: &Incoming) -> Result<Response, ApiError> {
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Webhooks, Scope::CallsRead])?;
    request.only_params(&PARAMS)?;
    let (filter, limit) = (webhooks::filter(request.query())?, usize::from(request.limit(PAGE)?));
    let until = request.started + Duration::from_secs(request.whole("wait", 0, LONGEST_WAIT)?.unwrap_or(0));
    let reach = Reach { extensions: key.extensions, ..Reach::default() };
    let wanted = |event: &CallEvent| reach.covers(&event.web_hook_event.monitored_extension) && filter.wants(event);

    let mut after = match request.param("after")? {
        Some("latest") => u64::MAX,
        Some(cursor) => number_of(cursor)?,
        None => 0,
    };
    let mut found: Vec<CallEvent> = Vec::new();
    let (mut pause, mut looked_at) = (FIRST_LOOK, 0);
    loop {
        let head = in_time(context.state.feed_length()).await?;
        // A cursor that lies ahead is another stack's, and nothing would ever come after it.
        after = after.min(head);
        while after < head && found.len() < limit && looked_at < MOST_LOOKED_AT {
            let page = in_time(context.state.feed(after, usize::from(PAGE), head)).await?;
            if page.is_empty() {
                after = head; // What lies in between is no longer kept.
            }
            for (n, event) in page {
                if found.len() == limit {
                    break;
                }
                (after, looked_at) = (n, looked_at + 1);
                if wanted(&event) {
                    found.push(event);
                }
            }
        }
        if !found.is_empty() || looked_at >= MOST_LOOKED_AT || Instant::now() >= until {
            break;
        }
        sleep_until(until.min(Instant::now() + pause)).await;
        pause = (pause * 2).min(SLOWEST_LOOK);
    }
    let events: Vec<ExtendedEvent<'_>> = found.iter().map(ExtendedEvent::from).collect();
    Ok(json(StatusCode::OK, &json!({"events": events, "cursor": after.to_string()})))
}

/// The event with which the answer before ended.
fn number_of(cursor: &str) -> Result<u64, ApiError> {
    let all_digits = cursor.len() <= MOST_DIGITS && cursor.bytes().all(|byte| byte.is_ascii_digit());
    let number = cursor.parse().ok().filter(|_| all_digits);
    number.ok_or_else(|| {
        ApiError::invalid("Query parameter `after` takes the `cursor` of the answer before, or `latest`.")
    })
}

/// One event of each status, with everything that it can have.
pub(crate) async fn sample(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let sampled = async {
        let key = context.admit(&request.key).await?;
        auth::require(&key, &[Scope::Webhooks, Scope::CallsRead])?;
        request.only_params(&[])
    };
    sampled.await.map_err(ApiError::for_read)?;
    let call = CallId::from_uuid(Uuid::from_u128(0x1ea8_4350_ef40_49c4_a3cd_b1d5_9c82_1b47));
    let events = [Status::Ringing, Status::Connected, Status::Disconnected]
        .map(|status| CallEvent::full_example(call, status, Timestamp::now()).web_hook_event);
    Ok(json(StatusCode::OK, &events))
}

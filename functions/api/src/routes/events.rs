//! Events for receivers that cannot be called: they ask.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::json;
use shared::apikey::{ApiKey, Scope};
use shared::event::{CallEvent, ExtendedEvent, Status};
use shared::ids::CallId;
use shared::metrics::Metrics;
use shared::operation::Reach;
use shared::tables::{FeedEntry, FeedHead, FeedPart};
use shared::webhook::{Filter, Kind};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::auth;
use crate::context::{Context, Ctx};
use crate::errors::{ApiError, in_time, json};
use crate::limits::Poll;
use crate::request::Incoming;
use crate::webhooks;

const PAGE: u16 = 100;
const LONGEST_WAIT: u32 = 20;
const FIRST_LOOK: Duration = Duration::from_millis(50);
const SLOWEST_LOOK: Duration = Duration::from_millis(500);
/// Events that one request looks at while it searches for wanted ones.
const MOST_LOOKED_AT: usize = 1_000;
/// Digits of a cursor: each number of so many fits into 64 bits.
const MOST_DIGITS: usize = 19;
/// Whether the newest events come first.
const ORDERS: [(&str, bool); 2] = [("oldest", false), ("newest", true)];
const PARAMS: [&str; 13] = [
    "after",
    "since",
    "order",
    "limit",
    "wait",
    "kinds",
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
    let wait = request.whole("wait", 0, LONGEST_WAIT);
    let seconds = wait.as_ref().map_or(0, |wait| wait.unwrap_or(0));
    // A request that waits holds as much of the function as several that do not.
    let key = context.admit_weighing(&request.key, 1 + seconds as i64).await?;
    auth::require(&key, &[Scope::Webhooks, Scope::CallsRead])?;
    request.only_params(&PARAMS)?;
    wait?;
    let newest_first = request.query().choice("order", &ORDERS)?.unwrap_or(false);
    if newest_first && seconds > 0 {
        return Err(ApiError::invalid(
            "Query parameter `wait` goes with `order=oldest`; the newest events are there already.",
        ));
    }
    let query = Query {
        kinds: webhooks::event_kinds(request.query())?,
        filter: webhooks::filter(request.query())?,
        reach: Reach { extensions: key.extensions.clone(), ..Reach::default() },
        after: after(request)?,
        since: request.time("since")?,
        limit: usize::from(request.limit(PAGE)?),
    };
    let (events, cursor) = if newest_first {
        query.newest(context).await?
    } else {
        query.wait_for(context, &key, request.started + Duration::from_secs(seconds)).await?
    };
    let events: Vec<ExtendedEvent<'_>> = events.iter().map(ExtendedEvent::from).collect();
    Ok(json(StatusCode::OK, &json!({"events": events, "cursor": cursor.to_string()})))
}

/// Which events are asked for.
struct Query {
    kinds: BTreeSet<Kind>,
    filter: Filter,
    reach: Reach,
    /// The number of an event; only later ones are wanted.
    after: u64,
    /// Only what was recorded from then on is wanted.
    since: Option<Timestamp>,
    limit: usize,
}

impl Query {
    fn wants(&self, entry: &FeedEntry) -> bool {
        self.since.is_none_or(|since| entry.is_since(since))
            && self.reach.covers(&entry.summary.names())
            && self.kinds.contains(&entry.summary.kind())
            && self.filter.wants(&entry.summary)
    }

    /// The last wanted events, the newest first, and where what comes later begins.
    async fn newest(&self, context: &Context) -> Result<(Vec<CallEvent>, u64), ApiError> {
        let head = in_time(context.state.feed_head()).await?;
        let after = self.begin(context, head).await?;
        let (tail, mut before) = in_time(context.state.feed_tail(after, usize::from(PAGE), head)).await?;
        figures(&tail).emit(&context.stack, context.now());
        let mut looked_at = tail.entries.len();
        let mut found: Vec<FeedEntry> = tail.entries.into_iter().rev().filter(|entry| self.wants(entry)).collect();
        while before > after + 1 && found.len() < self.limit && looked_at < MOST_LOOKED_AT {
            let page = in_time(context.state.feed_before(before, after, usize::from(PAGE))).await?;
            let Some(first) = page.last() else { break };
            (before, looked_at) = (first.n, looked_at + page.len());
            found.extend(page.into_iter().filter(|entry| self.wants(entry)));
        }
        found.truncate(self.limit);
        Ok((in_time(context.state.events_of(found)).await?, tail.cursor))
    }

    /// The next wanted events, the oldest first, and where to go on; waits for the first one until then.
    async fn wait_for(
        &self,
        context: &Context,
        key: &ApiKey,
        until: Instant,
    ) -> Result<(Vec<CallEvent>, u64), ApiError> {
        let head = in_time(context.state.feed_head()).await?;
        let look = self.look(context, self.begin(context, head).await?, head).await?;
        if look.is_enough() || Instant::now() >= until {
            return Ok((look.found, look.after));
        }
        let mut poll = Poll::begin(&context.state, key, context.max_polls, context.now()).await?;
        let waited = self.look_until(context, look, until).await;
        poll.end(&context.state).await;
        waited.map(|look| (look.found, look.after))
    }

    async fn look_until(&self, context: &Context, mut look: Look, until: Instant) -> Result<Look, ApiError> {
        let mut pause = FIRST_LOOK;
        while !look.is_enough() && Instant::now() < until {
            sleep_until(until.min(Instant::now() + pause)).await;
            pause = (pause * 2).min(SLOWEST_LOOK);
            let head = in_time(context.state.feed_head()).await?;
            look = self.look(context, look.after, head).await?;
        }
        Ok(look)
    }

    /// Looks through what the feed has behind a number.
    async fn look(&self, context: &Context, after: u64, head: FeedHead) -> Result<Look, ApiError> {
        let (mut wanted, mut after, mut looked_at) = (Vec::new(), after, 0);
        while after < head.n && wanted.len() < self.limit && looked_at < MOST_LOOKED_AT {
            let part = in_time(context.state.feed(after, usize::from(PAGE), head)).await?;
            figures(&part).emit(&context.stack, context.now());
            looked_at += usize::from(PAGE).min((part.cursor - after) as usize);
            after = part.cursor;
            wanted.extend(part.entries.into_iter().filter(|entry| self.wants(entry)));
            if part.waits {
                break;
            }
        }
        if let Some(first_too_many) = wanted.get(self.limit) {
            after = first_too_many.n - 1;
            wanted.truncate(self.limit);
        }
        let found = in_time(context.state.events_of(wanted)).await?;
        Ok(Look { found, after, looked_at })
    }

    /// The number behind which the wanted events lie.
    async fn begin(&self, context: &Context, head: FeedHead) -> Result<u64, ApiError> {
        // A cursor that lies ahead is another stack's, and nothing would ever come after it.
        let after = self.after.min(head.n);
        match self.since {
            Some(since) if after < head.n => Ok(in_time(context.state.feed_since(since, after, head)).await?),
            _ => Ok(after),
        }
    }
}

/// What a look through the feed has brought.
struct Look {
    found: Vec<CallEvent>,
    /// The last number that was looked at.
    after: u64,
    looked_at: usize,
}

impl Look {
    fn is_enough(&self) -> bool {
        !self.found.is_empty() || self.looked_at >= MOST_LOOKED_AT
    }
}

/// Numbers of the feed that nobody has used, each counted by who closes it. Readers have waited for them.
fn figures(part: &FeedPart) -> Metrics {
    let mut metrics = Metrics::default();
    metrics.count("FeedGaps", part.closed_gaps);
    metrics
}

fn after(request: &Incoming) -> Result<u64, ApiError> {
    match request.param("after")? {
        Some("latest") => Ok(u64::MAX),
        Some(cursor) => number_of(cursor),
        None => Ok(0),
    }
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
        .map(|status| CallEvent::full_example(call, status, context.now()).web_hook_event);
    Ok(json(StatusCode::OK, &events))
}

#[cfg(test)]
mod tests {
    use shared::time::from_millis;

    use super::*;

    #[test]
    fn closed_gaps_are_a_figure() {
        let told = |closed_gaps| {
            let part = FeedPart { closed_gaps, ..FeedPart::default() };
            let line = figures(&part).line("stack", from_millis(1))?;
            serde_json::from_str::<serde_json::Value>(&line).expect("JSON")["FeedGaps"][0].as_f64()
        };
        assert_eq!((told(0), told(3)), (None, Some(3.0)));
    }
}

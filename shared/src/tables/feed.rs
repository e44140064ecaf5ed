//! Recording events, and the feed: every recorded event under a number of its own, for receivers that ask.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::deliveries::Order;
use super::state::{DAY, KEEP_EVENTS_DAYS, StateTable, call_key};
use super::{Item, TableError, is_over, item, key, now, number, text};
use crate::event::CallEvent;
use crate::ids::EventId;
use crate::time::iso_millis;

const FEED: &str = "FEED";
const FEED_HEAD: &str = "head";
/// Entries of the feed per partition.
const PARTITION: u64 = 10_000;
/// By how much the clocks of two functions may differ.
const CLOCKS_DIFFER_BY: SignedDuration = SignedDuration::from_secs(5);

/// What came of recording a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Recorded {
    All,
    /// Somebody else moved the feed counter in between; try again.
    FeedMoved,
    /// The transaction was refused for a reason that lies in one of its events, or cannot be told.
    Refused,
}

/// The recorded event, once under its call and once in the feed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventItem {
    event_id: EventId,
    occurred_at: String,
    /// Milliseconds. An event may occur long before it is recorded, when an agent could not reach the queue.
    recorded_at: i64,
    /// JSON text, as it came from the queue.
    event: String,
    expires_at: i64,
}

/// An entry of the feed, also one whose time is over or that cannot be read: its number counts.
struct FeedEntry {
    n: u64,
    /// Milliseconds.
    recorded_at: i64,
    event: Option<CallEvent>,
}

impl FeedEntry {
    fn read(item: &Item, now: Timestamp) -> Option<Self> {
        let n = item.get("sk")?.as_s().ok()?.parse().ok()?;
        let event = item.get("event").and_then(|event| serde_json::from_str(event.as_s().ok()?).ok());
        let event: Option<CallEvent> = event.filter(|_| !is_over(item, now));
        let recorded_at = item.get("recordedAt").and_then(|at| at.as_n().ok()?.parse().ok());
        // Older entries do not have it.
        let occurred_at = event.as_ref().map(|event| event.occurred_at.as_millisecond());
        Some(Self { n, recorded_at: recorded_at.or(occurred_at).unwrap_or_default(), event })
    }

    fn kept(self) -> Option<(u64, CallEvent)> {
        Some((self.n, self.event?))
    }
}

impl StateTable {
    /// Records events and appends them to the feed, all or none. `feed_length` is what the counter was read as.
    pub async fn record(&self, events: &[&CallEvent], feed_length: u64) -> Result<Recorded, TableError> {
        let advance = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(FEED, FEED_HEAD)))
            .update_expression("SET n = :next")
            .condition_expression(if feed_length == 0 { "attribute_not_exists(pk)" } else { "n = :seen" })
            .expression_attribute_values(":next", number((feed_length + events.len() as u64) as i64));
        let advance = if feed_length == 0 {
            advance
        } else {
            advance.expression_attribute_values(":seen", number(feed_length as i64))
        };
        let now = now(&self.client);
        let mut writes = vec![TransactWriteItem::builder().update(advance.build().expect("complete")).build()];
        for (event, n) in events.iter().zip(feed_length + 1..) {
            let recorded = EventItem {
                event_id: event.event_id,
                occurred_at: iso_millis(event.occurred_at),
                recorded_at: now.as_millisecond(),
                event: serde_json::to_string(event).unwrap_or_default(),
                expires_at: event.occurred_at.as_second() + KEEP_EVENTS_DAYS * DAY,
            };
            let call = item(call_key(event.call_id(), event.sequence()), &recorded)?;
            let feed = item(feed_key(n), &recorded)?;
            for new in [call, feed] {
                let put = Put::builder()
                    .table_name(&self.table)
                    .set_item(Some(new))
                    .condition_expression("attribute_not_exists(pk)");
                writes.push(TransactWriteItem::builder().put(put.build().expect("complete")).build());
            }
        }
        let written = self.client.transact_write_items().set_transact_items(Some(writes)).send().await;
        match written.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(Recorded::All),
            Err(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                let reasons = cancelled.cancellation_reasons();
                let refused = |code: Option<&str>| !matches!(code, None | Some("None"));
                let transient = |code: Option<&str>| matches!(code, Some("TransactionConflict"));
                let others = reasons.iter().skip(1).any(|reason| refused(reason.code()) && !transient(reason.code()));
                Ok(if others { Recorded::Refused } else { Recorded::FeedMoved })
            }
            Err(error) => Err(TableError::request("record the events", &error)),
        }
    }

    /// The events of the feed after the `after`-th, at most `limit` of them, each with its number. The counter is gapless, so
    /// nothing is skipped and nothing comes twice. Entries whose time is over are left out.
    pub async fn feed(&self, after: u64, limit: usize, head: u64) -> Result<Vec<(u64, CallEvent)>, TableError> {
        let mut events = Vec::new();
        let mut next = after + 1;
        while next <= head && events.len() < limit {
            let last = end_of_partition(next).min(head);
            let (found, is_part) = self.feed_part(next, last, limit - events.len(), Order::OldestFirst).await?;
            next = found.last().filter(|_| is_part).map_or(last, |entry| entry.n) + 1;
            events.extend(found.into_iter().filter_map(FeedEntry::kept));
        }
        Ok(events)
    }

    /// The events of the feed between two numbers, both excluded, the newest first: at most `limit` of them, and at least one if
    /// there is any.
    pub async fn feed_before(
        &self,
        before: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, CallEvent)>, TableError> {
        let mut events = Vec::new();
        let mut last = before.saturating_sub(1);
        while last > after && events.is_empty() {
            let first = (last / PARTITION * PARTITION).max(after + 1);
            let (found, is_part) = self.feed_part(first, last, limit, Order::NewestFirst).await?;
            last = found.last().filter(|_| is_part).map_or(first, |entry| entry.n) - 1;
            events.extend(found.into_iter().filter_map(FeedEntry::kept));
        }
        Ok(events)
    }

    /// The number after which lies what was recorded from then on. Entries are recorded in the order of their numbers, give or
    /// take what the functions' clocks differ by.
    pub async fn feed_since(&self, since: Timestamp, after: u64, head: u64) -> Result<u64, TableError> {
        let since = since.checked_sub(CLOCKS_DIFFER_BY).unwrap_or(Timestamp::MIN);
        // Everything up to `early` was recorded before, and nothing after `late`.
        let (mut early, mut late) = (after, head);
        while early < late {
            let middle = early + (late - early) / 2;
            match self.first_behind(middle, head).await? {
                Some(entry) if entry.recorded_at < since.as_millisecond() => early = entry.n,
                _ => late = middle,
            }
        }
        Ok(early)
    }

    /// The first entry behind a number that is still in the table. Whole partitions may be gone.
    async fn first_behind(&self, after: u64, head: u64) -> Result<Option<FeedEntry>, TableError> {
        let mut next = after + 1;
        while next <= head {
            let last = end_of_partition(next).min(head);
            let (found, _) = self.feed_part(next, last, 1, Order::OldestFirst).await?;
            if let Some(entry) = found.into_iter().next() {
                return Ok(Some(entry));
            }
            next = last + 1;
        }
        Ok(None)
    }

    /// Entries of one partition, and whether there are more than were read.
    async fn feed_part(
        &self,
        first: u64,
        last: u64,
        limit: usize,
        order: Order,
    ) -> Result<(Vec<FeedEntry>, bool), TableError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :partition AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":partition", text(partition(first)))
            .expression_attribute_values(":first", text(place(first)))
            .expression_attribute_values(":last", text(place(last)))
            .scan_index_forward(order == Order::OldestFirst)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the feed", &error.into_service_error()))?;
        let now = now(&self.client);
        let found = answer.items.unwrap_or_default();
        let entries = found.iter().filter_map(|item| FeedEntry::read(item, now)).collect();
        Ok((entries, answer.last_evaluated_key.is_some()))
    }

    /// How many events the feed has.
    pub async fn feed_length(&self) -> Result<u64, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(FEED, FEED_HEAD)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the feed counter", &error.into_service_error()))?;
        let length = answer.item.as_ref().and_then(|item| item.get("n")?.as_n().ok()?.parse().ok());
        Ok(length.unwrap_or(0))
    }
}

fn partition(n: u64) -> String {
    format!("{FEED}#{}", n / PARTITION)
}

fn end_of_partition(n: u64) -> u64 {
    n / PARTITION * PARTITION + PARTITION - 1
}

fn place(n: u64) -> String {
    format!("{n:020}")
}

fn feed_key(n: u64) -> Item {
    key(partition(n), place(n))
}

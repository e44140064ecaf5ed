//! The state table: recorded events and the feed. Its other parts are in `access`, `webhooks` and `deliveries`.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Put, TransactWriteItem, Update};
use serde::Serialize;

use super::{Item, TableError, is_over, item, key, number, text};
use crate::event::CallEvent;
use crate::ids::{CallId, EventId};
use crate::time::iso_millis;

const CALL: &str = "CALL#";
const FEED: &str = "FEED";
const FEED_HEAD: &str = "head";
/// Entries of the feed per partition.
const FEED_PARTITION: u64 = 10_000;
pub(super) const DAY: i64 = 24 * 60 * 60;
pub(super) const KEEP_EVENTS_DAYS: i64 = 30;
/// DynamoDB reads at most this many items at once.
const GET_AT_ONCE: usize = 100;
/// A call has no event after this one.
const LAST_SEQUENCE: u8 = 3;

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
    /// JSON text, as it came from the queue.
    event: String,
    expires_at: i64,
}

#[derive(Clone, Debug)]
pub struct StateTable {
    pub(super) client: Client,
    pub(super) table: String,
}

impl StateTable {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The highest sequence recorded for each call; a call without an event is left out.
    pub async fn recorded_sequences(&self, calls: &[CallId]) -> Result<HashMap<CallId, u8>, TableError> {
        let mut recorded = HashMap::new();
        for calls in calls.chunks(GET_AT_ONCE / usize::from(LAST_SEQUENCE)) {
            let sequences = |call| (1..=LAST_SEQUENCE).map(move |sequence| call_key(call, sequence));
            let wanted = calls.iter().copied().flat_map(sequences).collect();
            let found = self.get_all(wanted, Some("pk, sk"), "read the calls' events").await?;
            for (call, sequence) in found.iter().filter_map(parse_call_key) {
                let highest = recorded.entry(call).or_insert(sequence);
                *highest = sequence.max(*highest);
            }
        }
        Ok(recorded)
    }

    /// The recorded events of a call, in their order.
    pub async fn call_events(&self, call: CallId) -> Result<Vec<CallEvent>, TableError> {
        let wanted = (1..=LAST_SEQUENCE).map(|sequence| call_key(call, sequence)).collect();
        let found = self.get_all(wanted, Some("event, expiresAt"), "read the call's events").await?;
        let read = |item: &Item| serde_json::from_str(item.get("event")?.as_s().ok()?).ok();
        let mut events: Vec<CallEvent> = found.iter().filter(|item| !is_over(item)).filter_map(read).collect();
        events.sort_by_key(CallEvent::sequence);
        Ok(events)
    }

    /// The events of the feed after the `after`-th, at most `limit` of them, each with its number. The counter is gapless, so
    /// nothing is skipped and nothing comes twice. Entries whose time is over are left out.
    pub async fn feed(&self, after: u64, limit: usize, head: u64) -> Result<Vec<(u64, CallEvent)>, TableError> {
        let mut events = Vec::new();
        let mut next = after + 1;
        while next <= head && events.len() < limit {
            let partition = next / FEED_PARTITION;
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :partition AND sk >= :next")
                .expression_attribute_values(":partition", text(format!("{FEED}#{partition}")))
                .expression_attribute_values(":next", text(feed_place(next)))
                .limit(i32::try_from(limit - events.len()).unwrap_or(i32::MAX))
                .consistent_read(true)
                .send()
                .await
                .map_err(|error| TableError::request("read the feed", &error.into_service_error()))?;
            let found = answer.items.unwrap_or_default();
            let read = |item: &Item| -> Option<(u64, CallEvent)> {
                let n = item.get("sk")?.as_s().ok()?.parse().ok()?;
                Some((n, serde_json::from_str(item.get("event")?.as_s().ok()?).ok()?))
            };
            events.extend(found.iter().filter(|item| !is_over(item)).filter_map(read));
            let last = found.last().and_then(|item| item.get("sk")?.as_s().ok()?.parse::<u64>().ok());
            next = match last {
                Some(last) if answer.last_evaluated_key.is_some() => last + 1,
                _ => (partition + 1) * FEED_PARTITION,
            };
        }
        events.retain(|(n, _)| *n <= head);
        Ok(events)
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
        let mut writes = vec![TransactWriteItem::builder().update(advance.build().expect("complete")).build()];
        for (event, n) in events.iter().zip(feed_length + 1..) {
            let recorded = EventItem {
                event_id: event.event_id,
                occurred_at: iso_millis(event.occurred_at),
                event: serde_json::to_string(event).unwrap_or_default(),
                expires_at: event.occurred_at.as_second() + KEEP_EVENTS_DAYS * DAY,
            };
            let call = item(call_key(event.call_id(), event.sequence()), &recorded)?;
            let feed = item(key(format!("{FEED}#{}", n / FEED_PARTITION), feed_place(n)), &recorded)?;
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

    /// Reads all these items consistently; those that do not exist are left out.
    pub(super) async fn get_all(
        &self,
        mut wanted: Vec<Item>,
        projection: Option<&str>,
        verb: &'static str,
    ) -> Result<Vec<Item>, TableError> {
        let mut found = Vec::new();
        // DynamoDB may answer a part of the keys under load; the rest is asked for again.
        while !wanted.is_empty() {
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(wanted))
                .consistent_read(true)
                .set_projection_expression(projection.map(str::to_owned));
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, keys.build().expect("complete"))
                .send()
                .await
                .map_err(|error| TableError::request(verb, &error.into_service_error()))?;
            found.extend(answer.responses.unwrap_or_default().into_values().flatten());
            let mut rest: HashMap<String, KeysAndAttributes> = answer.unprocessed_keys.unwrap_or_default();
            wanted = rest.remove(&self.table).map(|keys| keys.keys).unwrap_or_default();
        }
        Ok(found)
    }

    pub(super) async fn put(
        &self,
        item: HashMap<String, AttributeValue>,
        verb: &'static str,
    ) -> Result<(), TableError> {
        let written = self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await;
        written
            .map(drop)
            .map_err(|error: SdkError<PutItemError>| TableError::request(verb, &error.into_service_error()))
    }
}

fn feed_place(n: u64) -> String {
    format!("{n:020}")
}

fn call_key(call: CallId, sequence: u8) -> Item {
    key(format!("{CALL}{call}"), sequence.to_string())
}

fn parse_call_key(item: &Item) -> Option<(CallId, u8)> {
    let call = item.get("pk")?.as_s().ok()?.strip_prefix(CALL)?.parse().ok()?;
    Some((call, item.get("sk")?.as_s().ok()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_key_is_read_back() {
        let call: CallId = "1ea84350-ef40-49c4-a3cd-b1d59c821b47".parse().expect("an id");
        assert_eq!(parse_call_key(&call_key(call, 3)), Some((call, 3)));
        assert_eq!(parse_call_key(&key(FEED, FEED_HEAD)), None);
    }

    #[test]
    fn no_status_lies_beyond_the_last_sequence() {
        assert_eq!(crate::event::Status::Disconnected.sequence(), LAST_SEQUENCE);
    }
}

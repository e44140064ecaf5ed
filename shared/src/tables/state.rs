//! The state table: the recorded events of a call. Its other parts are in `feed`, `access`, `webhooks` and `deliveries`.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

use super::{Item, TableError, is_over, key, now};
use crate::event::CallEvent;
use crate::ids::CallId;

const CALL: &str = "CALL#";
pub(super) const DAY: i64 = 24 * 60 * 60;
pub(super) const KEEP_EVENTS_DAYS: i64 = 30;
/// DynamoDB reads at most this many items at once.
const GET_AT_ONCE: usize = 100;
/// A call has no event after this one.
const LAST_SEQUENCE: u8 = 3;

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
        let now = now(&self.client);
        let mut events: Vec<CallEvent> = found.iter().filter(|item| !is_over(item, now)).filter_map(read).collect();
        events.sort_by_key(CallEvent::sequence);
        Ok(events)
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

pub(super) fn call_key(call: CallId, sequence: u8) -> Item {
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
        assert_eq!(parse_call_key(&key("FEED", "head")), None);
    }

    #[test]
    fn no_status_lies_beyond_the_last_sequence() {
        assert_eq!(crate::event::Status::Disconnected.sequence(), LAST_SEQUENCE);
    }
}

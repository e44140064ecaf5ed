//! The recorded events of a call: each one whole, with its number in the feed.
//!
//! `CALL#<CallId>`/`<sequence>` is the only place where an event stands; what refers to it is small. `CALL#<CallId>`/`live` is reserved
//! for what changes during a call (`call.updated`); nothing reads a call's partition beyond its sequences.

use super::item::{Item, TableError, is_over, key, now, number, text};
use super::packed::{insert_text, read_text};
use super::retention::KeepDays;
use super::state::StateTable;
use crate::event::CallEvent;
use crate::event::message::EventMessage;
use crate::ids::CallId;

const CALL: &str = "CALL#";
const VERSION: u8 = 1;
/// A call has no event after this one.
const LAST_SEQUENCE: u8 = 3;

pub(super) fn call_key(call: CallId, sequence: u8) -> Item {
    key(format!("{CALL}{call}"), sequence.to_string())
}

fn sequence_of(item: &Item) -> Option<u8> {
    item.get("sk")?.as_s().ok()?.parse().ok()
}

/// The number of a recorded event. One that was recorded with a transaction has none.
pub(super) fn recorded_number(item: &Item) -> Option<u64> {
    item.get("n")?.as_n().ok()?.parse().ok()
}

pub(super) fn call_item(message: &EventMessage<'_>, n: u64, keep: KeepDays) -> Item {
    let (tag, event, body) = (&message.tag, &message.event, message.body());
    let mut item = call_key(tag.group, tag.rank);
    item.extend([
        ("v".to_owned(), number(VERSION.into())),
        ("n".to_owned(), number(n as i64)),
        ("pbx".to_owned(), text(event.pbx_id.as_ref())),
        ("eventId".to_owned(), text(tag.dedup.to_string())),
        ("expiresAt".to_owned(), number(keep.deleted_at(event.occurred_at.as_second()))),
    ]);
    insert_text(&mut item, "body", body);
    item
}

/// The event of an item of any version; `None` if it cannot be read.
pub(super) fn event_of(item: &Item) -> Option<CallEvent> {
    let body = item.get("body").or_else(|| item.get("event")).and_then(read_text)?;
    serde_json::from_str(&body).ok()
}

impl StateTable {
    /// What is recorded for a call: the sequences, the highest first, each with its number in the feed.
    pub async fn recorded(&self, call: CallId) -> Result<Vec<(u8, Option<u64>)>, TableError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :call AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":call", text(format!("{CALL}{call}")))
            .expression_attribute_values(":first", text("1"))
            .expression_attribute_values(":last", text(LAST_SEQUENCE.to_string()))
            .projection_expression("sk, n")
            .scan_index_forward(false)
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the call's events", &error.into_service_error()))?;
        let recorded = |item: &Item| Some((sequence_of(item)?, recorded_number(item)));
        Ok(answer.items.unwrap_or_default().iter().filter_map(recorded).collect())
    }

    /// The recorded events of a call, in their order.
    pub async fn call_events(&self, call: CallId) -> Result<Vec<CallEvent>, TableError> {
        let wanted = (1..=LAST_SEQUENCE).map(|sequence| call_key(call, sequence)).collect();
        let found = self.get_all(wanted, Some("body, event, expiresAt"), "read the call's events").await?;
        let now = now(&self.client);
        let mut events: Vec<CallEvent> = found.iter().filter(|item| !is_over(item, now)).filter_map(event_of).collect();
        events.retain(|event| self.keep.shows(event.occurred_at, now));
        events.sort_by_key(CallEvent::sequence);
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::event::tests::sample;
    use crate::event::{Status, message};
    use crate::tables::packed::{WRITE_UNIT, size};

    #[test]
    fn no_status_lies_beyond_the_last_sequence() {
        assert_eq!(Status::Disconnected.sequence(), LAST_SEQUENCE);
    }

    /// Its times are told in whole seconds.
    fn event(status: Status) -> CallEvent {
        let now = Timestamp::from_second(1_795_863_608).expect("a time");
        CallEvent::full_example(sample().call_id(), status, now)
    }

    fn item_of(event: &CallEvent, n: u64) -> Item {
        let sealed = message::seal(event).expect("json");
        call_item(&EventMessage::open(&sealed).expect("a message"), n, KeepDays::default())
    }

    #[test]
    fn an_event_is_read_back_and_pays_one_unit() {
        for event in [Status::Ringing, Status::Connected, Status::Disconnected].map(event) {
            let item = item_of(&event, 12_345);
            assert_eq!((event_of(&item).as_ref(), recorded_number(&item)), (Some(&event), Some(12_345)));
            assert_eq!(sequence_of(&item), Some(event.sequence()));
            assert!(size(&item) <= WRITE_UNIT, "{}", size(&item));
        }
    }

    #[test]
    fn a_long_body_is_compressed_and_a_short_one_is_not() {
        let mut long = event(Status::Disconnected);
        long.web_hook_event.conference_events = vec![long.web_hook_event.conference_events[0].clone(); 20];
        let item = item_of(&long, 1);
        assert!(item["body"].is_b() && event_of(&item) == Some(long));
        let mut short = event(Status::Ringing);
        short.web_hook_event.conference_events.clear();
        assert!(item_of(&short, 1)["body"].is_s());
    }

    #[test]
    fn an_item_of_a_transaction_is_read_and_has_no_number() {
        let event = event(Status::Ringing);
        let mut item = call_key(event.call_id(), 1);
        item.insert("event".to_owned(), text(serde_json::to_string(&event).expect("json")));
        assert_eq!((event_of(&item), recorded_number(&item)), (Some(event), None));
    }
}

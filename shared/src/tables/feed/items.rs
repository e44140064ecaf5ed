//! What a slot holds, as an item.

use std::borrow::Cow;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::keys::slot_key;
use crate::event::message::EventMessage;
use crate::event::summary::EventSummary;
use crate::event::{CallEvent, CallPosition};
use crate::feed::Slot;
use crate::ids::CallId;
use crate::tables::item::{Item, TableError, is_over, item, number};
use crate::tables::state::{DAY, KEEP_EVENTS_DAYS};

const VERSION: u8 = 1;
const KEEP_SECONDS: i64 = KEEP_EVENTS_DAYS * DAY;
const TOMBSTONE: &str = "tombstone";

/// An entry of the feed: which event it is, and what it is filtered by.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedEntry {
    pub n: u64,
    pub(in crate::tables) call: CallId,
    pub(in crate::tables) position: CallPosition,
    pub summary: EventSummary<'static>,
    /// Milliseconds.
    pub(in crate::tables) recorded_at: i64,
    /// Of an older entry, which has it all.
    pub(in crate::tables) event: Option<Box<CallEvent>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryItem<'a> {
    v: u8,
    call: CallId,
    /// Of a status. A program that knows no updates cannot read an entry without one and passes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u8>,
    /// Of an update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rev: Option<u32>,
    pbx: Cow<'a, str>,
    /// Milliseconds.
    occurred_at: i64,
    /// Milliseconds. An event may occur long before it is recorded, when an agent could not reach the queue.
    recorded_at: i64,
    #[serde(flatten)]
    summary: EventSummary<'a>,
    /// A slot is forgotten in the order of its number, whenever the event occurred.
    expires_at: i64,
}

/// A slot that is not empty.
#[derive(Debug)]
pub(super) struct StoredSlot {
    pub(super) n: u64,
    /// Milliseconds.
    pub(super) recorded_at: i64,
    /// A tombstone also stands for what cannot be read, or is no longer shown.
    pub(super) slot: Slot<FeedEntry>,
}

pub(super) fn entry_item(message: &EventMessage<'_>, n: u64, now: Timestamp) -> Result<Item, TableError> {
    let event = &message.event;
    let (seq, rev) = match event.position() {
        CallPosition::Status(sequence) => (Some(sequence), None),
        CallPosition::Update(revision) => (None, Some(revision)),
    };
    let entry = EntryItem {
        v: VERSION,
        call: event.call_id(),
        seq,
        rev,
        pbx: event.pbx_id.as_ref().into(),
        occurred_at: event.occurred_at.as_millisecond(),
        recorded_at: now.as_millisecond(),
        summary: EventSummary::of(event),
        expires_at: now.as_second() + KEEP_SECONDS,
    };
    item(slot_key(n), &entry)
}

pub(super) fn tombstone_item(n: u64, now: Timestamp) -> Item {
    let mut item = slot_key(n);
    item.insert("v".to_owned(), number(VERSION.into()));
    item.insert(TOMBSTONE.to_owned(), AttributeValue::Bool(true));
    item.insert("recordedAt".to_owned(), number(now.as_millisecond()));
    item.insert("expiresAt".to_owned(), number(now.as_second() + KEEP_SECONDS));
    item
}

impl StoredSlot {
    pub(super) fn read(item: &Item, now: Timestamp) -> Option<Self> {
        let n = item.get("sk")?.as_s().ok()?.parse().ok()?;
        let recorded_at = item.get("recordedAt").and_then(|at| at.as_n().ok()?.parse().ok());
        if let Some(event) = item.get("event") {
            let event: Option<CallEvent> = event.as_s().ok().and_then(|text| serde_json::from_str(text).ok());
            // The oldest ones do not have it.
            let occurred_at = event.as_ref().map(|event| event.occurred_at.as_millisecond());
            let recorded_at = recorded_at.or(occurred_at).unwrap_or_default();
            let entry = event.filter(|_| !is_over(item, now)).map(|event| FeedEntry {
                n,
                call: event.call_id(),
                position: event.position(),
                summary: EventSummary::of(&event).into_owned(),
                recorded_at,
                event: Some(Box::new(event)),
            });
            return Some(Self { n, recorded_at, slot: entry.map_or(Slot::Tombstone, Slot::Entry) });
        }
        let recorded_at = recorded_at.unwrap_or_default();
        let entry: Option<EntryItem<'static>> = serde_dynamo::from_item(item.clone()).ok();
        let kept_since = now.as_millisecond() - KEEP_SECONDS * 1000;
        let shown = entry.filter(|entry| entry.occurred_at > kept_since && !is_over(item, now));
        let entry = shown.and_then(|entry| {
            let position = entry.seq.map(CallPosition::Status).or(entry.rev.map(CallPosition::Update))?;
            Some(FeedEntry { n, call: entry.call, position, summary: entry.summary, recorded_at, event: None })
        });
        Some(Self { n, recorded_at, slot: entry.map_or(Slot::Tombstone, Slot::Entry) })
    }
}

/// Whether a slot holds this event's entry, of whatever age and version.
pub(super) fn is_entry_of<T>(item: &Item, event: &CallEvent<T>) -> bool {
    if let Some(stored) = item.get("event") {
        let stored: Option<CallEvent> = stored.as_s().ok().and_then(|text| serde_json::from_str(text).ok());
        return stored.is_some_and(|stored| stored.event_id == event.event_id);
    }
    let call = item.get("call").and_then(|call| call.as_s().ok());
    let (name, place) = match event.position() {
        CallPosition::Status(sequence) => ("seq", u32::from(sequence)),
        CallPosition::Update(revision) => ("rev", revision),
    };
    let found = item.get(name).and_then(|place| place.as_n().ok());
    call == Some(&event.call_id().to_string()) && found == Some(&place.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::sample;
    use crate::event::{Status, message};
    use crate::kind::Kind;
    use crate::tables::item::text;
    use crate::tables::packed::size;

    /// Times of an event are told in whole seconds.
    fn now() -> Timestamp {
        Timestamp::from_second(Timestamp::now().as_second()).expect("a time")
    }

    fn event() -> CallEvent {
        CallEvent::full_example(sample().call_id(), Status::Ringing, now())
    }

    fn item_of(event: &CallEvent, n: u64) -> Item {
        let sealed = message::seal(event).expect("json");
        entry_item(&EventMessage::open(&sealed).expect("a message"), n, now()).expect("an item")
    }

    #[test]
    fn an_entry_is_read_back_and_small() {
        let event = event();
        let item = item_of(&event, 12_345);
        assert_eq!((&item["pk"], &item["sk"]), (&text("FEED#1"), &text("00000000000000012345")));
        assert!(size(&item) < 500, "{}", size(&item));
        assert!(is_entry_of(&item, &event));
        let read = StoredSlot::read(&item, now()).expect("a slot");
        let Slot::Entry(entry) = read.slot else { panic!("a tombstone") };
        assert_eq!((entry.n, entry.call, entry.event), (12_345, event.call_id(), None));
        assert_eq!(entry.position, CallPosition::Status(1));
        assert_eq!(entry.summary, EventSummary::of(&event));
    }

    #[test]
    fn an_entry_of_an_update_is_not_that_of_a_status() {
        let update = CallEvent::update_example(event().call_id(), now());
        let item = item_of(&update, 7);
        assert!(is_entry_of(&item, &update) && !is_entry_of(&item, &event()) && !item.contains_key("seq"));
        let Slot::Entry(entry) = StoredSlot::read(&item, now()).expect("a slot").slot else { panic!("a tombstone") };
        assert_eq!((entry.position, entry.summary.kind()), (CallPosition::Update(1), Kind::CallUpdated));
    }

    #[test]
    fn an_entry_with_the_whole_event_is_read_as_before() {
        let event = event();
        let mut item = slot_key(7);
        item.insert("event".to_owned(), text(serde_json::to_string(&event).expect("json")));
        assert!(is_entry_of(&item, &event));
        let read = StoredSlot::read(&item, now()).expect("a slot");
        assert_eq!(read.recorded_at, event.occurred_at.as_millisecond());
        let Slot::Entry(entry) = read.slot else { panic!("a tombstone") };
        assert_eq!((entry.n, entry.event.as_deref()), (7, Some(&event)));
    }

    #[test]
    fn what_is_no_longer_shown_still_settles_its_slot() {
        let old = sample(); // Of 2022.
        let item = item_of(&old, 7);
        assert_eq!(StoredSlot::read(&item, now()).expect("a slot").slot, Slot::Tombstone);
        let read = StoredSlot::read(&tombstone_item(8, now()), now()).expect("a slot");
        assert_eq!((read.n, read.slot), (8, Slot::Tombstone));
        assert!(!is_entry_of(&tombstone_item(8, now()), &old));
    }
}

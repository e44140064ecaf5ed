//! The recorded events of a call: each one whole, with its number in the feed.
//!
//! `CALL#<CallId>`/`<sequence>` is the only place where a status stands, and `CALL#<CallId>`/`updated#<revision>` that of an update; what
//! refers to them is small. `CALL#<CallId>`/`live` has the revision of the latest update and the state that it told: it is written
//! after the update has its place in the feed, so that no revision is given to two updates. A call without updates has neither.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use jiff::Timestamp;

use super::item::{Item, TableError, is_over, key, now, number, text};
use super::packed::{insert_text, read_text};
use super::state::{DAY, KEEP_EVENTS_DAYS, StateTable};
use crate::event::message::EventMessage;
use crate::event::{CallEvent, CallPosition, CallState};
use crate::ids::CallId;
use crate::time::from_millis;

const CALL: &str = "CALL#";
const VERSION: u8 = 1;
/// What of a call's items is asked for when an update is to be compared.
const RECORDED_WITH_LATEST: &str = "sk, n, body, event, revision, #state, occurredAt, #sequence";
/// A call has no status after this one.
const LAST_SEQUENCE: u8 = 3;

/// It sorts behind the sequences, and before the updates, which nobody reads by a query.
const LIVE: &str = "live";

pub(super) fn call_key(call: CallId, position: CallPosition) -> Item {
    let sort = match position {
        CallPosition::Status(sequence) => sequence.to_string(),
        CallPosition::Update(revision) => format!("updated#{revision:010}"),
    };
    key(format!("{CALL}{call}"), sort)
}

/// What is recorded for a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedCall {
    /// The sequences of its statuses, the highest first, each with its number in the feed.
    pub statuses: Vec<(u8, Option<u64>)>,
    /// The latest update.
    pub live: Option<LiveCall>,
    /// The latest status, where it was asked for.
    pub latest: Option<CallEvent>,
}

/// What the latest update has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveCall {
    pub revision: u32,
    /// The fingerprint of a [`CallState`].
    pub state: String,
    pub occurred_at: Timestamp,
    /// That of the status at which the call stood.
    pub sequence: u8,
}

impl LiveCall {
    /// After an update that has its number.
    pub fn after<T: AsRef<str>>(event: &CallEvent<T>) -> Option<Self> {
        let revision = event.update?.revision;
        let (state, sequence) = (CallState::of(event).fingerprint(), event.sequence());
        Some(Self { revision, state, occurred_at: event.occurred_at, sequence })
    }

    fn read(item: &Item) -> Option<Self> {
        let number = |name: &str| item.get(name)?.as_n().ok();
        Some(Self {
            revision: number("revision")?.parse().ok()?,
            state: item.get("state")?.as_s().ok()?.clone(),
            occurred_at: from_millis(number("occurredAt")?.parse().ok()?),
            sequence: number("sequence")?.parse().ok()?,
        })
    }
}

fn sequence_of(item: &Item) -> Option<u8> {
    item.get("sk")?.as_s().ok()?.parse().ok()
}

/// The number of a recorded event. One that was recorded with a transaction has none.
pub(super) fn recorded_number(item: &Item) -> Option<u64> {
    item.get("n")?.as_n().ok()?.parse().ok()
}

pub(super) fn call_item(message: &EventMessage<'_>, n: u64) -> Item {
    let (tag, event, body) = (&message.tag, &message.event, message.body());
    let mut item = call_key(tag.group, event.position());
    item.extend([
        ("v".to_owned(), number(VERSION.into())),
        ("n".to_owned(), number(n as i64)),
        ("pbx".to_owned(), text(event.pbx_id.as_ref())),
        ("eventId".to_owned(), text(tag.dedup.to_string())),
        ("expiresAt".to_owned(), number(event.occurred_at.as_second() + KEEP_EVENTS_DAYS * DAY)),
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
    /// What is recorded for a call. The latest status is read as a whole only for who compares an update with it; it costs no more.
    pub async fn recorded(&self, call: CallId, with_latest: bool) -> Result<RecordedCall, TableError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :call AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":call", text(format!("{CALL}{call}")))
            .expression_attribute_values(":first", text("1"))
            .expression_attribute_values(":last", text(LIVE))
            .projection_expression(if with_latest { RECORDED_WITH_LATEST } else { "sk, n" })
            .set_expression_attribute_names(with_latest.then(|| {
                [("#state".to_owned(), "state".to_owned()), ("#sequence".to_owned(), "sequence".to_owned())].into()
            }))
            .scan_index_forward(false)
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the call's events", &error.into_service_error()))?;
        let items = answer.items.unwrap_or_default();
        let status = |item: &Item| Some((sequence_of(item)?, recorded_number(item)));
        Ok(RecordedCall {
            statuses: items.iter().filter_map(status).collect(),
            live: items.iter().find_map(LiveCall::read),
            latest: items.iter().find(|item| sequence_of(item).is_some()).and_then(event_of),
        })
    }

    /// Writes down that an update is settled, unless a later one is.
    pub(super) async fn note_live(&self, call: CallId, live: &LiveCall) -> Result<(), TableError> {
        let mut item = key(format!("{CALL}{call}"), LIVE.to_owned());
        item.extend([
            ("v".to_owned(), number(VERSION.into())),
            ("revision".to_owned(), number(live.revision.into())),
            ("state".to_owned(), text(live.state.as_str())),
            ("occurredAt".to_owned(), number(live.occurred_at.as_millisecond())),
            ("sequence".to_owned(), number(live.sequence.into())),
            ("expiresAt".to_owned(), number(live.occurred_at.as_second() + KEEP_EVENTS_DAYS * DAY)),
        ]);
        let written = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk) OR revision < :revision")
            .expression_attribute_values(":revision", number(live.revision.into()))
            .send()
            .await;
        match written.map_err(SdkError::into_service_error) {
            Ok(_) | Err(PutItemError::ConditionalCheckFailedException(_)) => Ok(()),
            Err(error) => Err(TableError::request("note an update of the call", &error)),
        }
    }

    /// The n-th update of a call.
    pub async fn call_update(&self, call: CallId, revision: u32) -> Result<Option<CallEvent>, TableError> {
        let wanted = vec![call_key(call, CallPosition::Update(revision))];
        let found = self.get_all(wanted, Some("body, event, expiresAt"), "read an update of the call").await?;
        let now = now(&self.client);
        Ok(found.iter().filter(|item| !is_over(item, now)).find_map(event_of))
    }

    /// The recorded statuses of a call, in their order.
    pub async fn call_events(&self, call: CallId) -> Result<Vec<CallEvent>, TableError> {
        let wanted = (1..=LAST_SEQUENCE).map(|sequence| call_key(call, CallPosition::Status(sequence))).collect();
        let found = self.get_all(wanted, Some("body, event, expiresAt"), "read the call's events").await?;
        let now = now(&self.client);
        let mut events: Vec<CallEvent> = found.iter().filter(|item| !is_over(item, now)).filter_map(event_of).collect();
        events.sort_by_key(CallEvent::sequence);
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
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
        call_item(&EventMessage::open(&sealed).expect("a message"), n)
    }

    #[test]
    fn an_event_is_read_back_and_pays_one_unit() {
        let update = CallEvent::update_example(sample().call_id(), event(Status::Connected).occurred_at);
        let statuses = [Status::Ringing, Status::Connected, Status::Disconnected].map(event);
        for event in statuses.into_iter().chain([update]) {
            let item = item_of(&event, 12_345);
            assert_eq!((event_of(&item).as_ref(), recorded_number(&item)), (Some(&event), Some(12_345)));
            assert_eq!(sequence_of(&item), Some(event.sequence()).filter(|_| event.update.is_none()));
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
        let mut item = call_key(event.call_id(), event.position());
        item.insert("event".to_owned(), text(serde_json::to_string(&event).expect("json")));
        assert_eq!((event_of(&item), recorded_number(&item)), (Some(event), None));
    }
}

//! An event on its way through the events queue, as those see it who need not know all of it: outbox, uplink, queue, `fanout`, feed.
//!
//! The message is one object: `{"v":1,"kind":"call","rank":1,"group":"…","dedup":"…",` and then the fields of the event itself. The
//! first agents wrote nothing between the version and the event: what has no kind is a call. An update comes without its number, and goes
//! on with it.
//!
//! A message is parsed once, by who takes it from the queue. Everything that a later reader will need is checked by that, and the event
//! travels on as the text that it came in.
//!
//! Rejected: the event as an object of its own in the message. A `fanout` of the first version could not read it, and would set aside
//! all events of an agent that was updated first.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::CallEvent;
use crate::delivery;
use crate::envelope::{self, EnvelopeError};
use crate::ids::{CallId, DeliveryId, EventId, WebhookId};
use crate::kind::Kind;
use crate::queue::Outgoing;

/// What a message says of its event beside the event itself; [`Kind`] says what each of it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EventTag {
    pub kind: Kind,
    pub rank: u8,
    pub group: CallId,
    pub dedup: EventId,
}

impl<T> From<&CallEvent<T>> for EventTag {
    fn from(event: &CallEvent<T>) -> Self {
        let rank = if event.update.is_some() { 0 } else { event.sequence() };
        Self { kind: event.kind(), rank, group: event.call_id(), dedup: event.event_id }
    }
}

impl EventTag {
    /// How a message begins.
    fn prefix(&self) -> String {
        let Self { kind, rank, group, dedup } = self;
        let (v, kind) = (envelope::VERSION, kind.as_str());
        format!(r#"{{"v":{v},"kind":"{kind}","rank":{rank},"group":"{group}","dedup":"{dedup}","#)
    }

    /// The message for the events queue, with the text that [`seal`] has made of its event.
    pub fn message(&self, sealed: String) -> Outgoing {
        Outgoing { group: self.group.to_string(), dedup: self.dedup.to_string(), body: sealed }
    }
}

/// The text of a message.
pub fn seal(event: &CallEvent) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Tagged<'a> {
        #[serde(flatten)]
        tag: EventTag,
        #[serde(flatten)]
        event: &'a CallEvent,
    }
    envelope::seal(&Tagged { tag: event.into(), event })
}

/// A text that is a part of a message, as far as it stands there without escapes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A message of the events queue that was read.
#[derive(Clone, Debug)]
pub struct EventMessage<'a> {
    pub tag: EventTag,
    pub event: CallEvent<Text<'a>>,
    /// The fields of the event as they came, with the bracket that ends them. Those of a numbered update are written anew.
    fields: Cow<'a, str>,
}

impl<'a> EventMessage<'a> {
    pub fn open(text: &'a str) -> Result<Self, EnvelopeError> {
        let event: Result<CallEvent<Text<'a>>, serde_json::Error> = serde_json::from_str(text);
        let as_sealed = |event| text.strip_prefix(&EventTag::from(event).prefix());
        let fields = match event.as_ref().ok().and_then(as_sealed) {
            Some(fields) => fields,
            None => fields_of_event(text, event.as_ref().map_or(Kind::Call, CallEvent::kind))?,
        };
        let event = event?;
        Ok(Self { tag: EventTag::from(&event), event, fields: Cow::Borrowed(fields) })
    }

    /// Gives an update its number, and with that its identity.
    pub fn number(&mut self, revision: u32) {
        self.event.number(revision);
        self.tag = EventTag::from(&self.event);
        let text = serde_json::to_string(&self.event).expect("an event is always JSON");
        self.fields = Cow::Owned(envelope::for_queues(text).split_off(1));
    }

    /// The event alone, as a text.
    pub fn body(&self) -> String {
        format!("{{{}", self.fields)
    }

    /// The message of its delivery to a webhook; times are in milliseconds. It is the text that [`envelope::seal`] would make of a
    /// [`delivery::Delivery`].
    pub fn delivery(&self, to: WebhookId, queued_at: Option<i64>, fanned_out_at: i64) -> Outgoing {
        let (v, round, fields) = (envelope::VERSION, 0, &self.fields);
        let queued_at = queued_at.map(|at| format!(r#""queuedAt":{at},"#)).unwrap_or_default();
        Outgoing {
            group: delivery::group(to, self.tag.group),
            dedup: delivery::dedup(DeliveryId::new(self.tag.dedup, to), round),
            body: format!(
                r#"{{"v":{v},"subscriptionId":"{to}","round":{round},{queued_at}"fannedOutAt":{fanned_out_at},"event":{{{fields}}}"#
            ),
        }
    }
}

/// The fields of the event in a message that does not begin as [`seal`] lets it: it is of the time before, or not for this program.
fn fields_of_event(text: &str, expected: Kind) -> Result<&str, EnvelopeError> {
    #[derive(Deserialize)]
    struct Beginning {
        v: u64,
        kind: Option<String>,
    }
    let Beginning { v, kind } = serde_json::from_str(text)?;
    if v != envelope::VERSION {
        return Err(EnvelopeError::UnknownVersion(v));
    }
    let kind = kind.unwrap_or_else(|| Kind::Call.as_str().to_owned());
    if kind != expected.as_str() {
        return Err(EnvelopeError::UnknownKind(kind));
    }
    let object = text.trim_start();
    Ok(object.strip_prefix(envelope::PREFIX).or_else(|| object.strip_prefix('{')).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::delivery::{Delivery, Message};
    use crate::event::summary::EventSummary;
    use crate::event::tests::sample;
    use crate::event::{
        CallChange, CallDetails, CallUpdate, ConferenceEvent, ConferenceEventKind, EventUser, PartyKind, Presentation,
        Status, WebHookEvent,
    };
    use crate::time::PublishedTime;

    const TO: WebhookId = WebhookId::from_uuid(uuid::Uuid::from_u128(7));

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[\u{0}-\u{1F}\u{FFFD}-\u{10000}\"\\\\/{}a]*"]
    }

    /// Published times have whole seconds and years of four digits.
    fn any_time() -> impl Strategy<Value = PublishedTime> {
        (0..253_402_207_200i64).prop_map(|second| PublishedTime(Timestamp::from_second(second).expect("a time")))
    }

    fn any_status() -> impl Strategy<Value = Status> {
        prop_oneof![Just(Status::Ringing), Just(Status::Connected), Just(Status::Disconnected)]
    }

    prop_compose! {
        fn any_conference_event()(
            time in any_time(),
            texts in prop::array::uniform4(prop::option::of(any_text())),
            cause in any::<Option<u16>>(),
        ) -> ConferenceEvent {
            let [from, from_name, to, to_name] = texts;
            ConferenceEvent { kind: ConferenceEventKind::Held, time, from, from_name, to, to_name, cause }
        }
    }

    prop_compose! {
        fn any_web_hook_event()(
            call_id in any::<u128>(),
            conference_events in prop::collection::vec(any_conference_event(), 0..3),
            texts in prop::array::uniform8(any_text()),
            (connected, outgoing) in any::<(bool, bool)>(),
            (conversation_time, total_time) in any::<(i64, i64)>(),
            (start_time, pickup_time, end_time) in
                (any_time(), prop::option::of(any_time()), prop::option::of(any_time())),
            status in any_status(),
        ) -> WebHookEvent {
            let [conference_id, from, from_name, monitored_extension, monitiored_user, monitored_user, to, to_name] = texts;
            let call_id = CallId::from_uuid(uuid::Uuid::from_u128(call_id));
            WebHookEvent {
                call_id, conference_events, conference_id, connected, conversation_time, end_time, from, from_name,
                monitored_extension, monitiored_user, monitored_user, outgoing, pickup_time, start_time, status, to, to_name,
                total_time,
            }
        }
    }

    prop_compose! {
        fn any_details()(
            [missed, answered_elsewhere, abandoned, held, held_by_peer, parked] in any::<[bool; 6]>(),
            party in prop::option::of(prop_oneof![Just(PartyKind::Internal), Just(PartyKind::External)]),
            presentation in prop::option::of(prop_oneof![Just(Presentation::Shown), Just(Presentation::Withheld)]),
            last_seen_at in prop::option::of(0..253_402_207_200_000i64),
            transfer_call_id in any::<Option<u128>>(),
        ) -> CallDetails {
            let last_seen_at = last_seen_at.map(|at| Timestamp::from_millisecond(at).expect("a time"));
            let transfer_call_id = transfer_call_id.map(|id| CallId::from_uuid(uuid::Uuid::from_u128(id)));
            CallDetails {
                missed, answered_elsewhere, abandoned, party, presentation, last_seen_at, transfer_call_id, held, held_by_peer,
                parked,
            }
        }
    }

    prop_compose! {
        fn any_event()(
            web_hook_event in any_web_hook_event(),
            event_id in any::<u128>(),
            occurred_at in 0..253_402_207_200_000i64,
            [pbx_id, agent_id, user_guid] in prop::array::uniform3(any_text()),
            user in prop::option::of((any_text(), any_text(), any::<bool>())),
            [from_e164, to_e164] in prop::array::uniform2(prop::option::of(any_text())),
            inferred in any::<bool>(),
            details in prop::option::of(any_details()),
            cause in any::<Option<u16>>(),
            update in prop::option::of((prop::sample::select(CallChange::ALL.to_vec()), any::<u32>())),
        ) -> CallEvent {
            CallEvent {
                event_id: EventId::from_uuid(uuid::Uuid::from_u128(event_id)),
                occurred_at: Timestamp::from_millisecond(occurred_at).expect("a time"),
                pbx_id, agent_id, user_guid, user: user.map(|(node, name, shared)| EventUser { node, name, shared }), inferred, cause, from_e164, to_e164, details, web_hook_event,
                update: update.map(|(change, revision)| CallUpdate { change, revision }),
            }
        }
    }

    /// As the first agents did.
    fn sealed_without_tag(event: &CallEvent) -> String {
        envelope::seal(event).expect("json")
    }

    proptest! {
        #[test]
        fn what_passes_as_text_is_what_was_sealed(event in any_event(), queued_at in any::<Option<i64>>(), now in any::<i64>()) {
            let first_agents = Some(sealed_without_tag(&event)).filter(|_| event.update.is_none());
            for sealed in [Some(seal(&event).expect("json")), first_agents].into_iter().flatten() {
                let message = EventMessage::open(&sealed).expect("a message");
                prop_assert_eq!(message.tag, EventTag::from(&event));
                prop_assert_eq!(EventSummary::of(&message.event), EventSummary::of(&event));
                prop_assert_eq!(message.event.pbx_id.as_ref(), &event.pbx_id);
                prop_assert_eq!(message.event.occurred_at, event.occurred_at);
                let body: CallEvent = serde_json::from_str(&message.body()).expect("an event");
                prop_assert_eq!(&body, &event);

                let delivery = Delivery { queued_at, fanned_out_at: Some(now), ..Delivery::of_call(event.clone(), TO) };
                let sent = message.delivery(TO, queued_at, now);
                prop_assert_eq!(&sent.body, &envelope::seal(&delivery).expect("json"));
                prop_assert_eq!((sent.group, sent.dedup), (delivery.group(), delivery.dedup()));
                let read: Message = envelope::open(&sent.body).expect("a delivery");
                prop_assert_eq!(read, Message::Delivery(Box::new(delivery)));
            }
        }
    }

    #[test]
    fn a_message_says_what_everybody_has_to_know() {
        let sealed = seal(&sample()).expect("json");
        insta::assert_snapshot!(sealed);
        // So did the first version read messages, and it still does.
        let read: CallEvent = envelope::open(&sealed).expect("an event");
        assert_eq!(read.event_id, sample().event_id);
        let Outgoing { group, dedup, body } = EventTag::from(&sample()).message(sealed.clone());
        assert_eq!((group, dedup, body), (sample().call_id().to_string(), sample().event_id.to_string(), sealed));
    }

    const UPDATE: CallUpdate = CallUpdate { change: CallChange::Parties, revision: 0 };

    proptest! {
        #[test]
        fn a_numbered_update_goes_on_as_one(event in any_event(), revision in 1..u32::MAX) {
            let event = CallEvent { update: Some(UPDATE), ..event };
            let sealed = seal(&event).expect("json");
            let mut message = EventMessage::open(&sealed).expect("a message");
            prop_assert_eq!((message.tag.kind, message.tag.rank), (Kind::CallUpdated, 0));
            prop_assert_eq!(message.tag.dedup, event.event_id);
            message.number(revision);
            let event_id = EventId::of_update(event.call_id(), revision);
            let numbered = CallEvent { event_id, update: Some(CallUpdate { revision, ..UPDATE }), ..event };
            prop_assert_eq!(message.tag.dedup, event_id);
            prop_assert_eq!(serde_json::from_str::<CallEvent>(&message.body()).expect("an event"), numbered.clone());
            let delivery = Delivery { fanned_out_at: Some(7), ..Delivery::of_call(numbered, TO) };
            prop_assert_eq!(message.delivery(TO, None, 7).body, envelope::seal(&delivery).expect("json"));
        }
    }

    #[test]
    fn the_order_of_fields_does_not_matter() {
        let sealed = seal(&sample()).expect("json");
        let told: CallEvent = serde_json::from_str(&sealed).expect("an event");
        let sorted: Value = serde_json::from_str(&sealed).expect("json");
        let spread = format!(" {} ", serde_json::to_string_pretty(&sorted).expect("json"));
        for text in [sorted.to_string(), spread] {
            let message = EventMessage::open(&text).expect("a message");
            assert_eq!(message.tag, EventTag::from(&sample()));
            assert_eq!(serde_json::from_str::<CallEvent>(&message.body()).expect("an event"), told);
            let sent: Delivery = envelope::open(&message.delivery(TO, None, 7).body).expect("a delivery");
            assert_eq!(sent, Delivery { fanned_out_at: Some(7), ..Delivery::of_call(told.clone(), TO) });
        }
    }

    #[test]
    fn other_versions_and_kinds_are_named() {
        let refused = |text: &str| EventMessage::open(text).expect_err("refused");
        assert!(matches!(refused(r#"{"v":2,"kind":"call","event":{}}"#), EnvelopeError::UnknownVersion(2)));
        let mut other: Value = serde_json::from_str(&seal(&sample()).expect("json")).expect("json");
        for kind in ["presence", "call.updated"] {
            other["kind"] = json!(kind);
            for text in [other.to_string(), format!(r#"{{"v":1,"kind":"{kind}","rank":0}}"#)] {
                assert!(matches!(refused(&text), EnvelopeError::UnknownKind(other) if other == kind));
            }
        }
        let update = seal(&CallEvent { update: Some(UPDATE), ..sample() }).expect("json");
        let as_status = update.replace("call.updated", "call");
        assert!(matches!(refused(&as_status), EnvelopeError::UnknownKind(kind) if kind == "call"));
        assert!(matches!(refused("{"), EnvelopeError::Malformed(_)));
        assert!(matches!(refused("{}"), EnvelopeError::Malformed(_)));
        assert!(matches!(refused(r#"{"v":1}"#), EnvelopeError::Malformed(_)));
    }

    /// What is recorded unread has to be readable for whoever asks for it.
    #[test]
    fn what_a_later_reader_could_not_read_is_refused() {
        let whole: Value = serde_json::from_str(&seal(&sample()).expect("json")).expect("json");
        let check = |change: &dyn Fn(&mut Value)| {
            let mut changed = whole.clone();
            change(&mut changed);
            let text = changed.to_string();
            let full: Result<CallEvent, EnvelopeError> = envelope::open(&text);
            assert_eq!(EventMessage::open(&text).is_ok(), full.is_ok(), "{text}");
        };
        let others = [json!(null), json!("x"), json!(-1), json!(70_000), json!(true), json!([{}]), json!({"a": 1})];
        for part in ["", "/webHookEvent"] {
            let names: Vec<String> =
                whole.pointer(part).and_then(Value::as_object).expect("fields").keys().cloned().collect();
            for name in names.into_iter().filter(|name| !["kind", "rank", "group", "dedup"].contains(&name.as_str())) {
                check(&|changed| {
                    let fields = changed.pointer_mut(part).and_then(Value::as_object_mut).expect("fields");
                    fields.remove(&name);
                });
                for other in &others {
                    check(&|changed| changed.pointer_mut(part).expect("fields")[&name] = other.clone());
                }
            }
        }
    }
}

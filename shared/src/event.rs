//! Call events: what a webhook receives, and what travels with it between the agent and the functions.

pub mod details;
mod masking;
pub mod message;
pub mod summary;
pub mod update;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::details::{CallDetails, Presentation};
pub use self::update::{CallChange, CallPosition, CallState, CallUpdate};
use crate::address::ObjectNames;
pub use crate::call::{Direction, PartyKind, Status};
use crate::ids::{CallId, EventId};
use crate::kind::Kind;
use crate::time::{PublishedTime, iso_millis};

/// What became of a call besides its three statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConferenceEventKind {
    Diverted,
    Redirected,
    Transferred,
    Held,
    Retrieved,
    Parked,
    Picked,
}

/// One flat entry of `conferenceEvents`. For a redirect or a transfer of a call that goes on here, `from` and `to` are the parties
/// *before* it, so that the original caller stays visible; for one that takes the call away from here, `from` is the monitored user and
/// `to` where the call went. For a diversion `from` is who diverted, for the rest it is who acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConferenceEvent<T = String> {
    #[serde(rename = "type")]
    pub kind: ConferenceEventKind,
    pub time: PublishedTime,
    pub from: Option<T>,
    pub from_name: Option<T>,
    pub to: Option<T>,
    pub to_name: Option<T>,
    pub cause: Option<u16>,
}

/// The published object: names, order and the misspelt `monitioredUser` are a contract with existing receivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebHookEvent<T = String> {
    #[serde(rename = "CallId")]
    pub call_id: CallId,
    pub conference_events: Vec<ConferenceEvent<T>>,
    pub conference_id: T,
    pub connected: bool,
    /// Whole seconds; −1 without a conversation.
    pub conversation_time: i64,
    pub end_time: Option<PublishedTime>,
    pub from: T,
    pub from_name: T,
    pub monitored_extension: T,
    pub monitiored_user: T,
    pub monitored_user: T,
    pub outgoing: bool,
    pub pickup_time: Option<PublishedTime>,
    pub start_time: PublishedTime,
    pub status: Status,
    pub to: T,
    pub to_name: T,
    /// Whole seconds; −1 until the call has ended.
    pub total_time: i64,
}

impl WebHookEvent {
    /// The same names and order as the JSON object, in the form that a GET webhook appends to its query string.
    pub fn query_pairs(&self) -> Vec<(&'static str, String)> {
        let yes_no = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
        let time = |time: Option<PublishedTime>| time.map(PublishedTime::to_text).unwrap_or_default();
        let conference_events = serde_json::to_string(&self.conference_events).unwrap_or_default();
        vec![
            ("CallId", self.call_id.to_string()),
            ("conferenceEvents", conference_events),
            ("conferenceId", self.conference_id.clone()),
            ("connected", yes_no(self.connected)),
            ("conversationTime", self.conversation_time.to_string()),
            ("endTime", time(self.end_time)),
            ("from", self.from.clone()),
            ("fromName", self.from_name.clone()),
            ("monitoredExtension", self.monitored_extension.clone()),
            ("monitioredUser", self.monitiored_user.clone()),
            ("monitoredUser", self.monitored_user.clone()),
            ("outgoing", yes_no(self.outgoing)),
            ("pickupTime", time(self.pickup_time)),
            ("startTime", self.start_time.to_text()),
            ("status", self.status.as_str().to_owned()),
            ("to", self.to.clone()),
            ("toName", self.to_name.clone()),
            ("totalTime", self.total_time.to_string()),
        ]
    }
}

/// What the monitored user is called beside extension and guid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventUser<T = String> {
    /// Numbering node.
    pub node: T,
    /// The object's Name, by which phones register.
    pub name: T,
    /// A user of another node has the same extension.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

/// One event on its way: the published object and what the functions need beside it. Its texts are its own, or belong to the message
/// that it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallEvent<T = String> {
    pub event_id: EventId,
    /// When it happened at the PBX, on the cloud's clock.
    pub occurred_at: Timestamp,
    pub pbx_id: T,
    /// The agent that saw it; another agent's copy of the event differs in this field only.
    pub agent_id: T,
    pub user_guid: T,
    /// What else the user is called. The first agents did not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<EventUser<T>>,
    /// The PBX never said so: the end was concluded after a lost connection.
    pub inferred: bool,
    /// Q.850 cause of the end, when the PBX named one.
    pub cause: Option<u16>,
    pub from_e164: Option<T>,
    pub to_e164: Option<T>,
    /// The first agents did not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<CallDetails>,
    /// Of an event that is no status, but tells what else has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<CallUpdate>,
    pub web_hook_event: WebHookEvent<T>,
}

/// A number of the range 555-0100 to 555-0199, which is nobody's: for examples and tests that a receiver may act on.
pub const EXAMPLE_NUMBER: &str = "+12025550123";

impl CallEvent {
    /// The call of the published example, which nobody answers, at a status that it reached just when it began: what a receiver can be
    /// tried with.
    pub fn example(call_id: CallId, status: Status, at: Timestamp) -> Self {
        Self {
            event_id: EventId::new(call_id, status),
            occurred_at: at,
            pbx_id: "master".to_owned(),
            agent_id: "rack/1".to_owned(),
            user_guid: "3954ae7854c96301c9dd009033400109".to_owned(),
            user: Some(EventUser { node: "root".to_owned(), name: "thomas.de.wilde".to_owned(), shared: false }),
            inferred: false,
            cause: None,
            from_e164: None,
            to_e164: None,
            details: Some(CallDetails {
                missed: status == Status::Disconnected,
                party: Some(PartyKind::External),
                presentation: Some(Presentation::Shown),
                ..CallDetails::default()
            }),
            update: None,
            web_hook_event: WebHookEvent {
                call_id,
                conference_events: Vec::new(),
                conference_id: "577193ccf44465016826009033600110".to_owned(),
                connected: false,
                conversation_time: -1,
                end_time: None,
                from: "00472591687".to_owned(),
                from_name: String::new(),
                monitored_extension: "42".to_owned(),
                monitiored_user: "Thomas De Wilde".to_owned(),
                monitored_user: "Thomas De Wilde".to_owned(),
                outgoing: false,
                pickup_time: None,
                start_time: PublishedTime(at),
                status,
                to: "42".to_owned(),
                to_name: "Thomas De Wilde".to_owned(),
                total_time: -1,
            },
        }
    }

    /// An answered call with everything in it that an event can have, at one of its statuses: what a receiver learns the shape
    /// of events from.
    pub fn full_example(call_id: CallId, status: Status, at: Timestamp) -> Self {
        let before = |seconds: i64| PublishedTime(at - SignedDuration::from_secs(seconds));
        let mut event = Self::example(call_id, status, at);
        event.from_e164 = Some(EXAMPLE_NUMBER.to_owned());
        event.to_e164 = Some("+12025550142".to_owned());
        let told = &mut event.web_hook_event;
        told.from = EXAMPLE_NUMBER.replace('+', "000");
        told.from_name = "Example caller".to_owned();
        told.connected = status != Status::Ringing;
        let (answered, ended) = (status != Status::Ringing, status == Status::Disconnected);
        told.start_time = before(if ended { 75 } else { 12 });
        told.pickup_time = answered.then(|| before(if ended { 63 } else { 0 }));
        told.end_time = ended.then(|| before(0));
        told.conversation_time = match (answered, ended) {
            (_, true) => 63,
            (true, false) => 0,
            (false, false) => -1,
        };
        told.total_time = if ended { 75 } else { -1 };
        told.conference_events = vec![ConferenceEvent {
            kind: ConferenceEventKind::Diverted,
            time: told.start_time,
            from: Some("43".to_owned()),
            from_name: Some("Workshop".to_owned()),
            to: Some("42".to_owned()),
            to_name: Some("Thomas De Wilde".to_owned()),
            cause: Some(17),
        }];
        event.cause = ended.then_some(16);
        event.details.get_or_insert_default().missed = false;
        event
    }

    /// The first update of an answered call: the monitored user has put it on hold.
    pub fn update_example(call_id: CallId, at: Timestamp) -> Self {
        let mut event = Self::full_example(call_id, Status::Connected, at);
        event.update = Some(CallUpdate { change: CallChange::Held, revision: 0 });
        event.number(1);
        event.details.get_or_insert_default().held = true;
        let told = &mut event.web_hook_event;
        told.conference_events = vec![ConferenceEvent {
            kind: ConferenceEventKind::Held,
            time: PublishedTime(at),
            from: Some("42".to_owned()),
            from_name: Some("Thomas De Wilde".to_owned()),
            to: Some(told.from.clone()),
            to_name: Some(told.from_name.clone()),
            cause: None,
        }];
        event
    }
}

impl<T: AsRef<str>> CallEvent<T> {
    /// What the monitored user is called.
    pub fn names(&self) -> ObjectNames<'_> {
        let user = self.user.as_ref();
        ObjectNames {
            extension: self.web_hook_event.monitored_extension.as_ref(),
            node: user.map_or("", |user| user.node.as_ref()),
            name: user.map_or("", |user| user.name.as_ref()),
            guid: self.user_guid.as_ref(),
            is_shared: user.is_some_and(|user| user.shared),
        }
    }
}

impl<T> CallEvent<T> {
    pub fn call_id(&self) -> CallId {
        self.web_hook_event.call_id
    }

    pub fn status(&self) -> Status {
        self.web_hook_event.status
    }

    /// The position of the status. An update has that of the status at which the call stands.
    pub fn sequence(&self) -> u8 {
        self.status().sequence()
    }

    pub fn kind(&self) -> Kind {
        if self.update.is_some() { Kind::CallUpdated } else { Kind::Call }
    }

    pub fn position(&self) -> CallPosition {
        match self.update {
            Some(update) => CallPosition::Update(update.revision),
            None => CallPosition::Status(self.sequence()),
        }
    }

    /// Gives an update its number, and with that its identity.
    pub fn number(&mut self, revision: u32) {
        if let Some(update) = &mut self.update {
            update.revision = revision;
            self.event_id = EventId::of_update(self.web_hook_event.call_id, revision);
        }
    }

    /// Whether an incoming call has ended that nobody took. Without details, an answer here is all that is known.
    pub fn is_missed(&self) -> bool {
        let told = &self.web_hook_event;
        let unanswered = told.status == Status::Disconnected && !told.connected && !told.outgoing;
        if self.update.is_some() {
            return false;
        }
        self.details.as_ref().map_or(unanswered, |details| details.missed)
    }
}

/// The published object with everything beside it, flat: what the event history shows.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtendedEvent<'a> {
    #[serde(flatten)]
    pub web_hook_event: &'a WebHookEvent,
    pub event_id: EventId,
    pub sequence: u8,
    pub occurred_at: String,
    pub start_time_iso: String,
    pub pickup_time_iso: Option<String>,
    pub end_time_iso: Option<String>,
    #[serde(rename = "fromE164")]
    pub from_e164: Option<&'a str>,
    #[serde(rename = "toE164")]
    pub to_e164: Option<&'a str>,
    pub cause: Option<u16>,
    pub inferred: bool,
    pub last_seen_at: Option<String>,
    pub missed: bool,
    pub answered_elsewhere: bool,
    pub abandoned: bool,
    pub party: PartyKind,
    pub presentation: Presentation,
    pub transfer_call_id: Option<CallId>,
    /// What an update is about, and the how manyth of its call it is; nothing of a status.
    pub change: Option<CallChange>,
    pub revision: Option<u32>,
    /// Whether the monitored user has the call on hold, the other side has, and whether it waits in a park position.
    pub held: bool,
    pub held_by_peer: bool,
    pub parked: bool,
    /// The monitored user: the PBX that it is at home at, its numbering node, name and guid.
    pub pbx: &'a str,
    pub node: &'a str,
    pub user_name: &'a str,
    pub user_guid: &'a str,
    /// The owner of a webhook wanted to see whether it works; nothing has happened.
    pub test: bool,
    /// On its way to a webhook: when the events queue took it, when it was fanned out, when it was sent.
    pub queued_at: Option<String>,
    pub fanned_out_at: Option<String>,
    pub sent_at: Option<String>,
}

impl ExtendedEvent<'_> {
    /// In the form that a GET webhook appends to its query string.
    pub fn query_pairs(&self) -> Vec<(&'static str, String)> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let yes_no = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
        let mut pairs = self.web_hook_event.query_pairs();
        pairs.extend([
            ("eventId", self.event_id.to_string()),
            ("sequence", self.sequence.to_string()),
            ("occurredAt", self.occurred_at.clone()),
            ("startTimeIso", self.start_time_iso.clone()),
            ("pickupTimeIso", text(&self.pickup_time_iso)),
            ("endTimeIso", text(&self.end_time_iso)),
            ("fromE164", self.from_e164.unwrap_or_default().to_owned()),
            ("toE164", self.to_e164.unwrap_or_default().to_owned()),
            ("cause", self.cause.map(|cause| cause.to_string()).unwrap_or_default()),
            ("inferred", yes_no(self.inferred)),
            ("lastSeenAt", text(&self.last_seen_at)),
            ("missed", yes_no(self.missed)),
            ("answeredElsewhere", yes_no(self.answered_elsewhere)),
            ("abandoned", yes_no(self.abandoned)),
            ("party", self.party.as_str().to_owned()),
            ("presentation", self.presentation.as_str().to_owned()),
            ("transferCallId", self.transfer_call_id.map(|call| call.to_string()).unwrap_or_default()),
            ("change", self.change.map(CallChange::as_str).unwrap_or_default().to_owned()),
            ("revision", self.revision.map(|revision| revision.to_string()).unwrap_or_default()),
            ("held", yes_no(self.held)),
            ("heldByPeer", yes_no(self.held_by_peer)),
            ("parked", yes_no(self.parked)),
            ("pbx", self.pbx.to_owned()),
            ("node", self.node.to_owned()),
            ("userName", self.user_name.to_owned()),
            ("userGuid", self.user_guid.to_owned()),
            ("test", yes_no(self.test)),
            ("queuedAt", text(&self.queued_at)),
            ("fannedOutAt", text(&self.fanned_out_at)),
            ("sentAt", text(&self.sent_at)),
        ]);
        pairs
    }
}

impl<'a> From<&'a CallEvent> for ExtendedEvent<'a> {
    fn from(event: &'a CallEvent) -> Self {
        let iso = |time: PublishedTime| iso_millis(time.0);
        let web_hook_event = &event.web_hook_event;
        let details = event.details.as_ref();
        let (number, e164) = match web_hook_event.outgoing {
            true => (&web_hook_event.to, &event.to_e164),
            false => (&web_hook_event.from, &event.from_e164),
        };
        let shown = if number.is_empty() { Presentation::Unknown } else { Presentation::Shown };
        Self {
            web_hook_event,
            event_id: event.event_id,
            sequence: event.sequence(),
            occurred_at: iso_millis(event.occurred_at),
            start_time_iso: iso(web_hook_event.start_time),
            pickup_time_iso: web_hook_event.pickup_time.map(iso),
            end_time_iso: web_hook_event.end_time.map(iso),
            from_e164: event.from_e164.as_deref(),
            to_e164: event.to_e164.as_deref(),
            cause: event.cause,
            inferred: event.inferred,
            last_seen_at: details.and_then(|details| details.last_seen_at).map(iso_millis),
            missed: event.is_missed(),
            answered_elsewhere: details.is_some_and(|details| details.answered_elsewhere),
            abandoned: details.is_some_and(|details| details.abandoned),
            party: details
                .and_then(|details| details.party)
                .unwrap_or_else(|| PartyKind::of_number(number, e164.is_some())),
            presentation: details.and_then(|details| details.presentation).unwrap_or(shown),
            transfer_call_id: details.and_then(|details| details.transfer_call_id),
            change: event.update.map(|update| update.change),
            revision: event.update.map(|update| update.revision),
            held: details.is_some_and(|details| details.held),
            held_by_peer: details.is_some_and(|details| details.held_by_peer),
            parked: details.is_some_and(|details| details.parked),
            pbx: &event.pbx_id,
            node: event.names().node,
            user_name: event.names().name,
            user_guid: &event.user_guid,
            test: false,
            queued_at: None,
            fanned_out_at: None,
            sent_at: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::summary::EventSummary;
    use super::*;

    pub(crate) fn sample() -> CallEvent {
        let call_id: CallId = "1ea84350-ef40-49c4-a3cd-b1d59c821b47".parse().expect("an id");
        let start: Timestamp = "2022-09-16T11:57:43.250Z".parse().expect("a time");
        CallEvent { from_e164: Some("+32472591687".to_owned()), ..CallEvent::example(call_id, Status::Ringing, start) }
    }

    #[test]
    fn json_has_the_published_names_in_the_published_order() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&sample().web_hook_event).expect("json"));
    }

    #[test]
    fn event_without_details_is_read_and_extended() {
        let check = |event: CallEvent, expected: (bool, PartyKind, Presentation)| {
            let told = serde_json::to_string(&CallEvent { details: None, ..event }).expect("json");
            assert!(!told.contains("details"));
            let read: CallEvent = serde_json::from_str(&told).expect("an event");
            let extended = ExtendedEvent::from(&read);
            assert_eq!((extended.missed, extended.party, extended.presentation), expected);
        };
        check(sample(), (false, PartyKind::External, Presentation::Shown));
        let mut missed = CallEvent::example(sample().call_id(), Status::Disconnected, sample().occurred_at);
        check(missed.clone(), (true, PartyKind::Internal, Presentation::Shown));
        missed.web_hook_event.from.clear();
        check(missed, (true, PartyKind::External, Presentation::Unknown));
    }

    /// The announcement of a queue counts as an answer, although nobody took the call.
    #[test]
    fn details_say_what_is_missed() {
        let mut event = CallEvent::full_example(sample().call_id(), Status::Disconnected, sample().occurred_at);
        assert!(!event.is_missed());
        let of = |missed: bool, abandoned: bool| Some(CallDetails { missed, abandoned, ..CallDetails::default() });
        event.details = of(true, true);
        assert!(EventSummary::of(&event).missed && ExtendedEvent::from(&event).abandoned);
        event.web_hook_event.connected = false;
        event.details = of(false, false);
        assert!(!EventSummary::of(&event).missed, "somebody else took it");
    }

    #[test]
    fn the_extended_event_has_everything_flat() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&ExtendedEvent::from(&sample())).expect("json"));
    }

    #[test]
    fn the_extended_query_has_the_extended_names() {
        let event = sample();
        let extended = ExtendedEvent::from(&event);
        let json = serde_json::to_string(&extended).expect("json");
        let names: Vec<&str> = extended.query_pairs().iter().map(|(name, _)| *name).collect();
        let mut rest = json.as_str();
        for name in names {
            let at =
                rest.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("`{name}` is missing or out of order"));
            rest = &rest[at + 1..];
        }
    }

    #[test]
    fn query_has_the_same_names_in_the_same_order() {
        let event = sample().web_hook_event;
        let json = serde_json::to_string(&event).expect("json");
        let mut rest = json.as_str();
        for (name, _) in event.query_pairs() {
            let at =
                rest.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("`{name}` is missing or out of order"));
            rest = &rest[at + 1..];
        }
        insta::assert_debug_snapshot!(event.query_pairs());
    }
}

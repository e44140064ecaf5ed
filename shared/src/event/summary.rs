//! What an event is filtered by, without the event.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{CallChange, CallEvent, Direction, Status};
use crate::address::ObjectNames;
use crate::call::PartyKind;
use crate::kind::Kind;

/// Stands beside the event wherever it has to be found without being read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventSummary<'a> {
    pub extension: Cow<'a, str>,
    /// What else the monitored user is called.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub node: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub name: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub guid: Cow<'a, str>,
    /// A user of another node has the same extension.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    pub status: Status,
    pub direction: Direction,
    /// The end of an incoming call that nobody took.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missed: bool,
    /// The other party, as the PBX writes it.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub number: Cow<'a, str>,
    /// The same in international form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e164: Option<Cow<'a, str>>,
    /// Seconds of conversation, −1 without one.
    pub duration: i64,
    /// Where the other party is, if the agent knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<PartyKind>,
    /// What an update is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<CallChange>,
}

impl<'a> EventSummary<'a> {
    pub fn of<T: AsRef<str>>(event: &'a CallEvent<T>) -> Self {
        let (told, names) = (&event.web_hook_event, event.names());
        let direction = if told.outgoing { Direction::Outgoing } else { Direction::Incoming };
        let (number, e164) = match direction {
            Direction::Incoming => (&told.from, &event.from_e164),
            Direction::Outgoing => (&told.to, &event.to_e164),
        };
        Self {
            extension: names.extension.into(),
            node: names.node.into(),
            name: names.name.into(),
            // Of agents that tell no names, the guid alone would be of little use.
            guid: if event.user.is_some() { names.guid } else { "" }.into(),
            shared: names.is_shared,
            status: told.status,
            direction,
            missed: event.is_missed(),
            number: number.as_ref().into(),
            e164: e164.as_ref().map(|e164| e164.as_ref().into()),
            duration: told.conversation_time,
            party: event.details.as_ref().and_then(|details| details.party),
            change: event.update.map(|update| update.change),
        }
    }

    pub fn into_owned(self) -> EventSummary<'static> {
        EventSummary {
            extension: self.extension.into_owned().into(),
            node: self.node.into_owned().into(),
            name: self.name.into_owned().into(),
            guid: self.guid.into_owned().into(),
            shared: self.shared,
            status: self.status,
            direction: self.direction,
            missed: self.missed,
            number: self.number.into_owned().into(),
            e164: self.e164.map(|e164| e164.into_owned().into()),
            duration: self.duration,
            party: self.party,
            change: self.change,
        }
    }

    pub fn kind(&self) -> Kind {
        if self.change.is_some() { Kind::CallUpdated } else { Kind::Call }
    }

    /// What the monitored user is called.
    pub fn names(&self) -> ObjectNames<'_> {
        ObjectNames {
            extension: &self.extension,
            node: &self.node,
            name: &self.name,
            guid: &self.guid,
            is_shared: self.shared,
        }
    }

    /// Where the other party is, as far as its number tells if the agent did not.
    pub fn party(&self) -> PartyKind {
        self.party.unwrap_or_else(|| PartyKind::of_number(&self.number, self.e164.is_some()))
    }
}

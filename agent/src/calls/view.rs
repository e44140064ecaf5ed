//! The call core as others look at it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::address::ObjectNames;
use shared::event::Direction;
use shared::ids::CallId;
use shared::number::DialString;
use shared::numbering::DialPrefixes;
use shared::time::iso_millis;

use super::call::Call;
use super::call_core::Calls;
use super::leg::{Assignment, Leg, LegId, LegState, Party, Phase, UserGuid};

/// A call found in progress begins, by the PBX's whole seconds and this agent's idea of the cloud's time, at most so much
/// too early.
const BEGINNING_IS_UNSURE_BY: SignedDuration = SignedDuration::from_secs(2);

/// Whether commands can be carried out for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallView {
    Unknown,
    /// It was not seen since the session was lost, or a leg that may be its own still waits for its name.
    Doubtful,
    Live,
}

impl Calls {
    /// Whether the call has begun and no end of it is known.
    pub fn knows(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    pub fn view_of(&self, call: CallId) -> CallView {
        match self.calls.get(&call) {
            Some(call) if call.missing_since.is_none() => CallView::Live,
            None if self.waiting_legs().next().is_none() => CallView::Unknown,
            _ => CallView::Doubtful,
        }
    }

    /// How many calls had to be named without a conference. Two agents name such a call differently, and tell of it twice.
    pub fn nameless_calls(&self) -> u64 {
        self.nameless
    }

    pub fn live_calls(&self) -> usize {
        self.calls.len()
    }

    /// Whether a call has not ended, as far as this core knows.
    pub fn lives(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    /// Whether a user has calls, or legs that will be calls.
    pub fn has_calls(&self, user: &UserGuid) -> bool {
        let waits = |leg: &Leg| leg.user == *user && matches!(leg.assignment, Assignment::Waiting(_));
        self.calls.values().any(|call| call.user == *user) || self.legs.values().any(waits)
    }

    /// The call of a leg, once it has a name.
    pub fn call_of(&self, leg: LegId) -> Option<CallId> {
        match self.legs.get(&leg)?.assignment {
            Assignment::Live(call) => Some(call),
            _ => None,
        }
    }

    pub fn conference_of(&self, call: CallId) -> Option<String> {
        self.calls.get(&call).map(Call::conference_text)
    }

    /// The number that a placed call was dialled with, as far as the PBX has reported it.
    pub fn number_dialled_by(&self, call: CallId) -> Option<&str> {
        let call = self.calls.get(&call).filter(|call| call.direction == Direction::Outgoing)?;
        Some(if call.peer.number.is_empty() { &call.dialled.number } else { &call.peer.number })
    }

    /// Whether a live call is answered.
    pub fn is_connected(&self, call: CallId) -> Option<bool> {
        self.calls.get(&call).map(|call| call.pickup.is_some())
    }

    /// Whether the user holds a live call.
    pub fn is_held(&self, call: CallId) -> Option<bool> {
        self.calls.get(&call).map(|call| call.held)
    }

    /// The live legs of a call with their states, in a stable order.
    pub fn legs_of(&self, call: CallId) -> Vec<(LegId, LegState)> {
        let Some(call) = self.calls.get(&call) else { return Vec::new() };
        call.legs.iter().filter_map(|id| Some((*id, self.legs.get(id)?.state?))).collect()
    }

    pub fn user_of(&self, call: CallId) -> Option<&UserGuid> {
        self.calls.get(&call).map(|call| &call.user)
    }

    /// What the user or queue is called whose call this is.
    pub fn names_of(&self, call: CallId) -> Option<ObjectNames<'_>> {
        let guid = &self.calls.get(&call)?.user;
        let nobody = ObjectNames { guid, ..ObjectNames::default() };
        Some(self.users.get(guid).map_or(nobody, |user| user.names(guid)))
    }

    /// The call that is parked at a user and had this conference before, or has the handle that the PBX gave it.
    pub fn parked_at(&self, user: &UserGuid, conference: &str, handle: Option<u64>) -> Option<CallId> {
        let is_it = |call: &&Call| {
            call.user == *user
                && call.phase == Phase::Parked
                && call.missing_since.is_none()
                && (call.conferences.iter().any(|known| **known == *conference)
                    || call.legs.iter().any(|leg| Some(leg.call) == handle))
        };
        self.calls.values().find(is_it).map(|call| call.id)
    }

    /// The calls that a user or queue has placed to this number, as it was dialled, since then.
    pub fn placed_since(
        &self,
        user: &UserGuid,
        number: &str,
        since: Timestamp,
        prefixes: &DialPrefixes,
    ) -> Vec<CallId> {
        let since = since.checked_sub(BEGINNING_IS_UNSURE_BY).unwrap_or(Timestamp::MIN);
        let international = DialString::parse(number).ok().and_then(|number| number.to_e164(prefixes));
        let is_it = |party: &Party| {
            party.number == number || (international.is_some() && party.e164.as_ref() == international.as_ref())
        };
        let fits = |call: &&Call| {
            call.user == *user
                && call.direction == Direction::Outgoing
                && call.start >= since
                && (is_it(&call.dialled) || is_it(&call.peer))
        };
        let found: BTreeSet<CallId> = self.calls.values().filter(fits).map(|call| call.id).collect();
        found.into_iter().collect()
    }

    /// A live call as the API shows it.
    pub fn describe(&self, call: CallId, now: Timestamp) -> Option<Value> {
        let call = self.calls.get(&call)?;
        let user = self.users.get(&call.user).cloned().unwrap_or_default();
        let (from, to) = call.parties(&user);
        let state = match (call.pickup, call.direction) {
            _ if call.phase == Phase::Parked => "parked",
            (Some(_), _) => "connected",
            (None, Direction::Outgoing) if !call.rings(now) => "dialling",
            (None, _) => "ringing",
        };
        Some(json!({
            "CallId": call.id,
            "conferenceId": call.conference_text(),
            "extension": user.extension,
            "node": user.node,
            "userName": user.h323,
            "userGuid": call.user,
            "user": user.name,
            "from": from.number,
            "fromName": from.name,
            "to": to.number,
            "toName": to.name,
            "outgoing": call.direction == Direction::Outgoing,
            "state": state,
            "held": call.held,
            "heldByPeer": call.held_by_peer,
            "startTime": iso_millis(call.start),
            "pickupTime": call.pickup.map(iso_millis),
        }))
    }

    /// All live calls with the moments at which they began, in no order.
    pub fn all(&self) -> impl Iterator<Item = (CallId, Timestamp)> {
        self.calls.values().map(|call| (call.id, call.start))
    }
}

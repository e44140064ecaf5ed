//! Updates: what changes on a live call besides its status.
//!
//! The core knows which state of a call was told last, by a status or an update, and tells an update whenever the state is another one.
//! It follows the state also while another agent reports, so that it can name the last change when it takes over. Then it begins with a
//! snapshot of every live call, because nobody knows what the other agent still told; what was told already is dropped in the cloud.
//!
//! A call whose first status was not told has no updates, nor has one that is over or whose leg is not there at the moment.

use jiff::{SignedDuration, Timestamp};
use shared::event::{CallChange, CallEvent, CallState, CallUpdate, Status};
use shared::ids::{CallId, EventId};
use shared::time::iso_millis;

use super::call::{Call, Origin, ToldState, UserIdentity};
use super::call_core::{Calls, Output};
use super::leg::{Party, Phase};

/// Between two updates of a call, at least: they are told apart by whole milliseconds.
const STEP: SignedDuration = SignedDuration::from_millis(1);

impl Calls {
    /// Whether this agent is the one that reports updates. One that begins to do so tells how its live calls stand.
    pub fn report_updates(&mut self, wanted: bool, now: Timestamp) -> Vec<Output> {
        let mut out = Vec::new();
        if wanted && !self.reports_updates {
            let live = self.calls.values().filter(|call| call.told.is_some() && !call.legs.is_empty());
            let mut live: Vec<CallId> = live.map(|call| call.id).collect();
            live.sort_unstable();
            for id in live {
                self.tell_update(id, CallChange::Snapshot, now, &mut out);
            }
        }
        self.reports_updates = wanted;
        out
    }

    /// A status is told, and with it how the call stands.
    pub(super) fn note_told(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let state = match self.users.get(&call.user) {
            Some(user) => call.state(user),
            None => call.state(&UserIdentity::default()),
        };
        if let Some(call) = self.calls.get_mut(&id) {
            let updated_at = call.told.and_then(|told| told.updated_at);
            call.told = Some(ToldState { state, change: None, updated_at });
        }
    }

    /// Something was reported of a call that goes on.
    pub(super) fn note_changes(&mut self, id: CallId, user: &UserIdentity, at: Timestamp, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let state = call.state(user);
        let Some(told) = &mut call.told else { return };
        let Some(change) = state.change_since(&told.state) else { return };
        (told.state, told.change) = (state, Some(change));
        if self.reports_updates {
            self.tell_update(id, change, at, out);
        }
    }

    fn tell_update(&mut self, id: CallId, change: CallChange, at: Timestamp, out: &mut Vec<Output>) {
        self.look_around(id, Status::Connected);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let user = self.users.get(&call.user).cloned().unwrap_or_default();
        let Some(told) = &mut call.told else { return };
        let change = if change == CallChange::Snapshot { told.change.unwrap_or(change) } else { change };
        let next = told.updated_at.map_or(Timestamp::MIN, |before| before + STEP);
        let at = at.max(call.latest).max(next);
        (told.updated_at, call.latest) = (Some(at), at);
        self.changed.insert(id);
        out.push(Output::Event(Box::new(call.update(change, at, &user, &self.origin))));
    }
}

impl Call {
    /// How it stands: parties and hold state, without times.
    fn state(&self, user: &UserIdentity) -> CallState {
        let (own, outgoing) = ([user.extension.as_str(), user.name.as_str(), ""], self.is_outgoing());
        let Party { number, name, e164, .. } = &self.peer;
        let peer = [number.as_str(), name.as_str(), e164.as_deref().unwrap_or_default()];
        let (from, to) = if outgoing { (own, peer) } else { (peer, own) };
        CallState::new(from, to, self.held, self.held_by_peer, self.phase == Phase::Parked)
    }

    /// The event that tells it, whose number only the cloud can give.
    fn update(&self, change: CallChange, at: Timestamp, user: &UserIdentity, origin: &Origin) -> CallEvent {
        let status = if self.pickup.is_some() { Status::Connected } else { Status::Ringing };
        let mut event = self.event(status, at, user, origin, false);
        event.update = Some(CallUpdate { change, revision: 0 });
        event.event_id = EventId::of_snapshot(self.id, &CallState::of(&event).fingerprint(), &iso_millis(at));
        debug_assert_eq!(CallState::of(&event), self.state(user));
        event
    }
}

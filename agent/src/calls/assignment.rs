//! Which call a leg belongs to: that of its spot, that which other agents remember, or a new one.
//!
//! A leg waits until the PBX has told its conference and its direction, and until other agents were asked where they may know more.

use jiff::{SignedDuration, Timestamp};
use shared::ids::CallId;

use super::call::Call;
use super::call_core::{ALIASES, Calls, Output};
use super::leg::{Assignment, Leg, LegId, Phase, Spot, UnassignedLeg};

/// A leg of which the PBX tells everything but its state is nobody's call.
const FORGET_WITHOUT_STATE_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// In this time after the start of a PBX session, another agent may know more about any call than this one.
const ASK_FOR_EVERY_NAME: SignedDuration = SignedDuration::from_hours(1);

impl Calls {
    pub(super) fn waiting_legs(&self) -> impl Iterator<Item = (LegId, &UnassignedLeg)> {
        self.legs.iter().filter_map(|(id, leg)| match &leg.assignment {
            Assignment::Waiting(waiting) => Some((*id, waiting)),
            _ => None,
        })
    }

    /// Gives a waiting leg its call if that can be told, or finds out what is missing.
    pub(super) fn assign_if_known(&mut self, id: LegId, now: Timestamp, out: &mut Vec<Output>) {
        let Some(leg) = self.legs.get(&id) else { return };
        let Assignment::Waiting(waiting) = &leg.assignment else { return };
        if waiting.asked {
            return;
        }
        let Some(spot) = leg.spot(waiting) else {
            if waiting.has_ended() {
                self.assign(id, now, out);
            }
            return;
        };
        let young_session = now.duration_since(self.session_since) < ASK_FOR_EVERY_NAME;
        // A call that was not seen since the session was lost may have ended, and this be the next one.
        let joins = self.live_call(&spot, leg_is_parked(leg)).and_then(|call| self.calls.get(&call));
        let joins = joins.is_some_and(|call| call.missing_since.is_none() && call.left_at.is_none());
        if !joins && (young_session || !waiting.saw_beginning()) {
            self.ask(id, out);
        } else {
            self.assign(id, now, out);
        }
    }

    fn ask(&mut self, id: LegId, out: &mut Vec<Output>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Assignment::Waiting(waiting) = &leg.assignment else { return };
        let Some(spot) = leg.spot(waiting) else { return };
        let mut spots = vec![spot.clone()];
        // See `live_call`.
        if leg_is_parked(leg) {
            spots.push(spot.turned());
        }
        if let Assignment::Waiting(waiting) = &mut leg.assignment {
            waiting.asked = true;
        }
        out.push(Output::Ask(id, spots));
    }

    /// The live call that a leg at this spot belongs to. A parked leg may look the other way than the leg that was parked.
    fn live_call(&self, spot: &Spot, parked: bool) -> Option<CallId> {
        self.names.live(spot).or_else(|| parked.then(|| self.names.live(&spot.turned())).flatten())
    }

    /// Gives a waiting leg its call and lets everything that was reported meanwhile happen, at its own time.
    pub(super) fn assign(&mut self, id: LegId, now: Timestamp, out: &mut Vec<Output>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if !matches!(leg.assignment, Assignment::Waiting(_)) {
            return;
        }
        let parked = leg_is_parked(leg);
        let Assignment::Waiting(waiting) = std::mem::replace(&mut leg.assignment, Assignment::Ended) else { return };
        let user = leg.user.clone();
        let Some(direction) = waiting.direction() else {
            // Which way it goes may be said later. Without that there is nothing to tell.
            if waiting.has_last() || now.duration_since(waiting.since) >= FORGET_WITHOUT_STATE_AFTER {
                self.legs.remove(&id);
            } else {
                leg.assignment = Assignment::Waiting(waiting);
            }
            return;
        };
        let spot = leg.spot(&waiting);
        let peer = leg.peer.clone();
        leg.conference = spot.as_ref().map(|spot| spot.conference.clone());
        self.end_what_left(Some(&user), None, out);
        if let Some(spot) = spot.as_ref().filter(|_| !waiting.begins_ended()) {
            self.names.reopen(spot, |ended_at| waiting.began_before(ended_at));
        }
        let live = spot.as_ref().and_then(|spot| self.live_call(spot, parked));
        if live.is_none() && waiting.begins_ended() && spot.as_ref().is_some_and(|spot| self.names.ended(spot) > 0) {
            if waiting.has_last() {
                self.legs.remove(&id);
            } else {
                self.has_ended(id);
            }
            return; // The tail of a call whose end is known: nothing new.
        }
        let name = live.unwrap_or_else(|| match &spot {
            Some(spot) => self.names.next_name(&self.origin.pbx_id, spot),
            None => {
                self.nameless += 1;
                CallId::of_handle(self.boot_id, id.user, id.call, self.nameless)
            }
        });
        self.note_return(name, &waiting);
        let is_new = !self.calls.contains_key(&name);
        let start = waiting.start();
        let call = self.calls.entry(name).or_insert_with(|| Call::new(name, user.clone(), direction, start));
        if waiting.continues && is_new {
            call.peer = peer; // The PBX does not repeat what it said about the handle before.
        }
        if is_new || call.missing_since.is_some() || call.last_seen.is_some() {
            self.changed.insert(name);
        }
        (call.missing_since, call.last_seen) = (None, None);
        call.parked_at = None;
        if !call.legs.contains(&id) {
            call.legs.push(id);
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.assignment = Assignment::Live(name);
        }
        if let Some(spot) = spot {
            self.enter(name, &spot, is_new, now, out);
        }
        for (report, at) in waiting.reports {
            self.take(&user, report, at, out);
        }
    }

    /// The call is at this spot from now on; other agents hear of it when they could not derive it.
    pub(super) fn enter(&mut self, id: CallId, spot: &Spot, is_new: bool, now: Timestamp, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.conference.as_ref() != Some(&spot.conference) {
            call.conference = Some(spot.conference.clone());
            self.changed.insert(id);
        }
        if call.conferences.contains(&spot.conference) || call.conferences.len() >= ALIASES {
            return;
        }
        call.conferences.push(spot.conference.clone());
        call.counts.push(self.names.ended(spot));
        self.names.enter(spot, id, now);
        if !is_new || self.names.ended(spot) > 0 {
            out.push(Output::Remember(spot.user.clone(), self.names.item(spot, now)));
        }
    }

    /// Before a call ends with its last leg, the legs that only wait for its name join it: the user's other devices.
    pub(super) fn join_waiting(&mut self, id: CallId, at: Timestamp, out: &mut Vec<Output>) {
        let belongs = |leg: &Leg, waiting: &UnassignedLeg| {
            leg.spot(waiting).is_some_and(|spot| self.names.live(&spot) == Some(id))
        };
        let joining: Vec<LegId> = self
            .waiting_legs()
            .filter(|(leg, waiting)| self.legs.get(leg).is_some_and(|leg| belongs(leg, waiting)))
            .map(|(leg, _)| leg)
            .collect();
        for leg in joining {
            self.assign(leg, at, out);
        }
    }
}

fn leg_is_parked(leg: &Leg) -> bool {
    leg.state.is_some_and(|state| state.phase == Phase::Parked)
}

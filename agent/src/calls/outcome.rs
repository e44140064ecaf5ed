//! How a call ended: who took it, where it went, and what its events say of that beside the published object.

use jiff::{SignedDuration, Timestamp};
use shared::event::{CallDetails, ConferenceEventKind, Direction, PartyKind, Presentation, Status};
use shared::ids::CallId;

use super::call::{Call, HISTORY, UserIdentity, own_party};
use super::call_core::{Calls, Output};
use super::leg::{Leg, Party, Phase, UserGuid};

/// Q.850 cause of a leg that ends because its call goes on elsewhere: non-selected user clearing.
pub const TAKEN_ELSEWHERE: u16 = 26;
/// The two legs of a transfer end within this time.
const TRANSFER_GRACE: SignedDuration = SignedDuration::from_secs(1);

/// How callers are named who withhold their number.
const WITHHELD: [&str; 4] = ["anonymous", "private", "restricted", "withheld"];

impl Calls {
    /// A call was answered here, so that it is not missed where else it rings or waits.
    pub(super) fn note_answer(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        if !self.takes(call) {
            return;
        }
        let (user, Some(conference)) = (call.user.clone(), call.conference.clone()) else { return };
        for other in self.calls.values_mut() {
            let is_same = other.user != user && other.conferences.contains(&conference);
            if is_same && other.direction == Direction::Incoming && !other.taken {
                other.taken = true;
                self.changed.insert(other.id);
            }
        }
    }

    /// Whether this is an answered call to a person. A queue answers to play its announcement.
    fn takes(&self, call: &Call) -> bool {
        let queue = self.users.get(&call.user).is_some_and(|user| user.queue);
        call.direction == Direction::Incoming && call.pickup.is_some() && !queue
    }

    /// Whether somebody else has the call at this moment.
    fn is_taken(&self, call: &Call) -> bool {
        let takes = |other: &&Call| {
            other.conference.as_ref().is_some_and(|conference| call.conferences.contains(conference))
                && other.user != call.user
                && !other.legs.is_empty()
                && self.takes(other)
        };
        self.calls.values().any(|other| takes(&other))
    }

    /// Whether another monitored user or queue places the call that arrives here.
    fn is_placed_here(&self, call: &Call) -> bool {
        let places = |leg: &Leg| {
            leg.user != call.user
                && leg.state.is_some_and(|state| state.direction == Direction::Outgoing)
                && leg.latest_conference().is_some_and(|conference| call.conferences.contains(conference))
        };
        call.placed_here || self.legs.values().any(places)
    }

    /// Notes of a call what only other calls tell, before an event of this status shows it.
    pub(super) fn look_around(&mut self, id: CallId, status: Status) {
        let Some(call) = self.calls.get(&id) else { return };
        let needs_caller = call.direction == Direction::Incoming && call.peer.number.is_empty();
        // Before the end, who has it may be the one from whom it comes.
        let taken = status == Status::Disconnected && self.is_taken(call);
        let placed_here = needs_caller && self.is_placed_here(call);
        if let Some(call) = self.calls.get_mut(&id) {
            call.taken |= taken;
            call.placed_here = placed_here;
        }
    }

    /// A call has lost its last leg because it goes on elsewhere. If it may be one of the two of a transfer, its end waits for the
    /// other one, so that they can name each other.
    pub(super) fn end_or_await_transfer(&mut self, id: CallId, at: Timestamp, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get(&id) else { return };
        let of_user = |other: &&Call| other.user == call.user && other.id != id;
        let partner = self.calls.values().filter(of_user).find_map(|other| {
            let left_at = other.left_at?;
            let fits = call.goes_on_elsewhere() || other.went_to(&call.peer);
            (fits && (call.pickup.is_some() || other.pickup.is_some())).then_some((other.id, left_at))
        });
        if let Some((partner, left_at)) = partner {
            self.transferred(partner, id);
            self.transferred(id, partner);
            self.end(partner, left_at, false, out);
            self.end(id, at, false, out);
            return;
        }
        let joinable = |call: &Call| call.pickup.is_some() || call.direction == Direction::Outgoing;
        let could_join = |other: &&Call| {
            joinable(other) && !other.legs.is_empty() && (call.pickup.is_some() || other.pickup.is_some())
        };
        let waits =
            call.goes_on_elsewhere() && joinable(call) && self.calls.values().filter(of_user).any(|c| could_join(&c));
        match self.calls.get_mut(&id) {
            Some(call) if waits => call.left_at = Some(at),
            _ => self.end(id, at, false, out),
        }
    }

    /// The user has joined the far ends of two calls and left both.
    fn transferred(&mut self, id: CallId, other: CallId) {
        let Some(peer) = self.calls.get(&other).map(|other| other.peer.clone()) else { return };
        if let Some(call) = self.calls.get_mut(&id) {
            call.transfer_call = Some(other);
            if call.sent_to.as_ref().is_none_or(Party::is_empty) {
                call.sent_to = Some(peer);
            }
        }
    }

    /// Ends what waits for the other call of a transfer: of one user, or what has waited for long enough.
    pub(super) fn end_what_left(&mut self, user: Option<&UserGuid>, now: Option<Timestamp>, out: &mut Vec<Output>) {
        let is_due = |call: &Call, at: Timestamp| {
            user.is_none_or(|user| call.user == *user) && now.is_none_or(|now| now.duration_since(at) >= TRANSFER_GRACE)
        };
        let due = |call: &Call| call.left_at.filter(|at| is_due(call, *at)).map(|at| (call.id, at));
        let mut due: Vec<(CallId, Timestamp)> = self.calls.values().filter_map(due).collect();
        due.sort();
        for (id, at) in due {
            self.end(id, at, false, out);
        }
    }
}

impl Call {
    fn goes_on_elsewhere(&self) -> bool {
        self.cause == Some(TAKEN_ELSEWHERE) || self.sent_to.is_some()
    }

    fn went_to(&self, party: &Party) -> bool {
        self.sent_to.as_ref().is_some_and(|to| !to.number.is_empty() && to.number == party.number)
    }

    /// Notes where the user has sent the call, as the last thing that happened to it here.
    pub(super) fn note_departure(&mut self, user: &UserIdentity, at: Timestamp) {
        let Some(to) = self.sent_to.take_if(|_| !self.departed) else { return };
        self.departed = true;
        let kind = match self.transfer_call {
            Some(_) => ConferenceEventKind::Transferred,
            None => ConferenceEventKind::Redirected,
        };
        self.history.truncate(HISTORY - 1); // It says more than one hold of a hundred.
        let own = own_party(user);
        self.note(kind, at, Some(&own), Some(&to).filter(|to| !to.is_empty()), self.cause);
    }

    /// What an event says beside the published object.
    pub(super) fn details(&self, status: Status, queue: bool, inferred: bool) -> CallDetails {
        let ended = status == Status::Disconnected;
        let incoming_end = ended && self.direction == Direction::Incoming;
        let unanswered = incoming_end && self.pickup.is_none() && !self.was_parked;
        let elsewhere = self.taken || self.cause == Some(TAKEN_ELSEWHERE);
        // Whether an operator took the call of a queue in a time that nobody saw is not known.
        let known = !inferred || self.pickup.is_none();
        let abandoned = incoming_end && queue && known && !elsewhere && !self.departed;
        CallDetails {
            missed: abandoned || (unanswered && !queue && !elsewhere && !self.departed),
            answered_elsewhere: unanswered && !queue && elsewhere && !self.departed,
            abandoned,
            party: Some(self.party_kind()),
            presentation: Some(self.presentation()),
            last_seen_at: inferred.then(|| self.last_seen.map_or(self.latest, |seen| seen.max(self.latest))),
            transfer_call_id: self.transfer_call.filter(|_| ended),
            held: self.held && !ended,
            held_by_peer: self.held_by_peer && !ended,
            parked: self.phase == Phase::Parked && !ended,
        }
    }

    fn party_kind(&self) -> PartyKind {
        let Party { number, name, e164, object } = &self.peer;
        if self.placed_here && number.is_empty() || *object && e164.is_none() && !is_withheld(name) {
            return PartyKind::Internal;
        }
        PartyKind::of_number(number, e164.is_some())
    }

    fn presentation(&self) -> Presentation {
        if !self.peer.number.is_empty() {
            Presentation::Shown
        } else if self.placed_here || is_withheld(&self.peer.name) {
            Presentation::Withheld // Who calls from this PBX has a number.
        } else {
            Presentation::Unknown
        }
    }
}

fn is_withheld(name: &str) -> bool {
    WITHHELD.iter().any(|withheld| name.trim().eq_ignore_ascii_case(withheld))
}

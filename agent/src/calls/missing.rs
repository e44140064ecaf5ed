//! Calls that were alive when the session was lost and have not been seen since: who may tell their ends.
//!
//! A call that ended while no agent ran ends when that is concluded. Nobody knows the true moment; `inferred` says so.
//!
//! A remembered call has been missing since its agent last wrote something, which is never later than that agent's death. Only another
//! agent that was there at the time is trusted to tell the end.
//!
//! Without evidence nothing is concluded for four hours: to end a call at once would tell of an end of calls that go on. What counts as
//! evidence is in `evidence.rs`.
//!
//! An end is rather told once too often. When another agent has noted that something ended under a missing call's conference but not under
//! that call's name, it may have named the call otherwise, because a note about a transfer came late. Then the end is told, marked
//! `inferred`; a second copy of it reaches nobody.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use shared::ids::CallId;
use shared::tables::LegItem;

use super::call::Call;
use super::call_core::{Calls, Output};
use super::leg::{UnassignedLeg, UserGuid};

/// A call that did not come back, and of which nothing tells whether it goes on, waits for so long.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(4);
/// A session that has lasted for so long has shown what it shows of running calls.
const LISTING: SignedDuration = SignedDuration::from_secs(60);

/// Running calls are reported within this time after a user's monitor has begun, if at all.
const REPORTED_WITHIN: SignedDuration = SignedDuration::from_secs(2);

impl Calls {
    /// Ends calls that have waited for evidence for long enough. If another agent has told such an end, the second copy reaches nobody.
    pub(super) fn end_lost(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        // Where the PBX reports running calls, they come at the beginning of a session.
        if !self.has_session || now.duration_since(self.session_since) < LISTING {
            return;
        }
        let is_lost = |call: &&Call| call.missing_since.is_some_and(|since| now.duration_since(since) >= LONGEST_WAIT);
        let lost: BTreeSet<CallId> = self.calls.values().filter(is_lost).map(|call| call.id).collect();
        for id in lost {
            self.end(id, now, true, out);
        }
    }

    /// Users who have calls that were alive when the session was lost and have not been seen since.
    pub fn users_with_missing_calls(&self) -> Vec<UserGuid> {
        let users = self.calls.values().filter(|call| call.missing_since.is_some()).map(|call| call.user.clone());
        users.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Closes the calls of a user that did not come back after a lost session, if there is evidence that they have ended.
    ///
    /// `others_since` is the earliest start of another agent's present session, which would have seen the end, and `items` what agents
    /// wrote down about the user's calls.
    pub fn settle(
        &mut self,
        user: &UserGuid,
        others_since: Option<Timestamp>,
        items: &[LegItem],
        now: Timestamp,
    ) -> Vec<Output> {
        let mut out = Vec::new();
        self.learn_items(user, items, now, &mut out);
        let gone = self.are_gone(user, now);
        let missing: BTreeMap<CallId, Timestamp> = self
            .calls
            .values()
            .filter(|call| call.user == *user)
            .filter_map(|call| Some((call.id, call.missing_since?)))
            .collect();
        for (id, since) in missing {
            // Nobody else can name a call that never had a conference, so nobody else will tell its end.
            let ours_alone = self.calls.get(&id).is_some_and(|call| call.conferences.is_empty());
            if gone && (ours_alone || others_since.is_none_or(|others| others >= since)) {
                self.end(id, now, true, &mut out);
            }
        }
        out
    }

    /// Whether a leg that waits for its name was there before the end of which this item tells.
    fn has_found(&self, user: &UserGuid, item: &LegItem) -> bool {
        let Some(ended_at) = item.last_ended_at else { return false };
        self.waiting_legs().any(|(id, waiting)| {
            let spot = self.legs.get(&id).and_then(|leg| leg.spot(waiting));
            let is_there = spot.is_some_and(|spot| {
                spot.user == *user && *spot.conference == *item.conference && spot.direction == item.direction
            });
            is_there && !waiting.begins_ended() && waiting.began_before(ended_at)
        })
    }

    /// Takes over what agents wrote down about a user's calls, and lets go of the missing ones whose end is among it.
    pub(super) fn learn_items(&mut self, user: &UserGuid, items: &[LegItem], now: Timestamp, out: &mut Vec<Output>) {
        let watched_since = self.watched.get(user).copied().unwrap_or(self.session_since);
        for item in items {
            self.names.learn(user, item, watched_since, now);
            let name = |n| CallId::of_conference(&self.origin.pbx_id, user, &item.conference, item.direction, n);
            // Another call that came to this conference counts as well when it ends, while the first one goes on.
            let is_found = item.last_ended.filter(|_| self.has_found(user, item));
            let goes_on = |id: &CallId| item.live == Some(*id) || is_found == Some(*id);
            let ended: BTreeSet<CallId> = (0..item.ended).map(name).chain(item.last_ended).collect();
            for id in ended.into_iter().filter(|id| !goes_on(id)) {
                if self.calls.get(&id).is_none_or(|call| call.missing_since.is_none()) {
                    continue;
                }
                if item.last_ended == Some(id) {
                    self.forget(id, now); // Whoever wrote that has told it.
                } else {
                    // Something has ended here, but another agent may have named it otherwise. An end that is told twice is heard once.
                    self.end(id, now, true, out);
                }
            }
        }
    }

    /// The PBX says how many calls a user has, or leaves it out.
    pub fn channels_are(&mut self, user: &UserGuid, count: Option<u32>) {
        if self.evidence.channels_are(user, count) {
            // It is kept with the user's calls.
            self.changed.extend(self.calls.values().filter(|call| call.user == *user).map(|call| call.id));
        }
    }

    /// A leg belongs to this call. If the call was missing and comes back as it was, right after its user's monitor began, then not
    /// because something happens to it, but because the PBX reports running calls.
    pub(super) fn note_return(&mut self, id: CallId, leg: &UnassignedLeg) {
        let Some(call) = self.calls.get(&id).filter(|call| call.missing_since.is_some()) else { return };
        let Some(watched_since) = self.watched.get(&call.user) else { return };
        let as_it_was = leg.first_state().is_some_and(|state| {
            (state.phase, state.held_by_user, state.held_by_peer) == (call.phase, call.held, call.held_by_peer)
        });
        let at_once = leg.since.duration_since(*watched_since) <= REPORTED_WITHIN;
        if as_it_was && at_once && !leg.saw_beginning() && !self.evidence.reports_running {
            (self.evidence.reports_running, self.evidence.is_new) = (true, true);
        }
    }

    /// Whether the calls of a user that are missing have ended for certain.
    pub(super) fn are_gone(&self, user: &UserGuid, now: Timestamp) -> bool {
        if self.waiting_legs().any(|(id, _)| self.legs.get(&id).is_some_and(|leg| leg.user == *user)) {
            return false; // One of them may be it.
        }
        let listed = self.watched.get(user).is_some_and(|since| now.duration_since(*since) > REPORTED_WITHIN);
        let seen = self.calls.values().filter(|call| call.user == *user && !call.legs.is_empty()).count();
        (self.evidence.reports_running && listed) || self.evidence.counts_no_more_than(user, seen)
    }
}

//! Which call a leg belongs to: the names of calls, and what has ended under which conference.
//!
//! A call's id is derived from the PBX's conference and stays when a transfer replaces the conference. When an agent sees a handle whose
//! beginning it missed, it asks for what other agents know before the call is named.
//!
//! An agent counts ends by itself from when it began to watch a user, and takes over only older ones from the table. The other agent may
//! have written down the end of a short call before this one has named it, and the call would count itself. For the same reason an end that
//! was written down carries its moment (`lastEndedAt`).
//!
//! A handle without a conference is named by a counter beside the handle, because handles are used again within one session.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::ids::CallId;
use shared::tables::LegItem;

use super::leg::{Spot, UserGuid};

/// How long an ended call counts: as long as its item in the table.
pub(super) const KEEP: SignedDuration = SignedDuration::from_hours(24);

/// Beginnings of ended calls that are kept; a queue may offer one call many times.
const LATEST: usize = 16;

/// Spots without a live call that are kept, the latest ones: more than a day of a busy PBX has, and as much as memory allows. The table
/// keeps all of them, and is asked whenever another agent may know more.
pub(super) const ENDED_SPOTS: usize = 20_000;

/// It is kept on disk as it is, so a field that comes later needs a default.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Knowledge {
    ended: u32,
    /// When the latest ended calls began, in milliseconds.
    begun: VecDeque<i64>,
    last_ended: Option<CallId>,
    #[serde(default)]
    last_ended_at: Option<i64>,
    /// The same moment, if this agent knows of that end from another one only.
    #[serde(skip)]
    heard_to_end_at: Option<i64>,
    live: Option<CallId>,
    touched: Timestamp,
    /// It is among those that may be forgotten.
    #[serde(skip)]
    listed: bool,
}

#[derive(Debug, Default)]
pub(super) struct CallNames {
    spots: HashMap<Spot, Knowledge>,
    /// Those that may be forgotten, in the order in which they came to be so.
    forgettable: VecDeque<Spot>,
    /// Whose knowledge has changed since it was last written to disk.
    changed: HashSet<Spot>,
}

impl CallNames {
    /// Takes back what was kept on disk. Of a spot that is known already, only what has ended there is more than that.
    pub(super) fn put_back(&mut self, spot: &Spot, known: Knowledge) {
        match self.spots.entry(spot.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(known)),
            Entry::Occupied(mut entry) if entry.get().ended < known.ended => {
                let Knowledge { ended, begun, last_ended, last_ended_at, .. } = known;
                let now = entry.get_mut();
                (now.ended, now.begun, now.last_ended, now.last_ended_at) = (ended, begun, last_ended, last_ended_at);
                self.changed.insert(spot.clone());
            }
            Entry::Occupied(_) => {}
        }
        self.may_forget(spot);
    }

    /// The spots about which something changed since the last time, each with what is known now.
    pub(super) fn changes(&mut self) -> impl Iterator<Item = (Spot, Option<&Knowledge>)> {
        std::mem::take(&mut self.changed).into_iter().map(|spot| {
            let known = self.spots.get(&spot);
            (spot, known)
        })
    }

    /// What is known about a spot, to be changed.
    fn at(&mut self, spot: &Spot) -> &mut Knowledge {
        self.changed.insert(spot.clone());
        self.spots.entry(spot.clone()).or_default()
    }

    /// The live call at a spot, under this conference or an alias.
    pub(super) fn live(&self, spot: &Spot) -> Option<CallId> {
        self.spots.get(spot)?.live
    }

    pub(super) fn ended(&self, spot: &Spot) -> u32 {
        self.spots.get(spot).map_or(0, |known| known.ended)
    }

    /// The name for a new call at a spot.
    pub(super) fn next_name(&self, pbx_id: &str, spot: &Spot) -> CallId {
        CallId::of_conference(pbx_id, &spot.user, &spot.conference, spot.direction, self.ended(spot))
    }

    /// A call lives at this spot from now on, unless another one does already.
    pub(super) fn enter(&mut self, spot: &Spot, call: CallId, now: Timestamp) {
        let known = self.at(spot);
        known.live.get_or_insert(call);
        known.touched = now;
    }

    /// A call that had this spot has ended, as the `count`-th. Others may have counted it, and more, already.
    pub(super) fn leave(&mut self, spot: &Spot, call: CallId, count: u32, begun: Timestamp, now: Timestamp) {
        let known = self.at(spot);
        if known.live == Some(call) {
            known.live = None;
        }
        if count > known.ended {
            known.ended = count;
            known.last_ended = Some(call);
            known.last_ended_at = Some(now.as_millisecond());
            known.heard_to_end_at = None;
            known.begun.push_back(begun.as_millisecond());
            if known.begun.len() > LATEST {
                known.begun.pop_front();
            }
        }
        known.touched = now;
        self.may_forget(spot);
    }

    /// Takes back the end of the latest call, of which another agent has told, when a leg of it was found alive and waits for its name:
    /// calls of one user in one conference do not overlap, so a leg that was there before an end belongs to that call.
    pub(super) fn reopen(&mut self, spot: &Spot, was_there_before: impl Fn(i64) -> bool) {
        if let Some(known) = self.spots.get_mut(spot)
            && known.live.is_none()
            && known.heard_to_end_at.is_some_and(was_there_before)
        {
            known.live = known.last_ended.take();
            (known.last_ended_at, known.heard_to_end_at) = (None, None);
            known.ended = known.ended.saturating_sub(1);
            known.begun.pop_back();
            self.changed.insert(spot.clone());
        }
    }

    /// A spot without a live call may be forgotten when there are too many.
    fn may_forget(&mut self, spot: &Spot) {
        if let Some(known) = self.spots.get_mut(spot)
            && known.live.is_none()
            && !known.listed
        {
            known.listed = true;
            self.forgettable.push_back(spot.clone());
        }
        while self.forgettable.len() > ENDED_SPOTS {
            let Some(oldest) = self.forgettable.pop_front() else { break };
            match self.spots.get_mut(&oldest) {
                Some(known) if known.live.is_some() => known.listed = false,
                _ => {
                    self.spots.remove(&oldest);
                    self.changed.insert(oldest);
                }
            }
        }
    }

    /// Takes over what other agents, or this one before a restart, wrote down. Counts only grow.
    ///
    /// A call that began while this agent watched the user is not taken over: this agent counts it itself, when it sees its
    /// end. Another agent may have seen that end already, and this call would then count as one before itself.
    pub(super) fn learn(&mut self, user: &UserGuid, item: &LegItem, watched_since: Timestamp, now: Timestamp) {
        let spot = Spot { user: user.clone(), conference: item.conference.as_str().into(), direction: item.direction };
        let known = self.spots.entry(spot.clone()).or_default();
        let (had_ended, had_live) = (known.ended, known.live);
        let own = item.begun.iter().filter(|begun| **begun >= watched_since.as_millisecond()).count();
        let ended = item.ended.saturating_sub(u32::try_from(own).unwrap_or(u32::MAX));
        if ended > known.ended {
            known.ended = ended;
            known.last_ended = item.last_ended.filter(|_| own == 0);
            known.last_ended_at = item.last_ended_at.filter(|_| own == 0);
            known.heard_to_end_at = known.last_ended_at;
            known.begun = item.begun.iter().copied().filter(|begun| *begun < watched_since.as_millisecond()).collect();
            if known.live.is_some() && known.live == item.last_ended {
                known.live = None;
            }
        }
        if item.ended >= known.ended && known.live.is_none() {
            known.live = item.live;
        }
        known.touched = now;
        if (known.ended, known.live) != (had_ended, had_live) {
            self.changed.insert(spot.clone());
        }
        self.may_forget(&spot);
    }

    /// What this spot's item in the table should say.
    pub(super) fn item(&self, spot: &Spot, now: Timestamp) -> LegItem {
        let known = self.spots.get(spot);
        LegItem {
            conference: spot.conference.to_string(),
            direction: spot.direction,
            ended: known.map_or(0, |known| known.ended),
            live: known.and_then(|known| known.live),
            begun: known.map(|known| known.begun.iter().copied().collect()).unwrap_or_default(),
            last_ended: known.and_then(|known| known.last_ended),
            last_ended_at: known.and_then(|known| known.last_ended_at),
            expires_at: now.as_second() + KEEP.as_secs(),
        }
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> [(&'static str, usize); 3] {
        [("spots", self.spots.len()), ("forgettable", self.forgettable.len()), ("changed spots", self.changed.len())]
    }

    #[cfg(test)]
    pub(super) fn known_spots(&self) -> usize {
        self.spots.len()
    }

    /// A call that another agent has named may end without this one ever hearing of it, so only what is live here is kept for longer.
    pub(super) fn forget_old(&mut self, now: Timestamp, is_live: impl Fn(CallId) -> bool) {
        let changed = &mut self.changed;
        self.spots.retain(|spot, known| {
            let stays = known.live.is_some_and(&is_live) || now.duration_since(known.touched) < KEEP;
            if !stays {
                changed.insert(spot.clone());
            }
            stays
        });
        let spots = &self.spots;
        self.forgettable.retain(|spot| spots.contains_key(spot));
    }
}

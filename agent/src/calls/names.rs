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
//!
//! What has ended is most of what the agent remembers, so a spot is named by a digest here and on disk, and all of it lies in one vector in
//! the order in which it ended.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroI64;

use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::ids::CallId;
use shared::tables::LegItem;

use super::leg::{Spot, SpotId, UserGuid};

/// How long an ended call counts: as long as its item in the table.
pub(super) const KEEP: SignedDuration = SignedDuration::from_hours(24);

/// Beginnings of ended calls that are kept; a queue may offer one call many times.
const LATEST: usize = 16;

/// Spots without a live call that are kept, the latest ones: three quarters of the busiest hour of a PBX with 100,000 calls a day, where a
/// queue offers a call again within minutes. The table keeps all of a day, and is asked whenever another agent may know more.
pub(super) const ENDED_SPOTS: usize = 8_192;
/// As many of them are forgotten at once, because the rest moves up.
pub(super) const FORGOTTEN_AT_ONCE: usize = 512;

/// It is kept on disk as it is, so a field that comes later needs a default.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Knowledge {
    ended: u32,
    /// When the latest ended calls began.
    begun: Moments,
    last_ended: Option<CallId>,
    #[serde(default)]
    last_ended_at: Option<NonZeroI64>,
    /// This agent knows of that end from another one only.
    #[serde(skip)]
    heard_to_end: bool,
    live: Option<CallId>,
    touched: Timestamp,
}

impl Knowledge {
    pub(super) fn touched(&self) -> Timestamp {
        self.touched
    }
}

/// Some moments in milliseconds. Most often it is one, which then takes no memory elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<i64>", into = "Vec<i64>")]
enum Moments {
    One(i64),
    Many(Box<[i64]>),
}

impl Moments {
    fn as_slice(&self) -> &[i64] {
        match self {
            Self::One(moment) => std::slice::from_ref(moment),
            Self::Many(moments) => moments,
        }
    }

    /// Adds one, and lets the oldest go that are too many.
    fn push(&mut self, moment: i64) {
        let latest = self.as_slice();
        let latest = &latest[latest.len().saturating_sub(LATEST - 1)..];
        *self = latest.iter().copied().chain([moment]).collect();
    }

    fn pop(&mut self) {
        let latest = self.as_slice();
        *self = latest[..latest.len().saturating_sub(1)].iter().copied().collect();
    }
}

impl Default for Moments {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl FromIterator<i64> for Moments {
    fn from_iter<I: IntoIterator<Item = i64>>(moments: I) -> Self {
        Vec::from_iter(moments).into()
    }
}

impl From<Vec<i64>> for Moments {
    fn from(moments: Vec<i64>) -> Self {
        match moments[..] {
            [moment] => Self::One(moment),
            _ => Self::Many(moments.into()),
        }
    }
}

impl From<Moments> for Vec<i64> {
    fn from(moments: Moments) -> Self {
        moments.as_slice().to_vec()
    }
}

#[derive(Debug, Default)]
pub(super) struct CallNames {
    /// Where a call lives.
    live: HashMap<SpotId, Knowledge>,
    /// Where none does, in the order in which that came to be so.
    ended: IndexMap<SpotId, Knowledge>,
    /// What has changed since it was last written to disk.
    changed: HashSet<SpotId>,
    /// Keys of records that an earlier version wrote, and this one writes under others.
    obsolete: Vec<String>,
}

impl CallNames {
    /// Takes back what was kept on disk. Of a spot that is known already, only what has ended there is more than that.
    pub(super) fn put_back(&mut self, id: SpotId, kept: Knowledge) {
        let Some(known) = self.known(id) else {
            return self.put(id, kept);
        };
        if known.ended < kept.ended {
            self.change(id, |known| {
                let Knowledge { ended, begun, last_ended, last_ended_at, .. } = kept;
                (known.ended, known.begun, known.last_ended, known.last_ended_at) =
                    (ended, begun, last_ended, last_ended_at);
            });
        }
    }

    /// A record on disk has a key of an earlier version, and is to be written under the present one.
    pub(super) fn rename(&mut self, id: SpotId, earlier: String) {
        self.changed.insert(id);
        self.obsolete.push(earlier);
    }

    /// The keys of records about which something changed since the last time, each with what is known now.
    pub(super) fn changes(&mut self) -> impl Iterator<Item = (String, Option<&Knowledge>)> {
        let obsolete = std::mem::take(&mut self.obsolete).into_iter().map(|key| (key, None));
        let changed = std::mem::take(&mut self.changed).into_iter().map(|id| (id.to_string(), self.known(id)));
        obsolete.chain(changed)
    }

    fn known(&self, id: SpotId) -> Option<&Knowledge> {
        self.live.get(&id).or_else(|| self.ended.get(&id))
    }

    /// What is known about a spot, to be changed, and to be written to disk.
    fn change(&mut self, id: SpotId, change: impl FnOnce(&mut Knowledge)) {
        let mut known = self.take(id);
        change(&mut known);
        self.changed.insert(id);
        self.put(id, known);
    }

    /// What is known about a spot, to be put in its place again.
    fn take(&mut self, id: SpotId) -> Knowledge {
        self.live.remove(&id).or_else(|| self.ended.shift_remove(&id)).unwrap_or_default()
    }

    fn put(&mut self, id: SpotId, known: Knowledge) {
        if known.live.is_some() {
            self.live.insert(id, known);
            return;
        }
        self.ended.insert(id, known);
        if self.ended.len() >= ENDED_SPOTS + FORGOTTEN_AT_ONCE {
            self.changed.extend(self.ended.drain(..FORGOTTEN_AT_ONCE).map(|(id, _)| id));
        }
    }

    /// The live call at a spot, under this conference or an alias.
    pub(super) fn live(&self, spot: &Spot) -> Option<CallId> {
        self.live.get(&spot.id())?.live
    }

    pub(super) fn ended(&self, spot: &Spot) -> u32 {
        self.known(spot.id()).map_or(0, |known| known.ended)
    }

    /// The name for a new call at a spot.
    pub(super) fn next_name(&self, pbx_id: &str, spot: &Spot) -> CallId {
        CallId::of_conference(pbx_id, &spot.user, &spot.conference, spot.direction, self.ended(spot))
    }

    /// A call lives at this spot from now on, unless another one does already.
    pub(super) fn enter(&mut self, spot: &Spot, call: CallId, now: Timestamp) {
        self.change(spot.id(), |known| {
            known.live.get_or_insert(call);
            known.touched = now;
        });
    }

    /// A call that had this spot has ended, as the `count`-th. Others may have counted it, and more, already.
    pub(super) fn leave(&mut self, spot: &Spot, call: CallId, count: u32, begun: Timestamp, now: Timestamp) {
        self.change(spot.id(), |known| {
            if known.live == Some(call) {
                known.live = None;
            }
            if count > known.ended {
                known.ended = count;
                known.last_ended = Some(call);
                known.last_ended_at = NonZeroI64::new(now.as_millisecond());
                known.heard_to_end = false;
                known.begun.push(begun.as_millisecond());
            }
            known.touched = now;
        });
    }

    /// Takes back the end of the latest call, of which another agent has told, when a leg of it was found alive and waits for its name:
    /// calls of one user in one conference do not overlap, so a leg that was there before an end belongs to that call.
    pub(super) fn reopen(&mut self, spot: &Spot, was_there_before: impl Fn(i64) -> bool) {
        let id = spot.id();
        let is_heard = |known: &&Knowledge| known.heard_to_end && known.last_ended.is_some();
        let heard = self.ended.get(&id).filter(is_heard).and_then(|known| known.last_ended_at);
        if heard.is_some_and(|ended_at| was_there_before(ended_at.get())) {
            self.change(id, |known| {
                known.live = known.last_ended.take();
                (known.last_ended_at, known.heard_to_end) = (None, false);
                known.ended = known.ended.saturating_sub(1);
                known.begun.pop();
            });
        }
    }

    /// Takes over what other agents, or this one before a restart, wrote down. Counts only grow.
    ///
    /// A call that began while this agent watched the user is not taken over: this agent counts it itself, when it sees its
    /// end. Another agent may have seen that end already, and this call would then count as one before itself.
    pub(super) fn learn(&mut self, user: &UserGuid, item: &LegItem, watched_since: Timestamp, now: Timestamp) {
        let spot = Spot { user: user.clone(), conference: item.conference.as_str().into(), direction: item.direction };
        let id = spot.id();
        let mut known = self.take(id);
        let (had_ended, had_live) = (known.ended, known.live);
        let own = item.begun.iter().filter(|begun| **begun >= watched_since.as_millisecond()).count();
        let ended = item.ended.saturating_sub(u32::try_from(own).unwrap_or(u32::MAX));
        if ended > known.ended {
            known.ended = ended;
            known.last_ended = item.last_ended.filter(|_| own == 0);
            known.last_ended_at = item.last_ended_at.filter(|_| own == 0).and_then(NonZeroI64::new);
            known.heard_to_end = known.last_ended_at.is_some();
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
            self.changed.insert(id);
        }
        self.put(id, known);
    }

    /// What this spot's item in the table should say.
    pub(super) fn item(&self, spot: &Spot, now: Timestamp) -> LegItem {
        let known = self.known(spot.id());
        LegItem {
            conference: spot.conference.to_string(),
            direction: spot.direction,
            ended: known.map_or(0, |known| known.ended),
            live: known.and_then(|known| known.live),
            begun: known.map(|known| known.begun.as_slice().to_vec()).unwrap_or_default(),
            last_ended: known.and_then(|known| known.last_ended),
            last_ended_at: known.and_then(|known| known.last_ended_at).map(NonZeroI64::get),
            expires_at: now.as_second() + KEEP.as_secs(),
        }
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> [(&'static str, usize); 3] {
        [("live spots", self.live.len()), ("ended spots", self.ended.len()), ("changed spots", self.changed.len())]
    }

    #[cfg(test)]
    pub(super) fn known_spots(&self) -> usize {
        self.live.len() + self.ended.len()
    }

    /// A call that another agent has named may end without this one ever hearing of it, so only what is live here is kept for longer.
    pub(super) fn forget_old(&mut self, now: Timestamp, is_live: impl Fn(CallId) -> bool) {
        let changed = &mut self.changed;
        let mut stays = |id: &SpotId, known: &Knowledge| {
            let stays = known.live.is_some_and(&is_live) || now.duration_since(known.touched) < KEEP;
            if !stays {
                changed.insert(*id);
            }
            stays
        };
        self.live.retain(|id, known| stays(id, known));
        self.ended.retain(|id, known| stays(id, known));
    }
}

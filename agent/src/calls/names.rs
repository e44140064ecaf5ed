//! Which call a leg belongs to: the names of calls, and what has ended under which conference.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use shared::event::Direction;
use shared::ids::CallId;
use shared::tables::LegItem;

use super::leg::UserGuid;

/// How long an ended call counts: as long as its item in the table.
const KEEP: SignedDuration = SignedDuration::from_hours(24);

/// Beginnings of ended calls that are kept; a queue may offer one call many times.
const LATEST: usize = 16;

/// Where calls meet: the same user, conference and direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub user: UserGuid,
    pub conference: Arc<str>,
    pub direction: Direction,
}

#[derive(Debug, Default)]
struct Knowledge {
    ended: u32,
    /// When the latest ended calls began, in milliseconds.
    begun: VecDeque<i64>,
    last_ended: Option<CallId>,
    live: Option<CallId>,
    touched: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    spots: HashMap<Spot, Knowledge>,
}

impl Names {
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
    pub(super) fn enter(&mut self, spot: Spot, call: CallId, now: Timestamp) {
        let known = self.spots.entry(spot).or_default();
        known.live.get_or_insert(call);
        known.touched = now;
    }

    /// A call that had this spot has ended, as the `count`-th. Others may have counted it, and more, already.
    pub(super) fn leave(&mut self, spot: &Spot, call: CallId, count: u32, begun: Timestamp, now: Timestamp) {
        let known = self.spots.entry(spot.clone()).or_default();
        if known.live == Some(call) {
            known.live = None;
        }
        if count > known.ended {
            known.ended = count;
            known.last_ended = Some(call);
            known.begun.push_back(begun.as_millisecond());
            if known.begun.len() > LATEST {
                known.begun.pop_front();
            }
        }
        known.touched = now;
    }

    /// Takes over what other agents, or this one before a restart, wrote down. Counts only grow.
    ///
    /// A call that began while this agent watched the user is not taken over: this agent counts it itself, when it sees its
    /// end. Another agent may have seen that end already, and this call would then count as one before itself.
    pub(super) fn learn(&mut self, user: &UserGuid, item: &LegItem, watched_since: Timestamp, now: Timestamp) {
        let spot = Spot { user: user.clone(), conference: item.conference.as_str().into(), direction: item.direction };
        let known = self.spots.entry(spot).or_default();
        let own = item.begun.iter().filter(|begun| **begun >= watched_since.as_millisecond()).count();
        let ended = item.ended.saturating_sub(u32::try_from(own).unwrap_or(u32::MAX));
        if ended > known.ended {
            known.ended = ended;
            known.last_ended = item.last_ended.filter(|_| own == 0);
            known.begun = item.begun.iter().copied().filter(|begun| *begun < watched_since.as_millisecond()).collect();
            if known.live.is_some() && known.live == item.last_ended {
                known.live = None;
            }
        }
        if item.ended >= known.ended && known.live.is_none() {
            known.live = item.live;
        }
        known.touched = now;
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
            expires_at: now.as_second() + KEEP.as_secs(),
        }
    }

    pub(super) fn forget_old(&mut self, now: Timestamp) {
        self.spots.retain(|_, known| known.live.is_some() || now.duration_since(known.touched) < KEEP);
    }
}

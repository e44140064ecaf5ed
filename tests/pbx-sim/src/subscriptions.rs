//! What a connection has asked to be told: the list of users, and the calls of single users.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::messages::Tracked;
use crate::switch::{LegEvent, LegId, ObjectId, Party, TO_OBJECT};

/// The PBX sends this many users per tick at most.
pub(crate) const BATCH: usize = 50;
/// Time between two batches of users.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// Time between two repetitions of all users.
pub(crate) const REPEAT: Duration = Duration::from_secs(5);

/// The subscription made by `Initialize`.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) src: Option<Value>,
    pub(crate) grp: bool,
    pub(crate) limit: usize,
    /// Users of the initial list that have not been sent yet. `None` once the result is out.
    pub(crate) pending: Option<VecDeque<ObjectId>>,
    pub(crate) next_at: Duration,
    /// The last row sent of each user.
    pub(crate) shown: BTreeMap<ObjectId, Map<String, Value>>,
    /// Users who are not listed but follow later, and when.
    pub(crate) late: Option<(Duration, Vec<ObjectId>)>,
    /// When all users are told again.
    pub(crate) repeat_at: Duration,
}

/// The subscription made by one `UserInitialize`.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) object: ObjectId,
    pub(crate) hw: Option<String>,
    pub(crate) xfer: bool,
    pub(crate) disc: bool,
    /// It has a handle but never reports anything.
    deaf: bool,
    pub(crate) src: Option<Value>,
    pub(crate) legs: BTreeMap<LegId, Tracked>,
    /// Legs of further phones of a ringing call, where all phones have one handle: whether each still rings, and its call.
    hidden: BTreeMap<LegId, (bool, String)>,
    /// Legs elsewhere that carry on a call which was transferred away from here.
    pub(crate) follows: BTreeMap<LegId, (Tracked, Party)>,
}

/// What a client asks of a stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StreamFlags {
    pub(crate) xfer: bool,
    pub(crate) disc: bool,
    pub(crate) deaf: bool,
}

impl Directory {
    /// A directory whose list goes out from now on; none of it at once if it is `late`.
    pub(crate) fn new(
        (src, grp, limit): (Option<Value>, bool, usize),
        users: Vec<ObjectId>,
        now: Duration,
        late: Option<Duration>,
    ) -> Self {
        let (pending, late) = match late {
            Some(late) => (Vec::new(), Some((now + late, users))),
            None => (users, None),
        };
        let limit = limit.clamp(1, BATCH);
        let repeat_at = now + REPEAT;
        Self { src, grp, limit, pending: Some(pending.into()), next_at: now, shown: BTreeMap::new(), late, repeat_at }
    }

    /// The first row of this user is still to come and will be fresh.
    pub(crate) fn awaits(&self, id: ObjectId) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.contains(&id))
            || self.late.as_ref().is_some_and(|(_, late)| late.contains(&id))
    }
}

impl Stream {
    /// A PBX tells only of the calls of those who were at home at it when the calls began.
    pub(crate) fn concerns(&self, event: &LegEvent, pbx: &str) -> bool {
        let other_phone = |hw: &String| event.device.as_ref().is_some_and(|device| device != hw);
        !self.deaf && event.pbx == pbx && self.object == event.object && !self.hw.as_ref().is_some_and(other_phone)
    }
}

impl Stream {
    pub(crate) fn new(object: ObjectId, hw: Option<String>, flags: StreamFlags, src: Option<Value>) -> Self {
        let StreamFlags { xfer, disc, deaf } = flags;
        Self {
            object,
            hw,
            xfer,
            disc,
            deaf,
            src,
            legs: BTreeMap::new(),
            follows: BTreeMap::new(),
            hidden: BTreeMap::new(),
        }
    }

    /// Where all phones of a user have one handle: whether this event is told. Tells also from which leg to which one the
    /// handle goes on.
    pub(crate) fn share(&mut self, event: &LegEvent) -> (bool, Option<(LegId, LegId)>) {
        let phase = event.state & 0x0f;
        let (rings, has_ended) = (event.state & TO_OBJECT != 0 && phase < 5, phase == 6 || phase == 7);
        let of_call = |tracked: &Tracked| tracked.call == event.call_guid;
        let shown = self.legs.iter().find(|(_, tracked)| of_call(tracked)).map(|(leg, _)| *leg);
        if let Some((still_rings, _)) = self.hidden.get_mut(&event.leg) {
            *still_rings &= !has_ended;
            if event.is_last() {
                self.hidden.remove(&event.leg);
            }
            return match shown.filter(|_| phase == 5) {
                Some(shown) => (true, self.pass_on(shown, event.leg, true)),
                None => (false, None),
            };
        }
        let next =
            self.hidden.iter().find(|(_, (rings, call))| *rings && *call == event.call_guid).map(|(leg, _)| *leg);
        match (self.legs.contains_key(&event.leg), next) {
            (true, Some(next)) if has_ended => (false, self.pass_on(event.leg, next, false)),
            (false, _) if rings && shown.is_some() => {
                self.hidden.insert(event.leg, (true, event.call_guid.clone()));
                (false, None)
            }
            _ => (true, None),
        }
    }

    fn pass_on(&mut self, from: LegId, to: LegId, still_rings: bool) -> Option<(LegId, LegId)> {
        let tracked = self.legs.remove(&from)?;
        self.hidden.remove(&to);
        self.hidden.insert(from, (still_rings, tracked.call.clone()));
        self.legs.insert(to, tracked);
        Some((from, to))
    }
}

//! What a connection has asked to be told: the list of users, and the calls of single users.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::messages::Tracked;
use crate::switch::{LegEvent, LegId, ObjectId, Party};

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
    pub(crate) fn concerns(&self, event: &LegEvent) -> bool {
        let other_phone = |hw: &String| event.device.as_ref().is_some_and(|device| device != hw);
        !self.deaf && self.object == event.object && !self.hw.as_ref().is_some_and(other_phone)
    }
}

impl Stream {
    pub(crate) fn new(object: ObjectId, hw: Option<String>, flags: StreamFlags, src: Option<Value>) -> Self {
        let StreamFlags { xfer, disc, deaf } = flags;
        Self { object, hw, xfer, disc, deaf, src, legs: BTreeMap::new(), follows: BTreeMap::new() }
    }
}

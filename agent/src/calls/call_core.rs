//! The state of the call core, and how reports about legs change it.
//!
//! A leg that is first seen in its clearing phase is a new call only if no call of that conference has ended before. Otherwise it is the
//! tone after an end that is known already.
//!
//! Reports that waited for a call's name never run behind the call's own time: an event's time is at least that of the one before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use shared::event::{CallEvent, Direction, Status};
use shared::ids::CallId;
use shared::tables::LegItem;
use uuid::Uuid;

use super::call::{Call, Origin, UserIdentity};
use super::evidence::Evidence;
use super::leg::{Assignment, Leg, LegId, LegReport, Phase, Relation, Spot, UnassignedLeg, UserGuid};
use super::names::CallNames;

/// A leg that has no conference id for this long gets a name of its own.
const NAME_WITHOUT_CONFERENCE_AFTER: SignedDuration = SignedDuration::from_secs(2);
/// A call whose leg was parked waits this long for the leg that holds it in the park.
const PARK_GRACE: SignedDuration = SignedDuration::from_secs(2);
/// Handles that have ended and are kept until the PBX deletes them; some never do.
pub const ENDED_HANDLES: usize = 4096;
/// Conference ids under which a call is found. Later ones are shown, but no other leg finds the call by them.
pub(super) const ALIASES: usize = 64;

/// What the core wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this event.
    Event(Box<CallEvent>),
    /// Write this down for other agents. When it stands before an event, begin it before sending the event.
    Remember(UserGuid, LegItem),
    /// Find out what agents remember about the calls of these spots and answer with [`Calls::learn`].
    Ask(LegId, Vec<Spot>),
}

#[derive(Debug)]
pub struct Calls {
    pub(super) origin: Origin,
    pub(super) boot_id: Uuid,
    /// Everybody who is or was monitored and may still have calls.
    pub(super) users: HashMap<UserGuid, Arc<UserIdentity>>,
    pub(super) legs: HashMap<LegId, Leg>,
    /// Legs in the order in which they ended, also such that were deleted since.
    pub(super) ended: VecDeque<LegId>,
    pub(super) calls: HashMap<CallId, Call>,
    /// Calls that have changed, begun or ended since they were last written to disk.
    pub(super) changed: HashSet<CallId>,
    pub(super) names: CallNames,
    pub(super) has_session: bool,
    pub(super) session_since: Timestamp,
    /// Since when each user is monitored in this session.
    pub(super) watched: HashMap<UserGuid, Timestamp>,
    /// How many calls had to be named without a conference; it tells the lives of one handle apart.
    pub(super) nameless: u64,
    /// Legs whose own park was asked for: their end is not the end of the call.
    pub(super) parking: HashSet<LegId>,
    pub(super) last_cleaning: Timestamp,
    /// When the PBX was last heard of.
    heard_at: Timestamp,
    pub(super) evidence: Evidence,
    /// Of the agents of a PBX, one reports updates.
    pub(super) reports_updates: bool,
}

impl Calls {
    pub fn new(origin: Origin, boot_id: Uuid) -> Self {
        Self {
            origin,
            boot_id,
            users: HashMap::new(),
            legs: HashMap::new(),
            ended: VecDeque::new(),
            calls: HashMap::new(),
            changed: HashSet::new(),
            names: CallNames::default(),
            has_session: false,
            session_since: Timestamp::MIN,
            watched: HashMap::new(),
            nameless: 0,
            parking: HashSet::new(),
            last_cleaning: Timestamp::MIN,
            heard_at: Timestamp::MIN,
            evidence: Evidence::default(),
            reports_updates: false,
        }
    }

    pub fn user_is(&mut self, guid: UserGuid, identity: UserIdentity) {
        self.users.insert(guid, Arc::new(identity));
    }

    pub fn session_started(&mut self, now: Timestamp) {
        self.session_since = now;
        self.has_session = true;
        self.watched.clear();
    }

    /// From now on everything about this user's calls is reported.
    pub fn watching(&mut self, user: UserGuid, now: Timestamp) {
        self.watched.insert(user, now);
    }

    /// The PBX session is gone and its handles with it. Calls go on in the PBX; they are missing until they come back.
    pub fn session_lost(&mut self, now: Timestamp) -> Vec<Output> {
        let mut out = Vec::new();
        let waiting: BTreeSet<LegId> = self.waiting_legs().map(|(id, _)| id).collect();
        for id in waiting {
            self.assign(id, now, &mut out);
        }
        self.end_what_left(None, None, &mut out);
        let heard_at = self.heard_at.min(now);
        self.has_session = false;
        self.evidence.session_lost();
        self.legs.clear();
        self.ended.clear();
        self.parking.clear();
        for call in self.calls.values_mut() {
            call.legs.clear();
            call.parked_at = None;
            if call.goes_missing(now, heard_at) {
                self.changed.insert(call.id);
            }
        }
        out
    }

    /// The PBX has sent something. Frames come in order, so that no end before this moment is unknown.
    pub fn heard(&mut self, now: Timestamp) {
        self.heard_at = now;
    }

    /// Takes a report about a leg of a monitored user.
    pub fn report(&mut self, user: &UserGuid, report: LegReport, now: Timestamp) -> Vec<Output> {
        let mut out = Vec::new();
        self.heard(now);
        self.take(user, report, now, &mut out);
        out
    }

    pub(super) fn take(&mut self, user: &UserGuid, report: LegReport, now: Timestamp, out: &mut Vec<Output>) {
        let id = report.leg;
        let goes_on_elsewhere = report.relates(Relation::SentTo).is_some();
        if (report.last || goes_on_elsewhere) && !self.legs.contains_key(&id) {
            return; // The last word on a leg that was never heard of, or was heard twice.
        }
        let leg = self.legs.entry(id).or_insert_with(|| Leg::new(user.clone(), now));
        leg.sent_on |= goes_on_elsewhere;
        if matches!(leg.assignment, Assignment::Ended) && report.revives() && !leg.sent_on {
            leg.wait(now);
        }
        leg.state = report.state.or(leg.state);
        if let Some(peer) = report.peer.as_ref().filter(|peer| !peer.is_empty()) {
            leg.peer.clone_from(peer);
        }
        match &mut leg.assignment {
            Assignment::Waiting(waiting) => {
                waiting.reports.push((report, now));
                self.assign_if_known(id, now, out);
            }
            Assignment::Live(call) => {
                let call = *call;
                self.apply(id, call, &report, now, out);
                if report.last {
                    self.legs.remove(&id);
                }
            }
            Assignment::Ended if report.last => {
                self.legs.remove(&id);
            }
            Assignment::Ended => {}
        }
    }

    /// The answer to [`Output::Ask`]; `None` when the table was out of reach, so that what is known here has to do.
    pub fn learn(&mut self, id: LegId, items: Option<&[LegItem]>, now: Timestamp) -> Vec<Output> {
        let mut out = Vec::new();
        let Some(leg) = self.legs.get(&id) else { return out };
        let user = leg.user.clone();
        self.learn_items(&user, items.unwrap_or_default(), now, &mut out);
        self.assign(id, now, &mut out);
        out
    }

    /// A park of this leg was asked for, so its end will not be the end of its call.
    pub fn will_park(&mut self, id: LegId) {
        self.parking.insert(id);
    }

    /// The park was refused after all.
    pub fn will_not_park(&mut self, id: LegId) {
        self.parking.remove(&id);
    }

    /// Lets time pass: names legs that wait too long for a conference, ends calls that did not reach the park.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Output> {
        let mut out = Vec::new();
        let overdue = |waiting: &UnassignedLeg| {
            !waiting.asked && now.duration_since(waiting.since) >= NAME_WITHOUT_CONFERENCE_AFTER
        };
        let overdue: BTreeSet<LegId> =
            self.waiting_legs().filter(|(_, waiting)| overdue(waiting)).map(|(id, _)| id).collect();
        for id in overdue {
            self.assign(id, now, &mut out);
        }
        self.end_what_left(None, Some(now), &mut out);
        let unparked =
            |call: &Call| Some((call.id, call.parked_at.filter(|at| now.duration_since(*at) >= PARK_GRACE)?));
        let unparked: BTreeMap<CallId, Timestamp> = self.calls.values().filter_map(unparked).collect();
        for (call, parked_at) in unparked {
            self.end(call, parked_at, false, &mut out);
        }
        if now.duration_since(self.last_cleaning) > SignedDuration::from_mins(5) {
            self.last_cleaning = now;
            self.end_lost(now, &mut out);
            let calls = &self.calls;
            self.names.forget_old(now, |call| calls.contains_key(&call));
        }
        out
    }

    fn apply(&mut self, leg_id: LegId, id: CallId, report: &LegReport, at: Timestamp, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get(&id) else { return };
        // Only what a leg tells late, having waited for its call, may be nothing new.
        let before = (at <= call.latest).then(|| call.clone());
        self.follow(leg_id, id, report, at, out);
        if self.calls.get(&id).is_none_or(|call| before.is_none_or(|before| !call.is_recorded_like(before))) {
            self.changed.insert(id);
        }
    }

    fn follow(&mut self, leg_id: LegId, id: CallId, report: &LegReport, at: Timestamp, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let user = self.users.get(&call.user).cloned().unwrap_or_default();
        let direction = call.direction;
        // A leg that waited for its call tells of moments before what the call's other legs have told already.
        let at = at.max(call.latest);
        call.latest = at;
        if let (Some(conference), Some(leg)) = (&report.conference, self.legs.get_mut(&leg_id))
            && leg.conference.as_ref() != Some(conference)
        {
            leg.conference = Some(conference.clone());
            let spot = Spot { user: call.user.clone(), conference: conference.clone(), direction };
            self.enter(id, &spot, false, at, out);
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.follow(report, &user, at);
        if report.ends_leg() {
            self.end_leg(leg_id, id, report, at, out);
            return;
        }
        match report.state.map(|state| state.phase) {
            Some(Phase::Alerting) if direction == Direction::Incoming && !call.rung && call.pickup.is_none() => {
                call.rung = true;
                self.tell(id, Status::Ringing, at, false, out);
            }
            Some(Phase::Connected) if call.pickup.is_none() => {
                call.pickup = Some(at);
                self.note_answer(id);
                self.tell(id, Status::Connected, at, false, out);
            }
            _ => self.note_changes(id, &user, at, out),
        }
    }

    fn tell(&mut self, id: CallId, status: Status, at: Timestamp, inferred: bool, out: &mut Vec<Output>) {
        self.look_around(id, status);
        let Some(call) = self.calls.get(&id) else { return };
        let user = self.users.get(&call.user).cloned().unwrap_or_default();
        out.push(Output::Event(Box::new(call.event(status, at, &user, &self.origin, inferred))));
        self.note_told(id);
    }

    fn end_leg(&mut self, leg_id: LegId, id: CallId, report: &LegReport, at: Timestamp, out: &mut Vec<Output>) {
        if let Some(leg) = self.legs.get_mut(&leg_id) {
            leg.assignment = Assignment::Ended;
            if !report.last {
                self.has_ended(leg_id);
            }
        }
        let parked = self.parking.remove(&leg_id) || report.relates(Relation::ParkedTo).is_some();
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(to) = report.relates(Relation::SentTo) {
            call.sent_to = Some(to.clone());
        }
        call.legs.retain(|leg| *leg != leg_id);
        if call.legs.is_empty() {
            self.join_waiting(id, at, out);
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !call.legs.is_empty() {
            return;
        }
        call.cause = report.cause.or(call.cause);
        if parked {
            call.parked_at = Some(at);
        } else {
            self.end_or_await_transfer(id, at, out);
        }
    }

    /// A handle waits for its deletion from now on, unless too many do.
    pub(super) fn has_ended(&mut self, id: LegId) {
        let waits = |legs: &HashMap<LegId, Leg>, id: &LegId| {
            legs.get(id).is_some_and(|leg| matches!(leg.assignment, Assignment::Ended))
        };
        // Most are deleted in the order in which they have ended.
        while self.ended.pop_front_if(|id| !waits(&self.legs, id)).is_some() {}
        self.ended.push_back(id);
        while self.ended.len() > ENDED_HANDLES {
            let Some(oldest) = self.ended.pop_front() else { break };
            if waits(&self.legs, &oldest) {
                self.legs.remove(&oldest);
            }
        }
    }

    pub(super) fn end(&mut self, id: CallId, at: Timestamp, inferred: bool, out: &mut Vec<Output>) {
        self.look_around(id, Status::Disconnected);
        let Some(mut call) = self.forget(id, at) else { return };
        // A clock that was set back must not end a call before it was last heard of.
        let at = at.max(call.latest);
        for spot in spots(&call) {
            out.push(Output::Remember(spot.user.clone(), self.names.item(&spot, at)));
        }
        let user = self.users.get(&call.user).cloned().unwrap_or_default();
        call.note_departure(&user, at);
        out.push(Output::Event(Box::new(call.event(Status::Disconnected, at, &user, &self.origin, inferred))));
    }

    pub(super) fn forget(&mut self, id: CallId, at: Timestamp) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        self.changed.insert(id);
        for (spot, before) in spots(&call).iter().zip(&call.counts) {
            self.names.leave(spot, id, before + 1, call.start, at);
        }
        Some(call)
    }
}

#[cfg(test)]
impl Calls {
    /// How much is in everything that grows.
    pub(super) fn sizes(&self) -> BTreeMap<&'static str, usize> {
        let Self { users, legs, ended, calls, changed, names, watched, parking, .. } = self;
        let own = [
            ("users", users.len()),
            ("legs", legs.len()),
            ("ended", ended.len()),
            ("calls", calls.len()),
            ("changed", changed.len()),
            ("watched", watched.len()),
            ("parking", parking.len()),
        ];
        own.into_iter().chain(names.sizes()).collect()
    }
}

fn spots(call: &Call) -> Vec<Spot> {
    let spot = |conference: &Arc<str>| Spot {
        user: call.user.clone(),
        conference: conference.clone(),
        direction: call.direction,
    };
    call.conferences.iter().map(spot).collect()
}

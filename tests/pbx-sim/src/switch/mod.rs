//! The switch: calls and legs without sockets, JSON or a clock of its own.
//!
//! Inputs are methods, the time comes in by [`Switch::advance`], and what happened leaves by [`Switch::drain`] as a
//! list of [`Output`] in the order in which it happened. A connection turns leg events into messages with handles of
//! its own; the switch knows neither handles nor connections.
//!
//! Every leg belongs to one object, every call is a star: `left` is the calling end (or the end that remained after a
//! transfer), `right` is whom it talks to, all other legs ring or are a queue that passed its caller on.

mod clear;
mod dialplan;
mod features;
mod model;
mod objects;
mod queue;
mod setup;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest, Sha256};

pub use dialplan::DialPlan;
pub use features::Pickup;
pub use model::{
    CallId, Destination, External, LegEvent, LegId, ObjectId, Output, Party, Phase, Refusal, Related, Survivor,
    Variants,
};
pub use objects::{Kind, Object, Queue};
pub use setup::Dial;
pub use view::{Which, Whose};

use crate::world::{Behaviour, DeviceKind, World};
use model::{Call, Leg};

/// Bit of `state`: the call was placed to the object.
pub const TO_OBJECT: u16 = 0x80;
/// Bit of `state`: the object holds its peer.
pub const HOLDS: u16 = 0x100;
/// Bit of `state`: the peer holds the object.
pub const HELD: u16 = 0x200;

/// Where a dialled destination leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Object(ObjectId),
    External(External),
    Nowhere,
}

/// Something that is due later. A timer whose leg has moved on is void, so nothing is ever cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// The called party answers.
    Answer(LegId),
    /// The called party rejects.
    Reject(LegId, u16),
    /// A third-party SIP phone is picked up for its own `UserCall`.
    PickUpOwn(LegId),
    /// It was not picked up.
    OwnRingEnds(LegId, u16),
    /// Call forwarding on no reply.
    NoReply(LegId),
    /// A queue connects its caller to the announcement.
    Announce(LegId),
    /// A queue rings its operators.
    Offer(LegId, u32),
    /// The operators did not answer.
    OfferEnds(LegId, u32),
    /// A queue or a person has heard enough of a tone.
    ToneEnds(LegId),
}

/// The simulated exchange.
#[derive(Debug)]
pub struct Switch {
    /// Name of the PBX.
    pub pbx: String,
    /// Name of the numbering node of those who are in no other one.
    pub node: String,
    /// Numbering of that node.
    pub plan: DialPlan,
    /// Numbering of the other nodes.
    plans: BTreeMap<String, DialPlan>,
    trunk: ObjectId,
    own_ring: Duration,
    tone: Duration,
    phone_tone: Duration,
    /// In what this PBX differs from others.
    pub variants: Variants,
    now: Duration,
    objects: BTreeMap<ObjectId, Object>,
    /// What external parties without a behaviour of their own do.
    external_default: Behaviour,
    /// Known external parties by digits: name and behaviour.
    externals: BTreeMap<String, (String, Option<Behaviour>)>,
    legs: BTreeMap<LegId, Leg>,
    calls: BTreeMap<CallId, Call>,
    timers: BTreeMap<(Duration, u64), Timer>,
    /// What happened since the last `drain`.
    out: Vec<Output>,
    /// Objects whose `UserInfo` may have changed since the last `drain`.
    dirty: BTreeSet<ObjectId>,
    /// Seed of all random-looking ids, so that a test can have the same ones twice.
    seed: u64,
    next_object: u32,
    next_id: u64,
}

impl Switch {
    /// A switch with the objects of `world` and no calls.
    pub fn new(world: &World, seed: u64) -> Self {
        let mut switch = Self {
            pbx: world.pbx.clone(),
            node: world.node.clone(),
            plan: DialPlan::new(world, &world.node),
            plans: world.nodes.iter().map(|node| (node.name.clone(), DialPlan::new(world, &node.name))).collect(),
            trunk: ObjectId(0),
            own_ring: Duration::from_millis(world.own_ring_ms),
            tone: Duration::from_millis(world.tone_ms),
            phone_tone: Duration::from_millis(world.phone_tone_ms),
            variants: Variants::default(),
            now: Duration::ZERO,
            objects: BTreeMap::new(),
            external_default: world.trunk.behaviour,
            externals: BTreeMap::new(),
            legs: BTreeMap::new(),
            calls: BTreeMap::new(),
            timers: BTreeMap::new(),
            out: Vec::new(),
            dirty: BTreeSet::new(),
            seed,
            next_object: 0,
            next_id: 0,
        };
        for user in &world.users {
            switch.put_user(user.clone());
        }
        for queue in &world.queues {
            switch.put_queue(queue.clone());
        }
        switch.trunk = switch.put_trunk(&world.trunk.cn);
        for external in &world.externals {
            if let Some(digits) = switch.plan.digits(&external.number) {
                switch.externals.insert(digits, (external.name.clone(), external.behaviour));
            }
        }
        switch.dirty.clear();
        switch
    }

    /// Moves the clock and does everything that has become due.
    pub fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let timer = entry.remove();
            self.fire(timer);
        }
    }

    fn fire(&mut self, timer: Timer) {
        let leg = |id: LegId| self.legs.get(&id);
        // A timer can come too late for its leg; then it is void.
        let _too_late = match timer {
            Timer::Answer(id) => self.answer(id),
            Timer::Reject(id, cause) if leg(id).is_some_and(|leg| !leg.placed && leg.phase < Phase::Connected) => {
                self.clear(id, cause)
            }
            Timer::PickUpOwn(id) if leg(id).is_some_and(|leg| leg.rings_itself.is_some()) => self.answer(id),
            Timer::ToneEnds(id) if leg(id).is_some_and(|leg| leg.phase == Phase::DisconnectSent) => self.clear(id, 16),
            Timer::Reject(..) | Timer::PickUpOwn(_) | Timer::ToneEnds(_) => Err(Refusal::UnknownCall),
            Timer::OwnRingEnds(id, cause) => {
                self.own_ring_ends(id, cause);
                Ok(())
            }
            Timer::NoReply(id) => {
                self.no_reply(id);
                Ok(())
            }
            Timer::Announce(id) => {
                self.announce(id);
                Ok(())
            }
            Timer::Offer(id, round) => {
                self.offer_round(id, round);
                Ok(())
            }
            Timer::OfferEnds(id, round) => {
                self.offer_ends(id, round);
                Ok(())
            }
        };
    }

    fn after(&mut self, delay: Duration, timer: Timer) {
        self.next_id += 1;
        self.timers.insert((self.now + delay, self.next_id), timer);
    }

    /// When `advance` has something to do next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.first_key_value().map(|(key, _)| key.0)
    }

    /// Everything that happened since the last time, leg events first, then each touched object once.
    pub fn drain(&mut self) -> Vec<Output> {
        let mut out = std::mem::take(&mut self.out);
        out.extend(std::mem::take(&mut self.dirty).into_iter().map(Output::Object));
        out
    }

    /// Loses every call without telling anybody, as a restart of the PBX does.
    pub fn restart(&mut self) {
        self.legs.clear();
        self.calls.clear();
        self.timers.clear();
        self.out.clear();
        self.dirty.clear();
        for object in self.objects.values_mut() {
            object.disc = 0;
        }
    }

    /// A random-looking id of 32 hex digits.
    fn guid(&mut self) -> String {
        self.next_id += 1;
        hex::encode(&Sha256::digest(format!("conf:{}:{}", self.seed, self.next_id))[..16])
    }

    fn open_call(&mut self, forwards: bool) -> CallId {
        self.next_id += 1;
        let id = CallId(self.next_id);
        let (conf, guid) = (self.guid(), self.guid());
        let call = Call { id, conf, guid, left: LegId(0), right: None, legs: Vec::new(), trail: Vec::new(), forwards };
        self.calls.insert(id, call);
        id
    }

    fn open_leg(&mut self, call: CallId, object: ObjectId, placed: bool) -> &mut Leg {
        self.next_id += 1;
        let id = LegId(self.next_id);
        let pbx = self.objects.get(&object).map_or_else(|| self.pbx.clone(), |object| object.pbx.clone());
        if let Some(call) = self.calls.get_mut(&call) {
            call.legs.push(id);
        }
        self.legs.entry(id).or_insert(Leg {
            id,
            call,
            object,
            pbx,
            external: None,
            device: None,
            placed,
            phase: Phase::Setup,
            holds: false,
            held: false,
            peer: Party::default(),
            no: Vec::new(),
            started: self.now,
            show_as: None,
            rings_itself: None,
            overlap: String::new(),
            dtmf: String::new(),
            keypad: String::new(),
            uui: None,
            rc: Vec::new(),
            display: None,
            cause: None,
            round: 0,
            moved_to: None,
            position: None,
        })
    }

    /// Changes a leg, if it is still there.
    fn edit(&mut self, leg: LegId, change: impl FnOnce(&mut Leg)) {
        if let Some(leg) = self.legs.get_mut(&leg) {
            change(leg);
        }
    }

    fn edit_call(&mut self, call: CallId, change: impl FnOnce(&mut Call)) {
        if let Some(call) = self.calls.get_mut(&call) {
            change(call);
        }
    }

    /// How the leg's own party appears to the other end.
    fn party(&self, leg: LegId) -> Party {
        let Some(leg) = self.legs.get(&leg) else { return Party::default() };
        let party = match (&leg.external, self.objects.get(&leg.object)) {
            (Some(external), _) => self.external_party(external),
            (None, Some(object)) => object.party(),
            (None, None) => Party::default(),
        };
        match &leg.show_as {
            Some(number) if number.is_empty() => Party::default(),
            Some(number) => Party { e164: number.clone(), norm: None, ..party },
            None => party,
        }
    }

    /// The leg at the other end of an established connection.
    fn partner(&self, leg: LegId) -> Option<LegId> {
        let call = self.calls.get(&self.legs.get(&leg)?.call)?;
        let right = call.right?;
        match leg {
            leg if leg == call.left => Some(right),
            leg if leg == right => Some(call.left),
            _ => None,
        }
    }

    /// Legs that ring for the call, the queue's own leg excluded.
    fn offers(&self, call: CallId) -> Vec<LegId> {
        let Some(call) = self.calls.get(&call) else { return Vec::new() };
        let rings = |id: &LegId| {
            let leg = &self.legs.get(id);
            leg.is_some_and(|leg| !leg.placed && leg.phase < Phase::Connected && !self.is_queue(leg.object))
        };
        call.legs.iter().copied().filter(|id| *id != call.left && rings(id)).collect()
    }

    fn is_queue(&self, object: ObjectId) -> bool {
        self.objects.get(&object).is_some_and(|object| object.queue().is_some())
    }

    /// The leg by which a waiting queue takes part in the call without having placed it.
    fn queue_leg(&self, call: CallId) -> Option<LegId> {
        let call = self.calls.get(&call)?;
        let is_queue = |id: &LegId| self.legs.get(id).is_some_and(|leg| !leg.placed && self.is_queue(leg.object));
        call.legs.iter().copied().find(is_queue)
    }

    fn device_kind(&self, leg: &Leg) -> Option<DeviceKind> {
        let devices = &self.objects.get(&leg.object)?.devices;
        devices.iter().find(|device| Some(&device.hw) == leg.device.as_ref()).map(|device| device.kind)
    }

    /// The picture of a leg as it is now; also what a new subscriber is told about a running call.
    pub fn snapshot(&self, leg: LegId) -> Option<LegEvent> {
        let leg = self.legs.get(&leg)?;
        let call = self.calls.get(&leg.call)?;
        let mut state = leg.phase as u16;
        for (bit, set) in [(TO_OBJECT, !leg.placed), (HOLDS, leg.holds), (HELD, leg.held)] {
            if set {
                state |= bit;
            }
        }
        Some(LegEvent {
            leg: leg.id,
            object: leg.object,
            pbx: leg.pbx.clone(),
            device: leg.device.clone(),
            conf: call.conf.clone(),
            call_guid: call.guid.clone(),
            state,
            waiting: leg.phase == Phase::Alerting && !leg.placed && self.load(leg.object).0 > 1,
            seconds: (self.now - leg.started).as_secs(),
            peer: self.as_seen_by(leg.object, &leg.peer),
            own: self.party(leg.id),
            no: leg.no.clone(),
            rings_itself: leg.rings_itself.is_some(),
            msg: "update",
            cause: leg.cause,
            uui: None,
            dtmf: None,
            moved_to: leg.moved_to,
        })
    }

    /// Legs of an object, oldest first.
    pub fn legs_of(&self, object: ObjectId) -> Vec<LegId> {
        self.legs.values().filter(|leg| leg.object == object).map(|leg| leg.id).collect()
    }

    /// All legs, oldest first.
    pub fn all_legs(&self) -> Vec<LegId> {
        self.legs.keys().copied().collect()
    }

    /// Reports what happened on a leg.
    fn emit(&mut self, leg: LegId, msg: &'static str) {
        self.emit_with(leg, |event| event.msg = msg);
    }

    fn emit_with(&mut self, leg: LegId, change: impl FnOnce(&mut LegEvent)) {
        if let Some(mut event) = self.snapshot(leg) {
            change(&mut event);
            self.dirty.insert(event.object);
            self.out.push(Output::Leg(Box::new(event)));
        }
    }
}

#[cfg(test)]
mod tests;

//! Placing a call, ringing, answering, and forwarding before an answer.

use std::time::Duration;

use super::model::{CallId, Destination, External, Leg, LegId, ObjectId, Party, Phase, Refusal, Related};
use super::{Kind, Switch, Target, Timer, Whose};
use crate::world::{BehaviourMode, DeviceKind};

const MAX_FORWARDS: usize = 5;
const CFNR: Duration = Duration::from_secs(15);

/// A wish to call.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Whom to call. An empty number means that digits follow.
    pub destination: Destination,
    /// The phone to use; the first registered one if none.
    pub device: Option<String>,
    /// Requested by an application: a third-party SIP phone rings first.
    pub remote: bool,
    /// Number to show instead of the extension; empty = withheld.
    pub show_as: Option<String>,
    /// Forwardings of the destination apply.
    pub forwards: bool,
}

impl Dial {
    /// A call dialled on the phone.
    pub fn number(number: &str) -> Self {
        Self {
            destination: Destination::E164(number.to_owned()),
            device: None,
            remote: false,
            show_as: None,
            forwards: true,
        }
    }
}

/// How far the calling end is when a destination is reached for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has just dialled.
    First,
    /// It was on its way to, or connected with, somebody else; that party, if it moved the call by hand.
    Moved(Option<Party>),
}

impl Switch {
    /// An object calls somebody.
    pub fn dial(&mut self, from: ObjectId, dial: Dial) -> Result<LegId, Refusal> {
        let object = self.objects.get(&from).ok_or(Refusal::UnknownCall)?;
        let device = match object.kind {
            Kind::User => {
                let wanted = |hw: &str| dial.device.as_deref().is_none_or(|device| device == hw);
                let device = object.registered().find(|device| wanted(&device.hw)).ok_or(Refusal::NoPhone)?;
                Some((device.hw.clone(), device.kind))
            }
            _ => None,
        };
        let behaviour = object.behaviour;
        let peer = self.dialled_party(from, &dial.destination);
        let call = self.open_call(dial.forwards);
        let leg = self.open_leg(call, from, true);
        leg.peer = peer;
        leg.show_as = dial.show_as;
        leg.device = device.as_ref().map(|device| device.0.clone());
        let leg = leg.id;
        self.edit_call(call, |call| call.left = leg);
        self.hold_others(leg);
        let rings_itself = dial.remote && device.is_some_and(|device| device.1 == DeviceKind::Sip);
        if rings_itself {
            self.edit(leg, |leg| leg.rings_itself = Some(dial.destination.clone()));
        }
        self.emit(leg, "x-setup");
        if rings_itself {
            let after = Duration::from_millis(behaviour.after_ms);
            match behaviour.mode {
                BehaviourMode::Answer => self.after(after, Timer::PickUpOwn(leg)),
                BehaviourMode::Reject => self.after(after, Timer::OwnRingEnds(leg, 21)),
                BehaviourMode::Busy => self.after(Duration::ZERO, Timer::OwnRingEnds(leg, 17)),
                BehaviourMode::Ring | BehaviourMode::Unregistered => {
                    self.after(self.own_ring, Timer::OwnRingEnds(leg, 18));
                }
            }
        } else {
            self.start(leg, dial.destination);
        }
        Ok(leg)
    }

    fn start(&mut self, leg: LegId, destination: Destination) {
        let Some((call, from)) = self.legs.get(&leg).map(|leg| (leg.call, leg.object)) else { return };
        if destination == Destination::E164(String::new()) {
            self.edit(leg, |leg| leg.phase = Phase::SetupAck);
            self.emit(leg, "r-setup-ack");
        } else {
            self.route(call, from, destination, &Progress::First);
        }
    }

    /// Further digits of overlap dialling. The number is complete when it is an extension, ends in `#`, or is a
    /// long outside number; it is wrong as soon as nothing can begin like that.
    pub fn digits(&mut self, leg: LegId, digits: &str) -> Result<(), Refusal> {
        let found = self.legs.get_mut(&leg).ok_or(Refusal::UnknownCall)?;
        if found.phase != Phase::SetupAck {
            return Err(Refusal::NotRinging);
        }
        let (call, from) = (found.call, found.object);
        found.overlap.push_str(digits);
        let number = found.overlap.trim_end_matches('#').to_owned();
        let ended = found.overlap.len() > number.len();
        let node = self.node_of(from);
        let outside = self.plan_of(node).is_outside(&number);
        let in_node = |object: &super::Object| object.node == node && object.e164.starts_with(&number);
        let to_node = |plan: &super::DialPlan| {
            !plan.number.is_empty() && (plan.number.starts_with(&number) || number.starts_with(&plan.number))
        };
        let may_grow = outside || self.objects.values().any(in_node) || self.plans.values().any(to_node);
        let complete = self.find_dialled(node, &number).is_some() || (outside && number.len() >= 10);
        let peer = self.dialled_party(from, &Destination::E164(number.clone()));
        self.edit(leg, |leg| leg.peer = peer);
        if ended || complete || !may_grow {
            self.route(call, from, Destination::E164(number), &Progress::First);
        }
        Ok(())
    }

    /// An external party calls in.
    pub fn incoming(&mut self, from: External, to: ObjectId) -> CallId {
        let peer = self.objects.get(&to).map(super::Object::party).unwrap_or_default();
        let call = self.open_call(true);
        let trunk = self.trunk;
        let leg = self.open_leg(call, trunk, true);
        leg.external = Some(from);
        leg.peer = peer.clone();
        let leg = leg.id;
        self.edit_call(call, |call| call.left = leg);
        self.emit(leg, "x-setup");
        self.route(call, trunk, Destination::Cn(peer.cn), &Progress::First);
        call
    }

    /// What the caller sees before anything is known about the destination.
    fn dialled_party(&self, from: ObjectId, destination: &Destination) -> Party {
        match self.resolve(self.node_of(from), destination) {
            Target::Object(id) => self.objects[&id].party(),
            Target::External(external) => self.external_party(&external),
            Target::Nowhere => match destination.clone() {
                Destination::E164(e164) => Party { e164, ..Party::default() },
                Destination::H323(h323) => Party { h323, ..Party::default() },
                Destination::Cn(cn) => Party { cn, ..Party::default() },
            },
        }
    }

    /// The number a user's calls are forwarded to before anything rings.
    fn forward_at_once(&self, id: ObjectId, caller: ObjectId) -> Option<String> {
        let object = &self.objects[&id];
        let absent = object.kind == Kind::User && object.registered().next().is_none();
        let forward = &object.forward;
        forward
            .cfu
            .clone()
            .or_else(|| forward.cfb.clone().filter(|_| self.is_busy(id, caller)))
            .or_else(|| forward.cfnr.clone().filter(|_| absent))
    }

    fn is_busy(&self, id: ObjectId, caller: ObjectId) -> bool {
        let object = &self.objects[&id];
        object.behaviour.mode == BehaviourMode::Busy
            || (id == caller && object.kind == Kind::User)
            || object.busy_at.is_some_and(|limit| self.load(id).0 >= limit)
    }

    /// Reaches for a destination that an object has dialled, and rings whatever is there.
    pub(super) fn route(
        &mut self,
        call: CallId,
        mut dialled_by: ObjectId,
        mut destination: Destination,
        progress: &Progress,
    ) {
        let Some(state) = self.calls.get(&call) else { return };
        let (left, forwards) = (state.left, state.forwards);
        let Some(caller) = self.legs.get(&left).map(|leg| leg.object) else { return };
        let target = loop {
            let target = self.resolve(self.node_of(dialled_by), &destination);
            let Target::Object(id) = target else { break target };
            let trail = self.calls[&call].trail.len();
            match self.forward_at_once(id, caller).filter(|_| forwards && trail < MAX_FORWARDS) {
                Some(next) => {
                    let by = self.objects[&id].party();
                    self.edit_call(call, |call| call.trail.push(by));
                    if self.variants.forwarding_leg {
                        self.pass_through(call, id, left);
                    }
                    (dialled_by, destination) = (id, Destination::E164(next));
                }
                None => break target,
            }
        };
        let no = self.history(call, progress);
        let peer = self.party(left);
        let mut ring = Vec::new();
        let mut refused = None;
        match &target {
            Target::Nowhere => return self.fail(call, 1),
            Target::External(external) => {
                let trunk = self.trunk;
                let leg = self.open_leg(call, trunk, false);
                // The trunk knows the party by its canonical form; only the caller sees what was dialled.
                leg.external = Some(external.clone());
                ring.push(leg.id);
                match self.external_behaviour(&external.digits).mode {
                    BehaviourMode::Busy => refused = Some(17),
                    BehaviourMode::Unregistered => refused = Some(20),
                    _ => {}
                }
            }
            Target::Object(id) => {
                let (id, object) = (*id, &self.objects[id]);
                let devices: Vec<_> = object.registered().map(|device| device.hw.clone()).collect();
                if self.is_busy(id, caller) {
                    refused = Some(17);
                    let leg = self.open_leg(call, id, false);
                    leg.device = devices.first().cloned();
                    ring.push(leg.id);
                } else if object.kind != Kind::User || devices.is_empty() {
                    refused = (object.kind == Kind::User).then_some(20);
                    ring.push(self.open_leg(call, id, false).id);
                } else {
                    for device in devices {
                        let leg = self.open_leg(call, id, false);
                        leg.device = Some(device);
                        ring.push(leg.id);
                    }
                }
            }
        }
        for leg in &ring {
            self.edit(*leg, |leg| (leg.peer, leg.no) = (peer.clone(), no.clone()));
            self.emit(*leg, "r-setup");
        }
        let callee = self.party(ring[0]);
        self.caller_proceeds(left, &callee, call, progress);
        if let Some(cause) = refused {
            return self.refuse(call, ring[0], cause);
        }
        for leg in &ring {
            self.edit(*leg, |leg| leg.phase = Phase::Alerting);
            self.emit(*leg, "x-alert");
            self.react(*leg);
        }
        if self.legs.get(&left).is_some_and(|leg| leg.placed && leg.phase == Phase::Proceeding) {
            self.edit(left, |leg| leg.phase = Phase::Alerting);
            self.emit(left, "r-alert");
        }
        self.arm(ring[0], forwards);
    }

    /// A leg of a user whose phones do not ring, because the call goes on at once.
    fn pass_through(&mut self, call: CallId, id: ObjectId, left: LegId) {
        let peer = self.party(left);
        let leg = self.open_leg(call, id, false);
        leg.peer = peer;
        let leg = leg.id;
        self.emit(leg, "r-setup");
        self.detach(leg);
        let ended = self.release_all_at_once(vec![leg], 26);
        self.finish(ended);
    }

    /// The `no` entries of a leg that is about to ring.
    fn history(&self, call: CallId, progress: &Progress) -> Vec<Related> {
        let trail = &self.calls[&call].trail;
        let mut no = Vec::new();
        if let Some(last) = trail.last() {
            no.push(Related { kind: "leg2", party: last.clone() });
        }
        if trail.len() > 1 {
            no.push(Related { kind: "leg2orig", party: trail[0].clone() });
        }
        if let Progress::Moved(Some(by)) = progress {
            no.push(Related { kind: "ct", party: by.clone() });
        }
        no
    }

    /// Tells the calling end whom it is on its way to.
    fn caller_proceeds(&mut self, left: LegId, callee: &Party, call: CallId, progress: &Progress) {
        let moved = *progress != Progress::First || !self.calls[&call].trail.is_empty();
        let leg1 = moved.then(|| Related { kind: "leg1", party: callee.clone() });
        let Some(leg) = self.legs.get_mut(&left) else { return };
        leg.peer = callee.clone();
        leg.no = leg1.into_iter().collect();
        (leg.held, leg.holds) = (false, false);
        let msg = match leg.phase {
            // A party that placed the call hears ringing again; one that was called stays connected.
            Phase::Connected => {
                if leg.placed && !self.variants.redirect_stays_connected {
                    leg.phase = Phase::Alerting;
                }
                "r-ct"
            }
            Phase::Alerting => "update",
            _ => {
                leg.phase = Phase::Proceeding;
                "r-call-proc"
            }
        };
        self.emit(left, msg);
    }

    /// What the called party does about the ringing.
    pub(super) fn react(&mut self, leg: LegId) {
        let Some(found) = self.legs.get(&leg) else { return };
        let behaviour = self.behaviour_of(found);
        let delay = Duration::from_millis(behaviour.after_ms);
        match behaviour.mode {
            BehaviourMode::Answer => self.after(delay, Timer::Answer(leg)),
            BehaviourMode::Reject => self.after(delay, Timer::Reject(leg, 21)),
            // Set while it rings already: the person presses the busy key.
            BehaviourMode::Busy => self.after(delay, Timer::Reject(leg, 17)),
            BehaviourMode::Ring | BehaviourMode::Unregistered => {}
        }
    }

    /// Starts what happens to a ringing call without anybody's doing.
    fn arm(&mut self, leg: LegId, forwards: bool) {
        let Some(object) = self.legs.get(&leg).and_then(|leg| self.objects.get(&leg.object)) else { return };
        if let Some(queue) = object.queue() {
            let (announcement, alert, operators) = (queue.announcement, queue.alert, !queue.operators.is_empty());
            if announcement {
                self.after(alert, Timer::Announce(leg));
            }
            if operators {
                self.after(Duration::ZERO, Timer::Offer(leg, 0));
            }
        } else if forwards && object.forward.cfnr.is_some() {
            let delay = object.forward.cfnr_ms.map_or(CFNR, Duration::from_millis);
            self.after(delay, Timer::NoReply(leg));
        }
    }

    /// A called object that does not even ring: busy releases, absent is released.
    fn refuse(&mut self, call: CallId, leg: LegId, cause: u16) {
        let busy = cause == 17;
        let phase = if busy { Phase::DisconnectReceived } else { Phase::DisconnectSent };
        self.edit(leg, |leg| (leg.phase, leg.cause) = (phase, Some(cause)));
        self.emit(leg, if busy { "x-rel" } else { "r-rel" });
        self.fail_then_end(call, cause, vec![leg]);
    }

    /// Nobody answered in time: the call goes on at the forwarding's target, with the same conference id.
    pub(super) fn no_reply(&mut self, leg: LegId) {
        let Some(found) = self.legs.get(&leg).filter(|leg| leg.phase == Phase::Alerting) else { return };
        let (call, object) = (found.call, found.object);
        let Some(next) = self.objects.get(&object).and_then(|object| object.forward.cfnr.clone()) else { return };
        self.divert(call, object, next, None);
    }

    /// Takes the ringing call away from an object and sends it on.
    pub(super) fn divert(&mut self, call: CallId, object: ObjectId, next: String, cause: Option<u16>) {
        let by = self.objects[&object].party();
        let mut ended = Vec::new();
        for leg in self.offers(call) {
            if self.legs[&leg].object == object {
                self.detach(leg);
                self.edit(leg, |leg| (leg.phase, leg.cause) = (Phase::DisconnectSent, cause));
                self.emit(leg, "r-rel");
                ended.push(leg);
            }
        }
        self.edit_call(call, |call| call.trail.push(by));
        self.route(call, object, Destination::E164(next), &Progress::Moved(None));
        self.finish(ended);
    }

    /// Somebody answers: the phone that rings, or a third-party SIP phone that rings for its own `UserCall`.
    pub fn answer(&mut self, leg: LegId) -> Result<(), Refusal> {
        let found = self.legs.get_mut(&leg).ok_or(Refusal::UnknownCall)?;
        if let Some(destination) = found.rings_itself.take() {
            self.start(leg, destination);
            return Ok(());
        }
        let ringing = !found.placed && found.phase < Phase::Connected;
        if !ringing || self.is_queue(self.legs[&leg].object) {
            return Err(Refusal::NotRinging);
        }
        let call = self.legs[&leg].call;
        let losers: Vec<_> = self.offers(call).into_iter().filter(|other| *other != leg).collect();
        self.hold_others(leg);
        self.edit(leg, |leg| leg.phase = Phase::Connected);
        self.edit_call(call, |call| call.right = Some(leg));
        self.emit(leg, "x-conn");
        self.caller_connects(call, leg);
        if let Some(queue) = self.queue_leg(call).filter(|queue| self.legs[queue].phase < Phase::Connected) {
            self.edit(queue, |leg| leg.phase = Phase::Connected);
            self.emit(queue, "x-conn");
        }
        let ended = self.release_all(losers, 26);
        self.finish(ended);
        Ok(())
    }

    /// The calling end learns that it is connected, and with whom.
    pub(super) fn caller_connects(&mut self, call: CallId, callee: LegId) {
        let Some(left) = self.calls.get(&call).map(|call| call.left) else { return };
        let party = self.party(callee);
        let Some(leg) = self.legs.get_mut(&left) else { return };
        let connected = leg.phase == Phase::Connected;
        (leg.phase, leg.peer, leg.held) = (Phase::Connected, party, false);
        leg.no.retain(|no| no.kind != "leg1");
        self.emit(left, if connected { "r-ct" } else { "r-conn" });
    }

    /// A third-party SIP phone was not picked up, or refused, to make its own call. False if it rings for nothing.
    pub fn own_ring_ends(&mut self, leg: LegId, cause: u16) -> bool {
        let rings = self.legs.get(&leg).is_some_and(|leg| leg.rings_itself.is_some());
        if rings {
            let ended = self.release_all_at_once(vec![leg], cause);
            self.finish(ended);
        }
        rings
    }

    /// A behaviour that was set while it rings already takes effect on what rings.
    pub fn react_now(&mut self, whose: &Whose) {
        let theirs = |leg: &&Leg| match whose {
            Whose::Object(id) => leg.object == *id,
            Whose::External(digits) => leg.external.as_ref().is_some_and(|external| external.digits == *digits),
        };
        let rings = |leg: &&Leg| !leg.placed && leg.phase == Phase::Alerting;
        let legs: Vec<_> = self.legs.values().filter(theirs).filter(rings).map(|leg| leg.id).collect();
        for leg in legs {
            self.react(leg);
        }
    }
}

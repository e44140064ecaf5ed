//! What can be done to a call that exists: hold, transfer, redirect, park, pick up, digits and user information.

use super::model::{Call, CallId, Destination, LegId, ObjectId, Phase, Refusal, Related};
use super::setup::Progress;
use super::{Kind, Survivor, Switch, Target};

/// What to pick up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pickup {
    /// A parked or ringing leg.
    Leg(LegId),
    /// Whatever is parked at, or rings at, an object.
    At(ObjectId),
    /// Whatever rings in a group; in any group of the one who picks up, if none is named.
    Group(Option<String>),
}

/// What is at the far side of a leg.
enum Far {
    Talks(LegId),
    Rings(Vec<LegId>),
}

impl Switch {
    /// The party puts the other one on hold. Repeating it changes nothing.
    pub fn hold(&mut self, leg: LegId) -> Result<(), Refusal> {
        let found = self.legs.get(&leg).ok_or(Refusal::UnknownCall)?;
        let holds = found.holds;
        let partner = self.talks_to(leg).ok_or(Refusal::NotConnected)?;
        if !holds {
            self.edit(leg, |leg| leg.holds = true);
            self.emit(leg, "update");
            self.edit(partner, |leg| leg.held = true);
            self.emit(partner, "r-held");
        }
        Ok(())
    }

    /// The party resumes a call it holds. Another active call on the same phone is put on hold, as phones do.
    pub fn retrieve(&mut self, leg: LegId) -> Result<(), Refusal> {
        let found = self.legs.get(&leg).ok_or(Refusal::UnknownCall)?;
        if !found.holds {
            return Err(Refusal::NotHeld);
        }
        let partner = self.talks_to(leg).ok_or(Refusal::NotConnected)?;
        self.hold_others(leg);
        self.edit(leg, |leg| leg.holds = false);
        self.emit(leg, "update");
        self.edit(partner, |leg| leg.held = false);
        self.emit(partner, "r-retrieved");
        Ok(())
    }

    fn talks_to(&self, leg: LegId) -> Option<LegId> {
        let connected = |leg: &LegId| self.legs.get(leg).is_some_and(|leg| leg.phase == Phase::Connected);
        Some(leg).filter(connected).and_then(|leg| self.partner(leg)).filter(connected)
    }

    /// A phone has one active call: the others on the same phone are held when this one becomes active.
    pub(super) fn hold_others(&mut self, leg: LegId) {
        let Some(active) = self.legs.get(&leg) else { return };
        if active.device.is_none() {
            return;
        }
        let same_phone = |other: &&super::Leg| {
            other.id != leg && other.object == active.object && other.device == active.device && !other.holds
        };
        let others: Vec<_> = self.legs.values().filter(same_phone).map(|other| other.id).collect();
        for other in others {
            // Only a connected call can be held; a ringing or ending one is left alone.
            let _not_connected = self.hold(other);
        }
    }

    fn far(&self, leg: LegId) -> Result<Far, Refusal> {
        if let Some(partner) = self.talks_to(leg) {
            return Ok(Far::Talks(partner));
        }
        let found = self.legs.get(&leg).ok_or(Refusal::UnknownCall)?;
        let offers = self.offers(found.call);
        match self.calls.get(&found.call) {
            Some(call) if call.left == leg && call.right.is_none() && !offers.is_empty() => Ok(Far::Rings(offers)),
            _ => Err(Refusal::NotConnected),
        }
    }

    /// Joins the far ends of two calls of one object, which leaves both. The older call's conference id survives.
    pub fn transfer(&mut self, a: LegId, b: LegId) -> Result<(), Refusal> {
        let (leg_a, leg_b) = (self.legs.get(&a), self.legs.get(&b));
        let (leg_a, leg_b) = (leg_a.ok_or(Refusal::UnknownCall)?, leg_b.ok_or(Refusal::UnknownCall)?);
        if leg_a.object != leg_b.object || leg_a.call == leg_b.call {
            return Err(Refusal::NotTwoCalls);
        }
        let (call_a, call_b) = (leg_a.call, leg_b.call);
        let survivor = match self.variants.survivor {
            Survivor::Older => call_a.min(call_b),
            Survivor::First => call_a,
            Survivor::Second => call_b,
        };
        let by = Related { kind: "ct", party: self.party(a) };
        let (stays, other, rings) = match (self.far(a)?, self.far(b)?) {
            (Far::Talks(x), Far::Talks(y)) => (x, vec![y], false),
            (Far::Talks(x), Far::Rings(y)) | (Far::Rings(y), Far::Talks(x)) => (x, y, true),
            (Far::Rings(_), Far::Rings(_)) => return Err(Refusal::NothingAnswered),
        };
        let cause = if self.variants.transfer_normal { 16 } else { 26 };
        for leg in [a, b] {
            self.detach(leg);
            let towards = if self.legs.get(&stays).map(|leg| leg.call) == self.legs.get(&leg).map(|leg| leg.call) {
                other[0]
            } else {
                stays
            };
            self.edit(leg, |leg| {
                (leg.phase, leg.cause, leg.moved_to) = (Phase::DisconnectSent, Some(cause), Some(towards));
                (leg.holds, leg.held) = (false, false);
            });
            self.emit(leg, "r-rel");
        }
        let merged = self.merge(call_a.min(call_b), call_a.max(call_b), survivor == call_a.max(call_b));
        // The end that placed its call stays the calling end, so that a later answer reads `r-conn` there.
        let left = if rings || self.legs[&stays].placed || !self.legs[&other[0]].placed { stays } else { other[0] };
        let right = (!rings).then(|| if left == stays { other[0] } else { stays });
        self.edit_call(merged, |call| (call.left, call.right) = (left, right));
        let (party_stays, party_other) = (self.party(stays), self.party(other[0]));
        self.edit(stays, |leg| {
            (leg.peer, leg.no) = (party_other, vec![by.clone()]);
            (leg.holds, leg.held) = (false, false);
            if rings && leg.placed {
                leg.phase = Phase::Alerting;
            }
        });
        self.emit(stays, "r-ct");
        for leg in other {
            self.edit(leg, |leg| {
                (leg.peer, leg.no) = (party_stays.clone(), vec![by.clone()]);
                (leg.holds, leg.held) = (false, false);
            });
            self.emit(leg, "r-ct");
        }
        self.finish(vec![a, b]);
        Ok(())
    }

    /// Moves all legs of the younger call into the older one, whose conference id is kept or replaced.
    fn merge(&mut self, older: CallId, younger: CallId, is_replaced: bool) -> CallId {
        let Some(Call { legs, trail, conf, .. }) = self.calls.remove(&younger) else { return older };
        for leg in self.legs.values_mut().filter(|leg| leg.call == younger) {
            leg.call = older;
        }
        self.edit_call(older, |call| {
            call.legs.extend(legs);
            if is_replaced {
                call.conf = conf;
            }
            call.trail.extend(trail);
        });
        older
    }

    /// Sends the far end of a call to somebody else. `forwards` tells whether the destination's forwardings apply.
    /// Returns the legs that it arrived at.
    pub fn redirect(&mut self, leg: LegId, destination: Destination, forwards: bool) -> Result<Vec<LegId>, Refusal> {
        let found = self.legs.get(&leg).ok_or(Refusal::UnknownCall)?;
        let (call, by_whom) = (found.call, found.object);
        let offers = self.offers(call);
        let far = if offers.contains(&leg) {
            self.calls[&call].left
        } else {
            self.talks_to(leg).ok_or(Refusal::NotConnected)?
        };
        match self.resolve(self.node_of(found.object), &destination) {
            Target::Nowhere => return Err(Refusal::UnknownDestination),
            Target::Object(id) if self.objects[&id].kind == Kind::User => {
                let object = &self.objects[&id];
                let forwarded = forwards && (object.forward.cfu.is_some() || object.forward.cfnr.is_some());
                if object.registered().next().is_none() && !forwarded {
                    return Err(Refusal::DestinationAbsent);
                }
            }
            _ => {}
        }
        // Everything that rings for the call goes with it: the other phones of the user, and a queue's operators.
        let mut leaving = vec![leg];
        leaving.extend(self.calls[&call].legs.iter().copied().filter(|other| *other != leg && *other != far));
        for leg in &leaving {
            self.detach(*leg);
        }
        let by = self.party(leg);
        let before: Vec<_> = self.calls[&call].legs.clone();
        self.edit_call(call, |call| (call.left, call.right, call.forwards) = (far, None, forwards));
        self.route(call, by_whom, destination, &Progress::Moved(Some(by)));
        let legs = self.calls.get(&call).map(|call| call.legs.clone()).unwrap_or_default();
        let arrived: Vec<_> = legs.into_iter().filter(|leg| !before.contains(leg)).collect();
        self.edit(leg, |leg| leg.moved_to = arrived.first().copied());
        let ended = self.release_all_at_once(leaving, 26);
        self.finish(ended);
        Ok(arrived)
    }

    /// Parks the far end of a call at an object, its own one if none is named. Returns the parked leg.
    pub fn park(&mut self, leg: LegId, at: Option<ObjectId>, position: Option<i64>) -> Result<LegId, Refusal> {
        let found = self.legs.get(&leg).ok_or(Refusal::UnknownCall)?;
        let (call, placed, peer, started) = (found.call, found.placed, found.peer.clone(), found.started);
        let place = at.unwrap_or(found.object);
        let far = self.talks_to(leg).ok_or(Refusal::NotConnected)?;
        let party = self.objects.get(&place).ok_or(Refusal::UnknownDestination)?.party();
        let taken = |leg: &super::Leg| leg.object == place && leg.phase == Phase::Parked && leg.position == position;
        if position.is_some() && self.legs.values().any(taken) {
            return Err(Refusal::PlaceTaken);
        }
        let flips = self.variants.parked_flips;
        let parked = self.open_leg(call, place, placed != flips);
        (parked.phase, parked.peer, parked.started, parked.position) = (Phase::Parked, peer, started, position);
        let parked = parked.id;
        self.detach(leg);
        self.edit_call(call, |call| {
            if call.left == leg {
                call.left = parked;
            }
            call.right = Some(if call.left == parked { far } else { parked });
        });
        self.edit(leg, |leg| {
            (leg.phase, leg.no) = (Phase::DisconnectSent, vec![Related { kind: "parked-to", party }]);
            (leg.holds, leg.held) = (false, false);
        });
        self.emit(leg, "r-rel");
        self.finish(vec![leg]);
        self.emit(parked, "update");
        self.edit(far, |leg| (leg.held, leg.holds) = (true, false));
        if !self.variants.quiet_park {
            self.emit(far, "r-held");
        }
        Ok(parked)
    }

    /// Takes a parked or ringing call over. Returns the new leg.
    pub fn pickup(&mut self, by: ObjectId, device: Option<&str>, what: &Pickup) -> Result<LegId, Refusal> {
        let object = self.objects.get(&by).ok_or(Refusal::UnknownCall)?;
        let wanted = |hw: &str| device.is_none_or(|device| device == hw);
        let phone = object.registered().find(|device| wanted(&device.hw)).map(|device| device.hw.clone());
        let phone = Some(phone.ok_or(Refusal::NoPhone)?);
        let target = self.find_pickup(by, what).ok_or(Refusal::NothingToPickUp)?;
        let (call, place) = (self.legs[&target].call, self.legs[&target].object);
        let parked = self.legs[&target].phase == Phase::Parked;
        let far = if parked { self.partner(target) } else { Some(self.calls[&call].left) };
        let far = far.ok_or(Refusal::NothingToPickUp)?;
        let from = self.objects.get(&place).map(super::Object::party).unwrap_or_default();
        let peer = self.party(far);
        let leg = self.open_leg(call, by, false);
        (leg.device, leg.peer) = (phone, peer);
        leg.no = vec![Related { kind: "picking", party: super::Party::default() }, Related { kind: "ct", party: from }];
        let leg = leg.id;
        self.emit(leg, "r-setup");
        if !parked {
            self.answer(leg)?;
            return Ok(leg);
        }
        if self.variants.pickup_alerts {
            self.edit(leg, |leg| leg.phase = Phase::Alerting);
            self.emit(leg, "x-alert");
        }
        self.hold_others(leg);
        self.detach(target);
        self.edit_call(call, |call| {
            if call.left == target {
                call.left = far;
            }
            call.right = Some(if call.left == far { leg } else { far });
            if call.left != far {
                call.left = leg;
            }
        });
        self.edit(leg, |leg| leg.phase = Phase::Connected);
        self.emit(leg, "x-conn");
        let party = self.party(leg);
        self.edit(far, |leg| (leg.held, leg.peer) = (false, party));
        self.emit(far, "r-retrieved");
        let ended = self.release_all_at_once(vec![target], 26);
        self.finish(ended);
        Ok(leg)
    }

    /// Whether a leg is parked or rings.
    pub fn can_be_picked_up(&self, leg: LegId) -> bool {
        self.legs.get(&leg).is_some_and(|leg| leg.phase == Phase::Parked || self.offers(leg.call).contains(&leg.id))
    }

    fn find_pickup(&self, by: ObjectId, what: &Pickup) -> Option<LegId> {
        let groups = |id: ObjectId| self.objects.get(&id).map(|object| &object.groups);
        let mut candidates = self.legs.values().filter(|leg| {
            leg.phase == Phase::Parked || self.offers(leg.call).contains(&leg.id) && leg.external.is_none()
        });
        match what {
            Pickup::Leg(wanted) => candidates.find(|leg| leg.id == *wanted),
            Pickup::At(object) => candidates.find(|leg| leg.object == *object),
            Pickup::Group(name) => candidates.find(|leg| {
                let theirs = groups(leg.object).is_some_and(|theirs| {
                    theirs.iter().any(|their| match name {
                        Some(name) => their.name == *name,
                        None => groups(by).is_some_and(|own| own.iter().any(|own| own.name == their.name)),
                    })
                });
                theirs && leg.object != by && leg.phase != Phase::Parked
            }),
        }
        .map(|leg| leg.id)
    }

    /// Digits travel: to the far end, or to the leg's own party.
    pub fn dtmf(&mut self, leg: LegId, digits: &str, to_own_party: bool) -> Result<(), Refusal> {
        let to = self.receiver(leg, to_own_party)?;
        self.edit(to, |leg| leg.dtmf.push_str(digits));
        self.emit_with(to, |event| event.dtmf = Some(digits.to_owned()));
        Ok(())
    }

    /// User-to-user information travels like digits.
    pub fn uui(&mut self, leg: LegId, uui: &str, to_own_party: bool) -> Result<(), Refusal> {
        let to = self.receiver(leg, to_own_party)?;
        self.edit(to, |leg| leg.uui = Some(uui.to_owned()));
        self.emit_with(to, |event| event.uui = Some(uui.to_owned()));
        Ok(())
    }

    fn receiver(&self, leg: LegId, own: bool) -> Result<LegId, Refusal> {
        let partner = self.talks_to(leg).ok_or(if self.legs.contains_key(&leg) {
            Refusal::NotConnected
        } else {
            Refusal::UnknownCall
        })?;
        Ok(if own { leg } else { partner })
    }

    /// Remote control of the phone. Hold, retrieve and accept act; every code is remembered for `/state`.
    /// Third-party phones ignore all of it.
    pub fn remote_control(&mut self, leg: LegId, code: i64) -> Result<(), Refusal> {
        match code {
            _ if !self.receives_code(leg, code)? => Ok(()),
            5 => self.answer(leg),
            37 => self.hold(leg),
            38 => self.retrieve(leg),
            _ => Ok(()),
        }
    }

    /// A remote control code reaches the phone, as part of a call's setup or by itself. Returns whether it understands it.
    pub fn receives_code(&mut self, leg: LegId, code: i64) -> Result<bool, Refusal> {
        let found = self.legs.get(&leg).ok_or(Refusal::UnknownCall)?;
        let understands = self.device_kind(found) == Some(crate::world::DeviceKind::Innovaphone);
        if understands {
            self.edit(leg, |leg| leg.rc.push(code));
        }
        Ok(understands)
    }

    /// Keypad digits in the party's name. They have no effect on the signalling.
    pub fn keypad(&mut self, leg: LegId, digits: &str) -> Result<(), Refusal> {
        self.legs.get_mut(&leg).ok_or(Refusal::UnknownCall)?.keypad.push_str(digits);
        Ok(())
    }

    /// The phone displays another peer from now on. Nothing else changes.
    pub fn display(&mut self, leg: LegId, text: &str) -> Result<(), Refusal> {
        let found = self.legs.get_mut(&leg).ok_or(Refusal::UnknownCall)?;
        found.display = Some(text.to_owned());
        Ok(())
    }

    /// A request without effect on the signalling still needs an existing call.
    pub fn exists(&self, leg: LegId) -> Result<(), Refusal> {
        self.legs.contains_key(&leg).then_some(()).ok_or(Refusal::UnknownCall)
    }
}

//! The switch as people and tests look at it: `/state`, and finding the call that somebody means.

use serde_json::{Value, json};

use super::model::{CallId, Leg, LegId, Phase};
use super::{Kind, ObjectId, Switch};

/// Whose call is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// A user or a queue.
    Object(ObjectId),
    /// An external party.
    External(String),
}

/// Which of somebody's calls is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// It rings there.
    Ringing,
    /// It is connected, and not held by the party.
    Active,
    /// The party holds it.
    Held,
    /// Whatever hanging up would end: the active call, a tone, a call on its way, a held one, a ringing one.
    Any,
}

impl Switch {
    /// The oldest fitting leg of somebody, in the named call if one is named.
    pub fn find_leg(&self, whose: &Whose, which: Which, call: Option<&str>, hw: Option<&str>) -> Option<LegId> {
        let theirs = |leg: &&Leg| {
            (match whose {
                Whose::Object(id) => leg.object == *id && leg.phase != Phase::Parked,
                Whose::External(digits) => leg.external.as_ref().is_some_and(|external| external.digits == *digits),
            }) && call.is_none_or(|call| leg.call.to_string() == call)
                && hw.is_none_or(|hw| leg.device.as_deref() == Some(hw))
        };
        let rings = |leg: &Leg| (!leg.placed && leg.phase < Phase::Connected) || leg.rings_itself.is_some();
        let active = |leg: &Leg| leg.phase == Phase::Connected && !leg.holds;
        let rank = |leg: &Leg| match leg {
            leg if active(leg) => 0,
            leg if leg.phase == Phase::DisconnectSent => 1,
            leg if !rings(leg) && leg.phase < Phase::Connected => 2,
            leg if leg.holds => 3,
            _ => 4,
        };
        let legs = self.legs.values().filter(theirs);
        match which {
            Which::Ringing => legs.filter(|leg| rings(leg)).min_by_key(|leg| leg.id),
            Which::Active => legs.filter(|leg| active(leg)).min_by_key(|leg| leg.id),
            Which::Held => legs.filter(|leg| leg.holds).min_by_key(|leg| leg.id),
            Which::Any => legs.min_by_key(|leg| (rank(leg), leg.id)),
        }
        .map(|leg| leg.id)
    }

    /// All ringing legs of somebody in the same call: several phones of one user.
    pub fn siblings(&self, leg: LegId) -> Vec<LegId> {
        let Some(found) = self.legs.get(&leg) else { return Vec::new() };
        let same = |other: &LegId| self.legs.get(other).is_some_and(|other| other.object == found.object);
        self.offers(found.call).into_iter().filter(same).collect()
    }

    /// The call a leg belongs to.
    pub fn call_of(&self, leg: LegId) -> Option<CallId> {
        self.legs.get(&leg).map(|leg| leg.call)
    }

    /// Whether the leg is connected or rings at the far side, so that it can take part in a transfer.
    pub fn second_for_transfer(&self, object: ObjectId, held: LegId) -> Option<LegId> {
        let fits = |leg: &&Leg| {
            leg.object == object && leg.id != held && (Phase::Alerting..=Phase::Connected).contains(&leg.phase)
        };
        let key = |leg: &&Leg| (leg.holds, leg.phase != Phase::Connected, leg.id);
        self.legs
            .values()
            .filter(fits)
            .filter(|leg| leg.placed || leg.phase == Phase::Connected)
            .min_by_key(key)
            .map(|leg| leg.id)
    }

    fn number(&self, leg: &Leg) -> String {
        match &leg.external {
            Some(external) => format!("+{}", external.digits),
            None => self.objects.get(&leg.object).map(|object| object.e164.clone()).unwrap_or_default(),
        }
    }

    fn leg_json(&self, leg: &Leg) -> Value {
        let connected = |leg: &Leg| leg.phase == Phase::Connected;
        let partner = Some(leg)
            .filter(|leg| connected(leg))
            .and_then(|leg| self.partner(leg.id))
            .and_then(|partner| self.legs.get(&partner))
            .filter(|partner| connected(partner));
        let mut value = json!({
            "state": if leg.rings_itself.is_some() { "ringing-own-phone" } else { leg.phase.word() },
            "direction": if leg.placed { "placed" } else { "received" },
            "held": leg.held,
            "holds": leg.holds,
            "connectedTo": partner.map(|partner| self.number(partner)).into_iter().collect::<Vec<_>>(),
        });
        let number = self.number(leg);
        match &leg.external {
            Some(external) => {
                value["number"] = number.into();
                value["name"] = external.name.clone().into();
            }
            None => {
                value["extension"] = number.into();
                value["node"] = self.node_of(leg.object).into();
                value["name"] = self.objects.get(&leg.object).map(|object| object.dn.clone()).into();
            }
        }
        for (key, text) in [("hw", &leg.device), ("display", &leg.display), ("uui", &leg.uui)] {
            if let Some(text) = text {
                value[key] = text.clone().into();
            }
        }
        for (key, digits) in [("dtmf", &leg.dtmf), ("keypad", &leg.keypad)] {
            if !digits.is_empty() {
                value[key] = digits.clone().into();
            }
        }
        if !leg.rc.is_empty() {
            value["rc"] = leg.rc.clone().into();
        }
        if let Some(cause) = leg.cause {
            value["cause"] = cause.into();
        }
        if let Some(position) = leg.position {
            value["position"] = position.into();
        }
        value
    }

    /// The calls of `/state`.
    pub fn calls_json(&self) -> Vec<Value> {
        let legs = |call: CallId| self.legs.values().filter(move |leg| leg.call == call);
        self.calls
            .values()
            .map(|call| {
                let seconds = legs(call.id).map(|leg| leg.started).min().map(|start| (self.now - start).as_secs());
                json!({
                    "id": call.id.to_string(),
                    "conf": call.conf,
                    "seconds": seconds,
                    "legs": legs(call.id).map(|leg| self.leg_json(leg)).collect::<Vec<_>>(),
                })
            })
            .collect()
    }

    /// One user or queue of `/state`.
    pub fn object_json(&self, id: ObjectId) -> Value {
        let Some(object) = self.objects.get(&id) else { return Value::Null };
        let (calls, ringing) = self.load(id);
        let mut ids: Vec<_> =
            self.legs.values().filter(|leg| leg.object == id).map(|leg| leg.call.to_string()).collect();
        ids.dedup();
        let mut value = json!({
            "extension": object.e164,
            "node": object.node,
            "pbx": object.pbx,
            "cn": object.cn,
            "dn": object.dn,
            "h323": object.h323,
            "guid": object.guid,
            "groups": object.groups,
            "apps": object.apps,
            "behaviour": object.behaviour,
            "channel": calls,
            "alert": ringing,
            "calls": ids,
        });
        match &object.kind {
            Kind::Queue(queue) => value["operators"] = queue.operators.clone().into(),
            _ => {
                value["registered"] = object.registered().next().is_some().into();
                value["devices"] = json!(object.devices);
                value["forward"] = json!(object.forward);
            }
        }
        value
    }
}

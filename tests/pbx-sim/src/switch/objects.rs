//! Users, queues and the trunk, and how they change at run time.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::model::{CallId, Destination, External, Leg, ObjectId, Output, Party, Phase};
use super::{DialPlan, Switch, Target};
use crate::world::{Behaviour, DeviceKind, DeviceSpec, Forward, Membership, QueueSpec, UserSpec};

/// What an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Somebody with phones.
    User,
    /// A waiting queue.
    Queue(Queue),
    /// The line to the outside.
    Trunk,
}

/// Settings of a waiting queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Extensions of the operators.
    pub operators: Vec<String>,
    /// Whether a caller is connected to an announcement.
    pub announcement: bool,
    /// How long a caller hears ringing first.
    pub alert: Duration,
    /// How long an operator's phone rings in one round.
    pub offer: Duration,
    /// Pause between two rounds.
    pub pause: Duration,
}

/// One object of the PBX.
#[derive(Debug, Clone)]
pub struct Object {
    /// Internal number.
    pub id: ObjectId,
    /// Object id, 32 hex digits.
    pub guid: String,
    /// Long Name.
    pub cn: String,
    /// Display name.
    pub dn: String,
    /// Name.
    pub h323: String,
    /// Number; empty for the trunk.
    pub e164: String,
    /// Numbering node.
    pub node: String,
    /// PBX that it is at home at.
    pub pbx: String,
    /// What it is.
    pub kind: Kind,
    /// Phones of a user.
    pub devices: Vec<DeviceSpec>,
    /// Group memberships.
    pub groups: Vec<Membership>,
    /// App objects granted.
    pub apps: Vec<String>,
    /// Call forwarding.
    pub forward: Forward,
    /// What happens when it is called.
    pub behaviour: Behaviour,
    /// Password for a plain user login.
    pub password: Option<String>,
    /// Number of calls from which on further ones are busy.
    pub busy_at: Option<usize>,
    /// How many subscribers want calls cleared with DISC.
    pub(crate) disc: usize,
}

impl Object {
    /// Value of `pseudo` on the wire.
    pub fn pseudo(&self) -> &'static str {
        match self.kind {
            Kind::User => "",
            Kind::Queue(_) => "waiting",
            Kind::Trunk => "trunk",
        }
    }

    /// How the object appears to others.
    pub fn party(&self) -> Party {
        Party { cn: self.cn.clone(), dn: self.dn.clone(), h323: self.h323.clone(), e164: self.e164.clone(), norm: None }
    }

    /// Devices that can be reached right now.
    pub fn registered(&self) -> impl Iterator<Item = &DeviceSpec> {
        let absent = self.behaviour.mode == crate::world::BehaviourMode::Unregistered;
        self.devices.iter().filter(move |device| device.registered && !absent)
    }

    /// The queue's settings, if it is one.
    pub fn queue(&self) -> Option<&Queue> {
        match &self.kind {
            Kind::Queue(queue) => Some(queue),
            _ => None,
        }
    }
}

/// A stable object id for an object whose world gives none.
fn derived_guid(pbx: &str, cn: &str) -> String {
    hex::encode(&Sha256::digest(format!("guid:{pbx}:{cn}"))[..16])
}

/// `Thomas De Wilde` becomes `thomas.de.wilde`.
fn derived_name(cn: &str) -> String {
    cn.to_lowercase().split_whitespace().collect::<Vec<_>>().join(".")
}

fn is_free_guid(guid: &str) -> bool {
    guid.len() == 32 && guid.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Switch {
    /// Adds a user, or replaces everything but the identity of the one with the same extension.
    pub fn put_user(&mut self, spec: UserSpec) -> ObjectId {
        let node = spec.node.unwrap_or_else(|| self.node.clone());
        let known = self.find_in(&node, &spec.e164);
        let guid = spec.guid.filter(|guid| is_free_guid(guid));
        let object = Object {
            id: ObjectId(0),
            guid: guid
                .or_else(|| known.map(|id| self.objects[&id].guid.clone()))
                .unwrap_or_else(|| derived_guid(&self.pbx, &spec.cn)),
            dn: spec.dn.unwrap_or_else(|| spec.cn.clone()),
            h323: spec.h323.unwrap_or_else(|| derived_name(&spec.cn)),
            devices: spec.devices.unwrap_or_else(|| {
                vec![DeviceSpec {
                    hw: format!("ip-{}", spec.e164),
                    text: "Desk phone".to_owned(),
                    kind: DeviceKind::Innovaphone,
                    registered: true,
                    mobile: None,
                }]
            }),
            cn: spec.cn,
            e164: spec.e164,
            node,
            pbx: spec.pbx.unwrap_or_else(|| self.pbx.clone()),
            kind: Kind::User,
            groups: spec.groups,
            apps: spec.apps,
            forward: spec.forward,
            behaviour: spec.behaviour,
            password: spec.password,
            busy_at: spec.busy_at,
            disc: known.map_or(0, |id| self.objects[&id].disc),
        };
        self.put_object(known, object)
    }

    /// Adds a waiting queue.
    pub fn put_queue(&mut self, spec: QueueSpec) -> ObjectId {
        let node = spec.node.unwrap_or_else(|| self.node.clone());
        let known = self.find_in(&node, &spec.e164);
        let object = Object {
            id: ObjectId(0),
            guid: spec.guid.unwrap_or_else(|| derived_guid(&self.pbx, &spec.cn)),
            dn: spec.dn.unwrap_or_else(|| spec.cn.clone()),
            h323: spec.h323.unwrap_or_else(|| derived_name(&spec.cn)),
            cn: spec.cn,
            e164: spec.e164,
            node,
            pbx: spec.pbx.unwrap_or_else(|| self.pbx.clone()),
            kind: Kind::Queue(Queue {
                operators: spec.operators,
                announcement: spec.announcement,
                alert: Duration::from_millis(spec.alert_ms),
                offer: Duration::from_millis(spec.offer_ms.max(1)),
                pause: Duration::from_millis(spec.pause_ms.max(1)),
            }),
            devices: Vec::new(),
            groups: spec.groups,
            apps: spec.apps,
            forward: Forward::default(),
            behaviour: Behaviour::default(),
            password: None,
            busy_at: None,
            disc: 0,
        };
        self.put_object(known, object)
    }

    pub(super) fn put_trunk(&mut self, cn: &str) -> ObjectId {
        let object = Object {
            id: ObjectId(0),
            guid: derived_guid(&self.pbx, cn),
            dn: cn.to_owned(),
            h323: derived_name(cn),
            cn: cn.to_owned(),
            e164: String::new(),
            node: self.node.clone(),
            pbx: self.pbx.clone(),
            kind: Kind::Trunk,
            devices: Vec::new(),
            groups: Vec::new(),
            apps: Vec::new(),
            forward: Forward::default(),
            behaviour: Behaviour::default(),
            password: None,
            busy_at: None,
            disc: 0,
        };
        self.put_object(None, object)
    }

    fn put_object(&mut self, known: Option<ObjectId>, mut object: Object) -> ObjectId {
        let id = known.unwrap_or_else(|| {
            self.next_object += 1;
            ObjectId(self.next_object)
        });
        object.id = id;
        self.objects.insert(id, object);
        self.dirty.insert(id);
        id
    }

    /// Changes an object in place and reports it.
    pub fn change_object(&mut self, id: ObjectId, change: impl FnOnce(&mut Object)) {
        if let Some(object) = self.objects.get_mut(&id) {
            change(object);
            self.dirty.insert(id);
        }
    }

    /// A subscriber wants, or no longer wants, calls of the object cleared with DISC.
    pub fn watch_disc(&mut self, id: ObjectId, on: bool) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.disc = if on { object.disc + 1 } else { object.disc.saturating_sub(1) };
        }
    }

    /// Removes an object. Its calls are cleared first, as if its phones had vanished.
    pub fn remove_object(&mut self, id: ObjectId) {
        let legs: Vec<_> = self.legs.values().filter(|leg| leg.object == id).map(|leg| leg.id).collect();
        for leg in legs {
            let _gone_with_another = self.clear(leg, 20);
        }
        self.objects.remove(&id);
        self.dirty.remove(&id);
        self.out.push(Output::Gone(id));
    }

    /// The object, if it still exists.
    pub fn object(&self, id: ObjectId) -> Option<&Object> {
        self.objects.get(&id)
    }

    /// All objects in the order of their creation.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// The object with this Long Name.
    pub fn find_cn(&self, cn: &str) -> Option<ObjectId> {
        self.objects.values().find(|object| object.cn == cn).map(|object| object.id)
    }

    /// The object with this Name.
    pub fn find_h323(&self, h323: &str) -> Option<ObjectId> {
        self.objects.values().find(|object| !h323.is_empty() && object.h323 == h323).map(|object| object.id)
    }

    /// The user or queue that people mean: `node/extension`, or an extension, which is one of the PBX's own node if it exists
    /// there, else that of the object which was there first.
    pub fn find_extension(&self, address: &str) -> Option<ObjectId> {
        if let Some((node, e164)) = address.split_once('/') {
            return self.find_in(node, e164);
        }
        let anywhere = || self.objects.values().find(|object| !address.is_empty() && object.e164 == address);
        self.find_in(&self.node, address).or_else(|| anywhere().map(|object| object.id))
    }

    /// The user or queue with this extension in this node.
    pub fn find_in(&self, node: &str, e164: &str) -> Option<ObjectId> {
        let is_meant = |object: &&Object| !e164.is_empty() && object.e164 == e164 && object.node == node;
        self.objects.values().find(is_meant).map(|object| object.id)
    }

    /// Whom a user of this node reaches by dialling an extension: one of the node, or one of another behind that one's number.
    pub(super) fn find_dialled(&self, node: &str, number: &str) -> Option<ObjectId> {
        let elsewhere = |(other, plan): (&String, &DialPlan)| {
            let is_reachable = other != node && !plan.number.is_empty();
            is_reachable.then(|| number.strip_prefix(&plan.number)).flatten().and_then(|rest| self.find_in(other, rest))
        };
        self.find_in(node, number).or_else(|| self.plans.iter().find_map(elsewhere))
    }

    /// The node of an object.
    pub(super) fn node_of(&self, id: ObjectId) -> &str {
        self.objects.get(&id).map_or(self.node.as_str(), |object| object.node.as_str())
    }

    /// How this node numbers.
    pub fn plan_of(&self, node: &str) -> &DialPlan {
        self.plans.get(node).unwrap_or(&self.plan)
    }

    /// A party as a user of another node sees it: with the number that is dialled there.
    pub(super) fn as_seen_by(&self, id: ObjectId, party: &Party) -> Party {
        let plan = self.plan_of(self.node_of(id));
        let digits = party.norm.as_ref().and_then(|norm| norm.strip_prefix('+'));
        match digits.filter(|digits| party.e164 == self.plan.callback(digits)) {
            Some(digits) => Party { e164: plan.callback(digits), ..party.clone() },
            None => party.clone(),
        }
    }

    /// Number of calls of an object, and how many of them ring there.
    pub fn load(&self, id: ObjectId) -> (usize, usize) {
        let count = |wanted: fn(&Leg) -> bool| {
            let mut calls: Vec<CallId> =
                self.legs.values().filter(|leg| leg.object == id && wanted(leg)).map(|leg| leg.call).collect();
            calls.sort_unstable();
            calls.dedup();
            calls.len()
        };
        (count(|_| true), count(|leg| !leg.placed && leg.phase == Phase::Alerting))
    }

    /// What the called party does; external parties are known by their digits.
    pub(super) fn behaviour_of(&self, leg: &Leg) -> Behaviour {
        match &leg.external {
            Some(external) => self.external_behaviour(&external.digits),
            None => self.objects.get(&leg.object).map(|object| object.behaviour).unwrap_or_default(),
        }
    }

    pub(super) fn external_behaviour(&self, digits: &str) -> Behaviour {
        self.externals.get(digits).and_then(|known| known.1).unwrap_or(self.external_default)
    }

    /// Sets what an external party does when it is called.
    pub fn set_external_behaviour(&mut self, digits: &str, behaviour: Behaviour) {
        self.externals.entry(digits.to_owned()).or_default().1 = Some(behaviour);
    }

    /// An external party by its digits, with the name the PBX knows.
    pub fn external(&self, digits: &str) -> External {
        let name = self.externals.get(digits).map(|known| known.0.clone()).unwrap_or_default();
        External { digits: digits.to_owned(), name, dialled: None, hidden: false }
    }

    pub(super) fn external_party(&self, external: &External) -> Party {
        // Who was dialled has no number to withhold.
        if self.variants.clir && external.dialled.is_none() {
            return Party::default();
        }
        if external.hidden {
            return Party { dn: external.name.clone(), ..Party::default() };
        }
        Party {
            cn: String::new(),
            dn: external.name.clone(),
            h323: String::new(),
            e164: external.dialled.clone().unwrap_or_else(|| self.plan.callback(&external.digits)),
            norm: Some(format!("+{}", external.digits)),
        }
    }

    /// Where a destination leads that somebody of this node has dialled.
    pub(super) fn resolve(&self, node: &str, destination: &Destination) -> Target {
        let found = match destination {
            Destination::E164(number) => match self.find_dialled(node, number) {
                None => {
                    return self.plan_of(node).outside(number).map_or(Target::Nowhere, |digits| {
                        Target::External(External { dialled: Some(number.clone()), ..self.external(&digits) })
                    });
                }
                found => found,
            },
            Destination::H323(name) => self.find_h323(name),
            Destination::Cn(cn) => self.find_cn(cn),
        };
        match found {
            Some(id) if self.objects[&id].kind != Kind::Trunk => Target::Object(id),
            _ => Target::Nowhere,
        }
    }
}

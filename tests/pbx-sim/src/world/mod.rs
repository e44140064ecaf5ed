//! What exists in the PBX before anybody calls: objects, devices, groups, app objects, numbering.
//!
//! A world is plain data. It is the default one, built in Rust by a test, or read from a JSON file
//! (`pbx-sim --world FILE`). Nothing here knows calls or connections.

mod specs;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use specs::{
    AppSpec, Behaviour, BehaviourMode, DeviceKind, DeviceSpec, ExternalSpec, Forward, Membership, Mode, NodeSpec,
    QueueSpec, TrunkSpec, UserSpec, all_apis,
};

/// The name of the PBX in the default world.
pub const DEFAULT_PBX: &str = "master";
/// Password of the App object in the default world.
pub const DEFAULT_PASSWORD: &str = "secret-app-pw";
/// The group in which the default app object is an active member.
pub const DEFAULT_GROUP: &str = "EasyConnectMonitored";

/// Everything a simulated PBX is configured with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct World {
    /// Name of the PBX, reported as `pbx` of every user.
    pub pbx: String,
    /// Further PBXs of the same system. Each has a listener of its own and reports the calls of those who are at home there.
    pub pbxs: Vec<String>,
    /// Name of the numbering node of those who are in no other one, reported as `node`.
    pub node: String,
    /// Further numbering nodes. The same extension may exist in each.
    pub nodes: Vec<NodeSpec>,
    /// Country code without prefix, e.g. `32`.
    pub country: String,
    /// Area code without prefix, e.g. `2`.
    pub area: String,
    /// App objects that may log in.
    pub apps: Vec<AppSpec>,
    /// Phone users.
    pub users: Vec<UserSpec>,
    /// Waiting queues.
    pub queues: Vec<QueueSpec>,
    /// The line to the outside.
    pub trunk: TrunkSpec,
    /// External parties whose name the PBX knows.
    pub externals: Vec<ExternalSpec>,
    /// How long a third-party SIP phone rings for its own `UserCall` before the PBX gives up.
    pub own_ring_ms: u64,
    /// How long a queue listens to the tone of a failed call before it clears by itself.
    pub tone_ms: u64,
    /// How long a person listens to a tone before the phone is hung up. Until then the call counts in the user's `channel`.
    pub phone_tone_ms: u64,
}

impl World {
    /// A PBX with the default app object, the default trunk and nobody in it.
    pub fn empty() -> Self {
        Self {
            pbx: DEFAULT_PBX.to_owned(),
            pbxs: Vec::new(),
            node: "root".to_owned(),
            nodes: Vec::new(),
            country: "32".to_owned(),
            area: "2".to_owned(),
            apps: vec![AppSpec {
                name: "easyconnect".to_owned(),
                password: DEFAULT_PASSWORD.to_owned(),
                apis: all_apis(),
                groups: vec![Membership::active(DEFAULT_GROUP)],
            }],
            users: Vec::new(),
            queues: Vec::new(),
            trunk: TrunkSpec::default(),
            externals: Vec::new(),
            own_ring_ms: 30_000,
            tone_ms: 3_000,
            phone_tone_ms: 20_000,
        }
    }

    /// The default world plus as many further users in the monitored group, extensions 1000 and up.
    #[must_use]
    pub fn with_users(mut self, count: u32) -> Self {
        self.users.extend((1000..1000 + count).map(|number| {
            UserSpec::new(&number.to_string(), &format!("User {number}"))
                .in_group(DEFAULT_GROUP)
                .with_app("easyconnect")
        }));
        self
    }

    /// The same system with further PBXs, `branch1` and up. Each has a node of the same name, and in it an extension 42.
    #[must_use]
    pub fn with_branches(mut self, count: u32) -> Self {
        for name in (1..=count).map(|n| format!("branch{n}")) {
            let user = UserSpec::new("42", &format!("User of {name}")).in_group(DEFAULT_GROUP).with_app("easyconnect");
            self.users.push(user.in_node(&name).at_home_at(&name));
            let node = NodeSpec {
                name: name.clone(),
                prefix: "0".to_owned(),
                country: None,
                area: None,
                number: String::new(),
            };
            self.nodes.push(node);
            self.pbxs.push(name);
        }
        self
    }

    /// Refuses a world in which a number or a name would mean two things.
    pub fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (what, name) in [("pbx", &self.pbx)]
            .into_iter()
            .chain(self.pbxs.iter().map(|name| ("pbx", name)))
            .chain([("node", &self.node)])
            .chain(self.nodes.iter().map(|node| ("node", &node.name)))
            .chain([("cn", &self.trunk.cn)])
        {
            if !seen.insert((what, name.clone())) {
                return Err(format!("{what} {name} exists twice"));
            }
        }
        let users = self.users.iter().map(|user| (&user.e164, &user.cn, &user.node, &user.pbx));
        let queues = self.queues.iter().map(|queue| (&queue.e164, &queue.cn, &queue.node, &queue.pbx));
        for (e164, cn, node, pbx) in users.chain(queues) {
            let node = node.as_ref().unwrap_or(&self.node);
            for (what, name) in [("node", node), ("pbx", pbx.as_ref().unwrap_or(&self.pbx))] {
                if !seen.contains(&(what, name.clone())) {
                    return Err(format!("{what} {name} of {cn} does not exist"));
                }
            }
            if e164.is_empty() || !e164.bytes().all(|b| b.is_ascii_digit()) {
                return Err(format!("`e164` of {cn} must be digits"));
            }
            let trunk = self.numbering(node).prefix;
            if !trunk.is_empty() && e164.starts_with(&trunk) {
                return Err(format!("extension {e164} begins with the trunk prefix"));
            }
            for (what, value) in [("extension", format!("{node}/{e164}")), ("cn", cn.clone())] {
                if !seen.insert((what, value.clone())) {
                    return Err(format!("{what} {value} exists twice"));
                }
            }
        }
        Ok(())
    }

    /// How a node numbers, with what it has of the world filled in.
    pub fn numbering(&self, node: &str) -> NodeSpec {
        let found = self.nodes.iter().find(|spec| spec.name == node);
        let own = || NodeSpec {
            name: node.to_owned(),
            prefix: self.trunk.prefix.clone(),
            country: None,
            area: None,
            number: String::new(),
        };
        let spec = found.cloned().unwrap_or_else(own);
        NodeSpec {
            country: spec.country.or_else(|| Some(self.country.clone())),
            area: spec.area.or_else(|| Some(self.area.clone())),
            ..spec
        }
    }

    /// What a phone user of the world's node dials in front of subscriber, national and international numbers.
    pub fn prefixes(&self) -> [String; 3] {
        prefixes(&self.trunk.prefix)
    }
}

/// What is dialled in front of subscriber, national and international numbers, behind this prefix for a line.
pub(crate) fn prefixes(trunk: &str) -> [String; 3] {
    [trunk.to_owned(), format!("{trunk}0"), format!("{trunk}00")]
}

impl Default for World {
    fn default() -> Self {
        let member = |e164: &str, cn: &str| UserSpec::new(e164, cn).in_group(DEFAULT_GROUP).with_app("easyconnect");
        let queue = |e164: &str, cn: &str| QueueSpec {
            groups: vec![Membership::passive(DEFAULT_GROUP)],
            apps: vec!["easyconnect".to_owned()],
            ..QueueSpec::new(e164, cn)
        };
        let workshop = UserSpec {
            devices: Some(vec![
                DeviceSpec {
                    hw: "sip-43".to_owned(),
                    text: "Softphone".to_owned(),
                    kind: DeviceKind::Sip,
                    registered: true,
                    mobile: None,
                },
                DeviceSpec {
                    hw: "ip-43".to_owned(),
                    text: "Desk phone".to_owned(),
                    kind: DeviceKind::Innovaphone,
                    registered: true,
                    mobile: None,
                },
            ]),
            ..member("43", "Workshop")
        };
        Self {
            users: vec![
                member("42", "Thomas De Wilde"),
                workshop,
                member("44", "Sales"),
                member("50", "Service Desk"),
                UserSpec::new("60", "Outside").with_app("easyconnect"),
            ],
            queues: vec![
                queue("77", "DialoutQueue"),
                QueueSpec { operators: vec!["42".to_owned(), "43".to_owned()], ..queue("78", "SupportQueue") },
            ],
            ..Self::empty()
        }
    }
}

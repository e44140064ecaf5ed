//! What exists in the PBX before anybody calls: objects, devices, groups, app objects, numbering.
//!
//! A world is plain data. It is the default one, built in Rust by a test, or read from a JSON file
//! (`pbx-sim --world FILE`). Nothing here knows calls or connections.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

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
    /// Name of the numbering node, reported as `node` of every user.
    pub node: String,
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
}

/// One app object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSpec {
    /// The object's Name, which is what goes into `AppLogin.app`.
    pub name: String,
    /// The shared secret, at most 15 characters on a real PBX.
    pub password: String,
    /// Granted APIs; the default grants all of them.
    #[serde(default = "all_apis")]
    pub apis: Vec<String>,
    /// Memberships; an active one makes the group's members visible to `Initialize{grp:true}`.
    #[serde(default)]
    pub groups: Vec<Membership>,
}

/// One phone user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// Extension number.
    pub e164: String,
    /// Long Name, the unique key.
    pub cn: String,
    /// Display name; the Long Name if left out.
    #[serde(default)]
    pub dn: Option<String>,
    /// Name; derived from the Long Name if left out.
    #[serde(default)]
    pub h323: Option<String>,
    /// Object id, 32 hex digits; derived from the PBX and the Long Name if left out.
    #[serde(default)]
    pub guid: Option<String>,
    /// Password for a plain user login; without one the user cannot log in.
    #[serde(default)]
    pub password: Option<String>,
    /// Phones; one innovaphone-like desk phone if left out.
    #[serde(default)]
    pub devices: Option<Vec<DeviceSpec>>,
    /// Group memberships.
    #[serde(default)]
    pub groups: Vec<Membership>,
    /// Names of the app objects granted to this user.
    #[serde(default)]
    pub apps: Vec<String>,
    /// Call forwarding.
    #[serde(default)]
    pub forward: Forward,
    /// What the person at the phone does when it rings.
    #[serde(default)]
    pub behaviour: Behaviour,
    /// Number of calls from which on further ones are refused as busy; none means call waiting without limit.
    #[serde(default)]
    pub busy_at: Option<usize>,
}

/// One phone of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// Hardware id, the key of the registration.
    pub hw: String,
    /// Label for people.
    #[serde(default)]
    pub text: String,
    /// Which family of phones it behaves like.
    #[serde(default)]
    pub kind: DeviceKind,
    /// Whether it is registered.
    #[serde(default = "yes")]
    pub registered: bool,
    /// Number of the mobile phone, for a mobility endpoint.
    #[serde(default)]
    pub mobile: Option<String>,
}

/// The family of phones a device behaves like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Starts a remotely requested call at once and understands remote control codes.
    #[default]
    Innovaphone,
    /// Rings first when a call is requested remotely, and dials once it is picked up.
    Sip,
}

/// Membership in a group. Written as `"Name"` (passive) or `{"name":…,"mode":"active"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "MembershipText")]
pub struct Membership {
    /// Name of the group.
    pub name: String,
    /// Whether the member sees the other members.
    #[serde(skip_serializing_if = "Mode::is_passive")]
    pub mode: Mode,
}

/// Kind of a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Sees the other members.
    Active,
    /// Is seen only.
    #[default]
    Passive,
}

impl Mode {
    fn is_passive(&self) -> bool {
        *self == Self::Passive
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MembershipText {
    Name(String),
    Full {
        name: String,
        #[serde(default)]
        mode: Mode,
    },
}

impl From<MembershipText> for Membership {
    fn from(text: MembershipText) -> Self {
        match text {
            MembershipText::Name(name) => Self::passive(&name),
            MembershipText::Full { name, mode } => Self { name, mode },
        }
    }
}

impl Membership {
    /// A member who is seen only.
    pub fn passive(name: &str) -> Self {
        Self { name: name.to_owned(), mode: Mode::Passive }
    }

    /// A member who sees the others.
    pub fn active(name: &str) -> Self {
        Self { name: name.to_owned(), mode: Mode::Active }
    }
}

/// Where calls go instead of ringing; each is a number as the user would dial it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forward {
    /// Always.
    pub cfu: Option<String>,
    /// When busy, or rejected with cause 17.
    pub cfb: Option<String>,
    /// When nobody answers in time, or no phone is registered.
    pub cfnr: Option<String>,
    /// How long `cfnr` lets the phone ring; 15 s if left out.
    pub cfnr_ms: Option<u64>,
}

/// What a party does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// The reaction.
    pub mode: BehaviourMode,
    /// How long the party takes for it.
    pub after_ms: u64,
}

/// Reaction of a called party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BehaviourMode {
    /// Rings until somebody says otherwise.
    #[default]
    Ring,
    /// Answers after the delay.
    Answer,
    /// Is busy: cause 17, nothing rings.
    Busy,
    /// Rings and is rejected after the delay: cause 21.
    Reject,
    /// Has no phone at the moment: cause 20.
    Unregistered,
}

/// One waiting queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSpec {
    /// Number of the queue.
    pub e164: String,
    /// Long Name.
    pub cn: String,
    /// Display name; the Long Name if left out.
    #[serde(default)]
    pub dn: Option<String>,
    /// Name; derived from the Long Name if left out.
    #[serde(default)]
    pub h323: Option<String>,
    /// Object id; derived if left out.
    #[serde(default)]
    pub guid: Option<String>,
    /// Group memberships.
    #[serde(default)]
    pub groups: Vec<Membership>,
    /// App objects granted to this object.
    #[serde(default)]
    pub apps: Vec<String>,
    /// Extensions of the operators. All free ones ring at the same time.
    #[serde(default)]
    pub operators: Vec<String>,
    /// Whether a caller is connected to an announcement.
    #[serde(default = "yes")]
    pub announcement: bool,
    /// How long a caller hears ringing before the announcement.
    #[serde(default)]
    pub alert_ms: u64,
    /// How long an operator's phone rings in one round.
    #[serde(default = "offer_ms")]
    pub offer_ms: u64,
    /// Pause between two rounds.
    #[serde(default = "pause_ms")]
    pub pause_ms: u64,
}

/// The line to the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrunkSpec {
    /// Long Name of the trunk object.
    pub cn: String,
    /// What users dial to get a line.
    pub prefix: String,
    /// What external parties do when they are called, unless one has a behaviour of its own.
    pub behaviour: Behaviour,
}

/// An external party whose name the PBX knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalSpec {
    /// Number in any form.
    pub number: String,
    /// Name shown to users.
    #[serde(default)]
    pub name: String,
    /// What the party does when it is called; the trunk's behaviour if left out.
    #[serde(default)]
    pub behaviour: Option<Behaviour>,
}

fn yes() -> bool {
    true
}

fn offer_ms() -> u64 {
    10_000
}

fn pause_ms() -> u64 {
    2_000
}

/// The APIs an app object can be granted.
pub fn all_apis() -> Vec<String> {
    ["RCC", "PbxApi", "PbxAdminApi", "PbxTableUsers", "PbxSignal", "EpSignal", "Messages", "Services"]
        .map(str::to_owned)
        .to_vec()
}

impl Default for TrunkSpec {
    fn default() -> Self {
        Self { cn: "Trunk".to_owned(), prefix: "0".to_owned(), behaviour: Behaviour::default() }
    }
}

impl UserSpec {
    /// A user with one desk phone, outside of every group.
    pub fn new(e164: &str, cn: &str) -> Self {
        Self {
            e164: e164.to_owned(),
            cn: cn.to_owned(),
            dn: None,
            h323: None,
            guid: None,
            password: None,
            devices: None,
            groups: Vec::new(),
            apps: Vec::new(),
            forward: Forward::default(),
            behaviour: Behaviour::default(),
            busy_at: None,
        }
    }

    /// The same user as a passive member of `group`.
    #[must_use]
    pub fn in_group(mut self, group: &str) -> Self {
        self.groups.push(Membership::passive(group));
        self
    }

    /// The same user with access to the app object `app`.
    #[must_use]
    pub fn with_app(mut self, app: &str) -> Self {
        self.apps.push(app.to_owned());
        self
    }
}

impl QueueSpec {
    /// A queue without operators, which connects a caller to its announcement at once.
    pub fn new(e164: &str, cn: &str) -> Self {
        Self {
            e164: e164.to_owned(),
            cn: cn.to_owned(),
            dn: None,
            h323: None,
            guid: None,
            groups: Vec::new(),
            apps: Vec::new(),
            operators: Vec::new(),
            announcement: true,
            alert_ms: 0,
            offer_ms: offer_ms(),
            pause_ms: pause_ms(),
        }
    }
}

impl World {
    /// A PBX with the default app object, the default trunk and nobody in it.
    pub fn empty() -> Self {
        Self {
            pbx: DEFAULT_PBX.to_owned(),
            node: "root".to_owned(),
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

    /// Refuses a world in which a number or a name would mean two things.
    pub fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let users = self.users.iter().map(|user| (&user.e164, &user.cn));
        for (e164, cn) in users.chain(self.queues.iter().map(|queue| (&queue.e164, &queue.cn))) {
            if e164.is_empty() || !e164.bytes().all(|b| b.is_ascii_digit()) {
                return Err(format!("`e164` of {cn} must be digits"));
            }
            if !self.trunk.prefix.is_empty() && e164.starts_with(&self.trunk.prefix) {
                return Err(format!("extension {e164} begins with the trunk prefix"));
            }
            for (what, value) in [("extension", e164), ("cn", cn)] {
                if !seen.insert((what, value)) {
                    return Err(format!("{what} {value} exists twice"));
                }
            }
        }
        if !seen.insert(("cn", &self.trunk.cn)) {
            return Err(format!("cn {} exists twice", self.trunk.cn));
        }
        Ok(())
    }

    /// What a phone user dials in front of subscriber, national and international numbers.
    pub fn prefixes(&self) -> [String; 3] {
        let trunk = &self.trunk.prefix;
        [trunk.clone(), format!("{trunk}0"), format!("{trunk}00")]
    }
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

//! What single parts of a world are configured with: nodes, app objects, users, devices, queues, the line, external parties.

use serde::{Deserialize, Serialize};

/// A further numbering node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Name of the node.
    pub name: String,
    /// What its users dial to get a line.
    #[serde(default = "zero")]
    pub prefix: String,
    /// Country code without prefix; the world's if left out.
    #[serde(default)]
    pub country: Option<String>,
    /// Area code without prefix; the world's if left out.
    #[serde(default)]
    pub area: Option<String>,
    /// What the other nodes dial in front of an extension of this one; without it they cannot.
    #[serde(default)]
    pub number: String,
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
    /// Numbering node; the world's if left out.
    #[serde(default)]
    pub node: Option<String>,
    /// PBX that the user is at home at; the world's if left out.
    #[serde(default)]
    pub pbx: Option<String>,
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
    /// Numbering node; the world's if left out.
    #[serde(default)]
    pub node: Option<String>,
    /// PBX that the queue is at home at; the world's if left out.
    #[serde(default)]
    pub pbx: Option<String>,
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

fn zero() -> String {
    "0".to_owned()
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
            node: None,
            pbx: None,
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

    /// The same user in the numbering node `node`.
    #[must_use]
    pub fn in_node(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    /// The same user at home at the PBX `pbx`.
    #[must_use]
    pub fn at_home_at(mut self, pbx: &str) -> Self {
        self.pbx = Some(pbx.to_owned());
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
            node: None,
            pbx: None,
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

//! The nouns of the switch: legs, calls, parties, and the events that leave it.

use std::fmt;
use std::time::Duration;

/// In what PBXes differ where no source says which of them is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Variants {
    /// `None`: failed calls linger with a tone, others are released. `Some`: always, never.
    pub linger: Option<bool>,
    /// External callers are not shown.
    pub clir: bool,
    /// Whose conference id is left after a transfer.
    pub survivor: Survivor,
    /// Legs that leave by a transfer end normally, instead of with cause 26.
    pub transfer_normal: bool,
    /// The party that placed a redirected call hears no ringing again.
    pub redirect_stays_connected: bool,
    /// A user whose calls are forwarded at once has a short leg of each.
    pub forwarding_leg: bool,
    /// The parked leg has the other direction than the one that was parked.
    pub parked_flips: bool,
    /// Who picks up a parked call sees it ring first.
    pub pickup_alerts: bool,
    /// The parked party is told nothing.
    pub quiet_park: bool,
}

/// Whose conference id is left after a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Survivor {
    /// That of the older call.
    #[default]
    Older,
    /// That of the call named first.
    First,
    /// That of the call named second.
    Second,
}

/// An object of the PBX: user, queue or trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub(crate) u32);

/// One object's share in a call. A leg never changes its number, a connection gives it a handle of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub(crate) u64);

/// Legs that belong together. Lower numbers are older calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(crate) u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// Low four bits of `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The number is dialled.
    Setup = 1,
    /// More digits are expected.
    SetupAck = 2,
    /// The destination is being reached.
    Proceeding = 3,
    /// The destination rings.
    Alerting = 4,
    /// Talking, or on hold.
    Connected = 5,
    /// The PBX sent a disconnect to the terminal.
    DisconnectSent = 6,
    /// The PBX received a disconnect from the terminal.
    DisconnectReceived = 7,
    /// Parked, without a phone.
    Parked = 8,
}

impl Phase {
    /// The word `/state` uses.
    pub fn word(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::SetupAck => "setup-ack",
            Self::Proceeding => "proceeding",
            Self::Alerting => "alerting",
            Self::Connected => "connected",
            Self::DisconnectSent | Self::DisconnectReceived => "disconnected",
            Self::Parked => "parked",
        }
    }
}

/// How somebody appears to somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Party {
    /// Long Name; empty for external parties.
    pub cn: String,
    /// Display name.
    pub dn: String,
    /// Name.
    pub h323: String,
    /// Number as the one who sees it would dial it.
    pub e164: String,
    /// Normalised number, for external parties.
    pub norm: Option<String>,
}

/// An entry of `no`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// `ct`, `leg1`, `leg2`, `leg2orig`, `parked-to`, `picking`, `xfer`.
    pub kind: &'static str,
    /// Whom it names.
    pub party: Party,
}

/// An external party, behind the trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// International digits without prefix, the identity.
    pub digits: String,
    /// Name, if the PBX knows one.
    pub name: String,
    /// The digits as a user dialled them, shown to that user instead of the canonical form.
    pub dialled: Option<String>,
    /// The network does not tell the number.
    pub hidden: bool,
}

/// One object's share in a call.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) call: CallId,
    pub(crate) object: ObjectId,
    /// PBX that its object was at home at when it began; only that one reports it.
    pub(crate) pbx: String,
    /// The party behind the trunk, on legs of the trunk object.
    pub(crate) external: Option<External>,
    /// The phone, on legs of users. None for queues, the trunk and parked calls.
    pub(crate) device: Option<String>,
    /// The object placed the call, as opposed to being called.
    pub(crate) placed: bool,
    pub(crate) phase: Phase,
    /// This party holds the other one.
    pub(crate) holds: bool,
    /// This party is on hold.
    pub(crate) held: bool,
    pub(crate) peer: Party,
    pub(crate) no: Vec<Related>,
    pub(crate) started: Duration,
    /// Set by `UserCall{srce164}`: the number shown to others, empty = withheld.
    pub(crate) show_as: Option<String>,
    /// The destination that is dialled once the own third-party SIP phone is picked up.
    pub(crate) rings_itself: Option<Destination>,
    /// Digits of overlap dialling so far.
    pub(crate) overlap: String,
    /// Digits this party has received.
    pub(crate) dtmf: String,
    /// Keypad digits sent in this party's name.
    pub(crate) keypad: String,
    /// The user-to-user information this party received last, as it travelled.
    pub(crate) uui: Option<String>,
    /// Remote control codes this party's phone has received.
    pub(crate) rc: Vec<i64>,
    /// What the phone was told to display instead of its peer.
    pub(crate) display: Option<String>,
    /// Why the leg ended.
    pub(crate) cause: Option<u16>,
    /// Counts the rounds in which a queue offers its call; a timer of an older round is void.
    pub(crate) round: u32,
    /// Where the call went, if this leg was transferred away.
    pub(crate) moved_to: Option<LegId>,
    /// Park position asked for.
    pub(crate) position: Option<i64>,
}

/// Legs that belong together: a star around `left`.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) conf: String,
    pub(crate) guid: String,
    /// The calling end, or the end that remained after a transfer.
    pub(crate) left: LegId,
    /// The end `left` talks to: a phone, a queue's announcement, or a parking place.
    pub(crate) right: Option<LegId>,
    /// All legs, `left` and `right` included. The others ring, or are a queue that passed its caller on.
    pub(crate) legs: Vec<LegId>,
    /// Those who forwarded the call, in order.
    pub(crate) trail: Vec<Party>,
    /// Forwardings of destinations apply.
    pub(crate) forwards: bool,
}

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A number as dialled.
    E164(String),
    /// A Name.
    H323(String),
    /// A Long Name.
    Cn(String),
}

/// Why the switch did not do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The call is over or never was.
    UnknownCall,
    /// The call does not ring here.
    NotRinging,
    /// The call is not connected to anybody.
    NotConnected,
    /// The call is not held by this party.
    NotHeld,
    /// The two calls do not belong to one object, or are the same call.
    NotTwoCalls,
    /// Neither of the two calls is answered.
    NothingAnswered,
    /// No phone of the object is registered.
    NoPhone,
    /// No such number, Name or Long Name.
    UnknownDestination,
    /// The destination has no registered phone.
    DestinationAbsent,
    /// There is nothing to pick up.
    NothingToPickUp,
    /// Another call is parked at this position.
    PlaceTaken,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownCall => "no such call",
            Self::NotRinging => "the call does not ring here",
            Self::NotConnected => "the call is not connected",
            Self::NotHeld => "the call is not on hold",
            Self::NotTwoCalls => "two different calls of one object are needed",
            Self::NothingAnswered => "neither of the two calls is answered",
            Self::NoPhone => "no phone is registered",
            Self::UnknownDestination => "no such destination",
            Self::DestinationAbsent => "the destination is not registered",
            Self::NothingToPickUp => "there is nothing to pick up",
            Self::PlaceTaken => "the parking place is taken",
        })
    }
}

impl std::error::Error for Refusal {}

/// What leaves the switch.
#[derive(Debug, Clone)]
pub enum Output {
    /// Something happened on a leg.
    Leg(Box<LegEvent>),
    /// An object was added, changed, or has another number of calls.
    Object(ObjectId),
    /// An object is gone.
    Gone(ObjectId),
}

/// A full picture of a leg at the moment something happened on it.
#[derive(Debug, Clone)]
pub struct LegEvent {
    /// The leg.
    pub leg: LegId,
    /// Whose leg it is.
    pub object: ObjectId,
    /// PBX that reports it.
    pub pbx: String,
    /// The phone, if there is one.
    pub device: Option<String>,
    /// Conference id that is valid now.
    pub conf: String,
    /// Call id for `CallAdd`.
    pub call_guid: String,
    /// Bit field, PBX-centric.
    pub state: u16,
    /// The object has another call already.
    pub waiting: bool,
    /// Seconds since the leg began.
    pub seconds: u64,
    /// The other party.
    pub peer: Party,
    /// How the leg's own party appears to others.
    pub own: Party,
    /// Related endpoints.
    pub no: Vec<Related>,
    /// The phone rings for a call that it is to place itself.
    pub rings_itself: bool,
    /// Signalling event, terminal-centric.
    pub msg: &'static str,
    /// Q.850 cause.
    pub cause: Option<u16>,
    /// User-to-user information.
    pub uui: Option<String>,
    /// Digits received.
    pub dtmf: Option<String>,
    /// Where the call went, on the release of a leg that was transferred away.
    pub moved_to: Option<LegId>,
}

impl LegEvent {
    /// The last event of its leg.
    pub fn is_last(&self) -> bool {
        self.msg == "del"
    }
}

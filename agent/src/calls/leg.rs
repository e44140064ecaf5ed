//! What the PBX says about one leg, in the words of this program.

use std::fmt;
use std::hash::Hasher;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::event::Direction;
use shared::ids::CallId;
use siphasher::sip128::{Hasher128, SipHasher13};

/// Two agents' ideas of the cloud's time differ by less.
const AGENTS_DIFFER_BY: SignedDuration = SignedDuration::from_secs(1);

/// The PBX's stable object id of a user or queue.
pub type UserGuid = Arc<str>;

/// Where calls meet: the same user, conference and direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Spot {
    pub user: UserGuid,
    pub conference: Arc<str>,
    pub direction: Direction,
}

/// The digest of a spot, which takes a tenth of the spot's memory. It is on disk, too, so later versions have to make the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SpotId(u128);

/// Digests of this program are its own.
const KEY: (u64, u64) = (0x1f6b_0c9e_4a57_4e1d, 0x8a3e_92d5_70f4_6b18);

impl fmt::Display for SpotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for SpotId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl Spot {
    pub(super) fn id(&self) -> SpotId {
        let Self { user, conference, direction } = self;
        let direction = match direction {
            Direction::Incoming => b'<',
            Direction::Outgoing => b'>',
        };
        let mut digest = SipHasher13::new_with_keys(KEY.0, KEY.1);
        // With a length, so that no two spots are the same bytes.
        digest.write(&(user.len() as u64).to_le_bytes());
        digest.write(user.as_bytes());
        digest.write(&[direction]);
        digest.write(conference.as_bytes());
        SpotId(digest.finish128().as_u128())
    }

    /// The same conference seen from the other end.
    pub(super) fn turned(&self) -> Self {
        let direction = match self.direction {
            Direction::Incoming => Direction::Outgoing,
            Direction::Outgoing => Direction::Incoming,
        };
        Self { direction, ..self.clone() }
    }
}

/// One call handle of one PBX session. Handles die with their session and may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId {
    pub session: u64,
    pub user: u64,
    pub call: u64,
}

/// The low four bits of the PBX's `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Init,
    Setup,
    SetupAck,
    Proceeding,
    Alerting,
    Connected,
    /// The PBX cleared the leg towards the user.
    DisconnectSent,
    /// The user cleared the leg.
    DisconnectReceived,
    Parked,
}

impl Phase {
    pub fn from_state(state: u32) -> Option<Self> {
        Some(match state & 0x0f {
            0 => Self::Init,
            1 => Self::Setup,
            2 => Self::SetupAck,
            3 => Self::Proceeding,
            4 => Self::Alerting,
            5 => Self::Connected,
            6 => Self::DisconnectSent,
            7 => Self::DisconnectReceived,
            8 => Self::Parked,
            _ => return None,
        })
    }

    pub fn is_over(self) -> bool {
        matches!(self, Self::DisconnectSent | Self::DisconnectReceived)
    }

    /// A phase that only a living call can be in; on a handle whose call has ended it begins the next call.
    fn revives(self) -> bool {
        matches!(self, Self::Alerting | Self::Connected | Self::Parked)
    }
}

/// The bits of `state` beside the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegState {
    pub phase: Phase,
    pub direction: Direction,
    pub held_by_user: bool,
    pub held_by_peer: bool,
}

/// A party as the PBX names it. Each part may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    pub number: String,
    pub name: String,
    /// The number in international form, when the PBX knows it.
    pub e164: Option<String>,
    /// The PBX names an object of its own.
    #[serde(default)]
    pub object: bool,
}

impl Party {
    pub fn is_empty(&self) -> bool {
        self.number.is_empty() && self.name.is_empty()
    }
}

/// Why another party is named in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Who diverted the call last.
    Diverting,
    /// Who diverted it first, when there were several.
    FirstDiverting,
    /// The call is being forwarded onwards; sent to the calling end.
    ForwardingTo,
    /// Who transferred the call.
    Transferring,
    ParkedTo,
    Picking,
    /// Where the user has sent the call: it goes on there, and is over here.
    SentTo,
}

/// One report about one leg. Everything the PBX left out is `None`, and then the last known value holds.
#[derive(Clone, Debug)]
pub struct LegReport {
    pub leg: LegId,
    pub state: Option<LegState>,
    pub conference: Option<Arc<str>>,
    pub peer: Option<Party>,
    pub related: Vec<(Relation, Party)>,
    /// The user was told that the peer changed.
    pub peer_changed: bool,
    pub cause: Option<u16>,
    /// Seconds since the start of the call.
    pub running_for: Option<u64>,
    /// The PBX forgets the handle with this report.
    pub last: bool,
}

impl LegReport {
    pub fn ends_leg(&self) -> bool {
        self.last || self.state.is_some_and(|state| state.phase.is_over())
    }

    pub fn revives(&self) -> bool {
        !self.last && self.state.is_some_and(|state| state.phase.revives())
    }

    pub fn relates(&self, relation: Relation) -> Option<&Party> {
        self.related.iter().find(|(kind, _)| *kind == relation).map(|(_, party)| party)
    }
}

/// A leg and where it stands.
#[derive(Debug)]
pub(super) struct Leg {
    pub user: UserGuid,
    /// The last conference id, state and peer that the PBX named; it does not repeat them.
    pub conference: Option<Arc<str>>,
    pub state: Option<LegState>,
    pub peer: Party,
    pub assignment: Assignment,
    /// The call goes on elsewhere. What is still reported under this handle is about that.
    pub sent_on: bool,
}

impl Leg {
    pub(super) fn new(user: UserGuid, since: Timestamp) -> Self {
        let waiting = UnassignedLeg { since, continues: false, reports: Vec::new(), asked: false };
        let assignment = Assignment::Waiting(waiting);
        Self { user, conference: None, state: None, peer: Party::default(), assignment, sent_on: false }
    }

    /// The handle's call has ended and another one begins on it.
    pub(super) fn wait(&mut self, since: Timestamp) {
        self.assignment =
            Assignment::Waiting(UnassignedLeg { since, continues: true, reports: Vec::new(), asked: false });
    }

    /// The conference id that the PBX named last, also of a leg that waits for its call.
    pub(super) fn latest_conference(&self) -> Option<&Arc<str>> {
        let waiting = match &self.assignment {
            Assignment::Waiting(waiting) => waiting.life().filter_map(|report| report.conference.as_ref()).last(),
            _ => None,
        };
        waiting.or(self.conference.as_ref())
    }

    /// Where the leg belongs, once its conference is known.
    pub(super) fn spot(&self, waiting: &UnassignedLeg) -> Option<Spot> {
        let conference =
            waiting.life().find_map(|report| report.conference.clone()).or_else(|| self.conference.clone())?;
        Some(Spot { user: self.user.clone(), conference, direction: waiting.direction()? })
    }
}

/// Which call a leg belongs to, once that can be told.
#[derive(Debug)]
pub(super) enum Assignment {
    Waiting(UnassignedLeg),
    Live(CallId),
    /// The leg has ended. Its handle stays until the PBX deletes it, because it may come back to life.
    Ended,
}

/// A leg that has no call yet: what was reported waits here with its time.
#[derive(Debug)]
pub(super) struct UnassignedLeg {
    pub since: Timestamp,
    /// The handle has had a call before.
    pub continues: bool,
    pub reports: Vec<(LegReport, Timestamp)>,
    /// Other agents' memory is being asked; its answer decides which call the leg gets.
    pub asked: bool,
}

impl UnassignedLeg {
    /// The reports of this leg's life; a handle may already be used again behind its end.
    fn life(&self) -> impl Iterator<Item = &LegReport> {
        let end = self.reports.iter().position(|(report, _)| report.last).map_or(self.reports.len(), |last| last + 1);
        self.reports[..end].iter().map(|(report, _)| report)
    }

    pub(super) fn first_state(&self) -> Option<LegState> {
        self.life().find_map(|report| report.state)
    }

    pub(super) fn direction(&self) -> Option<Direction> {
        Some(self.first_state()?.direction)
    }

    pub(super) fn saw_beginning(&self) -> bool {
        self.first_state().is_some_and(|state| matches!(state.phase, Phase::Init | Phase::Setup))
    }

    pub(super) fn begins_ended(&self) -> bool {
        self.first_state().is_some_and(|state| state.phase.is_over())
    }

    /// Whether the leg was there before this moment, in milliseconds, on the clock of another agent: it was seen by then, or it has been
    /// running for too long to have begun later.
    pub(super) fn began_before(&self, moment: i64) -> bool {
        self.since.as_millisecond() < moment || (self.start() + AGENTS_DIFFER_BY).as_millisecond() < moment
    }

    pub(super) fn has_ended(&self) -> bool {
        self.life().any(LegReport::ends_leg)
    }

    pub(super) fn has_last(&self) -> bool {
        self.life().any(|report| report.last)
    }

    /// When the call began: at first sight, or, for a call found in progress, when the PBX says.
    pub(super) fn start(&self) -> Timestamp {
        let Some((first, seen)) = self.reports.first() else { return self.since };
        match first.running_for {
            Some(seconds) if !self.saw_beginning() => {
                seen.checked_sub(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0))).unwrap_or(*seen)
            }
            _ => *seen,
        }
    }
}

//! One call of one monitored user, and the event that shows it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::address::ObjectNames;
use shared::event::{
    CallChange, CallEvent, CallState, ConferenceEvent, ConferenceEventKind, Direction, EventUser, Status, WebHookEvent,
};
use shared::ids::{CallId, EventId};
use shared::time::PublishedTime;

use super::leg::{LegId, LegReport, LegState, Party, Phase, Relation, UserGuid};

/// Entries of a call's history; the first ones hold the original caller, and an event has to fit into a message.
pub(super) const HISTORY: usize = 100;
/// A placed call that goes on its way for so long rings, also where the network does not say so.
const RINGS_AFTER_PROCEEDING: SignedDuration = SignedDuration::from_secs(2);

/// How a call stood when it was told last, or would have been if this agent reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToldState {
    pub state: CallState,
    /// The last change since the call's latest status.
    #[serde(default)]
    pub change: Option<CallChange>,
    /// The time of its latest update.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
}

/// Who a monitored user is, as last told by the PBX.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserIdentity {
    pub extension: String,
    pub name: String,
    /// Numbering node, as the PBX calls it.
    #[serde(default)]
    pub node: String,
    /// The object's Name, by which phones register.
    #[serde(default)]
    pub h323: String,
    /// Somebody else who is visible has the same extension, in another node.
    #[serde(default)]
    pub is_shared: bool,
    /// A waiting queue, which answers calls to play its announcement.
    #[serde(default)]
    pub queue: bool,
}

impl UserIdentity {
    pub fn names<'a>(&'a self, guid: &'a str) -> ObjectNames<'a> {
        ObjectNames { extension: &self.extension, node: &self.node, name: &self.h323, guid, is_shared: self.is_shared }
    }
}

/// It is kept on disk as it is, so a field that comes later needs a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Call {
    pub id: CallId,
    pub user: UserGuid,
    pub direction: Direction,
    /// Every conference id that its legs have had, the one it was named from first.
    pub conferences: Vec<Arc<str>>,
    /// How many calls had ended under each of them when this one came.
    pub counts: Vec<u32>,
    /// The conference id that is valid now.
    pub conference: Option<Arc<str>>,
    /// Handles die with the PBX session, so they are not kept.
    #[serde(skip)]
    pub legs: Vec<LegId>,
    pub rung: bool,
    pub start: Timestamp,
    /// The last moment that anything was reported of; a call's time never runs backwards.
    pub latest: Timestamp,
    pub pickup: Option<Timestamp>,
    pub peer: Party,
    /// The party that was named first: of a call that the user placed, who was dialled, wherever it went.
    pub dialled: Party,
    pub history: Vec<ConferenceEvent>,
    pub held: bool,
    pub held_by_peer: bool,
    pub phase: Phase,
    /// When the PBX said that the call goes on its way, while that is the last it said of it.
    #[serde(default)]
    pub proceeding_since: Option<Timestamp>,
    pub cause: Option<u16>,
    /// The last leg was parked then, and the call waits for the leg that holds it in the park.
    #[serde(skip)]
    pub parked_at: Option<Timestamp>,
    /// The last leg has ended then because the call goes on elsewhere, and may be one of the two of a transfer.
    #[serde(skip)]
    pub left_at: Option<Timestamp>,
    /// The PBX session was lost while the call lived, and the call has not been seen since.
    pub missing_since: Option<Timestamp>,
    /// The latest moment before that at which the call was known to be alive.
    #[serde(default)]
    pub last_seen: Option<Timestamp>,
    /// Somebody else has answered it.
    #[serde(default)]
    pub taken: bool,
    /// A monitored user or queue has placed it.
    #[serde(default)]
    pub placed_here: bool,
    #[serde(default)]
    pub was_parked: bool,
    /// Where the user has sent it, until the history says so.
    #[serde(default)]
    pub sent_to: Option<Party>,
    /// The user has sent it elsewhere.
    #[serde(default)]
    pub departed: bool,
    /// The other call of the transfer by which the user has sent it elsewhere.
    #[serde(default)]
    pub transfer_call: Option<CallId>,
    /// How the call stood when it was told last. Nothing before its first status.
    #[serde(default)]
    pub told: Option<ToldState>,
}

impl Call {
    /// No leg of it is seen any more. Returns whether that is new: each attempt to get a session that fails says it again.
    pub(super) fn goes_missing(&mut self, since: Timestamp, last_seen: Timestamp) -> bool {
        let is_new = self.missing_since.is_none() || self.last_seen.is_none();
        self.missing_since.get_or_insert(since);
        self.last_seen.get_or_insert(last_seen);
        is_new
    }

    /// Whether the record of this call says what that of an earlier moment says.
    pub(super) fn is_recorded_like(&self, earlier: Self) -> bool {
        let Self { legs, parked_at, left_at, .. } = self;
        *self == Self { legs: legs.clone(), parked_at: *parked_at, left_at: *left_at, ..earlier }
    }

    pub(super) fn new(id: CallId, user: UserGuid, direction: Direction, start: Timestamp) -> Self {
        Self {
            id,
            user,
            direction,
            conferences: Vec::new(),
            counts: Vec::new(),
            conference: None,
            legs: Vec::new(),
            rung: false,
            start,
            latest: start,
            pickup: None,
            peer: Party::default(),
            dialled: Party::default(),
            history: Vec::new(),
            held: false,
            held_by_peer: false,
            phase: Phase::Init,
            proceeding_since: None,
            cause: None,
            parked_at: None,
            left_at: None,
            missing_since: None,
            last_seen: None,
            taken: false,
            placed_here: false,
            was_parked: false,
            sent_to: None,
            departed: false,
            transfer_call: None,
            told: None,
        }
    }

    /// Takes over who the peer is and what became of the call; statuses are the caller's business.
    pub(super) fn follow(&mut self, report: &LegReport, user: &UserIdentity, at: Timestamp) {
        self.follow_relations(report, user, at);
        self.follow_peer(report, user, at);
        // What a leg ends with is the call's cause only if it is the last one: other devices of the user end with causes of their own.
        if !report.ends_leg() {
            self.cause = report.cause.or(self.cause);
        }
        if let Some(state) = report.state.filter(|_| !report.ends_leg()) {
            self.follow_hold(state, user, at);
            if state.phase == Phase::Parked && self.phase != Phase::Parked {
                let (from, to) = self.parties(user);
                self.note(ConferenceEventKind::Parked, at, Some(&from), Some(&to), None);
                self.was_parked = true;
            }
            self.phase = state.phase;
            self.proceeding_since = (state.phase == Phase::Proceeding).then(|| self.proceeding_since.unwrap_or(at));
        }
    }

    /// Whether the other side of a placed call rings.
    pub(super) fn rings(&self, now: Timestamp) -> bool {
        let arrived = |since: Timestamp| now.duration_since(since) >= RINGS_AFTER_PROCEEDING;
        self.phase == Phase::Alerting || self.proceeding_since.is_some_and(arrived)
    }

    fn follow_relations(&mut self, report: &LegReport, user: &UserIdentity, at: Timestamp) {
        let own = own_party(user);
        for (relation, party) in &report.related {
            let kind = match relation {
                Relation::Diverting | Relation::FirstDiverting => ConferenceEventKind::Diverted,
                Relation::Picking => ConferenceEventKind::Picked,
                // A transfer that reaches this user as a new call; one of a call that goes on is told by its new peer.
                Relation::Transferring if self.peer.is_empty() && report.relates(Relation::Picking).is_none() => {
                    ConferenceEventKind::Transferred
                }
                Relation::Transferring | Relation::ForwardingTo | Relation::ParkedTo | Relation::SentTo => continue,
            };
            let from = match relation {
                Relation::Picking => report.relates(Relation::Transferring).unwrap_or(party),
                _ => party,
            };
            let known =
                |event: &ConferenceEvent| event.kind == kind && event.from.as_deref() == Some(from.number.as_str());
            if !self.history.iter().any(known) {
                self.note(kind, at, Some(from), Some(&own), None);
            }
        }
    }

    fn follow_peer(&mut self, report: &LegReport, user: &UserIdentity, at: Timestamp) {
        let Some(peer) = report.peer.as_ref().filter(|peer| !peer.is_empty()) else { return };
        if self.dialled.is_empty() {
            self.dialled.clone_from(peer);
        }
        let same = if peer.number.is_empty() { peer.name == self.peer.name } else { peer.number == self.peer.number };
        if same {
            // The same party with more detail.
            if !peer.name.is_empty() {
                self.peer.name.clone_from(&peer.name);
            }
            if peer.e164.is_some() {
                self.peer.e164.clone_from(&peer.e164);
            }
            self.peer.object |= peer.object;
            return;
        }
        let transferred = report.peer_changed || report.relates(Relation::Transferring).is_some();
        let forwarded = report.relates(Relation::ForwardingTo).is_some();
        // Before the answer a changing peer is overlap dialling or the connected number, unless the PBX says otherwise.
        if !self.peer.is_empty() && (transferred || forwarded || self.pickup.is_some()) {
            let kind = if transferred { ConferenceEventKind::Transferred } else { ConferenceEventKind::Redirected };
            let (from, to) = self.parties(user);
            self.note(kind, at, Some(&from), Some(&to), report.cause);
        }
        self.peer = peer.clone();
    }

    fn follow_hold(&mut self, state: LegState, user: &UserIdentity, at: Timestamp) {
        let (own, peer) = (own_party(user), self.peer.clone());
        let held_or_retrieved =
            |held: bool| if held { ConferenceEventKind::Held } else { ConferenceEventKind::Retrieved };
        if state.held_by_user != self.held {
            self.held = state.held_by_user;
            self.note(held_or_retrieved(self.held), at, Some(&own), Some(&peer), None);
        }
        if state.held_by_peer != self.held_by_peer {
            self.held_by_peer = state.held_by_peer;
            self.note(held_or_retrieved(self.held_by_peer), at, Some(&peer), Some(&own), None);
        }
    }

    pub(super) fn note(
        &mut self,
        kind: ConferenceEventKind,
        at: Timestamp,
        from: Option<&Party>,
        to: Option<&Party>,
        cause: Option<u16>,
    ) {
        if self.history.len() >= HISTORY {
            return;
        }
        self.history.push(ConferenceEvent {
            kind,
            time: PublishedTime(at),
            from: from.map(|party| party.number.clone()),
            from_name: from.map(|party| party.name.clone()),
            to: to.map(|party| party.number.clone()),
            to_name: to.map(|party| party.name.clone()),
            cause,
        });
    }

    /// (from, to) as the call stands now.
    pub(super) fn parties(&self, user: &UserIdentity) -> (Party, Party) {
        match self.direction {
            Direction::Incoming => (self.peer.clone(), own_party(user)),
            Direction::Outgoing => (own_party(user), self.peer.clone()),
        }
    }

    pub(super) fn is_outgoing(&self) -> bool {
        self.direction == Direction::Outgoing
    }

    pub(super) fn conference_text(&self) -> String {
        self.conference.as_deref().unwrap_or_default().to_owned()
    }

    /// The event of a status that the call has just reached.
    pub(super) fn event(
        &self,
        status: Status,
        at: Timestamp,
        user: &UserIdentity,
        origin: &Origin,
        inferred: bool,
    ) -> CallEvent {
        let (from, to) = self.parties(user);
        let ended = status == Status::Disconnected;
        // Between the whole seconds that the event shows, so that who subtracts them gets the same.
        let seconds_since = |begin: Timestamp| (at.as_second() - begin.as_second()).max(0);
        let conversation_time = match (status, self.pickup) {
            (Status::Disconnected, Some(pickup)) => seconds_since(pickup),
            (Status::Connected, _) => 0,
            _ => -1,
        };
        CallEvent {
            event_id: EventId::new(self.id, status),
            occurred_at: at,
            pbx_id: origin.pbx_id.to_string(),
            agent_id: origin.agent_id.to_string(),
            user_guid: self.user.to_string(),
            user: Some(EventUser { node: user.node.clone(), name: user.h323.clone(), shared: user.is_shared }),
            inferred,
            cause: self.cause.filter(|_| ended),
            from_e164: from.e164,
            to_e164: to.e164,
            details: Some(self.details(status, user.queue, inferred)),
            update: None,
            web_hook_event: WebHookEvent {
                call_id: self.id,
                conference_events: self.history.clone(),
                conference_id: self.conference_text(),
                connected: self.pickup.is_some(),
                conversation_time,
                end_time: ended.then_some(PublishedTime(at)),
                from: from.number,
                from_name: from.name,
                monitored_extension: user.extension.clone(),
                monitiored_user: user.name.clone(),
                monitored_user: user.name.clone(),
                outgoing: self.is_outgoing(),
                pickup_time: self.pickup.map(PublishedTime),
                start_time: PublishedTime(self.start),
                status,
                to: to.number,
                to_name: to.name,
                total_time: if ended { seconds_since(self.start) } else { -1 },
            },
        }
    }
}

/// Which PBX and which agent an event comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub pbx_id: Arc<str>,
    pub agent_id: Arc<str>,
}

pub(super) fn own_party(user: &UserIdentity) -> Party {
    Party { number: user.extension.clone(), name: user.name.clone(), e164: None, object: true }
}

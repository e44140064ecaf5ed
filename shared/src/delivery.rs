//! A delivery: one event for one webhook, on its way and in the log.
//!
//! The log is ordered by time, sequence and delivery. A call that is rejected rings and ends within the same millisecond, and a replay has
//! to keep that order.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::envelope;
use crate::event::{CallEvent, CallPosition, Direction};
use crate::ids::{CallId, DeliveryId, WebhookId};
use crate::kind::Kind;
use crate::notice::Notice;
use crate::queue::Outgoing;
use crate::time::iso_millis;

/// Attempts that the log keeps in full, the latest ones.
const ATTEMPTS: usize = 10;
/// What is kept of the answers before the latest one.
const EARLIER_ANSWER: usize = 256;
/// What is kept of a user's name, in bytes: a log item of one attempt stays below 1 KB, which is what one write unit pays for.
const LONGEST_NAME: usize = 96;
/// Of the name of a PBX, too.
const LONGEST_PBX: usize = 64;

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    #[serde(rename = "event")]
    Call(Box<CallEvent>),
    #[serde(rename = "notice")]
    Notice(Notice),
}

impl Payload {
    pub fn occurred_at(&self) -> Timestamp {
        match self {
            Self::Call(event) => event.occurred_at,
            Self::Notice(notice) => notice.occurred_at,
        }
    }

    /// What it is about, in one word for logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Call(event) if event.update.is_some() => Kind::CallUpdated.as_str(),
            Self::Call(event) => event.status().as_str(),
            Self::Notice(notice) => notice.kind.as_str(),
        }
    }

    /// Events of one subject arrive in order; it is the call, or the notice by itself.
    pub fn subject(&self) -> CallId {
        match self {
            Self::Call(event) => event.call_id(),
            Self::Notice(notice) => CallId::from_uuid(notice.id.as_uuid()),
        }
    }

    /// Its place among the events of one moment, as a text to sort by: an update stands behind the status that it goes with.
    fn order(&self) -> String {
        match self {
            Self::Call(event) => match event.position() {
                CallPosition::Status(sequence) => sequence.to_string(),
                CallPosition::Update(revision) => format!("{}.{revision:010}", event.sequence()),
            },
            Self::Notice(_) => "0".to_owned(),
        }
    }
}

/// Why a delivery is sent although others of its webhook are parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trial {
    /// Nothing writes this any more. It was a parked delivery that showed whether the webhook accepts again.
    Probe,
    /// The owner's wish. It is tried once; a refusal says nothing about the webhook.
    Test,
}

/// What waits in the deliveries queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    #[serde(rename = "subscriptionId")]
    pub webhook_id: WebhookId,
    /// 0 at first, one more for each re-queue or replay; it keeps queue de-duplication from swallowing a wanted repeat.
    pub round: u32,
    /// Somebody wanted it again; its freshness counts from here. Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed_at: Option<i64>,
    /// When the events queue took the event, and when it was fanned out, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fanned_out_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    #[serde(flatten)]
    pub payload: Payload,
}

/// A message from before webhooks had lanes: it had parked deliveries sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    pub drain: WebhookId,
    /// When the draining began, in milliseconds.
    pub since: i64,
}

/// A message of the lanes queue: the worker of this webhook's own lane is to come. However many there are, the queue hands out one of a
/// webhook's at a time, so that it has one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneCall {
    pub lane: WebhookId,
}

impl LaneCall {
    /// Two calls are never the same: the one before may have been answered already. `unique` is anything that was not used before.
    pub fn message(&self, unique: &str) -> Outgoing {
        let body = envelope::seal(self).expect("an id is always JSON");
        Outgoing { group: self.lane.to_string(), dedup: format!("{}#{unique}", self.lane), body }
    }
}

/// What the queues of `deliver` hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    Delivery(Box<Delivery>),
    LaneCall(LaneCall),
    Drain(Drain),
}

impl Delivery {
    pub fn new(payload: Payload, webhook_id: WebhookId) -> Self {
        Self { webhook_id, round: 0, replayed_at: None, queued_at: None, fanned_out_at: None, trial: None, payload }
    }

    pub fn of_call(event: CallEvent, webhook_id: WebhookId) -> Self {
        Self::new(Payload::Call(Box::new(event)), webhook_id)
    }

    pub fn id(&self) -> DeliveryId {
        let event = match &self.payload {
            Payload::Call(event) => event.event_id,
            Payload::Notice(notice) => notice.id,
        };
        DeliveryId::new(event, self.webhook_id)
    }

    pub fn group(&self) -> String {
        group(self.webhook_id, self.payload.subject())
    }

    pub fn dedup(&self) -> String {
        dedup(self.id(), self.round)
    }

    pub fn log_key(&self) -> LogKey {
        LogKey {
            webhook_id: self.webhook_id,
            sort: format!("{}#{}#{}", iso_millis(self.payload.occurred_at()), self.payload.order(), self.id()),
        }
    }

    /// Its key in the park: by time, and by call and sequence where times are equal.
    pub fn park_key(&self) -> String {
        let at = iso_millis(self.payload.occurred_at());
        format!("{at}#{}#{}", self.payload.subject(), self.payload.order())
    }

    /// The log item of a delivery that nothing has happened to yet.
    pub fn log(&self, now: Timestamp) -> DeliveryLog {
        let (call_id, sequence, revision, pbx) = match &self.payload {
            Payload::Call(event) => {
                let revision = event.update.map(|update| update.revision);
                let pbx = beginning(&event.pbx_id, LONGEST_PBX);
                (Some(event.call_id()), Some(event.sequence()), revision, Some(pbx))
            }
            Payload::Notice(_) => (None, None, None, None),
        };
        DeliveryLog {
            delivery_id: self.id(),
            about: self.payload.word().to_owned(),
            user: LoggedUser::of(&self.payload),
            pbx,
            trial: self.trial,
            call_id,
            sequence,
            revision,
            round: self.round,
            queued_at: self.queued_at,
            fanned_out_at: self.fanned_out_at,
            state: DeliveryState::Retrying,
            attempt_count: 0,
            attempts: Vec::new(),
            next_attempt_at: None,
            tried_since: None,
            tried_for: 0,
            updated_at: now,
        }
    }

    /// The log item of a delivery that ends, or is parked, without a request. What was tried `before` stays in it.
    pub fn closed(&self, before: Option<DeliveryLog>, state: DeliveryState, now: Timestamp) -> DeliveryLog {
        let mut log = self.log(now);
        log.state = state;
        if let Some(before) = before {
            if before.round == log.round && !state.is_final() {
                (log.tried_since, log.tried_for) = (before.tried_since, before.tried_for);
                log.next_attempt_at = before.next_attempt_at;
            }
            (log.attempt_count, log.attempts) = (before.attempt_count, before.attempts);
        }
        log
    }
}

/// Order is kept inside this group only, so that one call of one receiver never waits for another.
pub(crate) fn group(to: WebhookId, subject: CallId) -> String {
    format!("{to}.{subject}")
}

pub(crate) fn dedup(id: DeliveryId, round: u32) -> String {
    format!("{id}#{round}")
}

/// The place of a delivery in the log, sorted by the time of its event, and by sequence where times are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKey {
    pub webhook_id: WebhookId,
    pub sort: String,
}

/// A key's limit in DynamoDB, in bytes.
const LONGEST_SORT_KEY: usize = 1_024;

impl LogKey {
    /// The delivery's id in URLs and answers.
    pub fn public_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}/{}", self.webhook_id, self.sort))
    }

    pub fn from_public_id(id: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id).ok()?).ok()?;
        let (webhook_id, sort) =
            text.split_once('/').filter(|(_, sort)| (1..=LONGEST_SORT_KEY).contains(&sort.len()))?;
        Some(Self { webhook_id: webhook_id.parse().ok()?, sort: sort.to_owned() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    Retrying,
    Parked,
    Delivered,
    Expired,
    Failed,
    Cancelled,
}

impl DeliveryState {
    pub const ALL: [Self; 6] =
        [Self::Retrying, Self::Parked, Self::Delivered, Self::Expired, Self::Failed, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Parked => "parked",
            Self::Delivered => "delivered",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing more is to be sent in this round.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Retrying | Self::Parked)
    }
}

/// One HTTP request of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    pub at: Timestamp,
    pub duration_ms: u64,
    /// The receiver's status, absent when no answer came.
    pub status: Option<u16>,
    /// What happened in plain words, without the receiver's secrets.
    pub outcome: String,
    /// The beginning of the receiver's answer, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// Whose call a delivery tells of; of the other party the log has nothing. Where a webhook masks numbers, the name is not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedUser {
    /// Its beginning, if it is long.
    pub name: String,
    pub extension: String,
    pub direction: Direction,
}

fn beginning(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

impl LoggedUser {
    fn of(payload: &Payload) -> Option<Self> {
        let Payload::Call(event) = payload else { return None };
        let told = &event.web_hook_event;
        let cut = |text: &str| beginning(text, LONGEST_NAME);
        let direction = if told.outgoing { Direction::Outgoing } else { Direction::Incoming };
        Some(Self { name: cut(&told.monitored_user), extension: cut(&told.monitored_extension), direction })
    }
}

/// The log item of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryLog {
    pub delivery_id: DeliveryId,
    /// The status that was told, or the kind of the update or notice.
    pub about: String,
    /// Absent of a notice, and in items of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<LoggedUser>,
    /// Where the call is; the beginning of its name, if that is long. Absent of a notice, and in items of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pbx: Option<String>,
    /// Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    #[serde(default)]
    pub call_id: Option<CallId>,
    #[serde(default)]
    pub sequence: Option<u8>,
    /// Of an update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    pub round: u32,
    /// What the `extended` format told of its way, in milliseconds; kept so that the request can be shown as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fanned_out_at: Option<i64>,
    pub state: DeliveryState,
    pub attempt_count: u32,
    /// The latest ones, oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    pub next_attempt_at: Option<Timestamp>,
    /// The first attempt of this round that was refused, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_since: Option<i64>,
    /// For how long it was tried in vain in this round, in milliseconds. Time in which nobody could try does not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tried_for: u32,
    pub updated_at: Timestamp,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl DeliveryLog {
    pub fn add(&mut self, attempt: Attempt) {
        for earlier in &mut self.attempts {
            if let Some(answer) = &mut earlier.answer {
                answer.truncate(answer.floor_char_boundary(EARLIER_ANSWER));
            }
        }
        self.attempts.push(attempt);
        if self.attempts.len() > ATTEMPTS {
            self.attempts.remove(0);
        }
        self.attempt_count = self.attempt_count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Status;

    fn delivery() -> Delivery {
        Delivery::of_call(crate::event::tests::sample(), WebhookId::from_uuid(uuid::Uuid::nil()))
    }

    #[test]
    fn a_state_has_one_name() {
        for state in DeliveryState::ALL {
            assert_eq!(serde_json::to_value(state).expect("json"), state.as_str());
        }
    }

    #[test]
    fn an_attempt_without_an_answer_reads_as_one() {
        let text = r#"{"at":"2022-09-16T11:57:43Z","durationMs":7,"status":200,"outcome":"answered 200"}"#;
        let attempt: Attempt = serde_json::from_str(text).expect("an attempt");
        assert_eq!(attempt.answer, None);
        assert_eq!(serde_json::to_string(&attempt).expect("json"), text);
    }

    #[test]
    fn a_delivery_survives_the_queue() {
        let text = envelope::seal(&delivery()).expect("json");
        assert!(text.contains(r#""event":{"#), "{text}");
        let back: Delivery = envelope::open(&text).expect("a delivery");
        assert_eq!((back.id(), back.group()), (delivery().id(), delivery().group()));
        assert!(matches!(envelope::open(&text), Ok(Message::Delivery(_))));
        let drain = Drain { drain: back.webhook_id, since: 7 };
        let text = envelope::seal(&drain).expect("json");
        assert_eq!(envelope::open::<Message>(&text).ok(), Some(Message::Drain(drain)));
    }

    /// Two updates may be of one millisecond, and so may the end of the call.
    #[test]
    fn updates_have_places_of_their_own_in_the_park() {
        let at = |status: Status, revision: Option<u32>| {
            let mut event = CallEvent::update_example(crate::event::tests::sample().call_id(), Timestamp::UNIX_EPOCH);
            event.web_hook_event.status = status;
            match revision {
                Some(revision) => event.number(revision),
                None => event.update = None,
            }
            let delivery = Delivery::of_call(event, WebhookId::from_uuid(uuid::Uuid::nil()));
            (delivery.park_key(), delivery.log_key().sort)
        };
        let places = [
            at(Status::Ringing, None),
            at(Status::Ringing, Some(1)),
            at(Status::Connected, None),
            at(Status::Connected, Some(2)),
            at(Status::Connected, Some(10)),
            at(Status::Disconnected, None),
        ];
        assert!(places.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{places:?}");
    }

    #[test]
    fn a_public_id_leads_back_to_the_log() {
        let key = delivery().log_key();
        assert_eq!(LogKey::from_public_id(&key.public_id()), Some(key));
        assert_eq!(LogKey::from_public_id("nonsense"), None);
    }

    #[test]
    fn the_log_says_whose_event_it_is_and_nothing_of_the_other_party() {
        let mut event = crate::event::tests::sample();
        let told = &mut event.web_hook_event;
        told.monitored_user = "é".repeat(200);
        (told.from, told.from_name) = ("+442079460123".to_owned(), "Some caller".to_owned());
        let test = Delivery { trial: Some(Trial::Test), ..Delivery::of_call(event, delivery().webhook_id) };
        let log = test.log(Timestamp::UNIX_EPOCH);
        let user = log.user.as_ref().expect("a user");
        assert_eq!((user.name.as_str(), log.trial), ("é".repeat(LONGEST_NAME / 2).as_str(), Some(Trial::Test)));
        let text = serde_json::to_string(&log).expect("json");
        assert!(!text.contains("2079460123") && !text.contains("Some caller"), "{text}");
    }

    #[test]
    fn the_log_keeps_the_latest_attempts() {
        let mut log = delivery().log(Timestamp::UNIX_EPOCH);
        for n in 0..12 {
            log.add(Attempt {
                at: Timestamp::UNIX_EPOCH,
                duration_ms: n,
                status: Some(500),
                outcome: "answered 500".to_owned(),
                answer: Some("ü".repeat(500)),
            });
        }
        assert_eq!((log.attempt_count, log.attempts.len(), log.attempts[0].duration_ms), (12, ATTEMPTS, 2));
        let lengths: Vec<usize> = log.attempts.iter().map(|a| a.answer.as_deref().map_or(0, str::len)).collect();
        assert_eq!((lengths[0], lengths[ATTEMPTS - 1]), (EARLIER_ANSWER, 1000));
    }
}

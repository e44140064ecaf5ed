//! A registered webhook: where it goes, what it wants, in which form, and how it is doing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de};

pub use crate::call::PartyKind;
use crate::event::summary::EventSummary;
use crate::event::{Direction, Status};
use crate::ids::{CallId, WebhookId};
pub use crate::kind::Kind;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Post,
    Get,
}

/// Which properties an event is told with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The published object, exactly.
    #[default]
    Easyconnect,
    /// The published object and, beside it, everything else that is known.
    Extended,
}

/// Seconds before its expiry at which others are told that a webhook will expire.
pub const WARN_BEFORE_EXPIRY: i64 = 24 * 60 * 60;

/// Which call events a receiver wants. Everything that is left open lets everything pass. `statuses` chooses among statuses, so an
/// update passes it; an update is no missed call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    /// Users and queues, each named as people name them (`address`).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub extensions: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub statuses: BTreeSet<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The ends of incoming calls that nobody took, and nothing else.
    pub missed_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<PartyKind>,
    /// How the other party's number begins, as the PBX writes it or in international form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number_prefix: Option<String>,
    /// Seconds of conversation. It is known at the end, so it concerns `disconnected` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_duration: Option<u32>,
}

impl Filter {
    pub fn wants(&self, event: &EventSummary<'_>) -> bool {
        let begins = |prefix: &String| {
            event.number.starts_with(prefix.as_str())
                || event.e164.as_ref().is_some_and(|e164| e164.starts_with(prefix.as_str()))
        };
        let long_enough = |least: u32| event.status != Status::Disconnected || event.duration >= i64::from(least);
        (self.extensions.is_empty() || event.names().is_in(&self.extensions))
            && (self.statuses.is_empty() || event.change.is_some() || self.statuses.contains(&event.status))
            && self.direction.is_none_or(|wanted| wanted == event.direction)
            && (!self.missed_only || event.missed)
            && self.party.is_none_or(|wanted| wanted == event.party())
            && self.number_prefix.as_ref().is_none_or(begins)
            && self.minimum_duration.is_none_or(long_enough)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasicAuth {
    pub username: String,
    pub password: Secret,
}

/// A secret before the present one. Receivers that know only this one still recognise what is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    pub secret: Secret,
    /// Unix seconds.
    pub until: i64,
}

/// What the owner of a webhook decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    pub url: String,
    #[serde(default)]
    pub method: Method,
    #[serde(default)]
    pub format: Format,
    /// Kinds of a later version are left out, so that the others are still told if this one runs again.
    #[serde(default = "calls_only", deserialize_with = "known_kinds")]
    pub kinds: BTreeSet<Kind>,
    #[serde(default)]
    pub filter: Filter,
    /// Sent with every request; the values are the receiver's secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    #[serde(default)]
    pub basic_auth: Option<BasicAuth>,
    #[serde(default)]
    pub description: String,
    /// Requests that it takes in a minute; `None`: as many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_minute: Option<u32>,
    /// Numbers are sent with their last three digits only, and names not at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mask_numbers: bool,
    /// Unix seconds. Nothing is sent from then on, and the item is kept for some days more, so that its end can be told. The
    /// table's TTL attribute `expiresAt` is therefore another one, which only `tables::webhooks` knows.
    #[serde(default, rename = "endsAt", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

fn calls_only() -> BTreeSet<Kind> {
    BTreeSet::from([Kind::Call])
}

fn known_kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Kind>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    Ok(Kind::ALL.into_iter().filter(|kind| names.iter().any(|name| name == kind.as_str())).collect())
}

impl Settings {
    /// A webhook like any other at this address.
    pub fn new(url: String) -> Self {
        Self {
            url,
            method: Method::default(),
            format: Format::default(),
            kinds: calls_only(),
            filter: Filter::default(),
            headers: BTreeMap::new(),
            basic_auth: None,
            description: String::new(),
            max_per_minute: None,
            mask_numbers: false,
            expires_at: None,
        }
    }

    /// Whether a call event is wanted.
    pub fn wants(&self, event: &EventSummary<'_>) -> bool {
        self.kinds.contains(&event.kind()) && self.filter.wants(event)
    }

    /// Whether it expires so soon that nobody has to be warned: whoever says so now knows it.
    pub fn expires_soon(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at - now.as_second() <= WARN_BEFORE_EXPIRY)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookState {
    #[default]
    Active,
    /// Nothing was accepted for as long as it was tried.
    Failing,
    /// Nothing writes this any more. It was the way back from `failing`: what was parked went first.
    Draining,
    /// The receiver wants no more, by its answer 410.
    Off,
}

impl WebhookState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Failing => "failing",
            Self::Draining => "draining",
            Self::Off => "off",
        }
    }
}

/// Who sends a webhook's deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Whoever receives them.
    #[default]
    Shared,
    /// The worker of its own lane, from the park.
    Own,
    /// For a moment nobody: the lane is about to be shared again.
    Settling,
}

impl Lane {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Own => "own",
            Self::Settling => "settling",
        }
    }
}

/// A notice about a webhook that others are still to be told. It is written with the change that it is about, in one write, and
/// removed when the queue has it: so it is not lost when a function dies or the queue is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingNotice {
    pub kind: Kind,
    /// Milliseconds.
    pub at: i64,
    pub message: String,
}

/// What the worker of a webhook's own lane knows of its receiver from one look to the next. All times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lookout {
    /// When it looks next. `None`: not before somebody calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_look_at: Option<i64>,
    /// Until then it leaves the receiver alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<i64>,
    /// The last answer that was slow, or none at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_at: Option<i64>,
    /// When it refused something last, since it accepted something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_at: Option<i64>,
    /// How often in a row it refused all that it was asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub refusals: u32,
    /// For how long it was tried in vain since then: time in which nobody could try does not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub refused_for: u32,
    /// The call whose delivery was tried last while nothing was accepted; the next try takes another one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_probed: Option<CallId>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// How a webhook is doing. Whether it fails is for the worker of its own lane to say, and for nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    pub state: WebhookState,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_since: Option<i64>,
    /// Why it is not active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Absent where it never had one of its own, and in items from before there were any; see [`Webhook::lane`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<Lane>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane_since: Option<i64>,
    /// Since when it has had one of its own without a break, because it was slow or refused. Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_since: Option<i64>,
    /// Why it has a lane of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane_reason: Option<String>,
    #[serde(flatten)]
    pub lookout: Lookout,
    /// Since when the owner wants nothing sent, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<i64>,
    /// What was parked before this time is not to be sent any more. Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purged_before: Option<i64>,
    /// Milliseconds; written now and then, not with every success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success_at: Option<i64>,
    /// Since when it has accepted nothing, as failing or off; the next acceptance is its recovery. Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusing_since: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pending_notices: Vec<PendingNotice>,
    /// The expiry of which others were warned, and the one that they were told of. Another expiry is told anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_warned: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_told: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    pub id: WebhookId,
    /// Milliseconds.
    #[serde(default)]
    pub created_at: i64,
    /// Standard Webhooks secret, `whsec_` and base64.
    pub secret: Secret,
    /// The latest first. Each is valid for its time, however often the secret was replaced since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_secrets: Vec<PreviousSecret>,
    /// Where an item from before there could be several has it; nothing writes it any more.
    #[serde(default, skip_serializing)]
    pub previous_secret: Option<PreviousSecret>,
    /// The hash of the request that made it, where that had a name by which a repeat is recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_hash: Option<String>,
    #[serde(flatten)]
    pub settings: Settings,
    #[serde(flatten)]
    pub health: Health,
}

impl Webhook {
    pub fn new(id: WebhookId, settings: Settings, secret: Secret, now: Timestamp) -> Self {
        let created_at = now.as_millisecond();
        let expiry_warned = settings.expires_at.filter(|_| settings.expires_soon(now));
        let health = Health { expiry_warned, ..Health::default() };
        Self {
            id,
            created_at,
            secret,
            previous_secrets: Vec::new(),
            previous_secret: None,
            request_hash: None,
            settings,
            health,
        }
    }

    /// Whether anything may still be sent to it.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.health.state != WebhookState::Off && self.settings.expires_at.is_none_or(|at| at > now.as_second())
    }

    /// Who sends its deliveries. Of one that was failing, or on its way back, before there were lanes, some are parked.
    pub fn lane(&self) -> Lane {
        let parked_before = matches!(self.health.state, WebhookState::Failing | WebhookState::Draining);
        self.health.lane.unwrap_or(if parked_before { Lane::Own } else { Lane::Shared })
    }

    /// Whether its deliveries have to go one at a time, or not at all, so that they have a lane of their own for as long as that holds.
    pub fn keeps_its_lane(&self) -> bool {
        self.health.paused_at.is_some() || self.settings.max_per_minute.is_some()
    }

    /// Whether a call event is for this webhook.
    pub fn wants(&self, event: &EventSummary<'_>, now: Timestamp) -> bool {
        self.is_alive(now) && self.settings.wants(event)
    }

    /// The secrets to sign with, the present one first.
    pub fn secrets(&self, now: Timestamp) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.secret).chain(self.valid_previous(now).map(|previous| &previous.secret))
    }

    /// The earlier secrets that are still valid, the latest first.
    pub fn valid_previous(&self, now: Timestamp) -> impl Iterator<Item = &PreviousSecret> {
        let known = self.previous_secrets.iter().chain(&self.previous_secret);
        known.filter(move |previous| previous.until > now.as_second())
    }
}

/// A text that never shows itself in a log, nor in the error about something else in its place.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Secret(String);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self).map_err(|_| de::Error::custom("has to be a text in quotes"))
    }
}

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::CallEvent;
    use crate::event::tests::sample;

    #[test]
    fn a_lane_is_known_of_webhooks_from_before_there_were_lanes() {
        let settings = Settings::new("https://example.com".to_owned());
        let mut webhook =
            Webhook::new(WebhookId::from_uuid(uuid::Uuid::nil()), settings, Secret::new("s"), Timestamp::UNIX_EPOCH);
        for (state, lane) in [
            (WebhookState::Active, Lane::Shared),
            (WebhookState::Off, Lane::Shared),
            (WebhookState::Failing, Lane::Own),
            (WebhookState::Draining, Lane::Own),
        ] {
            webhook.health = Health { state, ..Health::default() };
            assert_eq!(webhook.lane(), lane, "{state:?}");
            webhook.health.lane = Some(Lane::Settling);
            assert_eq!(webhook.lane(), Lane::Settling);
        }
    }

    #[test]
    fn a_kind_of_a_later_version_takes_the_others_from_nobody() {
        let read = |kinds: &str| {
            let settings: Settings =
                serde_json::from_str(&format!(r#"{{"url":"https://example.com"{kinds}}}"#)).expect("settings");
            settings.kinds.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(read(r#","kinds":["call","call.recorded","agent.offline"]"#), [Kind::Call, Kind::AgentOffline]);
        assert_eq!(read(r#","kinds":["call.recorded"]"#), []);
        assert_eq!(read(""), [Kind::Call]);
    }

    #[test]
    fn a_filter_says_yes_to_all_that_it_does_not_name() {
        let ringing = sample();
        let mut ended = sample();
        ended.web_hook_event.status = Status::Disconnected;
        ended.details.get_or_insert_default().missed = true;
        let mut talked = ended.clone();
        talked.details.get_or_insert_default().missed = false;
        talked.web_hook_event.connected = true;
        talked.web_hook_event.conversation_time = 30;
        let check = |filter: Filter, expected: [bool; 3]| {
            assert_eq!(
                [&ringing, &ended, &talked].map(|event| filter.wants(&EventSummary::of(event))),
                expected,
                "{filter:?}"
            );
        };
        let open = Filter::default;
        check(open(), [true; 3]);
        check(Filter { extensions: ["42".to_owned()].into(), ..open() }, [true; 3]);
        check(Filter { extensions: ["43".to_owned()].into(), ..open() }, [false; 3]);
        check(Filter { statuses: [Status::Disconnected].into(), ..open() }, [false, true, true]);
        check(Filter { direction: Some(Direction::Outgoing), ..open() }, [false; 3]);
        check(Filter { missed_only: true, ..open() }, [false, true, false]);
        check(Filter { party: Some(PartyKind::External), ..open() }, [true; 3]);
        check(Filter { party: Some(PartyKind::Internal), ..open() }, [false; 3]);
        check(Filter { number_prefix: Some("+32".to_owned()), ..open() }, [true; 3]);
        check(Filter { number_prefix: Some("0047".to_owned()), ..open() }, [true; 3]);
        check(Filter { number_prefix: Some("+33".to_owned()), ..open() }, [false; 3]);
        check(Filter { minimum_duration: Some(10), ..open() }, [true, false, true]);
    }

    #[test]
    fn an_update_is_for_those_who_ask_for_it() {
        let update = CallEvent::update_example(sample().call_id(), sample().occurred_at);
        let wants = |kinds: &[Kind], filter: Filter| {
            let mut settings = Settings::new("https://example.com".to_owned());
            (settings.kinds, settings.filter) = (kinds.iter().copied().collect(), filter);
            settings.wants(&EventSummary::of(&update))
        };
        let both = [Kind::Call, Kind::CallUpdated];
        assert!(!wants(&[Kind::Call], Filter::default()) && wants(&both, Filter::default()));
        assert!(wants(&both, Filter { statuses: [Status::Disconnected].into(), ..Filter::default() }));
        assert!(!wants(&both, Filter { missed_only: true, ..Filter::default() }));
        assert!(!wants(&both, Filter { extensions: ["43".to_owned()].into(), ..Filter::default() }));
    }

    #[test]
    fn a_webhook_reads_back_as_it_was_written() {
        let now = crate::time::from_millis(1_700_000_000_000);
        let mut settings = Settings::new("https://example.com/hook".to_owned());
        settings.headers.insert("x-make-apikey".to_owned(), Secret::new("k"));
        settings.expires_at = Some(1_800_000_000);
        let mut webhook = Webhook::new(WebhookId::random(), settings, Secret::new("whsec_AAAA"), now);
        webhook.health.lane = Some(Lane::Own);
        webhook.health.lookout.refusals = 3;
        webhook.health.pending_notices = vec![PendingNotice { kind: Kind::WebhookOff, at: 7, message: "m".to_owned() }];
        let item: std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue> =
            serde_dynamo::to_item(&webhook).expect("an item");
        assert_eq!(item["url"].as_s().map(String::as_str), Ok("https://example.com/hook"));
        let back: Webhook = serde_dynamo::from_item(item).expect("a webhook");
        assert_eq!(back, webhook);
        assert!(!format!("{back:?}").contains("whsec_"));
    }

    #[test]
    fn earlier_secrets_are_valid_for_a_while() {
        let at = |seconds: i64| crate::time::from_millis(seconds * 1000);
        let settings = Settings::new("https://example.com".to_owned());
        let mut webhook = Webhook::new(WebhookId::random(), settings, Secret::new("c"), at(0));
        let previous = |secret: &str, until| PreviousSecret { secret: Secret::new(secret), until };
        webhook.previous_secrets = vec![previous("b", 200), previous("a", 100)];
        let secrets = |now| webhook.secrets(at(now)).map(Secret::expose).collect::<Vec<_>>();
        assert_eq!(secrets(99), ["c", "b", "a"]);
        assert_eq!(secrets(100), ["c", "b"]);
        assert_eq!(secrets(200), ["c"]);
    }

    #[test]
    fn an_item_with_one_earlier_secret_is_read() {
        let text = r#"{"id":"00000000-0000-0000-0000-000000000000","secret":"b","url":"https://example.com",
            "previousSecret":{"secret":"a","until":100}}"#;
        let webhook: Webhook = serde_json::from_str(text).expect("a webhook");
        let now = crate::time::from_millis(0);
        assert_eq!(webhook.secrets(now).map(Secret::expose).collect::<Vec<_>>(), ["b", "a"]);
    }
}

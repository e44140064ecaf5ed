//! The values that the transcripts were made of. They are as fixed as the files.

use jiff::{SignedDuration, Timestamp};
use shared::agent_status::{AgentStatus, PbxLink, Vitals};
use shared::apikey::{ApiKey, KeyHash, Scope};
use shared::delivery::{Attempt, Delivery, DeliveryLog, DeliveryState, Payload};
use shared::destination::Rules;
use shared::event::{
    CallChange, CallDetails, CallEvent, CallUpdate, ConferenceEvent, ConferenceEventKind, Direction, PartyKind,
    Presentation, Status, WebHookEvent,
};
use shared::ids::{CallId, CommandId, EventId, WebhookId};
use shared::notice::Notice;
use shared::numbering::DialPrefixes;
use shared::operation::{DialOptions, Operation, PageRequest, Reach};
use shared::tables::LegItem;
use shared::time::{PublishedTime, from_millis};
use shared::webhook::{BasicAuth, Filter, Format, Kind, Method, PreviousSecret, Secret, Settings, Webhook};
use uuid::Uuid;

/// 2026-11-27 09:30:00.250 UTC: when everything happens.
pub(super) const NOW: i64 = 1_795_771_800_250;
pub(super) const AGENT: &str = "rack/4b8e0c1e-52c5-4f0e-9d6a-0d8f5c3f7a11";
pub(super) const OTHER_AGENT: &str = "shelf/9f1c2d3e-7a6b-4c5d-8e9f-1a2b3c4d5e6f";
pub(super) const PBX: &str = "master";
pub(super) const USER: &str = "3954ae7854c96301c9dd009033400109";
pub(super) const CONFERENCE: &str = "577193ccf44465016826009033600110";
pub(super) const KEY_ID: &str = "5d2c7a10b4f93e68";
pub(super) const TOKEN: &str = "0b6f1f8e-2f0c-4f8e-9a57-5a1f6f0f6f01";
pub(super) const OTHER_TOKEN: &str = "0b6f1f8e-2f0c-4f8e-9a57-5a1f6f0f6f02";

pub(super) fn now() -> Timestamp {
    from_millis(NOW)
}

/// So many seconds later.
pub(super) fn later(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

pub(super) fn call(n: u128) -> CallId {
    CallId::from_uuid(Uuid::from_u128(0x1ea8_4350_ef40_49c4_a3cd_b1d5_9c82_1000 + n))
}

pub(super) fn command_id(n: u128) -> CommandId {
    format!("7c0d9a4e-6b1f-4a2d-8e3c-{n:012x}").parse().expect("an id")
}

pub(super) fn webhook_id(n: u128) -> WebhookId {
    WebhookId::from_uuid(Uuid::from_u128(0x9f0c_1a52_6f0b_4a53_8a3e_0d5b_0f5a_7000 + n))
}

/// An incoming call of nobody in particular.
fn incoming(n: u128, status: Status, at: Timestamp) -> CallEvent {
    CallEvent {
        event_id: EventId::new(call(n), status),
        occurred_at: at,
        pbx_id: PBX.to_owned(),
        agent_id: "rack/1".to_owned(),
        user_guid: USER.to_owned(),
        user: None,
        inferred: false,
        cause: None,
        from_e164: None,
        to_e164: None,
        details: None,
        update: None,
        web_hook_event: WebHookEvent {
            call_id: call(n),
            conference_events: Vec::new(),
            conference_id: CONFERENCE.to_owned(),
            connected: false,
            conversation_time: -1,
            end_time: None,
            from: "00472591687".to_owned(),
            from_name: String::new(),
            monitored_extension: "42".to_owned(),
            monitiored_user: "Thomas De Wilde".to_owned(),
            monitored_user: "Thomas De Wilde".to_owned(),
            outgoing: false,
            pickup_time: None,
            start_time: published(at),
            status,
            to: "42".to_owned(),
            to_name: "Thomas De Wilde".to_owned(),
            total_time: -1,
        },
    }
}

/// It is written in whole seconds.
fn published(time: Timestamp) -> PublishedTime {
    PublishedTime(from_millis(time.as_second() * 1_000))
}

/// An answered incoming call at each of its statuses, with everything that an event can have.
pub(super) fn full(n: u128, status: Status) -> CallEvent {
    let at = later(i64::from(status.sequence()) * 10);
    let before = |seconds: i64| published(at - SignedDuration::from_secs(seconds));
    let (answered, ended) = (status != Status::Ringing, status == Status::Disconnected);
    let mut event = incoming(n, status, at);
    event.cause = ended.then_some(16);
    event.from_e164 = Some("+32472591687".to_owned());
    event.to_e164 = Some("+3225551242".to_owned());
    let told = &mut event.web_hook_event;
    told.from_name = "Example caller".to_owned();
    told.connected = answered;
    told.start_time = before(if ended { 75 } else { 12 });
    told.pickup_time = answered.then(|| before(if ended { 63 } else { 0 }));
    told.end_time = ended.then(|| before(0));
    told.conversation_time = match (answered, ended) {
        (_, true) => 63,
        (true, false) => 0,
        (false, false) => -1,
    };
    told.total_time = if ended { 75 } else { -1 };
    told.conference_events = vec![ConferenceEvent {
        kind: ConferenceEventKind::Diverted,
        time: told.start_time,
        from: Some("43".to_owned()),
        from_name: Some("Workshop".to_owned()),
        to: Some("42".to_owned()),
        to_name: Some("Thomas De Wilde".to_owned()),
        cause: Some(17),
    }];
    event
}

/// An update of an answered call, as its agent tells it, or with its number.
pub(super) fn held(n: u128, revision: Option<u32>) -> CallEvent {
    let mut event = full(n, Status::Connected);
    event.details = Some(CallDetails { held: true, ..CallDetails::default() });
    event.update = Some(CallUpdate { change: CallChange::Held, revision: 0 });
    event.event_id = EventId::of_snapshot(event.call_id(), "held", "now");
    if let Some(revision) = revision {
        event.number(revision);
    }
    event
}

/// The event of a call that nobody answered.
pub(super) fn missed(n: u128) -> CallEvent {
    let mut event = incoming(n, Status::Disconnected, now());
    event.cause = Some(18);
    event.web_hook_event.end_time = Some(published(now()));
    event.web_hook_event.total_time = 20;
    event
}

/// An outgoing call with everything that can happen to a conference, whose end was concluded, and names that need care.
pub(super) fn eventful(n: u128) -> CallEvent {
    use ConferenceEventKind::{Diverted, Held, Parked, Picked, Redirected, Retrieved, Transferred};
    let mut event = full(n, Status::Disconnected);
    event.inferred = true;
    event.cause = None;
    let told = &mut event.web_hook_event;
    told.outgoing = true;
    std::mem::swap(&mut told.from, &mut told.to);
    std::mem::swap(&mut told.from_name, &mut told.to_name);
    told.to_name = "Zoë \u{1}\u{FFFE}\u{FFFF} \"& <Söhne>\" 🦀".to_owned();
    let happened = |(n, kind)| ConferenceEvent {
        kind,
        time: published(later(n)),
        from: Some("43".to_owned()),
        from_name: (n % 2 == 0).then(|| "Workshop".to_owned()),
        to: Some("00472591687".to_owned()),
        to_name: None,
        cause: (n == 0).then_some(17),
    };
    let kinds = [Diverted, Redirected, Transferred, Held, Retrieved, Parked, Picked];
    told.conference_events = (0..).zip(kinds).map(happened).collect();
    event
}

/// An inferred end of a call that a queue was offered, with everything that is known beside the published object.
pub(super) fn detailed(n: u128) -> CallEvent {
    let details = CallDetails {
        missed: true,
        answered_elsewhere: true,
        abandoned: true,
        party: Some(PartyKind::Internal),
        presentation: Some(Presentation::Withheld),
        last_seen_at: Some(later(5)),
        transfer_call_id: Some(call(n + 1)),
        ..CallDetails::default()
    };
    CallEvent { inferred: true, details: Some(details), ..missed(n) }
}

pub(super) fn notice(kind: Kind) -> Notice {
    let about = (!matches!(kind, Kind::AgentOffline | Kind::AgentOnline)).then(|| webhook_id(1));
    Notice::new(kind, now(), format!("This is about {}.", kind.as_str()), about)
}

pub(super) fn notice_delivery(kind: Kind) -> Delivery {
    Delivery::new(Payload::Notice(notice(kind)), webhook_id(9))
}

/// A delivery as it lies in the queue after its event was fanned out.
pub(super) fn call_delivery(event: CallEvent, n: u128) -> Delivery {
    Delivery { queued_at: Some(NOW + 40), fanned_out_at: Some(NOW + 75), ..Delivery::of_call(event, webhook_id(n)) }
}

pub(super) fn attempt(seconds: i64, status: Option<u16>) -> Attempt {
    Attempt {
        at: later(seconds),
        duration_ms: 120,
        status,
        outcome: status.map_or("timed out".to_owned(), |status| format!("answered {status}")),
        answer: status.map(|_| "thank you".to_owned()),
    }
}

/// The log of a delivery that was tried once.
pub(super) fn tried(delivery: &Delivery, state: DeliveryState, status: Option<u16>) -> DeliveryLog {
    let mut log = delivery.closed(None, state, later(1));
    log.add(attempt(0, status));
    log.next_attempt_at = (state == DeliveryState::Retrying).then(|| later(3));
    log
}

pub(super) fn prefixes() -> DialPrefixes {
    DialPrefixes {
        international: "000".to_owned(),
        national: "00".to_owned(),
        subscriber: "0".to_owned(),
        area: "2".to_owned(),
        country: "32".to_owned(),
    }
}

pub(super) fn agent() -> AgentStatus {
    AgentStatus {
        agent_id: AGENT.to_owned(),
        name: "rack".to_owned(),
        version: "0.1.0".to_owned(),
        pbx_id: Some(PBX.to_owned()),
        slot: None,
        pbx: PbxLink::Up,
        session_since: Some(NOW - 60_000),
        started_at: NOW - 90_000,
        updated_at: NOW,
        visible_users: 48,
        live_calls: 3,
        waiting_events: 2,
        prefixes: prefixes(),
        running: vec![command_id(40), command_id(41)],
        vitals: Vitals {
            os: "Debian GNU/Linux 12, aarch64".to_owned(),
            reconnects: 1,
            events: 1_234,
            dropped_events: 5,
            oldest_event_age_ms: Some(750),
            commands_succeeded: 17,
            commands_failed: 2,
            commands_expired: 1,
            clock_ahead_ms: Some(-40),
            access_key_since: None,
        },
        problem: None,
        monitored_users: None,
        placed: None,
        refusals: Vec::new(),
        expires_at: NOW / 1000 + 86_400,
    }
}

pub(super) fn agent_without_pbx() -> AgentStatus {
    AgentStatus {
        agent_id: OTHER_AGENT.to_owned(),
        name: "shelf".to_owned(),
        pbx_id: None,
        pbx: PbxLink::Down,
        session_since: None,
        prefixes: DialPrefixes::default(),
        running: Vec::new(),
        vitals: Vitals { oldest_event_age_ms: None, clock_ahead_ms: None, ..agent().vitals },
        problem: Some("The PBX cannot be reached: connection refused.".to_owned()),
        ..agent()
    }
}

pub(super) fn agent_with_access_key() -> AgentStatus {
    let vitals = Vitals { access_key_since: Some(NOW - 7_948_800_000), ..agent().vitals };
    AgentStatus { vitals, ..agent() }
}

pub(super) fn leg_alive() -> LegItem {
    LegItem {
        conference: CONFERENCE.to_owned(),
        direction: Direction::Incoming,
        ended: 0,
        begun: Vec::new(),
        live: Some(call(1)),
        last_ended: None,
        last_ended_at: None,
        expires_at: NOW / 1000 + 86_400,
    }
}

pub(super) fn leg_ended() -> LegItem {
    LegItem {
        direction: Direction::Outgoing,
        ended: 2,
        begun: vec![NOW - 30_000, NOW - 10_000],
        live: None,
        last_ended: Some(call(2)),
        last_ended_at: Some(NOW - 1_000),
        ..leg_alive()
    }
}

pub(super) fn make_call() -> Operation {
    Operation::MakeCall {
        from: "42".to_owned(),
        to: "+32 472 59 16 87".to_owned(),
        options: DialOptions {
            caller_number: Some("+3225551234".to_owned()),
            clir: true,
            ignore_forwarding: true,
            audio: true,
            remote_control: Some(3),
            device: Some("phone-1".to_owned()),
        },
    }
}

pub(super) fn connect() -> Operation {
    Operation::ConnectParties {
        via: "77".to_owned(),
        a: "50".to_owned(),
        b: "+32472591687".to_owned(),
        ring_seconds: 45,
    }
}

/// One of each, with everything that it can have.
pub(super) fn operations() -> Vec<Operation> {
    let (call_id, text) = (call(1), |text: &str| Some(text.to_owned()));
    vec![
        make_call(),
        Operation::AnswerCall { call_id },
        Operation::DisconnectCall { call_id, cause: Some(17) },
        Operation::HoldCall { call_id, music: true },
        Operation::RetrieveCall { call_id },
        Operation::TransferCall { call_id_a: call_id, call_id_b: call(2) },
        Operation::RedirectCall {
            call_id,
            to: "0472591687".to_owned(),
            honour_forwarding: true,
            remote_control: Some(1),
        },
        Operation::ParkCall { call_id, at: text("900"), position: Some(4) },
        Operation::PickUpCall { extension: "42".to_owned(), call_id: Some(call_id), at: text("43") },
        Operation::SendDtmf { call_id, digits: "12#*".to_owned(), to_own_party: true },
        connect(),
        Operation::SendUserInfo { call_id, uui: "4142".to_owned(), to_own_party: true },
        Operation::SendInfo { call_id, digits: text("7"), keypad: text("8"), display: text("Hello") },
        Operation::RemoteControl { call_id, code: 9 },
        Operation::TransferMedia { call_id_a: call_id, call_id_b: call(2), user: true, peer: true },
        Operation::GetUsers { page: PageRequest { cursor: text("Zm9v"), limit: 100 } },
        Operation::GetUser { extension: "42".to_owned() },
        Operation::GetCalls { extension: text("42"), page: PageRequest { cursor: None, limit: 50 } },
        Operation::GetCall { call_id },
    ]
}

pub(super) fn reach() -> Reach {
    Reach {
        extensions: Some(["42".to_owned(), "43".to_owned()].into()),
        internal_only: ["50".to_owned()].into(),
        rules: vec![rules(), Rules::default()],
        own_caller_number: true,
    }
}

pub(super) fn rules() -> Rules {
    let parse = |text: &str| text.parse().expect("a pattern");
    Rules { allow: vec![parse("+32*")], deny: vec![parse("+32900*"), parse("+3247?")] }
}

pub(super) fn hash(n: u8) -> KeyHash {
    KeyHash::stored(&format!("{n:02x}").repeat(32)).expect("a hash")
}

pub(super) fn plain_key() -> ApiKey {
    let key = ApiKey::new(hash(1).id(), "crm".to_owned(), vec![Scope::CallsWrite]);
    ApiKey { created_at: NOW, ..key }
}

pub(super) fn full_key() -> ApiKey {
    ApiKey {
        id: hash(2).id(),
        name: "helpdesk".to_owned(),
        scopes: Scope::ALL.to_vec(),
        extensions: Some(["42".to_owned(), "43".to_owned()].into()),
        destinations: rules(),
        caller_numbers: vec!["+3225551*".parse().expect("a pattern")],
        calls_per_hour: Some(30),
        requests_per_minute: 600,
        created_at: NOW,
        changed_at: None,
        disabled: false,
        last_used_at: None,
        expires_at: Some(NOW / 1000 + 90 * 86_400),
    }
}

pub(super) fn secret(n: u8) -> Secret {
    Secret::new(format!("whsec_{}", char::from(b'A' + n).to_string().repeat(32)))
}

pub(super) fn previous(n: u8, hours: i64) -> PreviousSecret {
    PreviousSecret { secret: secret(n), until: NOW / 1000 + hours * 3_600 }
}

pub(super) fn plain_settings(n: u128) -> Settings {
    Settings::new(format!("https://hook{n}.example.com/calls"))
}

pub(super) fn full_settings() -> Settings {
    Settings {
        url: "https://example.com/hook?sig=a%2Fb%3D%3D".to_owned(),
        method: Method::Get,
        format: Format::Extended,
        // All that there were when it was written.
        kinds: Kind::ALL.into_iter().filter(|kind| *kind != Kind::CallUpdated).collect(),
        filter: Filter {
            extensions: ["42".to_owned(), "50".to_owned()].into(),
            statuses: [Status::Connected, Status::Disconnected].into(),
            direction: Some(Direction::Incoming),
            missed_only: false,
            party: Some(PartyKind::External),
            number_prefix: Some("+32".to_owned()),
            minimum_duration: Some(10),
        },
        headers: [("x-make-apikey".to_owned(), Secret::new("k1")), ("x-tenant".to_owned(), Secret::new("t"))].into(),
        basic_auth: Some(BasicAuth { username: "Aladdin".to_owned(), password: Secret::new("open sesame") }),
        description: "Missed calls to the \"CRM\"".to_owned(),
        max_per_minute: None,
        mask_numbers: false,
        expires_at: Some(NOW / 1000 + 30 * 86_400),
    }
}

pub(super) fn plain_webhook(n: u128) -> Webhook {
    Webhook::new(webhook_id(n), plain_settings(n), secret(0), now())
}

pub(super) fn full_webhook(n: u128) -> Webhook {
    let webhook = Webhook::new(webhook_id(n), full_settings(), secret(0), now());
    Webhook { request_hash: Some("ab".repeat(32)), ..webhook }
}

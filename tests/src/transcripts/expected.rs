//! What each file has to be read as, by its name.

use jiff::Timestamp;
use shared::agent_status::{AgentStatus, Vitals};
use shared::apikey::ApiKey;
use shared::codes::Code;
use shared::command::{Command, CommandState, Dial, Doorbell, Refusal, Stage};
use shared::delivery::{Delivery, DeliveryLog, DeliveryState, Drain, LaneCall, Message, Trial};
use shared::event::{CallEvent, Status};
use shared::operation::{Operation, Reach};
use shared::tables::{AuditEntry, AuditKind, HourOfCalls, LegItem};
use shared::webhook::{Kind, Lane, Lookout, PendingNotice, Settings, Webhook, WebhookState};

use super::values::*;

/// A value by the name of its file.
pub(super) type Named<T> = Vec<(String, T)>;

fn named<T, const N: usize>(values: [(&str, T); N]) -> Named<T> {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What says no more of an event than the event itself, and what says its kind, rank, group and dedup.
pub(super) fn events() -> Named<CallEvent> {
    let (mut all, tagged) = (events_without_tag(), events_without_tag());
    all.extend(tagged.into_iter().map(|(name, event)| (format!("tagged-{name}"), event)));
    all.extend(updates());
    all
}

pub(super) fn updates() -> Named<CallEvent> {
    named([("updated-held", held(61, None))])
}

pub(super) fn events_without_tag() -> Named<CallEvent> {
    let copy = CallEvent { agent_id: OTHER_AGENT.to_owned(), ..full(1, Status::Ringing) };
    named([
        ("ringing", full(1, Status::Ringing)),
        ("ringing-copy-of-other-agent", copy),
        ("connected", full(1, Status::Connected)),
        ("disconnected", full(1, Status::Disconnected)),
        ("disconnected-missed", missed(2)),
        ("disconnected-eventful-inferred", eventful(3)),
        ("disconnected-detailed", detailed(41)),
    ])
}

/// As deliveries went back into the queue before there were lanes.
fn again_of(delivery: &Delivery, trial: Option<Trial>) -> Delivery {
    Delivery { round: delivery.round + 1, trial, ..delivery.clone() }
}

pub(super) fn deliveries() -> Named<Message> {
    let of_call = call_delivery(full(1, Status::Ringing), 1);
    let test = Delivery { trial: Some(Trial::Test), ..Delivery::of_call(full(4, Status::Disconnected), webhook_id(1)) };
    let replay = Delivery { round: 3, replayed_at: Some(NOW + 9_000), ..Delivery::of_call(missed(2), webhook_id(1)) };
    let mut messages = named([
        ("call", of_call.clone()),
        ("call-eventful", call_delivery(eventful(3), 1)),
        ("call-detailed", call_delivery(detailed(41), 1)),
        ("call-updated-held", call_delivery(held(61, Some(1)), 1)),
        ("call-test", test),
        ("call-probe", again_of(&of_call, Some(Trial::Probe))),
        ("call-drained", again_of(&of_call, None)),
        ("call-replay", replay),
        ("notice-test", Delivery { trial: Some(Trial::Test), ..notice_delivery(Kind::AgentOffline) }),
    ]);
    let notices = Kind::ALL.into_iter().filter(|kind| ![Kind::Call, Kind::CallUpdated].contains(kind));
    messages.extend(notices.map(|kind| (format!("notice-{}", kind.as_str()), notice_delivery(kind))));
    let mut messages: Named<Message> =
        messages.into_iter().map(|(name, delivery)| (name, Message::Delivery(Box::new(delivery)))).collect();
    messages.push(("drain".to_owned(), Message::Drain(Drain { drain: webhook_id(5), since: NOW })));
    messages.push(("lane-call".to_owned(), Message::LaneCall(LaneCall { lane: webhook_id(5) })));
    messages
}

pub(super) fn doorbells() -> Named<Doorbell> {
    let of = |n, operation| Command::queued(command_id(n), operation, KEY_ID, Reach::default(), now()).doorbell();
    let transfer = Operation::TransferCall { call_id_a: call(1), call_id_b: call(2) };
    named([("doorbell", of(1, make_call())), ("doorbell-of-calls", of(2, transfer))])
}

pub(super) fn agents() -> Named<AgentStatus> {
    let earlier = AgentStatus { vitals: Vitals { oldest_event_age_ms: None, ..agent().vitals }, ..agent() };
    named([
        ("agent-up", agent()),
        ("agent-without-pbx", agent_without_pbx()),
        ("agent-gone", agent().gone()),
        ("agent-with-access-key", agent_with_access_key()),
        ("agent-earlier", earlier),
    ])
}

pub(super) fn legs() -> Named<LegItem> {
    named([("leg-alive", leg_alive()), ("leg-ended", leg_ended()), ("leg-earlier", leg_ended())])
}

pub(super) fn queued(n: u128, operation: Operation) -> Command {
    Command::queued(command_id(n), operation, KEY_ID, reach(), now())
}

fn running(n: u128, operation: Operation) -> Command {
    Command {
        state: CommandState::Running,
        token: Some(TOKEN.to_owned()),
        owner: Some(AGENT.to_owned()),
        updated_at: NOW + 1_000,
        ..queued(n, operation)
    }
}

pub(super) fn dials() -> Vec<Dial> {
    vec![
        Dial { via: "77".to_owned(), number: "50".to_owned(), at: NOW + 1_500, call_id: Some(call(7)) },
        Dial { via: "77".to_owned(), number: "000032472591687".to_owned(), at: NOW + 1_600, call_id: None },
    ]
}

pub(super) const RESULT: &str = r#"{"CallId":"1ea84350-ef40-49c4-a3cd-b1d59c821001","conferenceId":"c","n":1.50}"#;

pub(super) fn commands() -> Named<Command> {
    let mut all: Named<Command> = operations()
        .into_iter()
        .enumerate()
        .map(|(n, operation)| (format!("command-queued-{}", operation.name()), queued(n as u128 + 1, operation)))
        .collect();
    let ended = |n, state| Command { state, updated_at: NOW + 2_000, ..running(n, make_call()) };
    let result: serde_json::Value = serde_json::from_str(RESULT).expect("JSON");
    let refusal = Refusal::with_detail(Code::UserBusy, "43 is busy.");
    let joining = |stage, updated| Command {
        dials: dials(),
        stage: Some(stage),
        updated_at: NOW + updated,
        ..running(40, connect())
    };
    all.extend(named([
        ("command-running", running(30, make_call())),
        ("command-succeeded", Command { result: Some(result.to_string()), ..ended(30, CommandState::Succeeded) }),
        ("command-running-to-fail", running(31, make_call())),
        ("command-failed", Command { refusal: Some(refusal), ..ended(31, CommandState::Failed) }),
        ("command-running-late", running(32, make_call())),
        ("command-expired-by-agent", ended(32, CommandState::Expired)),
        ("command-queued-to-expire", queued(33, make_call())),
        (
            "command-expired",
            Command { state: CommandState::Expired, updated_at: NOW + 8_000, ..queued(33, make_call()) },
        ),
        ("command-queued-to-be-declined", queued(34, Operation::AnswerCall { call_id: call(1) })),
        ("command-declined", declined([AGENT].as_slice())),
        ("command-declined-twice", declined([AGENT, OTHER_AGENT].as_slice())),
        ("command-long", running(40, connect())),
        ("command-long-calling", joining(Stage::Calling, 2_000)),
        ("command-long-first-answered", joining(Stage::FirstAnswered, 3_000)),
        ("command-long-joining", joining(Stage::Joining, 4_000)),
        ("command-long-cleaning-up", joining(Stage::CleaningUp, 5_000)),
        (
            "command-long-taken-over",
            Command {
                token: Some(OTHER_TOKEN.to_owned()),
                owner: Some(OTHER_AGENT.to_owned()),
                ..joining(Stage::CleaningUp, 60_000)
            },
        ),
        ("command-queued-plain", Command::queued(command_id(50), plain_call(), KEY_ID, Reach::default(), now())),
        ("command-earlier", Command { reach: earlier_reach(), ..queued(51, make_call()) }),
        (
            "command-earlier-running",
            Command { reach: earlier_reach(), declined: [OTHER_AGENT.to_owned()].into(), ..running(51, make_call()) },
        ),
    ]));
    all
}

pub(super) fn plain_call() -> Operation {
    Operation::MakeCall { from: "42".to_owned(), to: "50".to_owned(), options: Default::default() }
}

fn declined(by: &[&str]) -> Command {
    let declined = by.iter().map(|agent| (*agent).to_owned()).collect();
    Command { declined, ..queued(34, Operation::AnswerCall { call_id: call(1) }) }
}

/// There were no rules in it.
fn earlier_reach() -> Reach {
    Reach { rules: Vec::new(), own_caller_number: false, ..reach() }
}

pub(super) fn keys() -> Named<(u8, ApiKey)> {
    let endless = ApiKey { expires_at: None, ..full_key() };
    let earlier = ApiKey { caller_numbers: Vec::new(), last_used_at: Some(NOW + 1_000), ..full_key() };
    named([
        ("apikey-plain", (1, plain_key())),
        ("apikey-used", (1, ApiKey { last_used_at: Some(NOW + 1_000), ..plain_key() })),
        ("apikey-full", (2, full_key())),
        ("apikey-changed", (2, ApiKey { changed_at: Some(NOW + 5_000), ..endless.clone() })),
        ("apikey-disabled", (2, ApiKey { changed_at: Some(NOW + 6_000), disabled: true, ..endless })),
        ("apikey-earlier", (3, ApiKey { id: hash(3).id(), ..plain_key() })),
        ("apikey-earlier-full", (4, ApiKey { id: hash(4).id(), ..earlier })),
    ])
}

/// A webhook changed by this.
fn but(mut webhook: Webhook, change: impl FnOnce(&mut Webhook)) -> Webhook {
    change(&mut webhook);
    webhook
}

fn pending(kind: Kind, seconds: i64, message: &str) -> PendingNotice {
    PendingNotice { kind, at: later(seconds).as_millisecond(), message: message.to_owned() }
}

pub(super) const REASON: &str = "nothing was accepted for 900 s; the last attempt timed out";
pub(super) const WANTS_NO_MORE: &str = "answered 410: wants no more events";

/// A webhook with just more than a day to live.
pub(super) fn expiring_settings() -> Settings {
    Settings { expires_at: Some(NOW / 1000 + 25 * 3_600), ..plain_settings(6) }
}

pub(super) fn expiry_notice(kind: Kind) -> PendingNotice {
    match kind {
        Kind::WebhookExpired => pending(kind, 25 * 3_600, "has expired"),
        kind => pending(kind, 2 * 3_600, "expires at some time"),
    }
}

pub(super) fn webhooks() -> Named<Webhook> {
    let ms = |seconds: i64| Some(later(seconds).as_millisecond());
    let rotated = but(plain_webhook(4), |w| (w.secret, w.previous_secrets) = (secret(1), vec![previous(0, 24)]));
    let rotated_twice =
        but(rotated.clone(), |w| (w.secret, w.previous_secrets) = (secret(2), vec![previous(1, 48), previous(0, 24)]));
    let succeeded = but(plain_webhook(5), |w| w.health.last_success_at = ms(1));
    let failing = but(succeeded.clone(), |w| {
        w.health.state = WebhookState::Failing;
        (w.health.state_since, w.health.refusing_since) = (ms(100), ms(100));
        w.health.reason = Some(REASON.to_owned());
        w.health.pending_notices = vec![pending(Kind::WebhookFailing, 100, &format!("is failing: {REASON}"))];
    });
    let told = but(failing.clone(), |w| w.health.pending_notices.clear());
    // How many were parked stood there, too.
    let waiting = told.clone();
    let probed = but(waiting.clone(), |w| w.health.lookout.last_probed = Some(call(5)));
    let recovered = pending(Kind::WebhookRecovered, 200, "accepts deliveries again");
    let draining = but(probed.clone(), |w| {
        w.health.state = WebhookState::Draining;
        w.health.state_since = ms(200);
        (w.health.reason, w.health.refusing_since) = (None, None);
        w.health.pending_notices = vec![recovered];
    });
    let unparked = draining.clone();
    let active_again =
        but(unparked.clone(), |w| (w.health.state, w.health.state_since) = (WebhookState::Active, ms(220)));
    let expiring = Webhook::new(webhook_id(6), expiring_settings(), secret(0), now());
    let expiry = expiring.settings.expires_at;
    let warned = but(expiring.clone(), |w| {
        w.health.expiry_warned = expiry;
        w.health.pending_notices = vec![expiry_notice(Kind::WebhookExpiring)];
    });
    let expired = but(warned.clone(), |w| {
        w.health.expiry_told = expiry;
        w.health.pending_notices.push(expiry_notice(Kind::WebhookExpired));
    });
    let off = but(plain_webhook(7), |w| {
        w.health.state = WebhookState::Off;
        (w.health.state_since, w.health.refusing_since) = (ms(100), ms(100));
        w.health.reason = Some(WANTS_NO_MORE.to_owned());
        let message = format!("is switched off: it {WANTS_NO_MORE}");
        w.health.pending_notices = vec![pending(Kind::WebhookOff, 100, &message)];
    });
    let resumed = but(off.clone(), |w| {
        w.health.state = WebhookState::Draining;
        (w.health.state_since, w.health.reason) = (ms(150), None);
    });
    let accepted = but(resumed.clone(), |w| {
        w.health.refusing_since = None;
        w.health.pending_notices.push(pending(Kind::WebhookRecovered, 160, "accepts deliveries again"));
    });
    let mut all = named([
        ("webhook-plain", plain_webhook(1)),
        ("webhook-full", full_webhook(2)),
        ("webhook-to-change", plain_webhook(3)),
        ("webhook-changed", but(plain_webhook(3), |w| w.settings = full_settings())),
        ("webhook-changed-back", plain_webhook(3)),
        ("webhook-to-rotate", plain_webhook(4)),
        ("webhook-rotated", rotated),
        ("webhook-rotated-twice", rotated_twice),
        ("webhook-to-fail", plain_webhook(5)),
        ("webhook-succeeded", succeeded),
        ("webhook-failing", failing),
        ("webhook-failing-told", told),
        ("webhook-waiting", waiting),
        ("webhook-probed", probed),
        ("webhook-draining", draining),
        ("webhook-unparked", unparked),
        ("webhook-active-again", active_again),
        ("webhook-to-expire", expiring),
        ("webhook-warned", warned),
        ("webhook-expired", expired),
        ("webhook-to-switch-off", plain_webhook(7)),
        ("webhook-off", off),
        ("webhook-resumed", resumed),
        ("webhook-recovered", accepted),
        ("webhook-waiting-notice", waiting_notice()),
    ]);
    // How many deliveries were parked stood in the item of each.
    const STILL_WRITTEN: [&str; 13] = [
        "plain",
        "full",
        "to-change",
        "changed",
        "changed-back",
        "to-rotate",
        "rotated",
        "rotated-twice",
        "to-fail",
        "succeeded",
        "to-expire",
        "warned",
        "expired",
    ];
    let uncounted: Named<Webhook> = all
        .iter()
        .filter_map(|(name, webhook)| Some((name.strip_prefix("webhook-")?, webhook)))
        .filter(|(name, _)| STILL_WRITTEN.contains(name))
        .map(|(name, webhook)| (format!("webhook-uncounted-{name}"), webhook.clone()))
        .collect();
    all.extend(uncounted);
    all.extend(earlier_webhooks());
    all.extend(webhooks_with_lanes());
    all
}

pub(super) const SLOW: &str = "answers slowly";

/// What a worker knows of a receiver that refuses.
pub(super) fn lookout() -> Lookout {
    let ms = |seconds: i64| Some(later(seconds).as_millisecond());
    Lookout {
        next_look_at: ms(95),
        next_attempt_at: ms(100),
        slow_at: ms(90),
        refused_at: ms(90),
        refusals: 2,
        refused_for: 35_000,
        last_probed: Some(call(5)),
    }
}

fn webhooks_with_lanes() -> Named<Webhook> {
    let ms = |seconds: i64| Some(later(seconds).as_millisecond());
    let lane = |webhook: &Webhook, lane: Lane, seconds: i64, next_look_at: Option<i64>| {
        but(webhook.clone(), |w| {
            (w.health.lane, w.health.lane_since, w.health.lookout.next_look_at) =
                (Some(lane), ms(seconds), next_look_at);
        })
    };
    let own = |webhook: &Webhook, seconds: i64| lane(webhook, Lane::Own, seconds, ms(seconds));
    let taken = but(plain_webhook(15), |w| {
        w.health.lookout = Lookout { next_look_at: ms(90), slow_at: ms(90), ..Lookout::default() };
        w.health.lane_reason = Some(SLOW.to_owned());
    });
    let taken = lane(&taken, Lane::Own, 90, ms(90));
    let noted = but(taken.clone(), |w| (w.health.lookout, w.health.last_success_at) = (lookout(), ms(80)));
    let rests = lane(&noted, Lane::Own, 101, None);
    let settling = lane(&rests, Lane::Settling, 103, ms(103));
    let shared = but(lane(&settling, Lane::Shared, 104, None), |w| w.health.lane_reason = None);
    // Since it is written for how long a webhook has been slow.
    let since = |webhook: &Webhook| but(webhook.clone(), |w| w.health.slow_since = ms(90));
    let slow = [since(&taken), since(&noted), since(&rests), since(&settling)];
    let failing = but(shared.clone(), |w| {
        w.health.state = WebhookState::Failing;
        (w.health.state_since, w.health.refusing_since) = (ms(110), ms(110));
        w.health.reason = Some(REASON.to_owned());
        w.health.pending_notices = vec![pending(Kind::WebhookFailing, 110, &format!("is failing: {REASON}"))];
    });
    let recovered = but(failing.clone(), |w| {
        (w.health.state, w.health.state_since) = (WebhookState::Active, ms(120));
        (w.health.reason, w.health.refusing_since) = (None, None);
        w.health.pending_notices.push(pending(Kind::WebhookRecovered, 120, "accepts deliveries again"));
    });
    let paused = but(own(&recovered, 130), |w| w.health.paused_at = ms(130));
    let resumed = but(own(&paused, 140), |w| {
        w.health.paused_at = None;
        (w.health.lookout.next_attempt_at, w.health.lookout.refusals) = (None, 0);
    });
    let purged = but(own(&resumed, 150), |w| w.health.purged_before = ms(150));
    let off = but(own(&purged, 160), |w| {
        w.health.state = WebhookState::Off;
        (w.health.state_since, w.health.refusing_since) = (ms(160), ms(160));
        w.health.reason = Some(WANTS_NO_MORE.to_owned());
        let message = format!("is switched off: it {WANTS_NO_MORE}");
        w.health.pending_notices.push(pending(Kind::WebhookOff, 160, &message));
    });
    let on = but(own(&off, 170), |w| {
        (w.health.state, w.health.state_since, w.health.reason) = (WebhookState::Active, ms(170), None);
    });
    let limited = but(plain_webhook(16), |w| w.settings.max_per_minute = Some(60));
    let masked = but(plain_webhook(17), |w| w.settings.mask_numbers = true);
    let [slow_taken, slow_noted, slow_rests, slow_settling] = slow;
    named([
        ("webhook-lane-taken", taken),
        ("webhook-lane-noted", noted),
        ("webhook-lane-rests", rests),
        ("webhook-lane-settling", settling),
        ("webhook-lane-shared", shared),
        ("webhook-slow-taken", slow_taken),
        ("webhook-slow-noted", slow_noted),
        ("webhook-slow-rests", slow_rests),
        ("webhook-slow-settling", slow_settling),
        ("webhook-lane-failing", failing),
        ("webhook-lane-recovered", recovered),
        ("webhook-paused", paused),
        ("webhook-resumed-by-owner", resumed),
        ("webhook-purged", purged),
        ("webhook-lane-off", off),
        ("webhook-lane-on-again", on),
        ("webhook-limited", limited),
        ("webhook-masked", masked),
    ])
}

fn waiting_notice() -> Webhook {
    but(plain_webhook(9), |w| {
        w.health.state = WebhookState::Failing;
        (w.health.state_since, w.health.refusing_since) =
            (Some(later(100).as_millisecond()), Some(later(100).as_millisecond()));
        w.health.reason = Some(REASON.to_owned());
        w.health.pending_notices = vec![pending(Kind::WebhookFailing, 100, &format!("is failing: {REASON}"))];
    })
}

/// There were no notices, one previous secret, and the expiry was the table's TTL attribute.
fn earlier_webhooks() -> Named<Webhook> {
    let full = but(full_webhook(12), |w| {
        w.request_hash = None;
        w.settings.kinds = [Kind::Call, Kind::AgentOffline, Kind::AgentOnline, Kind::WebhookFailing].into();
    });
    let failing = but(plain_webhook(13), |w| {
        w.health.state = WebhookState::Failing;
        w.health.state_since = Some(later(100).as_millisecond());
        w.health.reason = Some(REASON.to_owned());
        w.health.last_success_at = Some(later(1).as_millisecond());
    });
    let waiting = but(failing.clone(), |w| w.health.lookout.last_probed = Some(call(5)));
    let draining = but(waiting.clone(), |w| {
        w.health.state = WebhookState::Draining;
        (w.health.state_since, w.health.reason) = (Some(later(200).as_millisecond()), None);
    });
    let off = but(plain_webhook(14), |w| {
        w.health.state = WebhookState::Off;
        w.health.state_since = Some(later(100).as_millisecond());
        w.health.reason = Some(WANTS_NO_MORE.to_owned());
    });
    named([
        ("webhook-earlier", plain_webhook(11)),
        ("webhook-earlier-full", full.clone()),
        ("webhook-earlier-rotated", but(full, |w| (w.secret, w.previous_secret) = (secret(1), Some(previous(0, 24))))),
        ("webhook-earlier-failing", failing),
        ("webhook-earlier-waiting", waiting),
        ("webhook-earlier-draining", draining),
        ("webhook-earlier-off", off),
    ])
}

/// The event of each call item, and of the feed's entry of the same name, with its number and when it was recorded.
pub(super) fn recorded() -> Named<(u64, CallEvent, i64)> {
    let (mut all, numbered) = (recorded_by_transactions(), recorded_by_slots());
    // The body was written as JSON again, and then passed as the text that had come.
    for kind in ["numbered", "numbered-as-text"] {
        all.extend(numbered.iter().map(|(name, value)| (format!("{kind}-{name}"), value.clone())));
    }
    all.extend(recorded_updates());
    all
}

/// Each under its call with its number, and a small entry in the feed.
pub(super) fn recorded_by_slots() -> Named<(u64, CallEvent, i64)> {
    named([
        ("ringing", (1, full(1, Status::Ringing), NOW)),
        ("connected", (2, full(1, Status::Connected), NOW)),
        ("disconnected", (3, full(1, Status::Disconnected), NOW)),
        ("missed", (4, missed(2), NOW)),
        ("eventful", (5, eventful(3), NOW)),
        ("detailed", (6, detailed(41), NOW)),
    ])
}

/// An hour in which one call has ended that was missed.
pub(super) fn hour() -> HourOfCalls {
    let hour = Timestamp::from_second(NOW / 1_000 / 3_600 * 3_600).expect("a time");
    HourOfCalls { hour, pbx: PBX.to_owned(), calls: 1, missed: 1 }
}

/// Heads with its counters and after they were moved, and the item that they were moved to.
pub(super) fn counting() -> Named<Vec<HourOfCalls>> {
    named([
        ("feed-head-counting", vec![hour()]),
        ("feed-head-counting-moved", Vec::new()),
        ("hours-counting-moved", vec![hour()]),
    ])
}

/// Each under its call by its revision, with what the call's latest update has told, and an entry in the feed.
pub(super) fn recorded_updates() -> Named<(u64, CallEvent, i64)> {
    named([("updated-held", (7, held(61, Some(1)), NOW))])
}

/// Each twice as a whole, and no number under its call.
fn recorded_by_transactions() -> Named<(u64, CallEvent, i64)> {
    let mut all = recorded_by_slots();
    all.extend(named([
        // They do not say when they were recorded; when it happened has to do.
        ("earlier", (1, full(21, Status::Connected), later(20).as_millisecond())),
        ("earlier-eventful", (2, eventful(23), later(30).as_millisecond())),
    ]));
    all
}

pub(super) fn logs() -> Named<(Delivery, DeliveryLog)> {
    let mut all = earlier_logs();
    all.iter_mut().for_each(|(_, (_, log))| log.user = None);
    let of = |n: u128, trial| Delivery { trial, ..call_delivery(full(n, Status::Connected), 1) };
    let delivered = |delivery: Delivery| (delivery.clone(), tried(&delivery, DeliveryState::Delivered, Some(200)));
    all.extend(named([
        ("delivery-of-user", delivered(of(38, None))),
        ("delivery-of-user-test", delivered(of(39, Some(Trial::Test)))),
    ]));
    // None of these says at which PBX the call was.
    all.iter_mut().for_each(|(_, (_, log))| log.pbx = None);
    all.extend(named([("delivery-of-pbx", delivered(of(40, None)))]));
    all
}

/// Logs that were written before any said whose event it is.
fn earlier_logs() -> Named<(Delivery, DeliveryLog)> {
    use DeliveryState::{Cancelled, Delivered, Expired, Failed, Parked, Retrying};
    let of = |n: u128| call_delivery(full(n, Status::Connected), 1);
    let closed = |n: u128, state| (of(n), of(n).closed(None, state, later(1)));
    let mut tried_often = tried(&of(31), Retrying, Some(503));
    (1..12).for_each(|n| tried_often.add(attempt(n, None)));
    let waiting = call_delivery(full(5, Status::Ringing), 5);
    let again = waiting_again();
    let unparked = again_of(&waiting_again(), None);
    // What was known of its way was not kept.
    let earlier = |delivery: Delivery| Delivery { queued_at: None, fanned_out_at: None, ..delivery };
    let parked_earlier = earlier(call_delivery(full(5, Status::Ringing), 13));
    named([
        ("delivery-retrying", (of(30), tried(&of(30), Retrying, None))),
        ("delivery-retrying-often", (of(31), tried_often)),
        ("delivery-delivered", (of(32), tried(&of(32), Delivered, Some(200)))),
        ("delivery-failed", (of(33), tried(&of(33), Failed, Some(404)))),
        ("delivery-cancelled", (of(34), tried(&of(34), Cancelled, Some(410)))),
        ("delivery-expired", closed(35, Expired)),
        ("delivery-notice", {
            let delivery = notice_delivery(Kind::WebhookFailing);
            let log = tried(&delivery, Delivered, Some(204));
            (delivery, log)
        }),
        ("delivery-waiting", (waiting.clone(), waiting.closed(None, Parked, later(110)))),
        ("delivery-waiting-again", (again.clone(), again.closed(None, Parked, later(120)))),
        ("delivery-unparked", (unparked.clone(), unparked.closed(None, Retrying, later(210)))),
        ("delivery-waiting-notice", {
            let delivery = notice_delivery(Kind::AgentOnline);
            let log = delivery.closed(None, Parked, later(110));
            (delivery, log)
        }),
        ("delivery-lane-waiting", (waiting_in_lane(), refused_in_lane())),
        ("delivery-earlier", (earlier(of(36)), tried(&earlier(of(36)), Delivered, Some(200)))),
        ("delivery-earlier-retrying", (earlier(of(37)), tried(&earlier(of(37)), Retrying, None))),
        ("delivery-earlier-waiting", (parked_earlier.clone(), parked_earlier.closed(None, Parked, later(110)))),
    ])
}

/// A later round, which somebody wanted.
pub(super) fn waiting_again() -> Delivery {
    let first = call_delivery(full(5, Status::Ringing), 5);
    Delivery { round: 2, replayed_at: Some(NOW + 115_000), ..first }
}

pub(super) fn waiting_in_lane() -> Delivery {
    call_delivery(full(5, Status::Ringing), 15)
}

/// The worker has tried it in vain.
pub(super) fn refused_in_lane() -> DeliveryLog {
    let mut log = tried(&waiting_in_lane(), DeliveryState::Parked, Some(503));
    (log.tried_since, log.tried_for) = (Some(later(90).as_millisecond()), 35_000);
    // It was written before logs said whose event it is, and where the call was.
    (log.user, log.pbx) = (None, None);
    log
}

pub(super) fn parked() -> Named<Delivery> {
    named([
        ("parked-lane-waiting", waiting_in_lane()),
        ("parked-waiting", call_delivery(full(5, Status::Ringing), 5)),
        ("parked-waiting-again", waiting_again()),
        ("parked-waiting-notice", notice_delivery(Kind::AgentOnline)),
        ("parked-earlier-waiting", call_delivery(full(5, Status::Ringing), 13)),
    ])
}

pub(super) fn audit() -> Named<AuditEntry> {
    let text = |text: &str| Some(text.to_owned());
    let entry = |kind, operation: &str, nonce: &str| AuditEntry {
        time: NOW,
        kind,
        key_id: KEY_ID.to_owned(),
        key_name: "helpdesk".to_owned(),
        operation: operation.to_owned(),
        nonce: nonce.to_owned(),
        ..AuditEntry::default()
    };
    let called = AuditEntry {
        from: "42".to_owned(),
        to: "+32 472 59 16 87".to_owned(),
        to_e164: text("+32472591687"),
        caller_number: text("+3225551234"),
        command_id: Some(command_id(1)),
        ..entry(AuditKind::Call, "MakeCall", &format!("{}#0", command_id(1)))
    };
    let refused = AuditEntry {
        command_id: None,
        refusal: Some(Code::DestinationNotAllowed),
        nonce: format!("{}#0", command_id(2)),
        ..called.clone()
    };
    let earlier = |entry: AuditEntry, nonce: &str| AuditEntry { caller_number: None, nonce: nonce.to_owned(), ..entry };
    named([
        (
            "audit-call-transferred",
            AuditEntry {
                from: call(1).to_string(),
                to: call(2).to_string(),
                command_id: Some(command_id(6)),
                ..entry(AuditKind::Call, "TransferCall", &format!("{}#0", command_id(6)))
            },
        ),
        (
            "audit-key",
            AuditEntry {
                subject: text(&hash(2).id()),
                subject_name: text("helpdesk"),
                fields: vec!["name".to_owned(), "scopes".to_owned(), "allow".to_owned()],
                ..entry(AuditKind::Key, "CreateApiKey", &command_id(60).to_string())
            },
        ),
        (
            "audit-webhook",
            AuditEntry {
                subject: text(&webhook_id(2).to_string()),
                subject_name: text("https://example.com"),
                fields: vec!["url".to_owned(), "headers".to_owned()],
                ..entry(AuditKind::Webhook, "CreateWebhook", &command_id(61).to_string())
            },
        ),
        ("audit-earlier-call", earlier(called.clone(), "earlier#0")),
        ("audit-earlier-call-refused", earlier(refused.clone(), "earlier#1")),
        ("audit-call", called),
        ("audit-call-refused", refused),
    ])
}

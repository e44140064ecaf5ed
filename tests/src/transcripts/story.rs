//! What the code does so that one item of every kind is written, and how the files are called that come of it.

use shared::command::Stage;
use shared::delivery::Message;
use shared::envelope;
use shared::event::CallEvent;
use shared::event::message::{self, EventMessage, EventTag};
use shared::feed::Writer;
use shared::queue::Outgoing;
use shared::tables::{Change, Claim, EndedCall, Finish, Look, SLOTS, SlotTaken, Window};
use shared::webhook::{Kind, Lane, Lookout, Webhook};

use super::expected::{self, REASON, RESULT, WANTS_NO_MORE, dials, expiry_notice};
use super::recorder::Recorder;
use super::values::*;

pub(super) async fn tell(recorder: &mut Recorder) {
    messages(recorder);
    peers(recorder).await;
    commands(recorder).await;
    long_command(recorder).await;
    access(recorder).await;
    webhooks(recorder).await;
    failing_webhook(recorder).await;
    ending_webhooks(recorder).await;
    events(recorder).await;
    deliveries(recorder).await;
}

fn messages(recorder: &mut Recorder) {
    for (name, event) in expected::events_without_tag() {
        // As the agent's outbox and uplink do it.
        let message = EventTag::from(&event).message(message::seal(&event).expect("JSON"));
        recorder.keep_message("events", &format!("tagged-{name}"), &message);
    }
    for (name, event) in expected::updates() {
        let message = EventTag::from(&event).message(message::seal(&event).expect("JSON"));
        recorder.keep_message("events", &name, &message);
    }
    for (name, message) in expected::deliveries() {
        let outgoing = match &message {
            Message::Delivery(delivery) => {
                let body = envelope::seal(delivery).expect("JSON");
                Outgoing { group: delivery.group(), dedup: delivery.dedup(), body }
            }
            Message::LaneCall(call) => call.message("4f1c"),
            // Nothing writes it any more.
            Message::Drain(_) => continue,
        };
        recorder.keep_message("deliveries", &name, &outgoing);
    }
    for (name, doorbell) in expected::doorbells() {
        recorder.keep_body("commands", &name, &envelope::seal(&doorbell).expect("JSON"));
    }
}

async fn peers(recorder: &mut Recorder) {
    let exchange = recorder.exchange.clone();
    for (name, status) in expected::agents().into_iter().filter(|(name, _)| !name.contains("earlier")) {
        exchange.beat(&status).await.expect("a heartbeat");
        recorder.keep(name.trim_start_matches("agent-")).await;
    }
    assert_eq!(exchange.take_slot(PBX, SLOTS).await.expect("the PBX"), SlotTaken::Slot(1));
    recorder.keep("registered").await;
    for (name, leg) in expected::legs().into_iter().filter(|(name, _)| !name.contains("earlier")) {
        exchange.remember_leg(PBX, USER, &leg).await.expect("a leg");
        recorder.keep(name.trim_start_matches("leg-")).await;
    }
}

async fn commands(recorder: &mut Recorder) {
    let exchange = recorder.exchange.clone();
    for (name, command) in expected::commands().into_iter().filter(|(name, _)| name.starts_with("command-queued-")) {
        exchange.insert(&command).await.expect("a new command");
        recorder.keep(name.trim_start_matches("command-")).await;
    }
    let result = serde_json::from_str(RESULT).expect("JSON");
    let refusal = expected::commands().into_iter().find_map(|(_, command)| command.refusal).expect("a refusal");
    for (n, claimed, end, ended) in [
        (30, "running", Finish::Done(Ok(result)), "succeeded"),
        (31, "running-to-fail", Finish::Done(Err(refusal)), "failed"),
        (32, "running-late", Finish::Expired, "expired-by-agent"),
    ] {
        exchange.insert(&expected::queued(n, make_call())).await.expect("a new command");
        claim(recorder, n).await;
        recorder.keep(claimed).await;
        assert!(exchange.finish(command_id(n), TOKEN, &end, later(2)).await.expect("an end"));
        recorder.keep(ended).await;
    }
    exchange.expire(command_id(33), later(8)).await.expect("expired");
    recorder.keep("expired").await;
    exchange.decline(command_id(34), AGENT).await.expect("declined");
    recorder.keep("declined").await;
    exchange.decline(command_id(34), OTHER_AGENT).await.expect("declined");
    recorder.keep("declined-twice").await;
}

async fn claim(recorder: &Recorder, n: u128) {
    let claim = recorder.exchange.claim(command_id(n), TOKEN, AGENT, later(1)).await.expect("a claim");
    assert!(matches!(claim, Claim::Won { .. }));
}

async fn long_command(recorder: &mut Recorder) {
    let exchange = recorder.exchange.clone();
    exchange.insert(&expected::queued(40, connect())).await.expect("a new command");
    claim(recorder, 40).await;
    recorder.keep("long").await;
    for (stage, name, seconds) in [
        (Stage::Calling, "long-calling", 2),
        (Stage::FirstAnswered, "long-first-answered", 3),
        (Stage::Joining, "long-joining", 4),
        (Stage::CleaningUp, "long-cleaning-up", 5),
    ] {
        assert!(exchange.progress(command_id(40), TOKEN, &dials(), stage, later(seconds)).await.expect("progress"));
        recorder.keep(name).await;
    }
    let taken = exchange.take_over(command_id(40), AGENT, OTHER_TOKEN, OTHER_AGENT, later(60)).await;
    assert!(taken.expect("an answer").is_some());
    recorder.keep("long-taken-over").await;
}

async fn access(recorder: &mut Recorder) {
    let state = recorder.state.clone();
    let key = |name: &str| expected::keys().into_iter().find(|(known, _)| known == name).expect("a key").1.1;
    state.put_api_key(&hash(1), &plain_key()).await.expect("a key");
    recorder.keep("plain").await;
    state.touch_api_key(&hash(1), later(1)).await.expect("used");
    recorder.keep("used").await;
    state.put_api_key(&hash(2), &full_key()).await.expect("a key");
    recorder.keep("full").await;
    assert!(state.change_api_key(&hash(2), &full_key(), &key("apikey-changed")).await.expect("changed"));
    recorder.keep("changed").await;
    let (changed, disabled) = (key("apikey-changed"), key("apikey-disabled"));
    assert!(state.change_api_key(&hash(2), &changed, &disabled).await.expect("changed"));
    recorder.keep("disabled").await;

    for (name, entry) in expected::audit().into_iter().filter(|(name, _)| !name.contains("earlier")) {
        state.audit(&entry).await.expect("an entry");
        recorder.keep(name.trim_start_matches("audit-")).await;
    }
    state.count("requests#5d2c7a10b4f93e68", Window::Minute, 150, now()).await.expect("counted");
    recorder.keep("minute").await;
    state.count("calls", Window::Hour, 2, now()).await.expect("counted");
    recorder.keep("hour").await;
    state.count_recent("pair#+32472591687#42", 10, 1, now()).await.expect("counted");
    recorder.keep("pair").await;
    state.count_recent("pair#+32472591687#42", 10, 2, later(120)).await.expect("counted");
    recorder.keep("pair-later").await;
    state.agents_are(None, true, now()).await.expect("noted");
    recorder.keep("first").await;
    state.agents_are(None, false, later(60)).await.expect("noted");
    recorder.keep("offline").await;
}

async fn webhooks(recorder: &mut Recorder) {
    let state = recorder.state.clone();
    state.put_webhook(&plain_webhook(1)).await.expect("a webhook");
    recorder.keep("uncounted-plain").await;
    assert!(state.put_new_webhook(&full_webhook(2)).await.expect("a webhook").is_none());
    recorder.keep("uncounted-full").await;

    state.put_webhook(&plain_webhook(3)).await.expect("a webhook");
    recorder.keep("uncounted-to-change").await;
    for (name, settings) in [("changed", full_settings()), ("changed-back", plain_settings(3))] {
        assert!(state.change_settings(webhook_id(3), &settings, now()).await.expect("changed").is_some());
        recorder.keep(&format!("uncounted-{name}")).await;
    }

    state.put_webhook(&plain_webhook(4)).await.expect("a webhook");
    recorder.keep("uncounted-to-rotate").await;
    for (name, present, earlier) in
        [("rotated", 0, vec![previous(0, 24)]), ("rotated-twice", 1, vec![previous(1, 48), previous(0, 24)])]
    {
        let rotated = state.rotate_secret(webhook_id(4), &secret(present), &secret(present + 1), &earlier).await;
        assert!(rotated.expect("an answer").is_some());
        recorder.keep(&format!("uncounted-{name}")).await;
    }
}

async fn failing_webhook(recorder: &mut Recorder) {
    let (state, id) = (recorder.state.clone(), webhook_id(5));
    state.put_webhook(&plain_webhook(5)).await.expect("a webhook");
    recorder.keep("uncounted-to-fail").await;
    state.note_success(id, later(1)).await.expect("noted");
    recorder.keep("uncounted-succeeded").await;
    lanes(recorder).await;
}

/// A webhook that gets its own lane, and what its worker, its receiver and its owner make of it.
async fn lanes(recorder: &mut Recorder) {
    let (state, id) = (recorder.state.clone(), webhook_id(15));
    state.put_webhook(&plain_webhook(15)).await.expect("a webhook");
    let ms = |seconds: i64| Some(later(seconds).as_millisecond());
    let lookout = Lookout { next_look_at: ms(90), slow_at: ms(90), ..Lookout::default() };
    let taken = state.take_lane(id, expected::SLOW, &lookout, later(90)).await.expect("an answer");
    assert!(taken.is_some());
    recorder.keep("slow-taken").await;
    let waiting = expected::waiting_in_lane();
    state.park(&waiting, "4f1c").await.expect("parked");
    assert!(state.put_parked_log(&waiting.log_key(), &expected::refused_in_lane()).await.expect("logged"));
    recorder.keep("lane-waiting").await;
    let look = Look { lookout: expected::lookout(), last_success_at: ms(80) };
    state.note_look(id, &look).await.expect("noted");
    recorder.keep("slow-noted").await;
    for (from, to, seconds, name) in [
        ((Lane::Own, true), (Lane::Own, false), 101, Some("slow-rests")),
        ((Lane::Own, false), (Lane::Own, true), 102, None),
        ((Lane::Own, true), (Lane::Settling, true), 103, Some("slow-settling")),
        ((Lane::Settling, true), (Lane::Shared, false), 104, Some("lane-shared")),
    ] {
        assert!(state.change_lane(id, from, to, later(seconds)).await.expect("an answer"));
        if let Some(name) = name {
            recorder.keep(name).await;
        }
    }
    for (change, seconds, name) in [
        (Change::Fail { reason: REASON }, 110, "lane-failing"),
        (Change::Recover, 120, "lane-recovered"),
        (Change::Pause, 130, "paused"),
        (Change::Resume { off: false }, 140, "resumed-by-owner"),
        (Change::Purge, 150, "purged"),
        (Change::SwitchOff { reason: WANTS_NO_MORE }, 160, "lane-off"),
        (Change::Resume { off: true }, 170, "lane-on-again"),
    ] {
        assert!(state.change_state(id, &change, later(seconds)).await.expect("an answer").is_some(), "{name}");
        recorder.keep(name).await;
    }
    for name in ["limited", "masked"] {
        let of_name = |(known, _): &(String, Webhook)| *known == format!("webhook-{name}");
        let webhook = expected::webhooks().into_iter().find(of_name).expect("a webhook").1;
        state.put_webhook(&webhook).await.expect("a webhook");
        recorder.keep(name).await;
    }
}

async fn ending_webhooks(recorder: &mut Recorder) {
    let state = recorder.state.clone();
    let expiring = expected::webhooks().into_iter().find(|(name, _)| name == "webhook-to-expire").expect("a webhook").1;
    state.put_webhook(&expiring).await.expect("a webhook");
    recorder.keep("uncounted-to-expire").await;
    let expiry = expiring.settings.expires_at.expect("an expiry");
    for (name, kind) in [("warned", Kind::WebhookExpiring), ("expired", Kind::WebhookExpired)] {
        let noted = state.note_expiry(expiring.id, expiry, &expiry_notice(kind)).await.expect("an answer");
        assert!(noted.is_some());
        recorder.keep(&format!("uncounted-{name}")).await;
    }
}

async fn events(recorder: &mut Recorder) {
    for (name, (n, event, _)) in expected::recorded_by_slots() {
        record_at(recorder, n, &event).await;
        recorder.keep(&format!("numbered-as-text-{name}")).await;
    }
    for (name, (n, event, _)) in expected::recorded_updates() {
        record_at(recorder, n, &event).await;
        recorder.keep(&name).await;
    }
    let ended = EndedCall { at: now(), pbx: PBX, missed: true };
    assert_eq!(recorder.state.reserve(1, &[ended]).await.expect("a number"), 8);
    recorder.keep("counting").await;
    assert_eq!(recorder.state_later(3 * 3_600).move_closed_hours().await.expect("an answer"), 1);
    recorder.keep("counting-moved").await;
}

async fn record_at(recorder: &Recorder, n: u64, event: &CallEvent) {
    let mut writer = Writer::new(vec![None]);
    writer.give(n..n + 1);
    assert_eq!(recorder.state.reserve(1, &[]).await.expect("a number"), n);
    let sealed = message::seal(event).expect("JSON");
    let message = EventMessage::open(&sealed).expect("a message");
    recorder.state.settle(&mut writer, &[&message]).await.expect("it is recorded");
}

async fn deliveries(recorder: &mut Recorder) {
    for (name, (delivery, log)) in expected::logs() {
        let parked = ["earlier", "waiting", "unparked"].iter().any(|word| name.contains(word));
        if !parked {
            let item = recorder.state.log_item(&delivery.log_key(), &log).expect("an item");
            recorder.state.put_delivery_logs(vec![item]).await.expect("a log");
            recorder.keep(name.trim_start_matches("delivery-")).await;
        }
    }
}

#[tokio::test]
#[ignore = "it needs a table server, named by EASYCONNECT_RECORD_AT; see tests/transcripts/README.md"]
#[expect(clippy::print_stdout, reason = "whoever records wants to know what came of it")]
async fn record() {
    let endpoint = std::env::var("EASYCONNECT_RECORD_AT").expect("EASYCONNECT_RECORD_AT");
    let mut recorder = Recorder::start(&endpoint).await;
    tell(&mut recorder).await;
    println!("{} files are new", recorder.written);
    assert!(
        recorder.different.is_empty(),
        "today's code writes another content: keep these files, and give what is new another name: {:?}",
        recorder.different
    );
}

//! Every file is read by the code that reads it in production, as the value that was written.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::slice;

use jiff::civil::date;
use serde::de::DeserializeOwned;
use shared::command::{Command, Doorbell};
use shared::delivery::{Delivery, Message, Payload};
use shared::envelope;
use shared::event::CallEvent;
use shared::event::message::{EventMessage, EventTag};
use shared::queue::Outgoing;
use shared::tables::{Inserted, LiveCall, Order, Wanted, Window};
use shared::webhook::Secret;

use super::expected::{self, Named};
use super::values::*;
use super::{names, read, shelf};

/// What is left to read of a folder.
struct Files {
    of: &'static str,
    left: Vec<String>,
}

impl Files {
    fn of(of: &'static str) -> Self {
        Self { of, left: names(of) }
    }

    /// The values that are expected of the files of a kind. There has to be one for each; an item without a version and one of version 1
    /// are read as the same.
    fn take<T: Clone>(&mut self, kind: &str, expected: Named<T>) -> Vec<(String, T)> {
        let expected: BTreeMap<String, T> = expected.into_iter().collect();
        let (these, others) = std::mem::take(&mut self.left).into_iter().partition(|name| name.starts_with(kind));
        self.left = others;
        let these: Vec<String> = these;
        assert!(!these.is_empty(), "{}: there is no {kind}", self.of);
        let value = |name: String| {
            let value = expected.get(&without_version(&name));
            let value = value.unwrap_or_else(|| panic!("{}: nobody reads {name}", self.of)).clone();
            (name, value)
        };
        these.into_iter().map(value).collect()
    }
}

/// What a file would be called if its item did not say its version.
fn without_version(name: &str) -> String {
    name.replacen("-v1-", "-", 1)
}

impl Drop for Files {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || self.left.is_empty(), "{}: nobody reads {:?}", self.of, self.left);
    }
}

/// The messages of a queue, each with its group and how it is told from copies.
fn messages<T: Clone + DeserializeOwned + PartialEq + Debug>(
    of: &'static str,
    expected: Named<T>,
) -> Vec<(T, String, String)> {
    let read = |(name, expected): (String, T)| {
        let Outgoing { group, dedup, body } = message_of(of, &name);
        let message: T = envelope::open(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(message, expected, "{name}");
        (message, group, dedup)
    };
    Files::of(of).take("", expected).into_iter().map(read).collect()
}

fn message_of(of: &str, name: &str) -> Outgoing {
    let file = read(of, name);
    let text = |field: &str| file[field].as_str().unwrap_or_default().to_owned();
    Outgoing { group: text("group"), dedup: text("dedup"), body: text("body") }
}

#[test]
fn events_in_the_queue() {
    for (name, expected) in Files::of("events").take("", expected::events()) {
        let file = message_of("events", &name);
        let message = EventMessage::open(&file.body).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(message.tag, EventTag::from(&expected), "{name}");
        assert_eq!((file.group, file.dedup), (message.tag.group.to_string(), message.tag.dedup.to_string()), "{name}");
        // What is recorded of it, and what its receivers get.
        let body: CallEvent = serde_json::from_str(&message.body()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(body, expected, "{name}");
        let sent = message.delivery(webhook_id(1), None, NOW);
        let delivery: Delivery = envelope::open(&sent.body).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(delivery.payload, Payload::Call(Box::new(expected)), "{name}");
    }
}

#[test]
fn deliveries_in_the_queue() {
    // What is sent again has to be known as a copy.
    for (message, group, dedup) in messages::<Message>("deliveries", expected::deliveries()) {
        let named = match &message {
            Message::Delivery(delivery) => (delivery.group(), delivery.dedup()),
            // A call is never the same as another one, and a drain message is of the time before.
            Message::LaneCall(call) => (call.lane.to_string(), dedup.clone()),
            Message::Drain(drain) => {
                (format!("drain.{}", drain.drain), format!("drain#{}#{}", drain.drain, drain.since))
            }
        };
        assert_eq!((group, dedup), named);
    }
}

#[test]
fn doorbells_in_the_queue() {
    messages::<Doorbell>("commands", expected::doorbells());
}

#[tokio::test]
async fn items_of_the_exchange_table() {
    let mut files = Files::of("exchange");
    for (name, command) in files.take("command-", expected::commands()) {
        let exchange = shelf::exchange(&[&name]);
        assert_eq!(exchange.command(command.command_id).await.expect("a command"), Some(command.clone()), "{name}");
        // A repeat, which is made later, finds it by its refused write.
        let repeat = Command { created_at: command.created_at + 1, ..command.clone() };
        let known = match exchange.insert(&repeat).await.expect("an answer") {
            Inserted::Existing(known) => *known,
            Inserted::New => panic!("{name} was not there"),
        };
        assert_eq!(known, command, "{name}");
        let fresh = Command::queued(command.command_id, command.operation.clone(), KEY_ID, command.reach, now());
        assert_eq!(known.body_hash, fresh.body_hash, "{name}: a repeat has to be told from another request");
    }
    for (name, status) in files.take("agent-", expected::agents()) {
        let exchange = shelf::exchange(&[&name]);
        assert_eq!(exchange.known_agents().await.expect("agents"), slice::from_ref(&status), "{name}");
        let fresh = exchange.agents(later(20)).await.expect("agents");
        assert_eq!(fresh.len(), usize::from(without_version(&name) != "agent-gone"), "{name}");
    }
    for (name, leg) in files.take("leg-", expected::legs()) {
        assert_eq!(
            shelf::exchange(&[&name]).legs(PBX, USER, now()).await.expect("legs"),
            slice::from_ref(&leg),
            "{name}"
        );
        let spot = (leg.conference.as_str(), leg.direction);
        assert_eq!(shelf::exchange(&[&name]).leg(PBX, USER, spot, now()).await.expect("a leg"), Some(leg), "{name}");
    }
    let registered = [("pbx-registered", PBX), ("pbx-earlier", PBX)].map(|(name, pbx)| (name.to_owned(), pbx));
    for (name, pbx) in files.take("pbx-", registered.into()) {
        let slots = shelf::exchange(&[&name]).pbx_slots().await.expect("an answer");
        assert_eq!(slots.of(pbx), Some(1), "{name}");
    }
}

#[tokio::test]
async fn keys_and_what_was_done_with_them() {
    let mut files = Files::of("state");
    for (name, (n, key)) in files.take("apikey-", expected::keys()) {
        let state = shelf::state(&[&name]);
        let hash = hash(n);
        assert_eq!(state.api_key(&hash, now()).await.expect("a key"), Some(key.clone()), "{name}");
        assert_eq!(state.api_keys(now()).await.expect("keys"), slice::from_ref(&key), "{name}");
        assert_eq!(state.api_key_named(&hash.id(), now()).await.expect("a key"), Some((hash, key.clone())), "{name}");
        if key.expires_at.is_some() {
            assert_eq!(state.api_keys(later(91 * 86_400)).await.expect("keys"), [], "{name} has an end");
        }
    }
    let day = date(2026, 11, 27);
    for (name, entry) in files.take("audit-", expected::audit()) {
        let (found, next) = shelf::state(&[&name]).audit_of(day, None, 9).await.expect("the trail");
        assert_eq!((found.into_iter().map(|(_, entry)| entry).collect(), next), (vec![entry], None), "{name}");
    }
    let counts = [
        ("count-minute", ("requests#5d2c7a10b4f93e68", Window::Minute, 151)),
        ("count-hour", ("calls", Window::Hour, 3)),
        ("count-earlier", ("calls", Window::Hour, 3)),
    ];
    for (name, (what, window, total)) in
        files.take("count-", counts.map(|(name, count)| (name.to_owned(), count)).into())
    {
        assert_eq!(shelf::state(&[&name]).count(what, window, 1, now()).await.expect("counted"), total, "{name}");
    }
    let pairs = [("recent-pair", 2), ("recent-pair-later", 4)].map(|(name, total)| (name.to_owned(), total));
    for (name, total) in files.take("recent-", pairs.into()) {
        let state = shelf::state(&[&name]);
        let counted = state.count_recent("pair#+32472591687#42", 10, 1, later(240)).await.expect("counted");
        // The oldest is of half past, so it is forgotten at twenty to.
        assert_eq!(counted, (total, 420), "{name}");
    }
    let agents =
        [("agents-first", (true, 0)), ("agents-offline", (false, NOW + 60_000)), ("agents-earlier", (true, 0))];
    for (name, (online, since)) in files.take("agents-", agents.map(|(name, told)| (name.to_owned(), told)).into()) {
        let told = shelf::state(&[&name]).agents_are(None, online, later(90)).await.expect("noted");
        assert_eq!(told.as_millisecond(), since, "{name}");
    }
    files.left.clear(); // The others are read below.
}

#[tokio::test]
async fn webhooks() {
    let mut files = Files::of("state");
    for (name, webhook) in files.take("webhook-", expected::webhooks()) {
        let state = shelf::state(&[&name]);
        let found = state.webhook(webhook.id).await.expect("a webhook");
        assert_eq!(found.as_ref(), Some(&webhook), "{name}");
        assert_eq!(state.webhooks().await.expect("webhooks"), slice::from_ref(&webhook), "{name}");
        // A receiver that knows an earlier secret only still recognises what is sent.
        let known = |hours: i64| -> Vec<Secret> { webhook.secrets(later(hours * 3_600)).cloned().collect() };
        let secrets = match without_version(&name).replace("uncounted-", "").as_str() {
            "webhook-rotated" | "webhook-earlier-rotated" => [vec![secret(1), secret(0)], vec![secret(1)]],
            "webhook-rotated-twice" => [vec![secret(2), secret(1), secret(0)], vec![secret(2), secret(1)]],
            _ => [vec![secret(0)], vec![secret(0)]],
        };
        assert_eq!([known(0), known(24)], secrets, "{name}");
        let off = ["webhook-off", "webhook-earlier-off", "webhook-lane-off"].contains(&without_version(&name).as_str());
        assert_eq!(webhook.is_alive(now()), !off, "{name}");
        let ends = webhook.settings.expires_at.is_some();
        assert_eq!(webhook.is_alive(later(31 * 86_400)), !(off || ends), "{name}");
    }
    files.left.clear();
}

#[tokio::test]
async fn recorded_events_and_the_feed() {
    let mut files = Files::of("state");
    let prefixed = |kind: &str| -> Named<_> {
        expected::recorded().into_iter().map(|(name, value)| (format!("{kind}{name}"), value)).collect()
    };
    for (name, (n, event, _)) in files.take("call-", prefixed("call-")) {
        let (state, call) = (shelf::state(&[&name]), event.call_id());
        assert_eq!(state.call_events(call).await.expect("events"), slice::from_ref(&event), "{name}");
        let number = Some(n).filter(|_| name.contains("numbered"));
        assert_eq!(
            state.recorded(call, false).await.expect("sequences").statuses,
            [(event.sequence(), number)],
            "{name}"
        );
    }
    for (name, (_, event, _)) in files.take("update-", prefixed("update-")) {
        let revision = event.update.expect("an update").revision;
        let found = shelf::state(&[&name]).call_update(event.call_id(), revision).await.expect("an answer");
        assert_eq!(found, Some(event), "{name}");
    }
    for (name, (_, event, _)) in files.take("live-", prefixed("live-")) {
        let recorded = shelf::state(&[&name]).recorded(event.call_id(), true).await.expect("what is recorded");
        assert_eq!(recorded.live, LiveCall::after(&event), "{name}");
    }
    for (name, hours) in
        ["feed-head-counting", "hours-"].into_iter().flat_map(|of| files.take(of, expected::counting()))
    {
        let state = shelf::state(&[&name]);
        let n = if name.starts_with("hours-") { 0 } else { 7 };
        assert_eq!(state.feed_head().await.expect("a head").n, n, "{name}");
        assert_eq!(state.calls_by_hour(now(), now()).await.expect("hours"), hours, "{name}");
    }
    for (name, (n, ..)) in files.take("feed-head-", prefixed("feed-head-")) {
        let state = shelf::state(&[&name]);
        assert_eq!(state.feed_head().await.expect("a head").n, n, "{name}");
        assert_eq!(state.calls_by_hour(later(-86_400), now()).await.expect("hours"), [], "{name} counts nothing");
    }
    for (name, (n, event, recorded_at)) in files.take("feed-", prefixed("feed-")) {
        let named = |kind: &str| name.replacen("feed-", kind, 1);
        let head = without_version(&named("feed-head-"));
        let recorded = if event.update.is_some() { "update-" } else { "call-" };
        let state = shelf::state(&[&name, &head, &named(recorded)]);
        let head = state.feed_head().await.expect("a head");
        let part = state.feed(n - 1, 9, head).await.expect("entries");
        assert_eq!((part.cursor, part.waits), (n, false), "{name}");
        // Clocks may differ by five seconds.
        let at = |seconds: i64| shared::time::from_millis(recorded_at + seconds * 1_000);
        assert_eq!([5, 6].map(|seconds| part.entries[0].is_since(at(seconds))), [true, false], "{name}");
        assert_eq!(state.events_of(part.entries).await.expect("events"), slice::from_ref(&event), "{name}");
        let before = state.feed_before(n + 1, n - 1, 9).await.expect("entries");
        assert_eq!(state.events_of(before).await.expect("events"), slice::from_ref(&event), "{name}");
        // A slot may be filled up to a minute after others behind it.
        let since = async |seconds: i64| state.feed_since(at(seconds), n - 1, head).await.expect("a number");
        assert_eq!((since(60).await, since(61).await), (n - 1, n), "{name}");
    }
    files.left.clear();
}

#[tokio::test]
async fn deliveries_and_what_is_parked() {
    let mut files = Files::of("state");
    for (name, (delivery, log)) in files.take("delivery-", expected::logs()) {
        let (state, at) = (shelf::state(&[&name]), delivery.log_key());
        assert_eq!(state.delivery_log(&at).await.expect("a log"), Some(log.clone()), "{name}");
        let wanted = Wanted { at: at.clone(), with_log: true };
        let view = state.receivers(&[wanted]).await.expect("an answer").of(&at).expect("a view");
        assert_eq!((view.webhook, view.log), (None, Some(log.clone())), "{name}");
        let read = state.delivery_logs(at.webhook_id, Some(later(-1)), Order::OldestFirst, None, 9).await;
        assert_eq!(read.expect("logs"), (vec![(at, log)], None), "{name}");
    }
    for (name, delivery) in files.take("parked-", expected::parked()) {
        let found = shelf::state(&[&name]).parked(delivery.webhook_id, None, 9).await.expect("parked");
        let found: Vec<_> = found.parked.into_iter().map(|parked| (parked.key, parked.delivery)).collect();
        assert_eq!(found, [(delivery.park_key(), delivery)], "{name}");
    }
    files.left.clear();
}

/// The version of all webhooks, after each change of one.
const VERSIONS: &str = "webhooks-";

#[tokio::test]
async fn versions_of_all_webhooks() {
    let none = shelf::state(&[]).webhooks_version().await.expect("none");
    let names: Vec<String> = names("state").into_iter().filter(|name| name.starts_with(VERSIONS)).collect();
    for name in &names {
        let version = shelf::state(&[name]).webhooks_version().await.expect("a version");
        assert_ne!(version, none, "{name}");
    }
    assert!(names.len() > 9);
}

/// Each of the tests above takes kinds of its own, and together they take all.
#[test]
fn every_item_is_of_a_kind_that_is_read() {
    let read = [
        "apikey-",
        "audit-",
        "count-",
        "recent-",
        "agents-",
        "webhook-",
        "call-",
        "update-",
        "live-",
        "feed-",
        "delivery-",
        "parked-",
        "hours-",
    ];
    for name in names("state").into_iter().filter(|name| !name.starts_with(VERSIONS)) {
        assert!(read.iter().any(|kind| name.starts_with(kind)), "nobody reads {name}");
    }
}

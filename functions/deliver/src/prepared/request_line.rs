//! How long the request line of a webhook by GET becomes, whatever it is told.

use proptest::prelude::*;
use shared::delivery::{Delivery, Payload};
use shared::event::{CallEvent, ConferenceEvent, ConferenceEventKind, WebHookEvent};
use shared::notice::Notice;
use shared::rendering::query::{NAMES, REQUEST_LINE, query};
use shared::time::PublishedTime;
use shared::webhook::{Format, Kind, Method};
use standardwebhooks::Webhook as Signer;

use url::{Position, Url, form_urlencoded};

use super::Prepared;
use crate::boundary::Boundary;
use crate::failure::Failure;
use crate::sample;

/// The API takes no URL that is longer.
const LONGEST_URL: usize = 2_048;

fn happened(kind: ConferenceEventKind, name: &str) -> ConferenceEvent {
    ConferenceEvent {
        kind,
        time: PublishedTime(sample::now()),
        from: Some("42".to_owned()),
        from_name: Some(name.to_owned()),
        to: None,
        to_name: None,
        cause: None,
    }
}

fn event() -> WebHookEvent {
    let Payload::Call(event) = sample::delivery().payload else { panic!("a call") };
    event.web_hook_event
}

/// What a webhook by GET is asked, as bytes of the request line, and what was appended to its own query.
fn asked(own: &str, format: Format, payload: Payload) -> Result<(usize, Vec<(String, String)>), Failure> {
    let delivery = Delivery { payload, ..sample::delivery() };
    let mut webhook = sample::webhook(own, Method::Get);
    webhook.settings.format = format;
    let prepared = Prepared::new(&delivery, &webhook, &Boundary::default(), sample::now())?;
    let line = format!("GET {} HTTP/1.1\r\n", &prepared.url[Position::BeforePath..Position::AfterQuery]);
    let whole = prepared.url.query().expect("a query");
    let own: Url = own.parse().expect("a URL");
    let appended = match own.query() {
        None | Some("") => whole,
        Some(own) => &whole[own.len() + 1..],
    };
    // What is signed is what was appended, as it is sent.
    let signer = Signer::new(webhook.secret.expose()).expect("a secret");
    let signature = signer.sign(&prepared.id.to_string(), prepared.timestamp, appended.as_bytes());
    assert_eq!(prepared.signatures, signature.expect("a signature"));
    Ok((line.len(), form_urlencoded::parse(appended.as_bytes()).into_owned().collect()))
}

fn call(told: WebHookEvent) -> Payload {
    let Payload::Call(event) = sample::delivery().payload else { panic!("a call") };
    Payload::Call(Box::new(CallEvent { web_hook_event: told, ..*event }))
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_query_survives_every_character() {
    let mut event = event();
    event.from = "+32 472&to=1".to_owned();
    event.from_name = "Zoë \"50 %\" #1 'ü' 名前".to_owned();
    event.connected = true;
    event.conference_events = vec![happened(ConferenceEventKind::Held, "Zoë")];
    let text = query(&event.query_pairs());
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._*%&=".contains(&byte)), "{text}");
    let read: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    let written: Vec<(String, String)> =
        event.query_pairs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(read, written);
    assert!(text.contains("connected=yes"));
    // What is signed is what is sent, byte by byte.
    let mut url: Url = "https://example.com/".parse().expect("a URL");
    url.set_query(Some(&text));
    assert_eq!(url.query(), Some(text.as_str()));
}

#[test]
fn sixteen_holds_leave_the_latest_entries_and_say_how_many_went() {
    use ConferenceEventKind::{Held, Retrieved};
    let mut told = event();
    told.conference_events = [Held, Retrieved].repeat(16).into_iter().map(|kind| happened(kind, "Thomas")).collect();
    let (line, pairs) = asked("https://example.com/hook", Format::Easyconnect, call(told.clone())).expect("it fits");
    assert!(line < 4096, "{line}");
    let kept: Vec<ConferenceEvent> =
        serde_json::from_str(value(&pairs, "conferenceEvents").expect("entries")).expect("JSON");
    let omitted = told.conference_events.len() - kept.len();
    assert!(!kept.is_empty() && kept == told.conference_events[omitted..]);
    assert_eq!(value(&pairs, "conferenceEventsOmitted"), Some(omitted.to_string().as_str()));

    told.conference_events.truncate(4);
    let (_, pairs) = asked("https://example.com/hook", Format::Easyconnect, call(told)).expect("it fits");
    assert_eq!(value(&pairs, "conferenceEventsOmitted"), None, "nothing is said when nothing was left out");
}

#[test]
fn names_are_shortened_when_nothing_else_helps() {
    let own = format!("https://example.com/{}", "x".repeat(2_000));
    let mut told = event();
    told.from_name = "é".repeat(300);
    told.to_name = "Workshop".to_owned();
    let (line, pairs) = asked(&own, Format::Easyconnect, call(told)).expect("it fits");
    assert!(line < 4096, "{line}");
    assert_eq!(value(&pairs, "fromName"), Some(format!("{}…", "é".repeat(199)).as_str()));
    assert_eq!(value(&pairs, "toName"), Some("Workshop"));
    assert_eq!(value(&pairs, "from"), Some("00472591687"));
}

#[test]
fn an_address_without_room_is_refused_before_anything_is_sent() {
    for length in [3_900, 4_090, 5_000] {
        let own = format!("https://example.com/{}", "x".repeat(length));
        assert_eq!(asked(&own, Format::Easyconnect, call(event())), Err(Failure::TooLong), "{length}");
    }
}

fn any_entries() -> impl Strategy<Value = Vec<ConferenceEvent>> {
    let number = || prop::option::of("[0-9+*#]{0,30}");
    let name = || prop::option::of(any::<String>());
    let entry = (number(), name(), number(), name(), prop::option::of(any::<u16>())).prop_map(
        |(from, from_name, to, to_name, cause)| ConferenceEvent {
            from,
            from_name,
            to,
            to_name,
            cause,
            ..happened(ConferenceEventKind::Transferred, "")
        },
    );
    prop::collection::vec(entry, 0..60)
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-zé名]{0,600}"]
}

/// As the API stores it: parsed, and not longer than it allows.
fn any_url() -> impl Strategy<Value = String> {
    let length = prop_oneof![0..LONGEST_URL, LONGEST_URL - 40..LONGEST_URL];
    (length, any::<bool>()).prop_map(|(length, in_query)| {
        let begin = if in_query { "https://a.example/h?sig=" } else { "https://a.example/" };
        format!("{begin}{}", "x".repeat(length.saturating_sub(begin.len())))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_request_line_stays_below_its_bound(
        own in any_url(),
        entries in any_entries(),
        names in prop::array::uniform3(any_name()),
        numbers in prop::array::uniform2("[0-9+*#]{0,40}"),
        extended in any::<bool>(),
    ) {
        let mut told = event();
        told.conference_events = entries;
        let [from_name, to_name, user] = names;
        (told.from_name, told.to_name, told.monitiored_user) = (from_name, to_name, user.clone());
        told.monitored_user = user;
        let [from, to] = numbers;
        (told.from, told.to) = (from, to);
        let format = if extended { Format::Extended } else { Format::Easyconnect };
        let (line, pairs) = asked(&own, format, call(told.clone())).expect("there is always a way");
        prop_assert!(line < REQUEST_LINE, "{line}");

        let kept: Vec<ConferenceEvent> =
            serde_json::from_str(value(&pairs, "conferenceEvents").expect("entries")).expect("JSON");
        let omitted = told.conference_events.len() - kept.len();
        prop_assert_eq!(&kept, &told.conference_events[omitted..], "the oldest go");
        let said = (omitted > 0).then(|| omitted.to_string());
        prop_assert_eq!(value(&pairs, "conferenceEventsOmitted"), said.as_deref());
        // No entry goes for nothing.
        let whole = |(name, whole): &(&str, String)| value(&pairs, name) == Some(whole.as_str());
        let names_are_whole = told.query_pairs().iter().filter(|(name, _)| NAMES.contains(name)).all(whole);
        if let Some(next) = omitted.checked_sub(1).filter(|_| names_are_whole) {
            let one_more = query(&[("", serde_json::to_string(&told.conference_events[next..]).expect("JSON"))]).len();
            let these = query(&[("", serde_json::to_string(&kept).expect("JSON"))]).len();
            prop_assert!(line - these + one_more >= REQUEST_LINE - "&conferenceEventsOmitted=".len());
        }
        for (name, whole) in told.query_pairs() {
            let sent = value(&pairs, name).expect("every name is there");
            let shortened = NAMES.contains(&name) && omitted == told.conference_events.len();
            if name != "conferenceEvents" && sent != whole {
                prop_assert!(shortened, "{name}");
                prop_assert!(whole.starts_with(sent.strip_suffix('…').unwrap_or(sent)), "{name}: {sent}");
            }
        }
    }

    #[test]
    fn a_notice_fits_too(own in any_url(), message in any_name()) {
        let notice = Notice::new(Kind::WebhookFailing, sample::now(), message.clone(), None);
        let (line, pairs) = asked(&own, Format::Easyconnect, Payload::Notice(notice)).expect("there is always a way");
        prop_assert!(line < REQUEST_LINE, "{line}");
        let sent = value(&pairs, "message").expect("a message");
        prop_assert!(message.starts_with(sent.strip_suffix('…').unwrap_or(sent)));
    }

    /// Also where an agent tells what no PBX has: then nothing is sent.
    #[test]
    fn what_does_not_fit_is_not_sent(own in 0..6_000usize, number in 0..6_000usize) {
        let own = format!("https://a.example/{}", "x".repeat(own));
        let told = WebHookEvent { from: "1".repeat(number), ..event() };
        match asked(&own, Format::Extended, call(told)) {
            Ok((line, _)) => prop_assert!(line < REQUEST_LINE),
            Err(failure) => prop_assert_eq!(failure, Failure::TooLong),
        }
    }
}

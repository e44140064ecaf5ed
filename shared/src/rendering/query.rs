//! What is told as a query string, for webhooks by GET.
//!
//! Servers and gateways bound the request line, some at 4 KB, and answer a longer one with 414 however often it comes. So it stays
//! below that, whatever happened to the call: the oldest entries of `conferenceEvents` go first, as many as needed, and the query
//! says how many. If it is too long without any, names are shortened. Nothing else is: half a number is a wrong number.

use serde::Serialize;
use url::{Position, Url, form_urlencoded};

use crate::event::ConferenceEvent;

/// Bytes of `GET <path>?<query> HTTP/1.1` and its line break stay below this.
pub const REQUEST_LINE: usize = 4096;
const AROUND: usize = "GET ".len() + "?".len() + " HTTP/1.1\r\n".len();
const ENCODED_COMMA: usize = "%2C".len();
const CONFERENCE_EVENTS: &str = "conferenceEvents";
const OMITTED: &str = "conferenceEventsOmitted";
/// What is for people, and still tells them something when its end is missing.
pub const NAMES: [&str; 5] = ["fromName", "toName", "monitioredUser", "monitoredUser", "message"];
/// How many characters of a name are left, tried one after the other.
const SHORTER: [usize; 6] = [200, 100, 50, 25, 12, 0];

pub type Pair = (&'static str, String);

/// Appends the pairs to the URL's own query and returns what was appended; `None` if the URL leaves no room for them.
/// `conference_events` are those of the pairs.
pub(super) fn append(url: &mut Url, pairs: Vec<Pair>, conference_events: &[ConferenceEvent]) -> Option<String> {
    let own = match url.query() {
        None | Some("") => String::new(),
        Some(own) => format!("{own}&"),
    };
    let taken = AROUND + url[Position::BeforePath..Position::AfterPath].len() + own.len();
    let room = (REQUEST_LINE - 1).checked_sub(taken)?;
    let appended = fitted(pairs, conference_events, room)?;
    url.set_query(Some(&format!("{own}{appended}")));
    Some(appended)
}

/// The pairs in at most `room` bytes, if that is possible.
fn fitted(mut pairs: Vec<Pair>, conference_events: &[ConferenceEvent], room: usize) -> Option<String> {
    let fit = |pairs: &[Pair]| Some(query(pairs)).filter(|query| query.len() <= room);
    let whole = query(&pairs);
    if whole.len() <= room {
        return Some(whole);
    }
    let count = conference_events.len();
    if let Some(at) = pairs.iter().position(|(name, _)| *name == CONFERENCE_EVENTS).filter(|_| count > 0) {
        // Fewer are not enough for certain, so they are not even written.
        let mut gone = 0;
        let too_few = conference_events.iter().take_while(|entry| {
            gone += encoded(&json(entry)).len() + ENCODED_COMMA;
            whole.len() > room + gone
        });
        let least = (too_few.count() + 1).min(count);
        pairs.push((OMITTED, String::new()));
        for omitted in least..=count {
            pairs[at].1 = json(&conference_events[omitted..]);
            pairs.last_mut().expect("it has just been added").1 = omitted.to_string();
            if let Some(shorter) = fit(&pairs) {
                return Some(shorter);
            }
        }
    }
    SHORTER.into_iter().find_map(|longest| {
        pairs.iter_mut().filter(|(name, _)| NAMES.contains(name)).for_each(|(_, value)| shorten(value, longest));
        fit(&pairs)
    })
}

/// Cuts a text that has more characters; its last one then is `…`.
fn shorten(text: &mut String, longest: usize) {
    if text.chars().count() <= longest {
        return;
    }
    *text = text.chars().take(longest.saturating_sub(1)).collect();
    if longest > 0 {
        text.push('…');
    }
}

pub fn query(pairs: &[Pair]) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.push_str(&encoded(value));
    }
    query
}

/// A space is `%20`, which every receiver reads as one; `+` is not read so by all.
fn encoded(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).map(|part| if part == "+" { "%20" } else { part }).collect()
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("there are only text keys")
}

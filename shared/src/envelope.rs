//! Versioned envelopes for everything that waits in a queue: `{"v":1,…}`.
//!
//! A queue may hold yesterday's messages during a deploy, and tomorrow's after a roll-back. What this version cannot read
//! is an error that names the version, so that the caller keeps the message aside instead of dropping it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub const VERSION: u64 = 1;
/// How a text begins that [`seal`] has made of something with fields.
pub(crate) const PREFIX: &str = r#"{"v":1,"#;

#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the message is of version {0}, this program reads version {VERSION}")]
    UnknownVersion(u64),
    #[error("the message is about an event of the kind `{}`, which this program does not take", named(.0))]
    UnknownKind(String),
    #[error("the message is not a version {VERSION} envelope")]
    Malformed(#[from] serde_json::Error),
}

/// A kind as a log may show it. What is none, because somebody else has written it, may be anything.
fn named(kind: &str) -> &str {
    let is_name = kind.len() <= 40 && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.');
    if is_name { kind } else { "?" }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    v: u64,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Deserialize)]
struct Probe {
    v: u64,
}

/// SQS takes the characters of XML only and refuses a message with any other. JSON escapes control characters by itself; the two that
/// are left can be part of a name that some phone sends.
const NOT_FOR_QUEUES: [(char, &str); 2] = [('\u{FFFE}', "\\ufffe"), ('\u{FFFF}', "\\uffff")];

pub fn seal<T: Serialize>(body: &T) -> Result<String, serde_json::Error> {
    Ok(for_queues(serde_json::to_string(&Envelope { v: VERSION, body })?))
}

/// A JSON text with nothing in it that a queue would refuse.
pub(crate) fn for_queues(mut json: String) -> String {
    for (character, escaped) in NOT_FOR_QUEUES {
        if json.contains(character) {
            json = json.replace(character, escaped);
        }
    }
    json
}

pub fn open<T: DeserializeOwned>(text: &str) -> Result<T, EnvelopeError> {
    let Probe { v } = serde_json::from_str(text)?;
    if v != VERSION {
        return Err(EnvelopeError::UnknownVersion(v));
    }
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::event::CallEvent;
    use crate::event::tests::sample;

    #[test]
    fn an_event_survives_the_queue() {
        let text = seal(&sample()).expect("json");
        assert!(text.starts_with(r#"{"v":1,"#), "{text}");
        let back: CallEvent = open(&text).expect("an event");
        assert_eq!(back.event_id, sample().event_id);
        assert_eq!(back.web_hook_event.start_time.to_text(), sample().web_hook_event.start_time.to_text());
    }

    proptest! {
        #[test]
        fn every_text_passes_the_queue(name in any::<String>(), odd in "[\u{0}-\u{1F}\u{FFFD}-\u{10000}\"\\\\]*") {
            let body = json!({"name": name + &odd});
            let text = seal(&body).expect("json");
            let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
            prop_assert!(text.chars().all(allowed), "{text:?}");
            let back: Value = open(&text).expect("an envelope");
            prop_assert_eq!(&back["name"], &body["name"]);
        }
    }

    #[test]
    fn unknown_versions_and_garbage_are_told_apart() {
        assert!(matches!(open::<CallEvent>(r#"{"v":2,"event":{}}"#), Err(EnvelopeError::UnknownVersion(2))));
        assert!(matches!(open::<CallEvent>("{"), Err(EnvelopeError::Malformed(_))));
        assert!(matches!(open::<CallEvent>("{}"), Err(EnvelopeError::Malformed(_))));
    }
}

//! The log of requests: one line for each, so that two runs can be compared and a story can be read.

use std::fmt;
use std::time::Duration;

use serde_json::Value as Json;

/// A request and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Since the start of the cloud.
    pub at: Duration,
    /// Who asked.
    pub process: String,
    /// `DynamoDB.PutItem`, `SQS.SendMessage`.
    pub operation: String,
    /// The same for the same content.
    pub content: u64,
    /// `ok`, an error's code, or what became of the connection.
    pub outcome: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, process, operation, content, outcome } = self;
        write!(f, "{:>12.6} {process:<12} {operation:<36} {content:016x} {outcome}", at.as_secs_f64())
    }
}

/// FNV-1a.
pub(crate) fn fingerprint(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    bytes.into_iter().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The same for the same request, whatever order its fields came in. A token that the SDK draws itself is left out.
pub(crate) fn content(body: &Json) -> u64 {
    let mut text = String::new();
    canonical(body, &mut text);
    fingerprint(text.bytes())
}

fn canonical(json: &Json, out: &mut String) {
    match json {
        Json::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(name, _)| *name != "ClientRequestToken").collect();
            fields.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (name, value) in fields {
                out.push_str(name);
                out.push(':');
                canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Json::Array(values) => {
            out.push('[');
            for value in values {
                canonical(value, out);
                out.push(',');
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

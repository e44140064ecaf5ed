//! Bytes as names with values: the bodies and query strings that tools send, in JSON or form-encoded. What is not UTF-8, cannot be
//! read or stands twice in JSON is refused here; what the values mean is decided by their readers.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::errors::ApiError;
use crate::field_name::{FieldName, Source};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const SEND_UTF_8: &str =
    "Send the body as UTF-8; PowerShell does so with -ContentType 'application/json; charset=utf-8'.";

pub(crate) type Values = Map<String, Value>;

/// A body as text, without the byte order mark that some editors put in front.
pub(crate) fn text(body: &[u8]) -> Result<&str, ApiError> {
    let refused = |what: String| Err(ApiError::invalid(what).with_hint(SEND_UTF_8));
    if is_utf_16(body) {
        return refused("The body is UTF-16; it has to be UTF-8.".to_owned());
    }
    let start = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    match std::str::from_utf8(body) {
        Err(error) => {
            let at = error.valid_up_to();
            let byte = body[at];
            refused(format!(
                "The body is not UTF-8: the byte 0x{byte:02X} at offset {at} is of another encoding, such as Latin-1."
            ))
        }
        // The gateway replaces what it cannot read by this character.
        Ok(text) if text.contains(char::REPLACEMENT_CHARACTER) => {
            let at = text.find(char::REPLACEMENT_CHARACTER).unwrap_or_default();
            refused(format!(
                "The body is not UTF-8: what stands at offset {at} is of another encoding, such as Latin-1."
            ))
        }
        Ok(text) => Ok(text[start..].trim()),
    }
}

/// ASCII in UTF-16 has a zero in every second byte, which no other text has. The gateway may have replaced its byte order mark.
fn is_utf_16(body: &[u8]) -> bool {
    let body = body.strip_prefix("\u{fffd}\u{fffd}".as_bytes()).unwrap_or(body);
    matches!(body, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
        || matches!(body, [0, other, ..] | [other, 0, ..] if *other != 0)
}

/// A JSON value. A name that stands twice in one object is refused, because readers differ in which of the two they take.
pub(crate) fn json(text: &str) -> Result<Value, ApiError> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| ApiError::invalid(format!("The body is not valid JSON: {error}.")))?;
    match serde_json::from_str(text) {
        Ok(Twice(Some(name))) => Err(FieldName::new(Source::Json, &name).refuse("stands twice.")),
        _ => Ok(value),
    }
}

/// A form-encoded body or a query string. A name that stands more than once, or ends with `[]` as in PHP, has a list.
pub(crate) fn form(text: &str, source: Source) -> Result<Values, ApiError> {
    let mut values = Values::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().map(Cow::into_owned);
        let lossy = percent_decode_str(name).decode_utf8_lossy().into_owned();
        let (Ok(name), Ok(value)) = (decoded(name), decoded(value)) else {
            return Err(FieldName::new(source, &lossy).refuse("is not UTF-8, in which `é` is `%C3%A9`."));
        };
        let name = name.strip_suffix("[]").unwrap_or(&name);
        let value = Value::String(value);
        match values.get_mut(name) {
            None => {
                values.insert(name.to_owned(), value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Ok(values)
}

/// The first name that stands twice in one object, however deep.
struct Twice(Option<String>);

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FindTwice)
    }
}

struct FindTwice;

impl<'de> Visitor<'de> for FindTwice {
    type Value = Twice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Twice, A::Error> {
        let (mut names, mut found) = (HashSet::new(), None);
        while let Some((name, Twice(inner))) = map.next_entry::<String, Twice>()? {
            found = found.or(inner);
            if let Some(name) = names.replace(name) {
                found = found.or(Some(name));
            }
        }
        Ok(Twice(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Twice, A::Error> {
        let mut found = None;
        while let Some(Twice(inner)) = list.next_element()? {
            found = found.or(inner);
        }
        Ok(Twice(found))
    }

    fn visit_unit<E>(self) -> Result<Twice, E> {
        Ok(Twice(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Twice, E> {
        Ok(Twice(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Twice, E> {
        Ok(Twice(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Twice, E> {
        Ok(Twice(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Twice, E> {
        Ok(Twice(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Twice, E> {
        Ok(Twice(None))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn refused<T: fmt::Debug>(result: Result<T, ApiError>) -> String {
        result.expect_err("refused").message
    }

    #[test]
    fn other_encodings_are_named_with_the_place() {
        assert_eq!(text("\u{feff} {\"a\":\"é\"}\n".as_bytes()).expect("text"), r#"{"a":"é"}"#);
        assert_eq!(
            refused(text(b"{\"name\":\"Caf\xe9\"}")),
            "The body is not UTF-8: the byte 0xE9 at offset 12 is of another encoding, such as Latin-1."
        );
        // What the gateway makes of the same body.
        let replaced = refused(text("{\"name\":\"Caf\u{fffd}\"}".as_bytes()));
        assert_eq!(
            replaced,
            "The body is not UTF-8: what stands at offset 12 is of another encoding, such as Latin-1."
        );
        // A tool that means the character writes it in ASCII.
        let meant = json(text(br#"{"a":"\ufffd"}"#).expect("text")).expect("JSON");
        assert_eq!(meant, json!({"a": "\u{fffd}"}));
        for utf_16 in
            [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}", b"{\0}\0", b"\0{\0}", b"\xef\xbf\xbd\xef\xbf\xbd{\0}\0"]
        {
            assert_eq!(refused(text(utf_16)), "The body is UTF-16; it has to be UTF-8.");
        }
    }

    #[test]
    fn a_name_stands_once_in_an_object() {
        assert_eq!(refused(json(r#"{"from":"42","to":"50","from":"44"}"#)), "Field `from` stands twice.");
        assert_eq!(refused(json(r#"{"headers":[{"name":"a","name":"b"}]}"#)), "Field `name` stands twice.");
        assert!(json(r#"{"headers":[{"name":"a"},{"name":"b"}],"name":null}"#).is_ok());
    }

    #[test]
    fn forms_have_lists_under_repeated_names() {
        let values = form("to=%2B32+472&statuses=ringing&statuses=connected&&x[]=1&clir", Source::Form);
        let expected = json!({"to": "+32 472", "statuses": ["ringing", "connected"], "x": "1", "clir": ""});
        assert_eq!(values.map(Value::Object), Ok(expected));
        let message = "Field `name` is not UTF-8, in which `é` is `%C3%A9`.";
        assert_eq!(refused(form("to=1&name=Caf%E9", Source::Form)), message);
    }

    proptest! {
        #[test]
        fn forms_are_read_as_they_were_written(pairs in prop::collection::btree_map("[^\\[\\]]{0,8}", ".{0,8}", 0..5)) {
            let mut serializer = url::form_urlencoded::Serializer::new(String::new());
            let written = serializer.extend_pairs(&pairs).finish();
            let expected: Values = pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
            prop_assert_eq!(form(&written, Source::Form), Ok(expected));
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>, any_text: String) {
            if let Ok(text) = text(&bytes) {
                let _ = (json(text), form(text, Source::Query));
            }
            let _ = (text(any_text.as_bytes()), json(&any_text), form(&any_text, Source::Form));
        }
    }
}

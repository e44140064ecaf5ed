//! The fields of a JSON body, read one by one: the first problem is reported by the name of its field.

use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use shared::ids::CallId;
use shared::number::DialString;

use crate::errors::ApiError;

/// As long as the longest number.
const MAX_EXTENSION: usize = 32;

/// The fields of a body, none of them unknown.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn parse(body: &[u8], known: &[&str]) -> Result<Self, ApiError> {
        let takes = || known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        // Some editors put a byte order mark in front.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
        if body.is_empty() {
            return Err(ApiError::invalid(format!(
                "The body is empty; this operation takes a JSON object with {}.",
                takes()
            )));
        }
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::invalid(format!("The body is not valid JSON: {error}.")))?;
        if let Ok(Names(names)) = serde_json::from_slice(body)
            && let Some((_, name)) = names.iter().enumerate().find(|(n, name)| names[..*n].contains(name))
        {
            return Err(ApiError::invalid(format!("Field `{name}` stands twice.")));
        }
        let Value::Object(fields) = value else {
            return Err(ApiError::invalid(format!(
                "The body is {}; this operation takes a JSON object with {}.",
                kind(&value),
                takes()
            )));
        };
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let name: String = name.chars().take(64).collect();
                Err(ApiError::invalid(format!("Field `{name}` is unknown; this operation takes {}.", takes())))
            }
            None => Ok(Self(fields)),
        }
    }

    /// The names of the fields that have a value.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone()).collect()
    }

    /// A field's value; null is as good as absent.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn required(&self, name: &str) -> Result<&Value, ApiError> {
        match self.0.get(name) {
            None => Err(ApiError::invalid(format!("Field `{name}` is missing."))),
            Some(Value::Null) => Err(ApiError::invalid(format!("Field `{name}` is null; it is required."))),
            Some(value) => Ok(value),
        }
    }

    /// Reads a field that may be left out.
    pub(crate) fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Self, &str) -> Result<T, ApiError>,
    ) -> Result<Option<T>, ApiError> {
        if self.has(name) { read(self, name).map(Some) } else { Ok(None) }
    }

    /// Text of 1 to `longest` characters.
    pub(crate) fn text(&self, name: &str, longest: usize) -> Result<String, ApiError> {
        match self.required(name)? {
            Value::String(text) if (1..=longest).contains(&text.chars().count()) => Ok(text.clone()),
            Value::String(_) => {
                Err(ApiError::invalid(format!("Field `{name}` takes text of 1 to {longest} characters.")))
            }
            other => Err(wrong_kind(name, other, "text")),
        }
    }

    /// A flag that is `default` when it is left out.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong_kind(name, other, "true or false")),
        }
    }

    pub(crate) fn integer(&self, name: &str, least: i64, most: i64) -> Result<i64, ApiError> {
        let value = self.required(name)?;
        value.as_i64().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            let takes = format!("a whole number from {least} to {most}");
            if value.is_number() {
                ApiError::invalid(format!("Field `{name}` takes {takes}."))
            } else {
                wrong_kind(name, value, &takes)
            }
        })
    }

    /// Text, or the whole number that low-code tools make of an extension.
    fn number(&self, name: &str) -> Result<String, ApiError> {
        number(name, self.required(name)?)
    }

    pub(crate) fn extension(&self, name: &str) -> Result<String, ApiError> {
        extension(name, &self.number(name)?)
    }

    pub(crate) fn destination(&self, name: &str) -> Result<String, ApiError> {
        match DialString::parse(&self.number(name)?) {
            Ok(number) => Ok(number.as_str().to_owned()),
            Err(error) => Err(ApiError::invalid(format!("Field `{name}` {error}."))),
        }
    }

    /// Keys of a telephone, as many as can be pressed at once.
    pub(crate) fn digits(&self, name: &str, letters: bool) -> Result<String, ApiError> {
        let text = self.number(name)?;
        let valid = |c: char| c.is_ascii_digit() || "*#".contains(c) || (letters && ('A'..='D').contains(&c));
        if (1..=MAX_EXTENSION).contains(&text.len()) && text.chars().all(valid) {
            return Ok(text);
        }
        let keys = if letters { "digits, `*`, `#` and `A` to `D`" } else { "digits, `*` and `#`" };
        Err(ApiError::invalid(format!("Field `{name}` takes 1 to {MAX_EXTENSION} {keys}.")))
    }

    pub(crate) fn call_id(&self, name: &str) -> Result<CallId, ApiError> {
        match self.required(name)? {
            Value::String(text) => text.trim().parse().map_err(|_| {
                ApiError::invalid(format!("Field `{name}` must be a UUID, as MakeCall and the webhooks give it."))
            }),
            other => Err(ApiError::invalid(format!("Field `{name}` is {}; it takes text with a UUID.", kind(other)))),
        }
    }

    pub(crate) fn time(&self, name: &str) -> Result<Timestamp, ApiError> {
        let takes = "a time in ISO 8601 with its zone before 9999-12-30, such as 2027-01-31T00:00:00Z";
        match self.required(name)? {
            Value::String(text) => {
                text.trim().parse().map_err(|_| ApiError::invalid(format!("Field `{name}` takes {takes}.")))
            }
            other => Err(wrong_kind(name, other, takes)),
        }
    }

    /// A list, read entry by entry; left out or null, it is empty.
    pub(crate) fn list<T>(
        &self,
        name: &str,
        longest: usize,
        read: impl Fn(&str, &Value) -> Result<T, ApiError>,
    ) -> Result<Vec<T>, ApiError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) if list.len() <= longest => list.iter().map(|entry| read(name, entry)).collect(),
            Some(Value::Array(_)) => {
                Err(ApiError::invalid(format!("Field `{name}` takes a list of at most {longest} entries.")))
            }
            Some(other) => Err(wrong_kind(name, other, "a list")),
        }
    }
}

/// The names in an object as they stand there, also those that stand twice.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(NamesVisitor)
    }
}

/// The entry of a list as text.
pub(crate) fn entry_text<'a>(name: &str, entry: &'a Value) -> Result<&'a str, ApiError> {
    entry.as_str().ok_or_else(|| ApiError::invalid(format!("Field `{name}` has {}; it takes text.", kind(entry))))
}

/// The entry of a list as an extension.
pub(crate) fn entry_extension(name: &str, entry: &Value) -> Result<String, ApiError> {
    extension(name, &number(name, entry)?)
}

fn number(name: &str, value: &Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text.trim().to_owned()),
        Value::Number(number) if number.is_u64() => Ok(number.to_string()),
        other => Err(wrong_kind(name, other, "text with a number, such as \"42\"")),
    }
}

fn extension(name: &str, text: &str) -> Result<String, ApiError> {
    if text.is_empty() {
        return Err(ApiError::invalid(format!("Field `{name}` is empty; it takes the extension of a user or queue.")));
    }
    if !is_extension(text) {
        return Err(ApiError::invalid(format!(
            "Field `{name}` must be the extension of a user or queue: up to {MAX_EXTENSION} digits, `*` and `#`."
        )));
    }
    Ok(text.to_owned())
}

pub(crate) fn is_extension(text: &str) -> bool {
    let dialable = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'*' | b'#'));
    dialable && (1..=MAX_EXTENSION).contains(&text.len())
}

fn wrong_kind(name: &str, value: &Value, takes: &str) -> ApiError {
    ApiError::invalid(format!("Field `{name}` is {}; it takes {takes}.", kind(value)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[&str] = &["from", "to"];

    fn numbers(body: &str) -> Result<(String, String), String> {
        let parsed = Fields::parse(body.as_bytes(), FIELDS)
            .and_then(|fields| Ok((fields.extension("from")?, fields.destination("to")?)));
        parsed.map_err(|error| error.message)
    }

    fn accepts(body: &str, from: &str, to: &str) {
        assert_eq!(numbers(body), Ok((from.to_owned(), to.to_owned())), "{body}");
    }

    fn refuses(body: &str, message: &str) {
        assert_eq!(numbers(body), Err(message.to_owned()), "{body}");
    }

    #[test]
    fn numbers_come_as_people_and_tools_write_them() {
        accepts(r#"{"from":"77","to":"+32 (0)472/59.16.87"}"#, "77", "+32472591687");
        accepts("\u{feff} {\"from\":77,\"to\":50}\n", "77", "50");
        accepts(r##"{"from":" *7# ","to":"0472-591687"}"##, "*7#", "0472591687");
    }

    #[test]
    fn problems_are_named() {
        let takes = "this operation takes a JSON object with `from`, `to`.";
        refuses("", &format!("The body is empty; {takes}"));
        refuses("[1]", &format!("The body is a list; {takes}"));
        refuses("null", &format!("The body is null; {takes}"));
        refuses(r#"{"from":"42",}"#, "The body is not valid JSON: trailing comma at line 1 column 14.");
        refuses(r#"{"from":"42","too":"1"}"#, "Field `too` is unknown; this operation takes `from`, `to`.");
        refuses(r#"{"from":"42","to":"50","from":"44"}"#, "Field `from` stands twice.");
        refuses(r#"{"from":"42"}"#, "Field `to` is missing.");
        refuses(r#"{"from":null,"to":"1"}"#, "Field `from` is null; it is required.");
        refuses(r#"{"from":["42"],"to":"1"}"#, r#"Field `from` is a list; it takes text with a number, such as "42"."#);
        refuses(r#"{"from":4.2,"to":"1"}"#, r#"Field `from` is a number; it takes text with a number, such as "42"."#);
        refuses(r#"{"from":" ","to":"1"}"#, "Field `from` is empty; it takes the extension of a user or queue.");
        refuses(
            r#"{"from":"+3242","to":"1"}"#,
            "Field `from` must be the extension of a user or queue: up to 32 digits, `*` and `#`.",
        );
        refuses(r#"{"from":"42","to":""}"#, "Field `to` is empty.");
        refuses(
            r#"{"from":"42","to":"Thomas"}"#,
            "Field `to` contains `T`; use digits, `*`, `#`, an optional leading `+` and the separators space - . / ( ).",
        );
    }

    #[test]
    fn a_call_id_is_a_uuid() {
        let check = |body: &str, expected: Result<&str, &str>| {
            let id = Fields::parse(body.as_bytes(), &["CallId"]).and_then(|fields| fields.call_id("CallId"));
            let id = id.map(|id| id.to_string()).map_err(|error| error.message);
            assert_eq!(id, expected.map(str::to_owned).map_err(str::to_owned), "{body}");
        };
        let id = "6f1d0b0e-3c55-5a0f-9a5e-1f3f0a6f2b11";
        check(&format!(r#"{{"CallId":" {}"}}"#, id.to_uppercase()), Ok(id));
        check(r#"{"CallId":"7"}"#, Err("Field `CallId` must be a UUID, as MakeCall and the webhooks give it."));
        check(r#"{"CallId":7}"#, Err("Field `CallId` is a number; it takes text with a UUID."));
    }

    #[test]
    fn kinds_and_ranges_are_named() {
        let fields = |body: &str| Fields::parse(body.as_bytes(), &["x"]).expect("an object");
        let told = |error: ApiError| error.message;
        assert_eq!(fields(r#"{"x":null}"#).flag("x", true), Ok(true));
        assert_eq!(
            fields(r#"{"x":1}"#).flag("x", true).map_err(told),
            Err("Field `x` is a number; it takes true or false.".to_owned())
        );
        assert_eq!(fields(r#"{"x":16}"#).integer("x", 1, 127), Ok(16));
        let range = "Field `x` takes a whole number from 1 to 127.";
        assert_eq!(fields(r#"{"x":0}"#).integer("x", 1, 127).map_err(told), Err(range.to_owned()));
        assert_eq!(fields(r#"{"x":1.5}"#).integer("x", 1, 127).map_err(told), Err(range.to_owned()));
        assert_eq!(fields(r#"{"x":"12#A"}"#).digits("x", true), Ok("12#A".to_owned()));
        assert!(fields(r#"{"x":"12#A"}"#).digits("x", false).is_err());
        assert!(fields(r#"{"x":""}"#).text("x", 5).is_err() && fields(r#"{"x":"123456"}"#).text("x", 5).is_err());
        assert!(fields(r#"{"x":"2027-01-31"}"#).time("x").is_err());
        let list = fields(r#"{"x":["42",43]}"#).list("x", 2, entry_extension);
        assert_eq!(list, Ok(vec!["42".to_owned(), "43".to_owned()]));
        assert!(fields(r#"{"x":["42",43]}"#).list("x", 1, entry_extension).is_err());
    }
}

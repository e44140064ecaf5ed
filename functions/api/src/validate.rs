//! From request bodies to operations. The first problem is reported by the name of its field; nothing has been sent by then.

use serde_json::{Map, Value};
use shared::command::Operation;
use shared::ids::CallId;
use shared::number::DialString;

use crate::errors::ApiError;
use crate::request::Incoming;

/// As long as the longest number.
const MAX_EXTENSION: usize = 32;

pub(crate) fn make_call(request: &Incoming) -> Result<Operation, ApiError> {
    let fields = request.fields(&["from", "to"])?;
    Ok(Operation::MakeCall { from: fields.extension("from")?, to: fields.destination("to")? })
}

pub(crate) fn answer(request: &Incoming) -> Result<Operation, ApiError> {
    Ok(Operation::AnswerCall { call_id: request.fields(&["CallId"])?.call_id("CallId")? })
}

pub(crate) fn disconnect(request: &Incoming) -> Result<Operation, ApiError> {
    Ok(Operation::DisconnectCall { call_id: request.fields(&["CallId"])?.call_id("CallId")? })
}

pub(crate) fn transfer(request: &Incoming) -> Result<Operation, ApiError> {
    let fields = request.fields(&["CallIdA", "CallIdB"])?;
    let (call_id_a, call_id_b) = (fields.call_id("CallIdA")?, fields.call_id("CallIdB")?);
    if call_id_a == call_id_b {
        return Err(ApiError::invalid("Fields `CallIdA` and `CallIdB` name the same call; a transfer joins two."));
    }
    Ok(Operation::TransferCall { call_id_a, call_id_b })
}

pub(crate) fn call(request: &Incoming) -> Result<Operation, ApiError> {
    Ok(Operation::GetCall { call_id: request.path_id("CallId")? })
}

/// The fields of a body, none of them unknown.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn parse(body: &[u8], known: &'static [&'static str]) -> Result<Self, ApiError> {
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

    fn required(&self, name: &str) -> Result<&Value, ApiError> {
        match self.0.get(name) {
            None => Err(ApiError::invalid(format!("Field `{name}` is missing."))),
            Some(Value::Null) => Err(ApiError::invalid(format!("Field `{name}` is null; it is required."))),
            Some(value) => Ok(value),
        }
    }

    /// Text, or the whole number that low-code tools make of an extension.
    fn number(&self, name: &str) -> Result<String, ApiError> {
        match self.required(name)? {
            Value::String(text) => Ok(text.trim().to_owned()),
            Value::Number(number) if number.is_u64() => Ok(number.to_string()),
            other => Err(ApiError::invalid(format!(
                "Field `{name}` is {}; it takes text with a number, such as \"42\".",
                kind(other)
            ))),
        }
    }

    fn extension(&self, name: &str) -> Result<String, ApiError> {
        let text = self.number(name)?;
        if text.is_empty() {
            return Err(ApiError::invalid(format!(
                "Field `{name}` is empty; it takes the extension of a user or queue."
            )));
        }
        let dialable = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'*' | b'#'));
        if !dialable || text.len() > MAX_EXTENSION {
            return Err(ApiError::invalid(format!(
                "Field `{name}` must be the extension of a user or queue: up to {MAX_EXTENSION} digits, `*` and `#`."
            )));
        }
        Ok(text)
    }

    fn destination(&self, name: &str) -> Result<String, ApiError> {
        match DialString::parse(&self.number(name)?) {
            Ok(number) => Ok(number.as_str().to_owned()),
            Err(error) => Err(ApiError::invalid(format!("Field `{name}` {error}."))),
        }
    }

    fn call_id(&self, name: &str) -> Result<CallId, ApiError> {
        match self.required(name)? {
            Value::String(text) => text.trim().parse().map_err(|_| {
                ApiError::invalid(format!("Field `{name}` must be a UUID, as MakeCall and the webhooks give it."))
            }),
            other => Err(ApiError::invalid(format!("Field `{name}` is {}; it takes text with a UUID.", kind(other)))),
        }
    }
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
}

//! The fields of a control request, and how one is refused.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::switch::Refusal;

/// A control request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Stable word for programs.
    pub code: &'static str,
    /// Sentence for people; names the field.
    pub message: String,
}

impl Refused {
    /// 400: the field is missing or wrong.
    pub(crate) fn bad(field: &str, why: &str) -> Self {
        Self { status: 400, code: "bad_request", message: format!("`{field}` {why}") }
    }

    /// 404: the field names nothing.
    pub(crate) fn unknown(field: &str, why: &str) -> Self {
        Self { status: 404, code: "not_found", message: format!("`{field}`: {why}") }
    }

    /// 409: not at this moment.
    pub(crate) fn conflict(message: &str) -> Self {
        Self { status: 409, code: "not_possible", message: message.to_owned() }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.message)
    }
}

impl std::error::Error for Refused {}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::conflict(&refusal.to_string())
    }
}

/// The fields of a request. What is not taken is unknown, and refused before anything happens.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) Map<String, Value>);

impl Body {
    pub(crate) fn new(body: Value) -> Result<Self, Refused> {
        match body {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(Refused::bad("body", "must be a JSON object")),
        }
    }

    /// A field of any type; `null` counts as absent.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, field: &str) -> Result<Option<T>, Refused> {
        match self.0.remove(field).filter(|value| !value.is_null()) {
            Some(value) => {
                serde_json::from_value(value).map(Some).map_err(|err| Refused::bad(field, &format!("is wrong: {err}")))
            }
            None => Ok(None),
        }
    }

    /// A text; a number is taken by its digits.
    pub(crate) fn text(&mut self, field: &str) -> Result<Option<String>, Refused> {
        if let Some(Value::Number(number)) = self.0.get(field) {
            let digits = number.to_string();
            self.0.remove(field);
            return Ok(Some(digits));
        }
        Ok(self.take::<String>(field)?.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    pub(crate) fn required(&mut self, field: &str) -> Result<String, Refused> {
        self.text(field)?.ok_or_else(|| Refused::bad(field, "is missing"))
    }

    /// A number, also written as a string.
    pub(crate) fn number(&mut self, field: &str) -> Result<Option<u64>, Refused> {
        let wrong = |_| Refused::bad(field, "must be a whole number that is not negative");
        self.text(field)?.map(|text| text.parse().map_err(wrong)).transpose()
    }

    /// Call after the last field was taken.
    pub(crate) fn end(&self) -> Result<(), Refused> {
        match self.0.keys().next() {
            Some(field) => Err(Refused::bad(field, "is not a field of this command")),
            None => Ok(()),
        }
    }
}

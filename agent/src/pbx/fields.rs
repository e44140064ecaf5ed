//! The properties of a message, read as tolerantly as years of firmware demand: every one is optional, numbers may come as text and
//! text as numbers, arrays as single objects.

use serde_json::{Map, Value};

/// The properties of a JSON object, whatever types the firmware gave them.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Why a request was refused, if it was.
    pub(super) fn error(self) -> Option<String> {
        let told = |name| self.text(name).filter(|error| !matches!(error.as_str(), "" | "0"));
        told("errorText").or_else(|| told("error"))
    }

    pub(super) fn text(self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    pub(super) fn number(self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(super) fn flag(self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_i64() == Some(1),
            Some(Value::String(text)) => text == "true" || text == "1",
            _ => false,
        }
    }

    pub(super) fn object(self, name: &str) -> Option<Fields<'a>> {
        self.0.get(name)?.as_object().map(Fields)
    }

    pub(super) fn has(self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// An array of objects, or the one object that stands in its place.
    pub(super) fn list(self, name: &str) -> impl Iterator<Item = Fields<'a>> {
        let one = self.object(name);
        let many = self.0.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        one.into_iter().chain(many.iter().filter_map(Value::as_object).map(Fields))
    }
}

//! The readers of values. A body in JSON, a form and a query string say the same in different ways, and tools make text of numbers
//! and numbers of text; so every value is read here, wherever it stands. A meaning that is certain is taken, whatever its spelling;
//! everything else is refused by the name of its place.

mod numbers;
mod times;

use std::borrow::Cow;

use serde_json::{Number, Value};
use shared::ids::CallId;

use crate::body::Values;
use crate::errors::ApiError;
use crate::field_name::{FieldName, Source, shown};

const LONGEST_CHOICE: usize = 256;
/// Up to here every whole number has a floating-point number of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// `on` is what the browser sends of a checkbox.
const FLAGS: [(&str, bool); 8] = [
    ("true", true),
    ("false", false),
    ("yes", true),
    ("no", false),
    ("on", true),
    ("off", false),
    ("1", true),
    ("0", false),
];

/// A value that a request gives, neither null nor empty where it may be left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    pub(crate) place: FieldName<'a>,
    value: &'a Value,
}

impl<'a> Given<'a> {
    pub(crate) fn new(place: FieldName<'a>, value: &'a Value) -> Self {
        Self { place, value }
    }

    /// Text as it stands there, or a whole number as people write it.
    fn written(self, takes: &str) -> Result<Cow<'a, str>, ApiError> {
        let number = match self.value {
            Value::String(text) => return Ok(Cow::Borrowed(text)),
            Value::Number(number) => whole(number),
            _ => None,
        };
        number.map(Cow::Owned).ok_or_else(|| self.wrong_kind(takes))
    }

    /// Text of 1 to `longest` characters.
    pub(crate) fn text(self, longest: usize) -> Result<Cow<'a, str>, ApiError> {
        let text = self.written("text")?;
        if (1..=longest).contains(&text.chars().count()) {
            Ok(text)
        } else {
            Err(self.place.refuse(format_args!("takes text of 1 to {longest} characters.")))
        }
    }

    pub(crate) fn flag(self) -> Result<bool, ApiError> {
        let takes = "true or false";
        match self.value {
            Value::Bool(flag) => Ok(*flag),
            _ => {
                let text = self.written(takes)?;
                find(&text, &FLAGS)
                    .ok_or_else(|| self.place.refuse(format_args!("has `{}`; it takes {takes}.", shown(&text))))
            }
        }
    }

    pub(crate) fn integer(self, least: i64, most: i64) -> Result<i64, ApiError> {
        let takes = format!("a whole number from {least} to {most}");
        let text = match self.value {
            Value::Number(number) => whole(number).map(Cow::Owned).unwrap_or_default(),
            _ => self.written(&takes)?,
        };
        let number = text.trim().parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| self.place.refuse(format_args!("takes {takes}.")))
    }

    pub(crate) fn call_id(self) -> Result<CallId, ApiError> {
        match self.value {
            Value::String(text) => text
                .trim()
                .parse()
                .map_err(|_| self.place.refuse("must be a UUID, as MakeCall and the webhooks give it.")),
            _ => Err(self.wrong_kind("text with a UUID")),
        }
    }

    /// The value of a name, whatever its case.
    pub(crate) fn choice<T: Copy>(self, known: &[(&str, T)]) -> Result<T, ApiError> {
        let text = self.text(LONGEST_CHOICE)?;
        find(&text, known).ok_or_else(|| {
            let names: Vec<String> = known.iter().map(|(known, _)| format!("`{known}`")).collect();
            self.place.refuse(format_args!("has `{}`; it takes {}.", shown(&text), names.join(", ")))
        })
    }

    /// A list, read entry by entry: one in JSON, a name that stands more than once, text with commas, or one value. Entries that
    /// are empty are none.
    pub(crate) fn list<T>(
        self,
        longest: usize,
        read: impl Fn(Given<'_>) -> Result<T, ApiError>,
    ) -> Result<Vec<T>, ApiError> {
        let split = |text: &str| -> Vec<Cow<'a, Value>> {
            text.split(',').map(|part| Cow::Owned(Value::String(part.trim().to_owned()))).collect()
        };
        let entries: Vec<Cow<'a, Value>> = match self.value {
            Value::Array(list) if self.place.source == Source::Json => list.iter().map(Cow::Borrowed).collect(),
            Value::Array(list) => list.iter().filter_map(Value::as_str).flat_map(split).collect(),
            Value::String(text) => split(text),
            Value::Number(_) => vec![Cow::Borrowed(self.value)],
            _ => return Err(self.wrong_kind("a list")),
        };
        let all = entries.len();
        let entries: Vec<_> = entries.into_iter().filter(|entry| !is_blank(entry)).collect();
        if entries.is_empty() && all > 0 {
            return Err(self.place.refuse("has nothing between its commas."));
        }
        if entries.len() > longest {
            return Err(self.place.refuse(format_args!("takes a list of at most {longest} entries.")));
        }
        entries.iter().map(|entry| read(Given::new(self.place, entry))).collect()
    }

    pub(crate) fn object(self) -> Option<&'a Values> {
        self.value.as_object()
    }

    /// The text of a query parameter, as it stands there.
    pub(crate) fn parameter(self) -> Result<&'a str, ApiError> {
        self.value.as_str().ok_or_else(|| self.wrong_kind("text"))
    }

    fn wrong_kind(self, takes: &str) -> ApiError {
        match (self.place.source, self.value) {
            (Source::Form | Source::Query, Value::Array(_)) => self.place.refuse("stands twice."),
            _ => self.place.refuse(format_args!("is {}; it takes {takes}.", kind(self.value))),
        }
    }
}

/// Reads an entry of a list of extensions.
pub(crate) fn extension(entry: Given<'_>) -> Result<String, ApiError> {
    entry.extension()
}

/// Whether a value is what tools send for a field that was left empty: text without content, or a list of nothing else.
pub(crate) fn is_blank(value: &Value) -> bool {
    match value {
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => !list.is_empty() && list.iter().all(is_blank),
        _ => false,
    }
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The number without a fraction, also if a tool writes it as `10.0`; `None` where it has one, or may have lost digits.
pub(crate) fn whole(number: &Number) -> Option<String> {
    if number.is_i64() || number.is_u64() {
        return Some(number.to_string());
    }
    let number = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < EXACT)?;
    Some((number as i64).to_string())
}

fn find<T: Copy>(text: &str, known: &[(&str, T)]) -> Option<T> {
    known.iter().find(|(known, _)| known.eq_ignore_ascii_case(text.trim())).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests;

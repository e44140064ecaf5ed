//! Attribute values: DynamoDB's JSON in and out, their sizes and their order.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use crate::error::{Answer, ApiError};
use crate::number::Number;

/// Deeper documents are refused.
const DEPTH: usize = 32;
/// What a list or map takes itself, and each of its elements on top.
const DOCUMENT_SIZE: usize = 3;
const ELEMENT_SIZE: usize = 1;

pub(crate) type Attributes = BTreeMap<String, Value>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    S(String),
    N(Number),
    B(Vec<u8>),
    Bool(bool),
    Null,
    L(Vec<Value>),
    M(Attributes),
    Ss(BTreeSet<String>),
    Ns(BTreeSet<Number>),
    Bs(BTreeSet<Vec<u8>>),
}

impl Value {
    fn parse_at(json: &Json, depth: usize) -> Answer<Self> {
        let Json::Object(typed) = json else { return Err(ApiError::unreadable("a value is not an object")) };
        if typed.len() > 1 {
            return Err(ApiError::validation(
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
            ));
        }
        let Some((kind, value)) = typed.iter().next() else {
            return Err(ApiError::validation(
                "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
            ));
        };
        if depth == 0 {
            return Err(ApiError::validation("Nesting Levels have exceeded supported limits"));
        }
        Ok(match (kind.as_str(), value) {
            ("S", Json::String(text)) => Self::S(text.clone()),
            ("N", Json::String(text)) => Self::N(parse_number(text)?),
            ("B", Json::String(text)) => Self::B(parse_binary(text)?),
            ("BOOL", Json::Bool(value)) => Self::Bool(*value),
            ("NULL", Json::Bool(true)) => Self::Null,
            ("NULL", Json::Bool(false)) => {
                return Err(ApiError::validation(
                    "One or more parameter values were invalid: Null attribute value types must have the value of true",
                ));
            }
            ("L", Json::Array(values)) => {
                Self::L(values.iter().map(|value| Self::parse_at(value, depth - 1)).collect::<Answer<_>>()?)
            }
            ("M", Json::Object(fields)) => Self::M(parse_attributes(fields, depth - 1)?),
            ("SS", Json::Array(values)) => Self::Ss(parse_set(values, "string", |text| Ok(text.to_owned()))?),
            ("NS", Json::Array(values)) => Self::Ns(parse_set(values, "number", parse_number)?),
            ("BS", Json::Array(values)) => Self::Bs(parse_set(values, "binary", parse_binary)?),
            _ => return Err(ApiError::unreadable(format_args!("a value of type {kind}"))),
        })
    }

    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::S(text) => json!({"S": text}),
            Self::N(number) => json!({"N": number.to_string()}),
            Self::B(bytes) => json!({"B": STANDARD.encode(bytes)}),
            Self::Bool(value) => json!({"BOOL": value}),
            Self::Null => json!({"NULL": true}),
            Self::L(values) => json!({"L": values.iter().map(Self::to_json).collect::<Vec<_>>()}),
            Self::M(fields) => json!({"M": attributes_to_json(fields)}),
            Self::Ss(values) => json!({"SS": values}),
            Self::Ns(values) => json!({"NS": values.iter().map(ToString::to_string).collect::<Vec<_>>()}),
            Self::Bs(values) => json!({"BS": values.iter().map(|bytes| STANDARD.encode(bytes)).collect::<Vec<_>>()}),
        }
    }

    /// The name of the type in requests, answers and errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::S(_) => "S",
            Self::N(_) => "N",
            Self::B(_) => "B",
            Self::Bool(_) => "BOOL",
            Self::Null => "NULL",
            Self::L(_) => "L",
            Self::M(_) => "M",
            Self::Ss(_) => "SS",
            Self::Ns(_) => "NS",
            Self::Bs(_) => "BS",
        }
    }

    /// Bytes that count for limits and for what a request costs.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::N(number) => number.size(),
            Self::B(bytes) => bytes.len(),
            Self::Bool(_) | Self::Null => 1,
            Self::L(values) => DOCUMENT_SIZE + values.iter().map(|value| ELEMENT_SIZE + value.size()).sum::<usize>(),
            Self::M(fields) => DOCUMENT_SIZE + fields.len() * ELEMENT_SIZE + size(fields),
            Self::Ss(values) => values.iter().map(String::len).sum(),
            Self::Ns(values) => values.iter().map(|number| number.size()).sum(),
            Self::Bs(values) => values.iter().map(Vec::len).sum(),
        }
    }

    /// What `size()` says in an expression; none where it is not defined.
    pub(crate) fn length(&self) -> Option<usize> {
        match self {
            Self::S(text) => Some(text.len()),
            Self::B(bytes) => Some(bytes.len()),
            Self::L(values) => Some(values.len()),
            Self::M(fields) => Some(fields.len()),
            Self::Ss(values) => Some(values.len()),
            Self::Ns(values) => Some(values.len()),
            Self::Bs(values) => Some(values.len()),
            Self::N(_) | Self::Bool(_) | Self::Null => None,
        }
    }

    /// The order of texts, numbers and bytes; none between or for other types.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::S(a), Self::S(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Self::N(a), Self::N(b)) => Some(a.cmp(b)),
            (Self::B(a), Self::B(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

fn parse_number(text: &str) -> Answer<Number> {
    Number::parse(text).map_err(|error| ApiError::validation(error.to_string()))
}

fn parse_binary(text: &str) -> Answer<Vec<u8>> {
    STANDARD.decode(text).map_err(ApiError::unreadable)
}

fn parse_set<T: Ord>(values: &[Json], what: &str, parse: impl Fn(&str) -> Answer<T>) -> Answer<BTreeSet<T>> {
    if values.is_empty() {
        return Err(ApiError::validation(format!(
            "One or more parameter values were invalid: An {what} set  may not be empty"
        )));
    }
    let mut set = BTreeSet::new();
    for value in values {
        let text = value.as_str().ok_or_else(|| ApiError::unreadable("an element of a set is not a text"))?;
        if !set.insert(parse(text)?) {
            return Err(ApiError::validation(
                "One or more parameter values were invalid: Input collection contains duplicates.",
            ));
        }
    }
    Ok(set)
}

fn parse_attributes(fields: &Map<String, Json>, depth: usize) -> Answer<Attributes> {
    fields.iter().map(|(name, value)| Ok((name.clone(), Value::parse_at(value, depth)?))).collect()
}

/// The attributes of an item, or the values of placeholders.
pub(crate) fn attributes(fields: &Map<String, Json>) -> Answer<Attributes> {
    parse_attributes(fields, DEPTH)
}

pub(crate) fn attributes_to_json(attributes: &Attributes) -> Json {
    Json::Object(attributes.iter().map(|(name, value)| (name.clone(), value.to_json())).collect())
}

/// The size of an item.
pub(crate) fn size(attributes: &Attributes) -> usize {
    attributes.iter().map(|(name, value)| name.len() + value.size()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_back() {
        let item = json!({"M": {"s": {"S": "é"}, "n": {"N": "-1.5"}, "b": {"B": "AQI="}, "l": {"L": [{"BOOL": false}]},
            "z": {"NULL": true}, "set": {"SS": ["a", "b"]}, "ns": {"NS": ["1", "2"]}, "bs": {"BS": ["AQ=="]}}});
        assert_eq!(Value::parse_at(&item, DEPTH).expect("a value").to_json(), item);
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for wrong in [json!({}), json!({"S": "a", "N": "1"}), json!({"SS": []}), json!({"NS": ["1", "1.0"]})] {
            assert_eq!(Value::parse_at(&wrong, DEPTH).expect_err("refused").code, "ValidationException", "{wrong}");
        }
        let deep = (0..DEPTH).fold(json!({"S": ""}), |inner, _| json!({"L": [inner]}));
        assert_eq!(Value::parse_at(&deep, DEPTH).expect_err("refused").code, "ValidationException");
    }

    #[test]
    fn sizes_are_those_of_the_documentation() {
        let item = attributes(
            json!({"pk": {"S": "ab"}, "n": {"N": "123"}, "l": {"L": [{"S": "x"}]}}).as_object().expect("an object"),
        );
        // pk 2+2, n 1+3, l 1+3+1+1
        assert_eq!(size(&item.expect("an item")), 14);
    }
}

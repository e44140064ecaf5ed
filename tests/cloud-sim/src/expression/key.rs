//! Key conditions: one partition, and a range of its sort keys.

use std::cmp::Ordering;

use super::condition::{Condition, Operand};
use super::placeholders::Placeholders;
use crate::error::{Answer, ApiError};
use crate::value::Value;

#[derive(Clone, Debug)]
pub(crate) struct KeyCondition {
    pub(crate) partition: Value,
    pub(crate) sort: Option<SortCondition>,
}

#[derive(Clone, Debug)]
pub(crate) enum SortCondition {
    Compare(&'static str, Value),
    Between(Value, Value),
    BeginsWith(Value),
}

impl KeyCondition {
    /// For a table whose keys have these names.
    pub(crate) fn parse(
        text: &str,
        placeholders: &Placeholders,
        partition_key: &str,
        sort_key: Option<&str>,
    ) -> Answer<Self> {
        const KIND: &str = "KeyConditionExpression";
        let mut parts = Vec::new();
        flatten(Condition::parse(KIND, text, placeholders)?, &mut parts)?;
        let (mut partition, mut sort) = (None, None);
        for part in parts {
            let (name, condition) = part;
            let place = if name == partition_key {
                &mut partition
            } else if Some(name.as_str()) == sort_key {
                &mut sort
            } else {
                return Err(ApiError::validation(format!(
                    "Query condition missed key schema element: {partition_key}"
                )));
            };
            if place.replace(condition).is_some() {
                return Err(ApiError::validation("KeyConditionExpressions must only contain one condition per key"));
            }
        }
        let partition = match partition {
            Some(SortCondition::Compare("=", value)) => value,
            Some(_) => return Err(ApiError::validation("Query key condition not supported")),
            None => {
                return Err(ApiError::validation(format!(
                    "Query condition missed key schema element: {partition_key}"
                )));
            }
        };
        if matches!(sort, Some(SortCondition::Compare("<>", _))) {
            return Err(ApiError::validation(
                "Invalid KeyConditionExpression: Unsupported operator in KeyConditionExpression; operator: <>",
            ));
        }
        Ok(Self { partition, sort })
    }
}

fn flatten(condition: Condition, parts: &mut Vec<(String, SortCondition)>) -> Answer<()> {
    let unsupported =
        |what: &str| ApiError::validation(format!("Invalid operator used in KeyConditionExpression: {what}"));
    let attribute = |operand: Operand| match operand {
        Operand::Path(path) if path.is_attribute() => Ok(path.attribute().to_owned()),
        Operand::Path(_) => Err(ApiError::validation(
            "Invalid KeyConditionExpression: KeyConditionExpressions cannot have conditions on nested attributes",
        )),
        _ => Err(unsupported("size or a value in place of a key")),
    };
    let literal = |operand: Operand| match operand {
        Operand::Literal(value) => Ok(value),
        _ => Err(ApiError::validation(
            "Invalid KeyConditionExpression: KeyConditionExpressions must compare a key with a value",
        )),
    };
    match condition {
        Condition::And(a, b) => {
            flatten(*a, parts)?;
            flatten(*b, parts)?;
        }
        Condition::Compare(Operand::Literal(value), comparator, key) => {
            let turned = match comparator {
                "<" => ">",
                "<=" => ">=",
                ">" => "<",
                ">=" => "<=",
                same => same,
            };
            parts.push((attribute(key)?, SortCondition::Compare(turned, value)));
        }
        Condition::Compare(key, comparator, value) => {
            parts.push((attribute(key)?, SortCondition::Compare(comparator, literal(value)?)));
        }
        Condition::Between(key, low, high) => {
            parts.push((attribute(key)?, SortCondition::Between(literal(low)?, literal(high)?)));
        }
        Condition::BeginsWith(key, start) => {
            parts.push((attribute(key)?, SortCondition::BeginsWith(literal(start)?)));
        }
        Condition::Or(..) => return Err(unsupported("OR")),
        Condition::Not(_) => return Err(unsupported("NOT")),
        Condition::In(..) => return Err(unsupported("IN")),
        Condition::Exists(_) => return Err(unsupported("attribute_exists")),
        Condition::NotExists(_) => return Err(unsupported("attribute_not_exists")),
        Condition::HasType(..) => return Err(unsupported("attribute_type")),
        Condition::Contains(..) => return Err(unsupported("contains")),
    }
    Ok(())
}

impl SortCondition {
    pub(crate) fn holds(&self, key: &Value) -> bool {
        let order = |value: &Value| key.order(value);
        match self {
            Self::Compare("=", value) => key == value,
            Self::Compare("<", value) => order(value) == Some(Ordering::Less),
            Self::Compare("<=", value) => order(value).is_some_and(Ordering::is_le),
            Self::Compare(">", value) => order(value) == Some(Ordering::Greater),
            Self::Compare(_, value) => order(value).is_some_and(Ordering::is_ge),
            Self::Between(low, high) => {
                order(low).is_some_and(Ordering::is_ge) && order(high).is_some_and(Ordering::is_le)
            }
            Self::BeginsWith(start) => match (key, start) {
                (Value::S(key), Value::S(start)) => key.starts_with(start.as_str()),
                (Value::B(key), Value::B(start)) => key.starts_with(start),
                _ => false,
            },
        }
    }

    pub(crate) fn values(&self) -> Vec<&Value> {
        match self {
            Self::Compare(_, value) | Self::BeginsWith(value) => vec![value],
            Self::Between(low, high) => vec![low, high],
        }
    }
}

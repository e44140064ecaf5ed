//! `#name` and `:value`: what they stand for, and whether each was used.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use crate::error::{Answer, ApiError};
use crate::value::{Attributes, Value, attributes};

#[derive(Debug, Default)]
pub(crate) struct Placeholders {
    names: BTreeMap<String, String>,
    values: Attributes,
    used: RefCell<BTreeSet<String>>,
}

impl Placeholders {
    /// `expressions`: whether the request has one that they could stand in.
    pub(crate) fn new(
        names: Option<BTreeMap<String, String>>,
        values: Option<&Map<String, Json>>,
        expressions: bool,
    ) -> Answer<Self> {
        for (field, is_there, is_empty) in [
            ("ExpressionAttributeNames", names.is_some(), names.as_ref().is_some_and(BTreeMap::is_empty)),
            ("ExpressionAttributeValues", values.is_some(), values.is_some_and(Map::is_empty)),
        ] {
            if is_there && !expressions {
                return Err(ApiError::validation(format!("{field} can only be specified when using expressions")));
            }
            if is_empty {
                return Err(ApiError::validation(format!("{field} must not be empty")));
            }
        }
        let (names, values) = (names.unwrap_or_default(), values.map(attributes).transpose()?.unwrap_or_default());
        let wrong = |name: &String, mark| !name.starts_with(mark) || name.len() < 2;
        for (field, wrong) in [
            ("ExpressionAttributeNames", names.keys().find(|name| wrong(name, '#'))),
            ("ExpressionAttributeValues", values.keys().find(|name| wrong(name, ':'))),
        ] {
            if let Some(key) = wrong {
                return Err(ApiError::validation(format!(
                    "{field} contains invalid key: Syntax error; key: \"{key}\""
                )));
            }
        }
        Ok(Self { names, values, used: RefCell::default() })
    }

    pub(super) fn name(&self, placeholder: &str) -> Option<&str> {
        self.used.borrow_mut().insert(placeholder.to_owned());
        self.names.get(placeholder).map(String::as_str)
    }

    pub(super) fn value(&self, placeholder: &str) -> Option<&Value> {
        self.used.borrow_mut().insert(placeholder.to_owned());
        self.values.get(placeholder)
    }

    /// After all expressions were read: AWS refuses what nothing refers to.
    pub(crate) fn check_used(&self) -> Answer<()> {
        let used = self.used.borrow();
        for (field, keys) in [
            ("ExpressionAttributeNames", self.names.keys().collect::<Vec<_>>()),
            ("ExpressionAttributeValues", self.values.keys().collect()),
        ] {
            let unused: Vec<&str> = keys.into_iter().filter(|key| !used.contains(*key)).map(String::as_str).collect();
            if !unused.is_empty() {
                let unused = unused.join(", ");
                return Err(ApiError::validation(format!(
                    "Value provided in {field} unused in expressions: keys: {{{unused}}}"
                )));
            }
        }
        Ok(())
    }
}

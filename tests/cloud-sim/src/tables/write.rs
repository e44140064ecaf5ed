//! One write of one item: put, update, delete, or only a check of its condition.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::requests::WriteItem;
use super::store::{ItemKey, Store};
use super::units;
use crate::error::{Answer, ApiError};
use crate::expression::{Condition, Placeholders, Update};
use crate::value::{Attributes, attributes, attributes_to_json, size};

pub(super) const LARGEST_ITEM: usize = 400 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteKind {
    Put,
    Update,
    Delete,
    Check,
}

#[derive(Debug)]
enum Change {
    Put(Attributes),
    Update(Option<Update>),
    Delete,
    Check,
}

#[derive(Debug)]
pub(super) struct Write {
    pub(super) place: ItemKey,
    change: Change,
    condition: Option<Condition>,
    returns: Returns,
    returns_on_failure: bool,
    pub(super) capacity: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returns {
    None,
    AllOld,
    AllNew,
    UpdatedOld,
    UpdatedNew,
}

/// What a write would do.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) before: Option<Arc<Attributes>>,
    /// None: nothing is to be changed.
    pub(super) after: Option<Option<Arc<Attributes>>>,
    /// For the answer.
    pub(super) attributes: Option<Attributes>,
}

/// Why a write is not carried out, and what it costs nevertheless.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: ApiError,
    pub(super) before: Option<Arc<Attributes>>,
}

impl Write {
    pub(super) fn parse(request: WriteItem, kind: WriteKind, store: &Store) -> Answer<Self> {
        let has_expressions = request.condition_expression.is_some() || request.update_expression.is_some();
        let values = request.expression_attribute_values.as_ref();
        let placeholders = Placeholders::new(request.expression_attribute_names, values, has_expressions)?;
        let update = request.update_expression.as_deref().map(|text| Update::parse(text, &placeholders)).transpose()?;
        let condition = request
            .condition_expression
            .as_deref()
            .map(|text| Condition::parse("ConditionExpression", text, &placeholders))
            .transpose()?;
        placeholders.check_used()?;
        let table = store.table(&request.table_name)?;
        let (key, change) = match (kind, request.item, request.key, update) {
            (WriteKind::Put, Some(item), None, None) => {
                let item = attributes(&item)?;
                let key = table.key_of(&item)?;
                if size(&item) > LARGEST_ITEM {
                    return Err(ApiError::validation("Item size has exceeded the maximum allowed size"));
                }
                (key, Change::Put(item))
            }
            (WriteKind::Update, None, Some(key), update) => {
                let key = table.key(&attributes(&key)?)?;
                let writes_key = update.iter().flat_map(Update::attributes).find(|attribute| table.is_key(attribute));
                if let Some(attribute) = writes_key {
                    return Err(ApiError::validation(format!(
                        "One or more parameter values were invalid: Cannot update attribute {attribute}. \
                         This attribute is part of the key"
                    )));
                }
                (key, Change::Update(update))
            }
            (WriteKind::Delete, None, Some(key), None) => (table.key(&attributes(&key)?)?, Change::Delete),
            (WriteKind::Check, None, Some(key), None) => (table.key(&attributes(&key)?)?, Change::Check),
            _ => return Err(ApiError::unreadable("the parameters of a write do not fit together")),
        };
        let returns = match (request.return_values.as_deref(), kind) {
            (None | Some("NONE"), _) => Returns::None,
            (Some("ALL_OLD"), _) => Returns::AllOld,
            (Some("ALL_NEW"), WriteKind::Update) => Returns::AllNew,
            (Some("UPDATED_OLD"), WriteKind::Update) => Returns::UpdatedOld,
            (Some("UPDATED_NEW"), WriteKind::Update) => Returns::UpdatedNew,
            (Some(_), _) => return Err(ApiError::validation("Return values set to invalid value")),
        };
        Ok(Self {
            place: ItemKey { table: request.table_name, key },
            change,
            condition,
            returns,
            returns_on_failure: request.return_values_on_condition_check_failure.as_deref() == Some("ALL_OLD"),
            capacity: request.return_consumed_capacity.is_some_and(|what| what != "NONE"),
        })
    }

    /// Asks the condition and computes the item, and changes nothing.
    pub(super) fn evaluate(&self, store: &Store) -> Result<Outcome, Refusal> {
        let before = store.get(&self.place).cloned();
        let nothing = Attributes::new();
        let old = before.as_deref().unwrap_or(&nothing);
        if self.condition.as_ref().is_some_and(|condition| !condition.holds(old)) {
            let mut error = ApiError::condition_failed();
            if let Some(item) = before.as_ref().filter(|_| self.returns_on_failure) {
                error = error.with("Item", attributes_to_json(item));
            }
            return Err(Refusal { error, before });
        }
        let after = match &self.change {
            Change::Put(item) => Some(Some(Arc::new(item.clone()))),
            Change::Delete => Some(None),
            Change::Check => None,
            Change::Update(update) => match self.updated(update.as_ref(), before.as_ref(), store) {
                Ok(after) => after.map(|item| Some(Arc::new(item))),
                Err(error) => return Err(Refusal { error, before }),
            },
        };
        let attributes = self.returned(old, after.as_ref().and_then(Option::as_deref));
        Ok(Outcome { before, after, attributes })
    }

    fn updated(
        &self,
        update: Option<&Update>,
        before: Option<&Arc<Attributes>>,
        store: &Store,
    ) -> Answer<Option<Attributes>> {
        if before.is_none() && update.is_some_and(Update::only_removes) {
            return Ok(None);
        }
        let key = || store.table(&self.place.table).map(|table| table.attributes_of(&self.place.key));
        let old = before.map_or_else(key, |item| Ok((**item).clone()))?;
        let new = match update {
            Some(update) => update.apply(&old)?,
            None => old,
        };
        if size(&new) > LARGEST_ITEM {
            return Err(ApiError::validation("Item size to update has exceeded the maximum allowed size"));
        }
        Ok(Some(new))
    }

    fn returned(&self, old: &Attributes, new: Option<&Attributes>) -> Option<Attributes> {
        let touched = |item: &Attributes| match &self.change {
            Change::Update(Some(update)) => update.touched(item),
            _ => Attributes::new(),
        };
        let returned = match self.returns {
            Returns::None => return None,
            Returns::AllOld => old.clone(),
            Returns::AllNew => new.cloned().unwrap_or_default(),
            Returns::UpdatedOld => touched(old),
            Returns::UpdatedNew => new.map(touched).unwrap_or_default(),
        };
        Some(returned).filter(|returned| !returned.is_empty())
    }

    /// The answer to a request of this write alone.
    pub(super) fn answer(&self, outcome: &Outcome, units: f64) -> Json {
        let mut answer = json!({});
        if let Some(attributes) = &outcome.attributes {
            answer["Attributes"] = attributes_to_json(attributes);
        }
        if self.capacity {
            answer["ConsumedCapacity"] = json!({"TableName": self.place.table, "CapacityUnits": units});
        }
        answer
    }
}

fn bytes(item: Option<&Arc<Attributes>>) -> usize {
    item.map_or(0, |item| size(item))
}

impl Outcome {
    pub(super) fn sizes(&self) -> (usize, usize) {
        (bytes(self.before.as_ref()), bytes(self.after.as_ref().and_then(Option::as_ref)))
    }

    pub(super) fn units(&self) -> f64 {
        let (before, after) = self.sizes();
        units::write(before, after)
    }
}

impl Refusal {
    pub(super) fn size(&self) -> usize {
        bytes(self.before.as_ref())
    }

    /// A condition that does not hold costs what reading the item to write it costs; a request that is invalid costs nothing.
    pub(super) fn units(&self) -> f64 {
        if self.error.code == "ConditionalCheckFailedException" { units::write(self.size(), 0) } else { 0.0 }
    }
}

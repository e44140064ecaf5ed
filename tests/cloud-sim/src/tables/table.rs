//! One table: its items by their keys, what changed lately, and the time to live that deletes late.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Answer, ApiError};
use crate::number::Number;
use crate::value::{Attributes, Value, size};

const LONGEST_PARTITION_KEY: usize = 2048;
const LONGEST_SORT_KEY: usize = 1024;
/// AWS promises "within a few days".
const LATEST_DELETION: u64 = 2 * 24 * 60 * 60;
/// A time further in the past is taken for a mistake and deletes nothing.
const TOO_LONG_AGO: u64 = 5 * 365 * 24 * 60 * 60;

/// A part of a key, in the order of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum KeyPart {
    S(String),
    N(Number),
    B(Vec<u8>),
}

impl KeyPart {
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::S(text) => Value::S(text.clone()),
            Self::N(number) => Value::N(*number),
            Self::B(bytes) => Value::B(bytes.clone()),
        }
    }

    fn size(&self) -> usize {
        self.value().size()
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::S(text) => text.clone(),
            Self::N(number) => number.to_string(),
            Self::B(bytes) => hex::encode(bytes),
        }
    }

    /// What keys of its kind begin with, up to their first `#`.
    pub(crate) fn kind(&self) -> String {
        match self.text().split_once('#') {
            Some((kind, _)) => format!("{kind}#"),
            None => self.text(),
        }
    }
}

/// Partition and sort key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) partition: KeyPart,
    pub(crate) sort: Option<KeyPart>,
}

/// The attribute of a part of the key, and its type: `S`, `N` or `B`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyAttribute {
    pub(crate) name: String,
    pub(crate) kind: String,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) partition_key: KeyAttribute,
    pub(crate) sort_key: Option<KeyAttribute>,
    pub(crate) time_to_live: Option<String>,
    partitions: BTreeMap<KeyPart, BTreeMap<Option<KeyPart>, Arc<Attributes>>>,
    /// When the time to live deletes what.
    due: BTreeSet<(Duration, Key)>,
}

impl Table {
    pub(crate) fn new(partition_key: KeyAttribute, sort_key: Option<KeyAttribute>) -> Self {
        Self { partition_key, sort_key, time_to_live: None, partitions: BTreeMap::new(), due: BTreeSet::new() }
    }

    pub(crate) fn is_key(&self, attribute: &str) -> bool {
        self.key_attributes().any(|key| key.name == attribute)
    }

    pub(crate) fn key_attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition_key).chain(&self.sort_key)
    }

    /// A key that was given by itself.
    pub(crate) fn key(&self, given: &Attributes) -> Answer<Key> {
        let fits = |key: &KeyAttribute| given.get(&key.name).is_some_and(|value| value.kind() == key.kind);
        if given.len() != self.key_attributes().count() || !self.key_attributes().all(fits) {
            return Err(ApiError::validation("The provided key element does not match the schema"));
        }
        self.key_of(given)
    }

    /// The key within an item.
    pub(crate) fn key_of(&self, item: &Attributes) -> Answer<Key> {
        let part = |key: &KeyAttribute, longest: usize, what: &str| {
            let value = item.get(&key.name).ok_or_else(|| {
                ApiError::validation(format!(
                    "One or more parameter values were invalid: Missing the key {} in the item",
                    key.name
                ))
            })?;
            if value.kind() != key.kind {
                return Err(ApiError::validation(format!(
                    "One or more parameter values were invalid: Type mismatch for key {} expected: {} actual: {}",
                    key.name,
                    key.kind,
                    value.kind()
                )));
            }
            let part = key_part(key, value)?;
            if part.size() > longest {
                return Err(ApiError::validation(format!(
                    "One or more parameter values were invalid: \
                     Size of {what} has exceeded the maximum size limit of{longest} bytes"
                )));
            }
            Ok(part)
        };
        Ok(Key {
            partition: part(&self.partition_key, LONGEST_PARTITION_KEY, "hashkey")?,
            sort: self.sort_key.as_ref().map(|key| part(key, LONGEST_SORT_KEY, "rangekey")).transpose()?,
        })
    }

    pub(crate) fn attributes_of(&self, key: &Key) -> Attributes {
        let parts = std::iter::once(&key.partition).chain(&key.sort);
        self.key_attributes().zip(parts).map(|(key, part)| (key.name.clone(), part.value())).collect()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Attributes>> {
        self.partitions.get(&key.partition)?.get(&key.sort)
    }

    /// The items of a partition between two sort keys, from the first or from the last on.
    pub(crate) fn range(
        &self,
        partition: &KeyPart,
        range: (Bound<Option<KeyPart>>, Bound<Option<KeyPart>>),
        forward: bool,
    ) -> Box<dyn Iterator<Item = (&Option<KeyPart>, &Arc<Attributes>)> + '_> {
        let Some(items) = self.partitions.get(partition) else { return Box::new(std::iter::empty()) };
        if forward { Box::new(items.range(range)) } else { Box::new(items.range(range).rev()) }
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = &KeyPart> {
        self.partitions.keys()
    }

    /// Stores or deletes; returns what was there.
    pub(crate) fn replace(&mut self, key: &Key, item: Option<Arc<Attributes>>) -> Option<Arc<Attributes>> {
        let Some(item) = item else {
            let items = self.partitions.get_mut(&key.partition)?;
            let before = items.remove(&key.sort);
            if items.is_empty() {
                self.partitions.remove(&key.partition);
            }
            return before;
        };
        if let Some(ends) = self.ends(&item) {
            self.due.insert((ends + lag(key), key.clone()));
        }
        self.partitions.entry(key.partition.clone()).or_default().insert(key.sort.clone(), item)
    }

    pub(crate) fn set_time_to_live(&mut self, attribute: Option<String>) {
        self.time_to_live = attribute;
        let items = self.partitions.iter().flat_map(|(partition, items)| {
            items.iter().map(move |(sort, item)| (Key { partition: partition.clone(), sort: sort.clone() }, item))
        });
        self.due = items.filter_map(|(key, item)| Some((self.ends(item)? + lag(&key), key))).collect();
    }

    /// The bytes of each item, and when its time to live ends.
    pub(crate) fn sizes(&self) -> Vec<(usize, Option<Duration>)> {
        let items = self.partitions.values().flat_map(BTreeMap::values);
        items.map(|item| (size(item), self.ends(item))).collect()
    }

    fn ends(&self, item: &Attributes) -> Option<Duration> {
        match item.get(self.time_to_live.as_ref()?)? {
            Value::N(number) => u64::try_from(number.as_i64()?).ok().map(Duration::from_secs),
            _ => None,
        }
    }

    /// What the time to live deletes by now.
    pub(crate) fn expired(&mut self, now: Duration) -> Vec<Key> {
        let mut expired = Vec::new();
        while let Some((at, key)) = self.due.first().filter(|(at, _)| *at <= now).cloned() {
            self.due.pop_first();
            // The item may have been written again meanwhile, with another end.
            let still = self.get(&key).and_then(|item| self.ends(item)).is_some_and(|ends| ends + lag(&key) == at);
            if still && now.as_secs() - at.as_secs() < TOO_LONG_AGO {
                expired.push(key);
            }
        }
        expired
    }
}

fn key_part(key: &KeyAttribute, value: &Value) -> Answer<KeyPart> {
    let part = match value {
        Value::S(text) => KeyPart::S(text.clone()),
        Value::N(number) => return Ok(KeyPart::N(*number)),
        Value::B(bytes) => KeyPart::B(bytes.clone()),
        _ => return Err(ApiError::validation("The provided key element does not match the schema")),
    };
    if part.size() == 0 {
        let kind = if key.kind == "S" { "string" } else { "binary" };
        return Err(ApiError::validation(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty \
             {kind} value. Key: {}",
            key.name
        )));
    }
    Ok(part)
}

/// A key of a query, which has no length to check but its type.
pub(crate) fn query_key(key: &KeyAttribute, value: &Value) -> Answer<KeyPart> {
    if value.kind() != key.kind {
        return Err(ApiError::validation(
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ));
    }
    key_part(key, value)
}

/// How late the time to live comes to an item: between at once and two days, the same for the same key.
fn lag(key: &Key) -> Duration {
    Duration::from_secs(fingerprint(key) % LATEST_DELETION)
}

/// A number that is the same in every run, unlike those of the standard library's hashers.
pub(crate) fn fingerprint(key: &Key) -> u64 {
    let parts = std::iter::once(&key.partition).chain(&key.sort);
    let bytes = parts.flat_map(|part| match part {
        KeyPart::S(text) => text.clone().into_bytes(),
        KeyPart::N(number) => number.to_string().into_bytes(),
        KeyPart::B(bytes) => bytes.clone(),
    });
    crate::log::fingerprint(bytes)
}

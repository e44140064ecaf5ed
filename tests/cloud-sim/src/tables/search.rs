//! `Query` and `Scan`: pages of at most 1 MB, with a key to go on from, and filters that cost what they throw away.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::requests::{Search as Request, read};
use super::store::{ItemKey, Overlay, Store};
use super::table::{Key, KeyPart, fingerprint, query_key};
use super::units;
use crate::error::{Answer, ApiError};
use crate::expression::{Condition, KeyCondition, Placeholders, Projection, SortCondition};
use crate::value::{Attributes, attributes, attributes_to_json, size};
use crate::world::World;

const PAGE: usize = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Search {
    pub(super) table: String,
    /// None: a scan.
    partition: Option<(KeyPart, Option<SortCondition>)>,
    filter: Option<Condition>,
    projection: Option<Projection>,
    pub(super) consistent: bool,
    forward: bool,
    limit: usize,
    start: Option<Key>,
    count_only: bool,
    capacity: bool,
}

impl Search {
    pub(super) fn parse(body: &Json, is_scan: bool, store: &Store) -> Answer<Self> {
        let request: Request = read(body)?;
        if is_scan && (request.key_condition_expression.is_some() || request.scan_index_forward.is_some()) {
            return Err(ApiError::unreadable("a scan has no key condition and no direction"));
        }
        let has_expressions = request.key_condition_expression.is_some()
            || request.filter_expression.is_some()
            || request.projection_expression.is_some();
        let values = request.expression_attribute_values.as_ref();
        let placeholders = Placeholders::new(request.expression_attribute_names, values, has_expressions)?;
        let table = store.table(&request.table_name)?;
        let sort_name = table.sort_key.as_ref().map(|key| key.name.as_str());
        let key_condition = match &request.key_condition_expression {
            Some(text) => Some(KeyCondition::parse(text, &placeholders, &table.partition_key.name, sort_name)?),
            None if is_scan => None,
            None => {
                return Err(ApiError::validation(
                    "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
                ));
            }
        };
        let filter = request
            .filter_expression
            .as_deref()
            .map(|text| Condition::parse("FilterExpression", text, &placeholders))
            .transpose()?;
        let projection =
            request.projection_expression.as_deref().map(|text| Projection::parse(text, &placeholders)).transpose()?;
        placeholders.check_used()?;
        let on_key =
            |filter: &Condition| filter.attributes().into_iter().find(|name| table.is_key(name)).map(str::to_owned);
        if let Some(name) = filter.as_ref().filter(|_| !is_scan).and_then(on_key) {
            return Err(ApiError::validation(format!(
                "Filter Expression can only contain non-primary key attributes: Primary key attribute: {name}"
            )));
        }
        let partition = match key_condition {
            None => None,
            Some(KeyCondition { partition, sort }) => {
                if let (Some(sort), Some(key)) = (&sort, &table.sort_key) {
                    for value in sort.values() {
                        query_key(key, value)?;
                    }
                }
                Some((query_key(&table.partition_key, &partition)?, sort))
            }
        };
        let start = request
            .exclusive_start_key
            .map(|key| {
                table.key(&attributes(&key)?).map_err(|_| ApiError::validation("The provided starting key is invalid"))
            })
            .transpose()?;
        if let (Some((partition, sort)), Some(start)) = (&partition, &start) {
            let sort_value = start.sort.as_ref().map(KeyPart::value);
            let within = sort.as_ref().zip(sort_value).is_none_or(|(sort, value)| sort.holds(&value));
            if start.partition != *partition || !within {
                return Err(ApiError::validation(
                    "The provided starting key is outside query boundaries based on provided conditions",
                ));
            }
        }
        let limit = match request.limit {
            None => usize::MAX,
            Some(limit) => usize::try_from(limit).ok().filter(|limit| *limit > 0).ok_or_else(|| {
                ApiError::validation(
                    "1 validation error detected: Value at 'limit' failed to satisfy constraint: \
                     Member must have value greater than or equal to 1",
                )
            })?,
        };
        let count_only = match request.select.as_deref() {
            None | Some("ALL_ATTRIBUTES" | "SPECIFIC_ATTRIBUTES") => false,
            Some("COUNT") => true,
            Some(other) => return Err(ApiError::unreadable(format_args!("Select {other}"))),
        };
        Ok(Self {
            table: request.table_name,
            partition,
            filter,
            projection,
            consistent: request.consistent_read,
            forward: request.scan_index_forward.unwrap_or(true),
            limit,
            start,
            count_only,
            capacity: request.return_consumed_capacity.is_some_and(|what| what != "NONE"),
        })
    }

    pub(super) fn end(self, store: &Store, overlay: &Overlay, world: &mut World<'_>) -> Answer {
        let operation = if self.partition.is_some() { "Query" } else { "Scan" };
        let partition = self.partition.as_ref().map(|(partition, _)| (self.table.clone(), partition.text()));
        if partition.as_ref().is_some_and(|partition| !world.takes_read(partition)) {
            return Err(ApiError::throughput_exceeded());
        }
        let (mut items, mut scanned, mut bytes, mut last) = (Vec::new(), 0, 0, None);
        for (key, item) in self.candidates(store, overlay)? {
            scanned += 1;
            bytes += size(&item);
            if self.filter.as_ref().is_none_or(|filter| filter.holds(&item)) {
                let item = self.projection.as_ref().map_or_else(|| (*item).clone(), |wanted| wanted.of(&item));
                items.push(attributes_to_json(&item));
            }
            // At its limit AWS does not look whether there is more.
            if scanned >= self.limit || bytes > PAGE {
                last = Some(key);
                break;
            }
        }
        let units = units::read(bytes, self.consistent);
        world.counts_read(&self.table, operation, units);
        if let Some(partition) = partition {
            world.rates.reads.spend(&partition, world.now, units);
        }
        let mut answer = json!({"Count": items.len(), "ScannedCount": scanned});
        if !self.count_only {
            answer["Items"] = json!(items);
        }
        if let Some(last) = last {
            answer["LastEvaluatedKey"] = attributes_to_json(&store.table(&self.table)?.attributes_of(&last));
        }
        if self.capacity {
            answer["ConsumedCapacity"] = json!({"TableName": self.table, "CapacityUnits": units});
        }
        Ok(answer)
    }

    /// The items in the order they are looked at, from the start on, as this read sees them.
    fn candidates(&self, store: &Store, overlay: &Overlay) -> Answer<Vec<(Key, Arc<Attributes>)>> {
        let table = store.table(&self.table)?;
        let mut partitions: Vec<KeyPart> = match &self.partition {
            Some((partition, _)) => vec![partition.clone()],
            None => {
                table.partitions().cloned().chain(self.older(overlay).map(|(key, _)| key.partition.clone())).collect()
            }
        };
        // A scan goes by a hash of the partition key, as on AWS.
        let hash = |partition: &KeyPart| fingerprint(&Key { partition: partition.clone(), sort: None });
        partitions.sort_by(|a, b| (hash(a), a).cmp(&(hash(b), b)));
        partitions.dedup();
        let mut candidates = Vec::new();
        for partition in partitions {
            let start = self.start.as_ref();
            if self.partition.is_none()
                && start
                    .is_some_and(|start| (hash(&partition), &partition) < (hash(&start.partition), &start.partition))
            {
                continue;
            }
            let start = start.filter(|start| start.partition == partition);
            let from_start = match start {
                None => (Bound::Unbounded, Bound::Unbounded),
                Some(start) if self.forward => (Bound::Excluded(start.sort.clone()), Bound::Unbounded),
                Some(start) => (Bound::Unbounded, Bound::Excluded(start.sort.clone())),
            };
            let older: Vec<_> = self.older(overlay).filter(|(key, _)| key.partition == partition).collect();
            // No more than the limit are looked at, and no more than there are older versions are put aside.
            let most = self.limit.saturating_add(older.len());
            let present = table.range(&partition, from_start.clone(), self.forward);
            let present = present.filter(|(sort, _)| self.is_in_range(sort.as_ref())).take(most);
            let mut items: BTreeMap<Option<KeyPart>, Arc<Attributes>> =
                present.map(|(sort, item)| (sort.clone(), item.clone())).collect();
            for (key, before) in older {
                match before {
                    Some(before) => items.insert(key.sort.clone(), before.clone()),
                    None => items.remove(&key.sort),
                };
            }
            let range = items.range(from_start).filter(|(sort, _)| self.is_in_range(sort.as_ref()));
            let keyed = |(sort, item): (&Option<KeyPart>, &Arc<Attributes>)| {
                (Key { partition: partition.clone(), sort: sort.clone() }, item.clone())
            };
            if self.forward {
                candidates.extend(range.map(keyed));
            } else {
                candidates.extend(range.rev().map(keyed));
            }
        }
        Ok(candidates)
    }

    /// The kind of the keys that it looks at.
    pub(super) fn kind(&self) -> String {
        self.partition.as_ref().map_or_else(|| "all".to_owned(), |(partition, _)| partition.kind())
    }

    /// Whether it may look at this item.
    pub(super) fn reads(&self, place: &ItemKey) -> bool {
        place.table == self.table
            && self.partition.as_ref().is_none_or(|(partition, _)| *partition == place.key.partition)
            && self.is_in_range(place.key.sort.as_ref())
    }

    fn is_in_range(&self, sort: Option<&KeyPart>) -> bool {
        let condition = self.partition.as_ref().and_then(|(_, condition)| condition.as_ref());
        condition.zip(sort).is_none_or(|(condition, sort)| condition.holds(&sort.value()))
    }

    fn older<'a>(&'a self, overlay: &'a Overlay) -> impl Iterator<Item = (&'a Key, &'a Option<Arc<Attributes>>)> {
        overlay.iter().filter(|(place, _)| place.table == self.table).map(|(place, before)| (&place.key, before))
    }
}

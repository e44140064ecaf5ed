//! `BatchGetItem` and `BatchWriteItem`: many requests in one, each by itself, some of them perhaps not carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::requests::{BatchGetItem, BatchWriteItem, read};
use super::store::{ItemKey, Overlay, Store};
use super::table::fingerprint;
use super::units;
use super::write::LARGEST_ITEM;
use crate::counts::FaultKind;
use crate::error::{Answer, ApiError};
use crate::expression::{Placeholders, Projection};
use crate::value::{Attributes, attributes, attributes_to_json, size};
use crate::world::World;

const MOST_GETS: usize = 100;
const MOST_WRITES: usize = 25;
const LARGEST: usize = 16 * 1024 * 1024;

/// A read of many items.
#[derive(Debug)]
pub(crate) struct Gets {
    tables: BTreeMap<String, TableGets>,
    capacity: bool,
}

#[derive(Debug)]
struct TableGets {
    places: Vec<ItemKey>,
    projection: Option<Projection>,
    consistent: bool,
    /// All that stood beside the keys, for what is unprocessed.
    template: Json,
}

impl Gets {
    pub(super) fn parse(body: &Json, store: &Store) -> Answer<Self> {
        let request: BatchGetItem = read(body)?;
        let total: usize = request.request_items.values().map(|gets| gets.keys.len()).sum();
        if total > MOST_GETS {
            return Err(ApiError::validation("Too many items requested for the BatchGetItem call"));
        }
        if total == 0 || request.request_items.values().any(|gets| gets.keys.is_empty()) {
            return Err(ApiError::validation(
                "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: \
                 Member must have length greater than or equal to 1",
            ));
        }
        let mut tables = BTreeMap::new();
        for (name, gets) in request.request_items {
            let table = store.table(&name)?;
            let placeholders =
                Placeholders::new(gets.expression_attribute_names, None, gets.projection_expression.is_some())?;
            let projection =
                gets.projection_expression.as_deref().map(|text| Projection::parse(text, &placeholders)).transpose()?;
            placeholders.check_used()?;
            let places: Vec<ItemKey> = gets
                .keys
                .iter()
                .map(|key| Ok(ItemKey { table: name.clone(), key: table.key(&attributes(key)?)? }))
                .collect::<Answer<_>>()?;
            distinct(&places)?;
            let template = body["RequestItems"][&name].clone();
            tables.insert(name, TableGets { places, projection, consistent: gets.consistent_read, template });
        }
        Ok(Self { tables, capacity: request.return_consumed_capacity.is_some_and(|what| what != "NONE") })
    }

    pub(super) fn tables(&self) -> BTreeSet<&str> {
        self.tables.keys().map(String::as_str).collect()
    }

    pub(super) fn places(&self) -> impl Iterator<Item = &ItemKey> {
        self.tables.values().flat_map(|gets| &gets.places)
    }

    /// Whether it may look at this item.
    pub(super) fn reads(&self, place: &ItemKey) -> bool {
        self.tables.get(&place.table).is_some_and(|gets| gets.places.contains(place))
    }

    pub(super) fn is_consistent(&self) -> bool {
        self.tables.values().all(|gets| gets.consistent)
    }

    pub(super) fn end(self, store: &Store, overlay: &Overlay, world: &mut World<'_>) -> Answer {
        let hot: Vec<bool> = self.places().map(|place| !world.takes_read(&place.partition())).collect();
        let mut left_out = left_out(&hot, world)?.into_iter();
        let (mut responses, mut unprocessed, mut capacity) = (Map::new(), Map::new(), Vec::new());
        let mut answered = 0;
        for (name, gets) in self.tables {
            let (mut items, mut keys, mut units) = (Vec::new(), Vec::new(), 0.0);
            for place in gets.places {
                let found = overlay.get(&place).map_or_else(|| store.get(&place), Option::as_ref);
                let bytes = found.map_or(0, |item| size(item));
                if left_out.next().unwrap_or(false) || answered + bytes > LARGEST {
                    let key = store.table(&name)?.attributes_of(&place.key);
                    keys.push(attributes_to_json(&key));
                    continue;
                }
                answered += bytes;
                let read = units::read(bytes, gets.consistent);
                world.rates.reads.spend(&place.partition(), world.now, read);
                units += read;
                if let Some(item) = found {
                    let item = gets.projection.as_ref().map_or_else(|| (**item).clone(), |wanted| wanted.of(item));
                    items.push((fingerprint(&place.key), attributes_to_json(&item)));
                }
            }
            // AWS promises no order, so it is one that nobody can have expected.
            items.sort_by_key(|(fingerprint, _)| *fingerprint);
            let items: Vec<Json> = items.into_iter().map(|(_, item)| item).collect();
            responses.insert(name.clone(), json!(items));
            if !keys.is_empty() {
                let mut again = gets.template;
                again["Keys"] = json!(keys);
                unprocessed.insert(name.clone(), again);
            }
            world.counts_read(&name, "BatchGetItem", units);
            capacity.push(json!({"TableName": name, "CapacityUnits": units}));
        }
        let mut answer = json!({"Responses": responses, "UnprocessedKeys": unprocessed});
        if self.capacity {
            answer["ConsumedCapacity"] = json!(capacity);
        }
        Ok(answer)
    }
}

/// Puts and deletes of many items.
#[derive(Debug)]
pub(crate) struct Writes {
    /// Each with what was asked, for what is unprocessed.
    writes: Vec<(ItemKey, Option<Arc<Attributes>>, Json)>,
    capacity: bool,
}

impl Writes {
    pub(super) fn parse(body: &Json, store: &Store) -> Answer<Self> {
        let request: BatchWriteItem = read(body)?;
        let total: usize = request.request_items.values().map(Vec::len).sum();
        if total > MOST_WRITES {
            return Err(ApiError::validation("Too many items requested for the BatchWriteItem call"));
        }
        if total == 0 || request.request_items.values().any(Vec::is_empty) {
            return Err(ApiError::validation(
                "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: \
                 Member must have length greater than or equal to 1",
            ));
        }
        let (mut writes, mut bytes) = (Vec::new(), 0);
        for (name, requests) in request.request_items {
            let table = store.table(&name)?;
            for (n, write) in requests.into_iter().enumerate() {
                let (key, item) = match (write.put_request, write.delete_request) {
                    (Some(put), None) => {
                        let item = attributes(&put.item)?;
                        if size(&item) > LARGEST_ITEM {
                            return Err(ApiError::validation("Item size has exceeded the maximum allowed size"));
                        }
                        bytes += size(&item);
                        (table.key_of(&item)?, Some(Arc::new(item)))
                    }
                    (None, Some(delete)) => (table.key(&attributes(&delete.key)?)?, None),
                    _ => {
                        return Err(ApiError::validation(
                            "Supplied AttributeValue has more than one datatypes set, \
                             must contain exactly one of the supported datatypes",
                        ));
                    }
                };
                let place = ItemKey { table: name.clone(), key };
                writes.push((place, item, body["RequestItems"][&name][n].clone()));
            }
        }
        if bytes > LARGEST {
            return Err(ApiError::validation("The batch of items exceeds the maximum size of 16 MB"));
        }
        distinct(&writes.iter().map(|(place, ..)| place.clone()).collect::<Vec<_>>())?;
        Ok(Self { writes, capacity: request.return_consumed_capacity.is_some_and(|what| what != "NONE") })
    }

    pub(super) fn places(&self) -> impl Iterator<Item = &ItemKey> {
        self.writes.iter().map(|(place, ..)| place)
    }

    pub(super) fn tables(&self) -> BTreeSet<&str> {
        self.places().map(|place| place.table.as_str()).collect()
    }

    /// `met`: which of them met a transaction; they are not carried out.
    pub(super) fn end(self, store: &mut Store, met: &[bool], world: &mut World<'_>) -> Answer {
        let hot: Vec<bool> = self.places().map(|place| !world.takes_write(&place.partition())).collect();
        let left_out = left_out(&hot, world)?;
        let mut unprocessed: BTreeMap<String, Vec<Json>> = BTreeMap::new();
        let mut units: BTreeMap<String, f64> = BTreeMap::new();
        for (((place, item, asked), left_out), met) in self.writes.into_iter().zip(left_out).zip(met) {
            let consumed = units.entry(place.table.clone()).or_default();
            if left_out || *met {
                unprocessed.entry(place.table).or_default().push(asked);
                continue;
            }
            let before = store.get(&place).map_or(0, |item| size(item));
            let written = units::write(before, item.as_ref().map_or(0, |item| size(item)));
            world.rates.writes.spend(&place.partition(), world.now, written);
            *consumed += written;
            store.replace(&place, item, world.now);
        }
        let mut answer = json!({"UnprocessedItems": unprocessed});
        if self.capacity {
            let capacity = units.iter().map(|(table, units)| json!({"TableName": table, "CapacityUnits": units}));
            answer["ConsumedCapacity"] = json!(capacity.collect::<Vec<_>>());
        }
        for (table, units) in units {
            world.counts_write(&table, "BatchWriteItem", units);
        }
        Ok(answer)
    }
}

fn distinct(places: &[ItemKey]) -> Answer<()> {
    if places.iter().collect::<BTreeSet<_>>().len() < places.len() {
        return Err(ApiError::validation("Provided list of item keys contains duplicates"));
    }
    Ok(())
}

/// Which parts of a batch are not carried out, those whose keys are `hot` among them. When none could be, AWS says so with an error
/// instead.
fn left_out(hot: &[bool], world: &mut World<'_>) -> Answer<Vec<bool>> {
    let n = hot.len();
    let mut left_out = vec![false; n];
    if n > 1 && world.dice.injects(FaultKind::PartialBatch, world.counts) {
        left_out = world.dice.some_of(n, false);
    }
    for (slot, hot) in left_out.iter_mut().zip(hot) {
        *slot |= world.dice.injects(FaultKind::ThrottledItem, world.counts) | hot;
    }
    if n > 0 && !left_out.contains(&false) { Err(ApiError::throughput_exceeded()) } else { Ok(left_out) }
}

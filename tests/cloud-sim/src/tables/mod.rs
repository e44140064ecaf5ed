//! DynamoDB: its requests from begin to end. Between the two a request is under way, and what it meets there is the point of
//! this simulator.

mod admin;
mod batch;
mod requests;
mod search;
mod store;
mod table;
mod transaction;
mod units;
mod write;

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::counts::FaultKind;
use crate::error::{Answer, ApiError};
use crate::expression::{Placeholders, Projection};
use crate::value::{attributes, attributes_to_json, size};
use crate::world::World;
use batch::{Gets, Writes};
use requests::{GetItem, WriteItem, read};
use search::Search;
use store::{ItemKey, Overlay, Store, Ticket};
use table::{KeyPart, Table};
use transaction::{Tokens, Transaction};
use write::{Outcome, Refusal, Write, WriteKind};

#[derive(Debug, Default)]
pub(crate) struct Tables {
    store: Store,
    tokens: Tokens,
}

/// A request that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    operation: String,
    request: Request,
    /// The kinds of the keys that it asks for.
    keys: String,
    /// How many changes its table had seen.
    changed: u64,
    began: Duration,
}

#[derive(Debug)]
enum Request {
    /// It is answered already.
    Answered(Answer),
    Get {
        place: ItemKey,
        projection: Option<Projection>,
        consistent: bool,
        capacity: bool,
    },
    Write(Ticket, Box<Write>),
    Gets(Gets),
    Writes(Vec<Ticket>, Writes),
    Search(Box<Search>),
    Transaction(Transaction),
}

impl Tables {
    /// How a request takes time at the table.
    pub(crate) fn takes_time(operation: &str) -> bool {
        !matches!(
            operation,
            "CreateTable" | "DescribeTable" | "DeleteTable" | "ListTables" | "UpdateTimeToLive" | "DescribeTimeToLive"
        )
    }

    pub(crate) fn begin(&mut self, operation: &str, body: &Json, world: &mut World<'_>) -> Begun {
        self.store.expire(world.now);
        let request = self.parse(operation, body, world).unwrap_or_else(|error| Request::Answered(Err(error)));
        let keys = request.keys();
        world.keys.clone_from(&keys);
        for table in request.tables() {
            world.counts_request(table, operation);
        }
        let request = self.throttled(request, world);
        Begun { operation: operation.to_owned(), request, keys, changed: self.store.changed(), began: world.now }
    }

    /// What chance refuses before anything is done.
    fn throttled(&mut self, request: Request, world: &mut World<'_>) -> Request {
        if matches!(request, Request::Answered(_)) {
            return request;
        }
        let is_write = matches!(request, Request::Write(..));
        let is_single = is_write || matches!(request, Request::Get { .. } | Request::Search(_));
        let error = if world.dice.injects(FaultKind::ThrottledRequest, world.counts) {
            ApiError::throttled()
        } else if is_single && world.dice.injects(FaultKind::ThrottledItem, world.counts) {
            ApiError::throughput_exceeded()
        } else if is_write && world.dice.injects(FaultKind::Conflict, world.counts) {
            ApiError::conflict()
        } else {
            return request;
        };
        match request {
            Request::Write(ticket, _) => drop(self.store.end_write(ticket, world)),
            Request::Writes(tickets, _) => {
                for ticket in tickets {
                    drop(self.store.end_write(ticket, world));
                }
            }
            Request::Transaction(transaction) => transaction.abandon(&mut self.store, &mut self.tokens),
            _ => {}
        }
        Request::Answered(Err(error))
    }

    pub(crate) fn end(&mut self, begun: Begun, world: &mut World<'_>) -> Answer {
        self.store.expire(world.now);
        let Begun { operation, request, keys, changed, began } = begun;
        world.keys = keys;
        match request {
            Request::Answered(answer) => answer,
            Request::Get { place, projection, consistent, capacity } => {
                if !world.takes_read(&place.partition()) {
                    return Err(ApiError::throughput_exceeded());
                }
                let overlay = match consistent {
                    true => Overlay::new(),
                    false => self.seen(changed, began, false, world, |other| *other == place),
                };
                let found = overlay.get(&place).map_or_else(|| self.store.get(&place), Option::as_ref);
                let units = units::read(found.map_or(0, |item| size(item)), consistent);
                world.counts_read(&place.table, &operation, units);
                world.rates.reads.spend(&place.partition(), world.now, units);
                let mut answer = json!({});
                if let Some(item) = found {
                    let item = projection.as_ref().map_or_else(|| (**item).clone(), |wanted| wanted.of(item));
                    answer["Item"] = attributes_to_json(&item);
                }
                if capacity {
                    answer["ConsumedCapacity"] = json!({"TableName": place.table, "CapacityUnits": units});
                }
                Ok(answer)
            }
            Request::Write(ticket, write) => {
                self.store.end_write(ticket, world)?;
                let partition = write.place.partition();
                if !world.takes_write(&partition) {
                    return Err(ApiError::throughput_exceeded());
                }
                let evaluated = write.evaluate(&self.store);
                let units = evaluated.as_ref().map_or_else(Refusal::units, Outcome::units);
                world.counts_write(&write.place.table, &operation, units);
                world.rates.writes.spend(&partition, world.now, units);
                match evaluated {
                    Ok(outcome) => {
                        let answer = write.answer(&outcome, units);
                        if let Some(after) = outcome.after {
                            self.store.replace(&write.place, after, world.now);
                        }
                        Ok(answer)
                    }
                    Err(refusal) => Err(refusal.error),
                }
            }
            Request::Gets(gets) => {
                let consistent = gets.is_consistent();
                let overlay = self.seen(changed, began, consistent, world, |place| gets.reads(place));
                gets.end(&self.store, &overlay, world)
            }
            Request::Writes(tickets, writes) => {
                let met: Vec<bool> =
                    tickets.into_iter().map(|ticket| self.store.end_write(ticket, world).is_err()).collect();
                writes.end(&mut self.store, &met, world)
            }
            Request::Search(search) => {
                let overlay = self.seen(changed, began, search.consistent, world, |place| search.reads(place));
                search.end(&self.store, &overlay, world)
            }
            Request::Transaction(transaction) => transaction.end(&mut self.store, &mut self.tokens, world),
        }
    }

    /// The items of a partition; none where there is no such table.
    pub(crate) fn items(&self, table: &str, partition: &str) -> Vec<Json> {
        let Ok(table) = self.store.table(table) else { return Vec::new() };
        let all = (Bound::Unbounded, Bound::Unbounded);
        let items = table.range(&KeyPart::S(partition.to_owned()), all, true);
        items.map(|(_, item)| attributes_to_json(item)).collect()
    }

    pub(crate) fn sizes(&self, table: &str) -> Vec<(usize, Option<Duration>)> {
        self.store.table(table).map(Table::sizes).unwrap_or_default()
    }

    /// What a read sees as it was before. All that had been answered before a consistent read began is seen by it.
    fn seen(
        &self,
        changed: u64,
        began: Duration,
        consistent: bool,
        world: &mut World<'_>,
        is_read: impl Fn(&ItemKey) -> bool,
    ) -> Overlay {
        let staleness = world.dice.faults.staleness;
        let since = if consistent || staleness.is_zero() {
            changed
        } else {
            let lag = world.dice.between(Duration::ZERO, staleness);
            self.store.changed_at(began.saturating_sub(lag)).min(changed)
        };
        let (overlay, is_torn) = self.store.overlay(since, began, is_read, world.dice);
        if is_torn {
            world.counts.fault(FaultKind::TornRead);
        }
        if since < changed && !overlay.is_empty() {
            world.counts.fault(FaultKind::StaleRead);
        }
        overlay
    }

    fn parse(&mut self, operation: &str, body: &Json, world: &mut World<'_>) -> Answer<Request> {
        let store = &mut self.store;
        let write_kind = match operation {
            "PutItem" => Some(WriteKind::Put),
            "UpdateItem" => Some(WriteKind::Update),
            "DeleteItem" => Some(WriteKind::Delete),
            _ => None,
        };
        if let Some(kind) = write_kind {
            let write = Write::parse(read::<WriteItem>(body)?, kind, store)?;
            let ticket = store.ticket();
            store.begin_write(ticket, &write.place);
            return Ok(Request::Write(ticket, Box::new(write)));
        }
        Ok(match operation {
            "GetItem" => get(body, store)?,
            "BatchGetItem" => Request::Gets(Gets::parse(body, store)?),
            "BatchWriteItem" => {
                let writes = Writes::parse(body, store)?;
                let places: Vec<ItemKey> = writes.places().cloned().collect();
                let begin = |place: &ItemKey| {
                    let ticket = store.ticket();
                    store.begin_write(ticket, place);
                    ticket
                };
                Request::Writes(places.iter().map(begin).collect(), writes)
            }
            "Query" | "Scan" => Request::Search(Box::new(Search::parse(body, operation == "Scan", store)?)),
            "TransactWriteItems" => Request::Transaction(Transaction::begin(body, store, &mut self.tokens, world.now)?),
            "CreateTable" => Request::Answered(admin::create(store, body)),
            "DescribeTable" => Request::Answered(admin::describe(store, body)),
            "DeleteTable" => Request::Answered(admin::delete(store, body)),
            "ListTables" => Request::Answered(admin::list(store)),
            "UpdateTimeToLive" => Request::Answered(admin::update_time_to_live(store, body)),
            "DescribeTimeToLive" => Request::Answered(admin::describe_time_to_live(store, body)),
            other => {
                let message = format!("cloud-sim does not simulate the operation {other}");
                return Err(ApiError::new("UnknownOperationException", message));
            }
        })
    }
}

impl Request {
    /// The kinds of its keys, each once.
    fn keys(&self) -> String {
        let places: Vec<&ItemKey> = match self {
            Self::Answered(_) => Vec::new(),
            Self::Get { place, .. } => vec![place],
            Self::Write(_, write) => vec![&write.place],
            Self::Gets(gets) => gets.places().collect(),
            Self::Writes(_, writes) => writes.places().collect(),
            Self::Search(search) => return search.kind(),
            Self::Transaction(transaction) => transaction.places().collect(),
        };
        let kinds: BTreeSet<String> = places.into_iter().map(|place| place.key.partition.kind()).collect();
        kinds.into_iter().collect::<Vec<_>>().join(" ")
    }

    fn tables(&self) -> Vec<&str> {
        match self {
            Self::Answered(_) => Vec::new(),
            Self::Get { place, .. } => vec![&place.table],
            Self::Write(_, write) => vec![&write.place.table],
            Self::Gets(gets) => gets.tables().into_iter().collect(),
            Self::Writes(_, writes) => writes.tables().into_iter().collect(),
            Self::Search(search) => vec![&search.table],
            Self::Transaction(transaction) => transaction.tables().into_iter().collect(),
        }
    }
}

fn get(body: &Json, store: &Store) -> Answer<Request> {
    let request: GetItem = read(body)?;
    let has_projection = request.projection_expression.is_some();
    let placeholders = Placeholders::new(request.expression_attribute_names, None, has_projection)?;
    let projection =
        request.projection_expression.as_deref().map(|text| Projection::parse(text, &placeholders)).transpose()?;
    placeholders.check_used()?;
    let key = store.table(&request.table_name)?.key(&attributes(&request.key)?)?;
    Ok(Request::Get {
        place: ItemKey { table: request.table_name, key },
        projection,
        consistent: request.consistent_read,
        capacity: request.return_consumed_capacity.is_some_and(|what| what != "NONE"),
    })
}

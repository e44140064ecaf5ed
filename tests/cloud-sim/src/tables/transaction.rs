//! `TransactWriteItems`: all or nothing, once per token, and cancelled with a reason for each item.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::requests::{TransactItem, TransactWriteItems, read};
use super::store::{ItemKey, Store, Ticket};
use super::units;
use super::write::{Write, WriteKind};
use crate::counts::FaultKind;
use crate::error::{Answer, ApiError};
use crate::log;
use crate::value::size;
use crate::world::World;

const MOST_ITEMS: usize = 100;
const LARGEST: usize = 4 * 1024 * 1024;
/// For so long a finished transaction is not carried out again under its token.
const TOKEN_LIVES: Duration = Duration::from_secs(10 * 60);

/// What is known of a token.
#[derive(Clone, Copy, Debug)]
enum Known {
    InProgress,
    Done { at: Duration, content: u64 },
}

/// The tokens of late transactions.
#[derive(Debug, Default)]
pub(crate) struct Tokens(BTreeMap<String, Known>);

/// A transaction on its way.
#[derive(Debug)]
pub(crate) struct Transaction {
    writes: Vec<Write>,
    token: Option<String>,
    content: u64,
    ticket: Ticket,
    /// What another transaction held at its begin.
    taken: Vec<bool>,
    /// It was carried out before, under its token.
    is_repeat: bool,
    capacity: bool,
}

impl Transaction {
    pub(super) fn begin(body: &Json, store: &mut Store, tokens: &mut Tokens, now: Duration) -> Answer<Self> {
        let request: TransactWriteItems = read(body)?;
        if request.transact_items.is_empty() || request.transact_items.len() > MOST_ITEMS {
            return Err(ApiError::validation(
                "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: \
                 Member must have length less than or equal to 100 and greater than or equal to 1",
            ));
        }
        let writes: Vec<Write> =
            request.transact_items.into_iter().map(|item| write(item, store)).collect::<Answer<_>>()?;
        let places: Vec<ItemKey> = writes.iter().map(|write| write.place.clone()).collect();
        if places.iter().collect::<BTreeSet<_>>().len() < places.len() {
            return Err(ApiError::validation("Transaction request cannot include multiple operations on one item"));
        }
        let content = log::content(body);
        let (token, mut is_repeat) = (request.client_request_token, false);
        tokens.0.retain(|_, known| !matches!(known, Known::Done { at, .. } if *at + TOKEN_LIVES < now));
        if let Some(token) = &token {
            match tokens.0.get(token) {
                Some(Known::InProgress) => {
                    let message = "The transaction with the given request token is already in progress.";
                    return Err(ApiError::new("TransactionInProgressException", message));
                }
                Some(Known::Done { content: earlier, .. }) if *earlier != content => {
                    let message = "The request uses the same client token as a previous, but non-identical request. \
                                   Do not reuse a client token with different requests, unless the requests are identical";
                    return Err(ApiError::new("IdempotentParameterMismatchException", message));
                }
                Some(Known::Done { .. }) => is_repeat = true,
                None => {
                    tokens.0.insert(token.clone(), Known::InProgress);
                }
            }
        }
        let ticket = store.ticket();
        let taken = if is_repeat { vec![false; places.len()] } else { store.hold(ticket, &places) };
        let capacity = request.return_consumed_capacity.is_some_and(|what| what != "NONE");
        Ok(Self { writes, token, content, ticket, taken, is_repeat, capacity })
    }

    pub(super) fn end(self, store: &mut Store, tokens: &mut Tokens, world: &mut World<'_>) -> Answer {
        store.release(self.ticket);
        let answer = self.carry_out(store, world);
        if let Some(token) = self.token.filter(|_| !self.is_repeat) {
            // What was cancelled is tried anew under the same token.
            match &answer {
                Ok(_) => tokens.0.insert(token, Known::Done { at: world.now, content: self.content }),
                Err(_) => tokens.0.remove(&token),
            };
        }
        answer
    }

    /// It was refused as a whole before anything was done.
    pub(super) fn abandon(self, store: &mut Store, tokens: &mut Tokens) {
        store.release(self.ticket);
        if let Some(token) = self.token.filter(|_| !self.is_repeat) {
            tokens.0.remove(&token);
        }
    }

    fn carry_out(&self, store: &mut Store, world: &mut World<'_>) -> Answer {
        if self.is_repeat {
            // AWS reads the items to tell that they were written.
            for write in &self.writes {
                let bytes = store.get(&write.place).map_or(0, |item| size(item));
                world.counts_read(&write.place.table, OPERATION, 2.0 * units::read(bytes, true));
            }
            return Ok(json!({}));
        }
        let injected = self.injected(world);
        if self.taken.contains(&true) {
            world.counts.fault(FaultKind::Overlap);
        }
        let mut reasons: Vec<Json> = Vec::new();
        let (mut outcomes, mut total, mut units_by_table) = (Vec::new(), 0, BTreeMap::<&str, f64>::new());
        for ((write, taken), injected) in self.writes.iter().zip(&self.taken).zip(injected) {
            let (sizes, reason) = match write.evaluate(store) {
                _ if *taken => ((0, 0), Some(reason("TransactionConflict", "Transaction is ongoing for the item"))),
                _ if injected.is_some() => ((0, 0), injected),
                _ if !world.takes_write(&write.place.partition()) => {
                    let error = ApiError::throughput_exceeded();
                    ((0, 0), Some(reason("ProvisionedThroughputExceeded", &error.message)))
                }
                Ok(outcome) => {
                    let sizes = outcome.sizes();
                    total += sizes.0.max(sizes.1);
                    outcomes.push((write, outcome));
                    (sizes, None)
                }
                Err(refusal) => {
                    let code = match refusal.error.code {
                        "ConditionalCheckFailedException" => "ConditionalCheckFailed",
                        _ => "ValidationError",
                    };
                    let mut reason = reason(code, &refusal.error.message);
                    if let (Some(item), Json::Object(fields)) = (refusal.error.details.get("Item"), &mut reason) {
                        fields.insert("Item".to_owned(), item.clone());
                    }
                    ((refusal.size(), 0), Some(reason))
                }
            };
            let units = units::transactional(sizes.0, sizes.1);
            world.rates.writes.spend(&write.place.partition(), world.now, units);
            *units_by_table.entry(&write.place.table).or_default() += units;
            reasons.push(reason.unwrap_or_else(|| json!({"Code": "None"})));
        }
        // A transaction that is cancelled has been prepared nevertheless, and is billed.
        for (table, units) in &units_by_table {
            world.counts_write(table, OPERATION, *units);
        }
        if outcomes.len() < self.writes.len() {
            return Err(cancelled(&reasons));
        }
        if total > LARGEST {
            return Err(ApiError::validation("Items in the transaction exceed the maximum aggregate size of 4 MB"));
        }
        for (write, outcome) in outcomes {
            if let Some(after) = outcome.after {
                store.commit(&write.place, after, world.now, world.answered_at);
            }
        }
        let capacity = units_by_table.iter().map(|(table, units)| json!({"TableName": table, "CapacityUnits": units}));
        Ok(if self.capacity { json!({"ConsumedCapacity": capacity.collect::<Vec<_>>()}) } else { json!({}) })
    }

    /// The reasons that chance adds.
    fn injected(&self, world: &mut World<'_>) -> Vec<Option<Json>> {
        let mut reasons = vec![None; self.writes.len()];
        if world.dice.injects(FaultKind::Cancellation, world.counts) {
            let chosen = world.dice.some_of(self.writes.len(), true);
            for (slot, _) in reasons.iter_mut().zip(chosen).filter(|(_, chosen)| *chosen) {
                *slot = Some(match world.dice.below(3) {
                    0 => reason("TransactionConflict", "Transaction is ongoing for the item"),
                    1 => reason(
                        "ThrottlingError",
                        "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling \
                         your table or index so please try again shortly.",
                    ),
                    _ => reason("ProvisionedThroughputExceeded", &ApiError::throughput_exceeded().message),
                });
            }
        }
        reasons
    }

    pub(super) fn places(&self) -> impl Iterator<Item = &ItemKey> {
        self.writes.iter().map(|write| &write.place)
    }

    pub(super) fn tables(&self) -> BTreeSet<&str> {
        self.writes.iter().map(|write| write.place.table.as_str()).collect()
    }
}

const OPERATION: &str = "TransactWriteItems";

fn write(item: TransactItem, store: &Store) -> Answer<Write> {
    let given = [
        (item.put, WriteKind::Put),
        (item.update, WriteKind::Update),
        (item.delete, WriteKind::Delete),
        (item.condition_check, WriteKind::Check),
    ];
    let mut given = given.into_iter().filter_map(|(request, kind)| Some((request?, kind)));
    match (given.next(), given.next()) {
        (Some((request, WriteKind::Check)), None) if request.condition_expression.is_none() => {
            Err(ApiError::validation("ConditionExpression must not be null in a ConditionCheck"))
        }
        (Some((request, WriteKind::Update)), None) if request.update_expression.is_none() => {
            Err(ApiError::validation("UpdateExpression must not be null in an Update"))
        }
        (Some((request, kind)), None) => Write::parse(request, kind, store),
        _ => Err(ApiError::validation("TransactItems can only contain one of Check, Put, Update or Delete")),
    }
}

fn reason(code: &str, message: &str) -> Json {
    json!({"Code": code, "Message": message})
}

fn cancelled(reasons: &[Json]) -> ApiError {
    let codes: Vec<&str> = reasons.iter().filter_map(|reason| reason["Code"].as_str()).collect();
    let message =
        format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes.join(", "));
    let error = ApiError::new("TransactionCanceledException", message.clone());
    error.with("Message", json!(message)).with("CancellationReasons", json!(reasons))
}

//! The two tables. Only this module knows their keys and attributes.
//!
//! `exchange` is all that an agent may touch; `state` is the cloud's own. Both have the keys `pk` and `sk` and the TTL
//! attribute `expiresAt`; the TTL deletes late, so every reader that cares compares the time itself.

mod access;
mod calls;
mod deliveries;
mod exchange;
mod feed;
mod state;
mod webhooks;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::aws;

pub use access::{AuditEntry, AuditKind, Window};
pub use deliveries::{Order, Parked, Parking, ReceiverView};
pub use exchange::{Claim, Exchange, Finish, LegItem, Placed};
pub use feed::{FeedEntry, FeedHead, FeedPart};
pub use state::StateTable;
pub use webhooks::{Change, KEEP_EXPIRED};

type Item = HashMap<String, AttributeValue>;

#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("the table did not {verb} ({code}): {cause}")]
    Request { verb: &'static str, code: String, cause: String },
    #[error("the table did not {verb}: its answer is not complete")]
    Incomplete { verb: &'static str },
    #[error("an item of the table cannot be read")]
    Item(#[from] serde_dynamo::Error),
}

impl TableError {
    fn request<E>(verb: &'static str, error: &E) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata,
    {
        let (code, cause) = aws::explain(error);
        Self::Request { verb, code, cause }
    }
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn key(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// The key of an item that never exists: only a check names it, in writes that must not succeed.
pub(crate) fn check_key() -> Item {
    key("CHECK", "CHECK")
}

/// The time by the clock that the client signs its requests with, so that a table has no clock of its own.
fn now(client: &Client) -> Timestamp {
    let told = client.config().time_source().and_then(|source| Timestamp::try_from(source.now()).ok());
    told.unwrap_or_else(Timestamp::now)
}

/// Whether an item is only there because the TTL has not come to it yet.
fn is_over(item: &Item, now: Timestamp) -> bool {
    let expires_at = item.get("expiresAt").and_then(|at| at.as_n().ok()?.parse::<i64>().ok());
    expires_at.is_some_and(|at| at <= now.as_second())
}

/// How many bytes of an item are paid for, about. Only for items without lists and maps.
fn item_size(item: &Item) -> usize {
    let size = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.len() / 2 + 2,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        _ => 1,
    };
    item.iter().map(|(name, value)| name.len() + size(value)).sum()
}

/// The item of a value: its attributes beside its key.
fn item<T: Serialize>(key: Item, value: &T) -> Result<Item, TableError> {
    let mut item: Item = serde_dynamo::to_item(value)?;
    item.extend(key);
    Ok(item)
}

fn value<T: DeserializeOwned>(item: Item) -> Result<T, TableError> {
    Ok(serde_dynamo::from_item(item)?)
}

//! Items: their keys and versions, and what becomes of one that cannot be read.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::error;

use crate::aws;

pub(super) type Item = HashMap<String, AttributeValue>;

#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("the table did not {verb} ({code}): {cause}")]
    Request { verb: &'static str, code: String, cause: String },
    #[error("the table did not {verb}: its answer is not complete")]
    Incomplete { verb: &'static str },
    #[error("an item of the table cannot be read")]
    Item(#[from] serde_dynamo::Error),
    #[error("an item of the table is of version {0}, this program reads version {VERSION}")]
    Newer(u64),
}

impl TableError {
    /// Whether the table did not do what it was asked for, rather than answer something that this program does not understand.
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Request { .. } | Self::Incomplete { .. })
    }

    pub(super) fn request<E>(verb: &'static str, error: &E) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata,
    {
        let (code, cause) = aws::explain(error);
        Self::Request { verb, code, cause }
    }
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn key(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// The time by the clock that the client signs its requests with, so that a table has no clock of its own.
pub(super) fn now(client: &Client) -> Timestamp {
    let told = client.config().time_source().and_then(|source| Timestamp::try_from(source.now()).ok());
    told.unwrap_or_else(Timestamp::now)
}

/// Whether an item is only there because the TTL has not come to it yet.
pub(super) fn is_over(item: &Item, now: Timestamp) -> bool {
    let expires_at = item.get("expiresAt").and_then(|at| at.as_n().ok()?.parse::<i64>().ok());
    expires_at.is_some_and(|at| at <= now.as_second())
}

/// The version of what [`item`] writes. An item says it in its attribute `v`; the oldest ones do not, and are of version 1 as well.
pub(super) const VERSION: u64 = 1;

/// The item of a value: its attributes beside its key and version.
pub(super) fn item<T: Serialize>(key: Item, value: &T) -> Result<Item, TableError> {
    let mut item: Item = serde_dynamo::to_item(value)?;
    item.extend(key);
    item.insert("v".to_owned(), number(VERSION as i64));
    Ok(item)
}

/// The value of an item. What a later version has written is not guessed at.
pub(super) fn value<T: DeserializeOwned>(item: Item) -> Result<T, TableError> {
    let version = item.get("v").and_then(|v| v.as_n().ok()?.parse().ok());
    match version {
        Some(newer) if newer > VERSION => Err(TableError::Newer(newer)),
        _ => Ok(serde_dynamo::from_item(item)?),
    }
}

/// Items of one kind, read one by one. One that cannot be read is no reason to do nothing about the others.
#[derive(Debug)]
pub struct Readable<T> {
    pub values: Vec<T>,
    /// The sort keys of those that cannot be read, and why.
    pub unreadable: Vec<(String, TableError)>,
}

impl<T> Readable<T> {
    pub(super) fn of(items: Vec<Item>, read: impl Fn(Item) -> Result<T, TableError>) -> Self {
        let mut readable = Self { values: Vec::with_capacity(items.len()), unreadable: Vec::new() };
        for item in items {
            let sort_key = sort_key_of(&item);
            match read(item) {
                Ok(value) => readable.values.push(value),
                Err(error) => readable.unreadable.push((sort_key, error)),
            }
        }
        readable
    }

    /// Those that can be read. The others are told of in the log, for whoever can bring the newer program back.
    pub fn logged(self, what: &str) -> Vec<T> {
        for (sort_key, error) in &self.unreadable {
            error!(cause = %error, item.sk = sort_key, "A {what} cannot be read and is left out");
        }
        self.values
    }
}

pub(super) fn sort_key_of(item: &Item) -> String {
    item.get("sk").and_then(|sk| sk.as_s().ok()).cloned().unwrap_or_default()
}

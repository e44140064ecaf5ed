//! The state table: what its parts `calls`, `feed`, `access`, `webhooks` and `deliveries` have in common.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, WriteRequest};

use super::item::{Item, TableError};
use super::retention::KeepDays;
use crate::aws::retry::Pauses;
use crate::config::{ConfigError, Vars};

/// DynamoDB reads at most this many items at once.
const GET_AT_ONCE: usize = 100;
/// It writes at most this many.
const WRITE_AT_ONCE: usize = 25;

#[derive(Clone, Debug)]
pub struct StateTable {
    pub(super) client: Client,
    pub(super) table: String,
    pub(super) keep: KeepDays,
}

impl StateTable {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table, keep: KeepDays::default() }
    }

    /// As the variables of a function say.
    pub fn from_vars(client: Client, vars: &impl Vars) -> Result<Self, ConfigError> {
        let keep = vars.parsed("KEEP_DAYS", KeepDays::default())?;
        Ok(Self::new(client, vars.required("STATE_TABLE")?).keeping(keep))
    }

    /// Keeps what is recorded for other than the usual time.
    pub fn keeping(self, keep: KeepDays) -> Self {
        Self { keep, ..self }
    }

    /// Reads all these items consistently; those that do not exist are left out.
    pub(super) async fn get_all(
        &self,
        mut wanted: Vec<Item>,
        projection: Option<&str>,
        verb: &'static str,
    ) -> Result<Vec<Item>, TableError> {
        let mut found = Vec::new();
        let mut pauses = Pauses::new(self.client.config().sleep_impl());
        while !wanted.is_empty() {
            let rest = wanted.split_off(wanted.len().min(GET_AT_ONCE));
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(wanted))
                .consistent_read(true)
                .set_projection_expression(projection.map(str::to_owned));
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, keys.build().expect("complete"))
                .send()
                .await
                .map_err(|error| TableError::request(verb, &error.into_service_error()))?;
            found.extend(answer.responses.unwrap_or_default().into_values().flatten());
            let mut left_out: HashMap<String, KeysAndAttributes> = answer.unprocessed_keys.unwrap_or_default();
            wanted = left_out.remove(&self.table).map(|keys| keys.keys).unwrap_or_default();
            // It is busy, or the answer would have been too long.
            if !wanted.is_empty() && !pauses.pause().await {
                return Err(TableError::Incomplete { verb });
            }
            wanted.extend(rest);
        }
        Ok(found)
    }

    /// Writes all these items, each by itself.
    pub(super) async fn write_all(&self, mut wanted: Vec<WriteRequest>, verb: &'static str) -> Result<(), TableError> {
        let mut pauses = Pauses::new(self.client.config().sleep_impl());
        while !wanted.is_empty() {
            let rest = wanted.split_off(wanted.len().min(WRITE_AT_ONCE));
            let write = self.client.batch_write_item().request_items(&self.table, wanted).send().await;
            let answer = write.map_err(|error| TableError::request(verb, &error.into_service_error()))?;
            wanted = answer.unprocessed_items.unwrap_or_default().remove(&self.table).unwrap_or_default();
            if !wanted.is_empty() && !pauses.pause().await {
                return Err(TableError::Incomplete { verb });
            }
            wanted.extend(rest);
        }
        Ok(())
    }

    pub(super) async fn put(
        &self,
        item: HashMap<String, AttributeValue>,
        verb: &'static str,
    ) -> Result<(), TableError> {
        let written = self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await;
        written
            .map(drop)
            .map_err(|error: SdkError<PutItemError>| TableError::request(verb, &error.into_service_error()))
    }
}

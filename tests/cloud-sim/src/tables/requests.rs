//! The requests as they come over the wire. A parameter that is not listed here is refused, so that nobody relies on what is
//! not simulated.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::error::{Answer, ApiError};

pub(super) type Fields = Map<String, Json>;
pub(super) type Names = BTreeMap<String, String>;

pub(super) fn read<T: for<'de> Deserialize<'de>>(body: &Json) -> Answer<T> {
    T::deserialize(body).map_err(ApiError::unreadable)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct GetItem {
    pub(super) table_name: String,
    pub(super) key: Fields,
    #[serde(default)]
    pub(super) consistent_read: bool,
    pub(super) projection_expression: Option<String>,
    pub(super) expression_attribute_names: Option<Names>,
    pub(super) return_consumed_capacity: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct WriteItem {
    pub(super) table_name: String,
    pub(super) item: Option<Fields>,
    pub(super) key: Option<Fields>,
    pub(super) update_expression: Option<String>,
    pub(super) condition_expression: Option<String>,
    pub(super) expression_attribute_names: Option<Names>,
    pub(super) expression_attribute_values: Option<Fields>,
    pub(super) return_values: Option<String>,
    pub(super) return_values_on_condition_check_failure: Option<String>,
    pub(super) return_consumed_capacity: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Search {
    pub(super) table_name: String,
    pub(super) key_condition_expression: Option<String>,
    pub(super) filter_expression: Option<String>,
    pub(super) projection_expression: Option<String>,
    pub(super) expression_attribute_names: Option<Names>,
    pub(super) expression_attribute_values: Option<Fields>,
    #[serde(default)]
    pub(super) consistent_read: bool,
    pub(super) scan_index_forward: Option<bool>,
    pub(super) limit: Option<i64>,
    pub(super) exclusive_start_key: Option<Fields>,
    pub(super) select: Option<String>,
    pub(super) return_consumed_capacity: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct BatchGetItem {
    pub(super) request_items: BTreeMap<String, KeysAndAttributes>,
    pub(super) return_consumed_capacity: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct KeysAndAttributes {
    pub(super) keys: Vec<Fields>,
    #[serde(default)]
    pub(super) consistent_read: bool,
    pub(super) projection_expression: Option<String>,
    pub(super) expression_attribute_names: Option<Names>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct BatchWriteItem {
    pub(super) request_items: BTreeMap<String, Vec<WriteRequest>>,
    pub(super) return_consumed_capacity: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct WriteRequest {
    pub(super) put_request: Option<PutRequest>,
    pub(super) delete_request: Option<DeleteRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct PutRequest {
    pub(super) item: Fields,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct DeleteRequest {
    pub(super) key: Fields,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct TransactWriteItems {
    pub(super) transact_items: Vec<TransactItem>,
    pub(super) client_request_token: Option<String>,
    pub(super) return_consumed_capacity: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct TransactItem {
    pub(super) put: Option<WriteItem>,
    pub(super) update: Option<WriteItem>,
    pub(super) delete: Option<WriteItem>,
    pub(super) condition_check: Option<WriteItem>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct CreateTable {
    pub(super) table_name: String,
    pub(super) attribute_definitions: Vec<AttributeDefinition>,
    pub(super) key_schema: Vec<KeySchemaElement>,
    pub(super) billing_mode: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct AttributeDefinition {
    pub(super) attribute_name: String,
    pub(super) attribute_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct KeySchemaElement {
    pub(super) attribute_name: String,
    pub(super) key_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct TableOnly {
    pub(super) table_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct UpdateTimeToLive {
    pub(super) table_name: String,
    pub(super) time_to_live_specification: TimeToLiveSpecification,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct TimeToLiveSpecification {
    pub(super) attribute_name: String,
    pub(super) enabled: bool,
}

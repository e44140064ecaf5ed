//! Making and describing tables, as far as tests need it. A table is there at once.

use serde_json::{Value as Json, json};

use super::requests::{CreateTable, TableOnly, UpdateTimeToLive, read};
use super::store::Store;
use super::table::{KeyAttribute, Table};
use crate::error::{Answer, ApiError};

pub(super) fn create(store: &mut Store, body: &Json) -> Answer {
    let request: CreateTable = read(body)?;
    if request.billing_mode.as_deref() != Some("PAY_PER_REQUEST") {
        return Err(ApiError::unreadable("only on-demand tables (BillingMode PAY_PER_REQUEST) are simulated"));
    }
    let key = |kind: &str| {
        let element = request.key_schema.iter().find(|element| element.key_type == kind)?;
        let defined = request.attribute_definitions.iter().find(|it| it.attribute_name == element.attribute_name)?;
        Some(KeyAttribute { name: element.attribute_name.clone(), kind: defined.attribute_type.clone() })
    };
    let partition_key = key("HASH").ok_or_else(|| ApiError::validation("No Hash Key specified in schema."))?;
    if store.tables.contains_key(&request.table_name) {
        let name = &request.table_name;
        return Err(ApiError::new("ResourceInUseException", format!("Table already exists: {name}")));
    }
    let table = Table::new(partition_key, key("RANGE"));
    let description = description(&request.table_name, &table);
    store.tables.insert(request.table_name, table);
    Ok(json!({"TableDescription": description}))
}

pub(super) fn describe(store: &Store, body: &Json) -> Answer {
    let request: TableOnly = read(body)?;
    Ok(json!({"Table": description(&request.table_name, store.table(&request.table_name)?)}))
}

pub(super) fn delete(store: &mut Store, body: &Json) -> Answer {
    let request: TableOnly = read(body)?;
    let table = store.tables.remove(&request.table_name).ok_or_else(ApiError::no_table)?;
    Ok(json!({"TableDescription": description(&request.table_name, &table)}))
}

pub(super) fn list(store: &Store) -> Answer {
    Ok(json!({"TableNames": store.tables.keys().collect::<Vec<_>>()}))
}

pub(super) fn update_time_to_live(store: &mut Store, body: &Json) -> Answer {
    let UpdateTimeToLive { table_name, time_to_live_specification: ttl } = read(body)?;
    let attribute = ttl.enabled.then(|| ttl.attribute_name.clone());
    store.table_mut(&table_name)?.set_time_to_live(attribute);
    Ok(json!({"TimeToLiveSpecification": {"AttributeName": ttl.attribute_name, "Enabled": ttl.enabled}}))
}

pub(super) fn describe_time_to_live(store: &Store, body: &Json) -> Answer {
    let request: TableOnly = read(body)?;
    let attribute = store.table(&request.table_name)?.time_to_live.as_ref();
    let status = if attribute.is_some() { "ENABLED" } else { "DISABLED" };
    Ok(json!({"TimeToLiveDescription": {"AttributeName": attribute, "TimeToLiveStatus": status}}))
}

fn description(name: &str, table: &Table) -> Json {
    let kinds = ["HASH", "RANGE"];
    let keys: Vec<Json> = table
        .key_attributes()
        .zip(kinds)
        .map(|(key, kind)| json!({"AttributeName": key.name, "KeyType": kind}))
        .collect();
    let attributes: Vec<Json> =
        table.key_attributes().map(|key| json!({"AttributeName": key.name, "AttributeType": key.kind})).collect();
    json!({
        "TableName": name,
        "TableStatus": "ACTIVE",
        "TableArn": format!("arn:aws:dynamodb:eu-central-1:000000000000:table/{name}"),
        "KeySchema": keys,
        "AttributeDefinitions": attributes,
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    })
}

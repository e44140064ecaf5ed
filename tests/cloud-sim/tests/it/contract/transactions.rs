//! `TransactWriteItems`.

use std::sync::Arc;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use serde_json::{Value as Json, json};

use super::items::{get, put};
use crate::plain::{item, plain, value};
use crate::sdk::code;
use crate::target::Target;

fn key(sk: &str) -> Json {
    json!({"pk": "p", "sk": sk})
}

fn put_new(table: &str, sk: &str) -> TransactWriteItem {
    let put = Put::builder().table_name(table).set_item(Some(item(key(sk))));
    let put = put.condition_expression("attribute_not_exists(pk)");
    let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    TransactWriteItem::builder().put(put.build().expect("complete")).build()
}

fn add(table: &str, sk: &str, n: i64) -> TransactWriteItem {
    let update = Update::builder().table_name(table).set_key(Some(item(key(sk)))).update_expression("ADD n :n");
    let update = update.expression_attribute_values(":n", value(json!(n))).build().expect("complete");
    TransactWriteItem::builder().update(update).build()
}

pub(super) async fn all_or_nothing(target: Arc<Target>) {
    let (table, other) = (target.table().await, target.table().await);
    put(&target, &table, json!({"pk": "p", "sk": "gone"})).await;
    let delete = Delete::builder().table_name(&table).set_key(Some(item(key("gone")))).build().expect("complete");
    let check = ConditionCheck::builder().table_name(&table).set_key(Some(item(key("never"))));
    let check = check.condition_expression("attribute_not_exists(pk)").build().expect("complete");
    let writes = vec![
        put_new(&table, "new"),
        add(&other, "count", 2),
        TransactWriteItem::builder().delete(delete).build(),
        TransactWriteItem::builder().condition_check(check).build(),
    ];
    let transact = target.clients.tables.transact_write_items().set_transact_items(Some(writes.clone()));
    transact.send().await.expect("all is written");
    same!(target, get(&target, &table, "p", "new").await, key("new"));
    same!(target, get(&target, &other, "p", "count").await["n"], json!(2));
    same!(target, get(&target, &table, "p", "gone").await, Json::Null);
    let transact = target.clients.tables.transact_write_items().set_transact_items(Some(writes));
    same!(target, code(transact.send().await), "TransactionCanceledException");
    same!(target, get(&target, &other, "p", "count").await["n"], json!(2), "nothing was written");
}

pub(super) async fn reasons(target: Arc<Target>) {
    let table = target.table().await;
    put(&target, &table, json!({"pk": "p", "sk": "there", "n": 1})).await;
    let writes = vec![add(&table, "a", 1), put_new(&table, "there"), add(&table, "b", 1)];
    let transact = target.clients.tables.transact_write_items().set_transact_items(Some(writes));
    match transact.send().await.map_err(SdkError::into_service_error) {
        Err(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            let codes: Vec<&str> =
                cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or("None")).collect();
            same!(target, codes, ["None", "ConditionalCheckFailed", "None"]);
            let item = cancelled.cancellation_reasons()[1].item().map(plain);
            same!(target, item, Some(json!({"pk": "p", "sk": "there", "n": 1})));
        }
        other => panic!("{other:?}"),
    }
}

pub(super) async fn once_per_token(target: Arc<Target>) {
    let table = target.table().await;
    let transact = |n| {
        let transact = target.clients.tables.transact_write_items().client_request_token("token");
        transact.transact_items(add(&table, "count", n)).send()
    };
    for _ in 0..2 {
        same!(target, code(transact(1).await), "ok");
    }
    same!(target, get(&target, &table, "p", "count").await["n"], json!(1), "carried out once");
    same!(target, code(transact(2).await), "IdempotentParameterMismatchException", "another request with the token");
}

pub(super) async fn refused_transactions(target: Arc<Target>) {
    let table = target.table().await;
    let transact = |writes| target.clients.tables.transact_write_items().set_transact_items(Some(writes)).send();
    same!(target, code(transact((0..100).map(|n| add(&table, &n.to_string(), 1)).collect()).await), "ok");
    for (what, writes) in [
        ("none", vec![]),
        ("too many", (0..101).map(|n| add(&table, &n.to_string(), 1)).collect()),
        ("one item twice", vec![add(&table, "a", 1), put_new(&table, "a")]),
        ("an empty key", vec![add(&table, "", 1)]),
    ] {
        same!(target, code(transact(writes).await), "ValidationException", "{what}");
    }
    same!(target, code(transact(vec![add("nowhere", "a", 1)]).await), "ResourceNotFoundException");
}

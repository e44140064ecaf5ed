//! Single items.

use std::sync::Arc;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use serde_json::{Value as Json, json};

use crate::plain::{item, plain, value};
use crate::sdk::code;
use crate::target::Target;

pub(super) async fn put(target: &Target, table: &str, json: Json) {
    let put = target.clients.tables.put_item().table_name(table).set_item(Some(item(json)));
    put.send().await.expect("the item is stored");
}

pub(super) async fn get(target: &Target, table: &str, pk: &str, sk: &str) -> Json {
    let get = target.clients.tables.get_item().table_name(table).consistent_read(true);
    let answer = get.set_key(Some(item(json!({"pk": pk, "sk": sk})))).send().await.expect("an answer");
    answer.item.map_or(Json::Null, |item| plain(&item))
}

pub(super) async fn put_get_delete(target: Arc<Target>) {
    let table = target.table().await;
    let all = json!({"pk": "a", "sk": "1", "s": "", "n": -1.5, "b": true, "z": null, "l": [1, "x", []], "m": {"k": {}},
        "set": {"SS": ["a", "b"]}, "numbers": {"NS": ["1", "2"]}});
    put(&target, &table, all.clone()).await;
    same!(target, get(&target, &table, "a", "1").await, all);
    same!(target, get(&target, &table, "a", "2").await, Json::Null);
    put(&target, &table, json!({"pk": "a", "sk": "1"})).await;
    same!(target, get(&target, &table, "a", "1").await, json!({"pk": "a", "sk": "1"}), "a put replaces the whole item");
    for _ in 0..2 {
        let delete = target.clients.tables.delete_item().table_name(&table);
        delete.set_key(Some(item(json!({"pk": "a", "sk": "1"})))).send().await.expect("deleted, also twice");
    }
    same!(target, get(&target, &table, "a", "1").await, Json::Null);
}

pub(super) async fn keys_are_checked(target: Arc<Target>) {
    let table = target.table().await;
    for (what, wrong) in [
        ("no sort key", json!({"pk": "a"})),
        ("no partition key", json!({"sk": "a"})),
        ("an empty partition key", json!({"pk": "", "sk": "a"})),
        ("an empty sort key", json!({"pk": "a", "sk": ""})),
        ("a number as sort key", json!({"pk": "a", "sk": 1})),
        ("a long sort key", json!({"pk": "a", "sk": "k".repeat(1025)})),
        ("a long partition key", json!({"pk": "k".repeat(2049), "sk": "a"})),
    ] {
        let put = target.clients.tables.put_item().table_name(&table).set_item(Some(item(wrong.clone())));
        same!(target, code(put.send().await), "ValidationException", "put with {what}");
        let get = target.clients.tables.get_item().table_name(&table).set_key(Some(item(wrong)));
        same!(target, code(get.send().await), "ValidationException", "get with {what}");
    }
    let get = target.clients.tables.get_item().table_name(&table);
    let answer = get.set_key(Some(item(json!({"pk": "a", "sk": "b", "more": "c"})))).send().await;
    same!(target, code(answer), "ValidationException");
    let longest = json!({"pk": "k".repeat(2048), "sk": "k".repeat(1024)});
    put(&target, &table, longest).await;
}

pub(super) async fn values_are_checked(target: Arc<Target>) {
    let table = target.table().await;
    let number = |text: &str| aws_sdk_dynamodb::types::AttributeValue::N(text.to_owned());
    for (what, wrong) in [
        ("no number", number("x")),
        ("an empty number", number("")),
        ("39 digits", number(&"1".repeat(39))),
        ("a large number", number("1e126")),
        ("an empty set", value(json!({"SS": []}))),
    ] {
        let put = target.clients.tables.put_item().table_name(&table);
        let put = put.set_item(Some(item(json!({"pk": "a", "sk": "1"})))).item("wrong", wrong);
        same!(target, code(put.send().await), "ValidationException", "{what}");
    }
    let put = target.clients.tables.put_item().table_name(&table);
    let put = put.set_item(Some(item(json!({"pk": "a", "sk": "1"})))).item("n", number("0010.500"));
    put.send().await.expect("the item is stored");
    let answer = target.clients.tables.get_item().table_name(&table).set_key(Some(item(json!({"pk": "a", "sk": "1"}))));
    let read = answer.send().await.expect("an answer").item.and_then(|mut item| item.remove("n"));
    same!(target, read, Some(number("10.5")), "a number is normalised");
}

pub(super) async fn sizes_are_limited(target: Arc<Target>) {
    let table = target.table().await;
    // Names count: pk, sk, x and their values.
    let with = |bytes: usize| item(json!({"pk": "a", "sk": "1", "x": "x".repeat(bytes - 7)}));
    let put = |bytes| target.clients.tables.put_item().table_name(&table).set_item(Some(with(bytes))).send();
    same!(target, code(put(400 * 1024).await), "ok", "put 400 KB");
    same!(target, code(put(400 * 1024 + 1).await), "ValidationException", "put more than 400 KB");
    let update = target.clients.tables.update_item().table_name(&table);
    let update = update.set_key(Some(item(json!({"pk": "a", "sk": "1"})))).update_expression("SET y = :y");
    let update = update.expression_attribute_values(":y", value(json!("yy")));
    same!(target, code(update.send().await), "ValidationException", "update beyond 400 KB");
}

pub(super) async fn conditions(target: Arc<Target>) {
    let table = target.table().await;
    let put = |json: Json, condition: &str| {
        let put = target.clients.tables.put_item().table_name(&table).set_item(Some(item(json)));
        put.condition_expression(condition).send()
    };
    let new = json!({"pk": "a", "sk": "1", "n": 1});
    same!(target, code(put(new.clone(), "attribute_exists(pk)").await), "ConditionalCheckFailedException");
    same!(target, code(put(new.clone(), "attribute_not_exists(pk)").await), "ok");
    same!(target, code(put(new, "attribute_not_exists(pk)").await), "ConditionalCheckFailedException");
    let delete = target.clients.tables.delete_item().table_name(&table);
    let delete = delete.set_key(Some(item(json!({"pk": "a", "sk": "1"})))).condition_expression("n = :n");
    let refused = delete.clone().expression_attribute_values(":n", value(json!(2)));
    same!(target, code(refused.send().await), "ConditionalCheckFailedException");
    same!(target, code(delete.expression_attribute_values(":n", value(json!(1))).send().await), "ok");
    same!(target, get(&target, &table, "a", "1").await, Json::Null);
}

pub(super) async fn returned_values(target: Arc<Target>) {
    let table = target.table().await;
    put(&target, &table, json!({"pk": "a", "sk": "1", "n": 1, "x": "x"})).await;
    let update = |returns| {
        let update = target.clients.tables.update_item().table_name(&table);
        let update = update.set_key(Some(item(json!({"pk": "a", "sk": "1"})))).update_expression("ADD n :one");
        update.expression_attribute_values(":one", value(json!(1))).return_values(returns).send()
    };
    for (returns, expected) in [
        (ReturnValue::None, Json::Null),
        (ReturnValue::UpdatedOld, json!({"n": 2})),
        (ReturnValue::UpdatedNew, json!({"n": 4})),
        (ReturnValue::AllOld, json!({"pk": "a", "sk": "1", "n": 4, "x": "x"})),
        (ReturnValue::AllNew, json!({"pk": "a", "sk": "1", "n": 6, "x": "x"})),
    ] {
        let answer = update(returns.clone()).await.expect("an answer");
        let attributes = answer.attributes.filter(|item| !item.is_empty()).map_or(Json::Null, |item| plain(&item));
        same!(target, attributes, expected, "{returns:?}");
    }
    let new = || item(json!({"pk": "a", "sk": "1"}));
    let put = target.clients.tables.put_item().table_name(&table).set_item(Some(new()));
    let answer = put.clone().return_values(ReturnValue::AllOld).send().await.expect("an answer");
    same!(target, answer.attributes.map(|item| plain(&item)["n"].clone()), Some(json!(6)));
    same!(target, code(put.return_values(ReturnValue::AllNew).send().await), "ValidationException");
    let delete = target.clients.tables.delete_item().table_name(&table).set_key(Some(new()));
    let delete = delete.return_values(ReturnValue::AllOld);
    let answer = delete.clone().send().await.expect("an answer");
    same!(target, answer.attributes.map(|item| plain(&item)), Some(json!({"pk": "a", "sk": "1"})));
    let answer = delete.send().await.expect("an answer");
    same!(target, answer.attributes.is_none_or(|item| item.is_empty()), true, "there was nothing to delete");
}

pub(super) async fn failed_conditions_return_the_item(target: Arc<Target>) {
    let table = target.table().await;
    put(&target, &table, json!({"pk": "a", "sk": "1", "n": 1})).await;
    for (returns, expected) in [
        (ReturnValuesOnConditionCheckFailure::AllOld, Some(json!({"pk": "a", "sk": "1", "n": 1}))),
        (ReturnValuesOnConditionCheckFailure::None, None),
    ] {
        let put = target.clients.tables.put_item().table_name(&table);
        let put =
            put.set_item(Some(item(json!({"pk": "a", "sk": "1"})))).condition_expression("attribute_not_exists(pk)");
        let answer = put.return_values_on_condition_check_failure(returns).send().await;
        match answer.map_err(SdkError::into_service_error) {
            Err(PutItemError::ConditionalCheckFailedException(failed)) => {
                same!(target, failed.item().map(plain), expected);
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(super) async fn no_such_table(target: Arc<Target>) {
    let get = target.clients.tables.get_item().table_name("nowhere").set_key(Some(item(json!({"pk": "a", "sk": "1"}))));
    same!(target, code(get.send().await), "ResourceNotFoundException");
    let query = target.clients.tables.query().table_name("nowhere").key_condition_expression("pk = :pk");
    let query = query.expression_attribute_values(":pk", value(json!("a")));
    same!(target, code(query.send().await), "ResourceNotFoundException");
}

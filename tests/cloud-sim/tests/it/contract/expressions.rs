//! Expressions: what they do, and which are refused.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::items::{get, put};
use crate::plain::{item, plain, value};
use crate::sdk::code;
use crate::target::Target;

/// Updates an item; the result is what it is then, or the code of the error. Placeholders are `:name` and `#name` in `given`.
async fn updated(target: &Target, table: &str, before: Json, expression: &str, given: Json) -> Json {
    let delete = target.clients.tables.delete_item().table_name(table);
    delete.set_key(Some(item(json!({"pk": "a", "sk": "1"})))).send().await.expect("deleted");
    if let Json::Object(mut fields) = before {
        fields.extend([("pk".to_owned(), json!("a")), ("sk".to_owned(), json!("1"))]);
        put(target, table, Json::Object(fields)).await;
    }
    let mut update = target.clients.tables.update_item().table_name(table).update_expression(expression);
    for (name, given) in given.as_object().expect("an object") {
        update = match name.starts_with('#') {
            true => update.expression_attribute_names(name, given.as_str().expect("a name")),
            false => update.expression_attribute_values(name, value(given.clone())),
        };
    }
    match code(update.set_key(Some(item(json!({"pk": "a", "sk": "1"})))).send().await).as_str() {
        "ok" => match get(target, table, "a", "1").await {
            Json::Object(mut fields) => {
                fields.retain(|name, _| name != "pk" && name != "sk");
                Json::Object(fields)
            }
            other => other,
        },
        error => json!(error),
    }
}

pub(super) async fn updates(target: Arc<Target>) {
    let table = target.table().await;
    for (before, expression, given, after) in [
        (json!({}), "SET a = :a", json!({":a": 1}), json!({"a": 1})),
        (Json::Null, "SET a = :a", json!({":a": 1}), json!({"a": 1})),
        (Json::Null, "ADD n :n", json!({":n": -1}), json!({"n": -1})),
        (json!({"a": 1}), "SET b = a, a = :a", json!({":a": 2}), json!({"a": 2, "b": 1})),
        (json!({"a": 1}), "SET a = a + :d", json!({":d": 0.5}), json!({"a": 1.5})),
        (json!({"a": 1}), "SET a = :d - a", json!({":d": 0.5}), json!({"a": -0.5})),
        (
            json!({"a": 1}),
            "set a = if_not_exists(a, :x), b = if_not_exists(b, :x)",
            json!({":x": 9}),
            json!({"a": 1, "b": 9}),
        ),
        (
            json!({"l": [1]}),
            "SET l = list_append(if_not_exists(l, :none), :more), k = list_append(if_not_exists(k, :none), :more)",
            json!({":none": [], ":more": [2]}),
            json!({"l": [1, 2], "k": [2]}),
        ),
        (json!({"a": 1, "b": 2}), "REMOVE a, c", json!({}), json!({"b": 2})),
        (json!({"a": 1}), "ADD a :a SET b = :b REMOVE c", json!({":a": 2, ":b": 3}), json!({"a": 3, "b": 3})),
        (
            json!({"m": {"k": 1}}),
            "SET m.k = :v, m.#new = :v",
            json!({":v": 5, "#new": "n-w"}),
            json!({"m": {"k": 5, "n-w": 5}}),
        ),
        (json!({"l": [1, 2, 3]}), "SET l[0] = :v, l[9] = :v", json!({":v": 7}), json!({"l": [7, 2, 3, 7]})),
        (json!({"l": [1, 2, 3]}), "REMOVE l[0], l[1]", json!({}), json!({"l": [3]})),
        (json!({"s": {"SS": ["a"]}}), "ADD s :s", json!({":s": {"SS": ["a", "b"]}}), json!({"s": {"SS": ["a", "b"]}})),
        (Json::Null, "ADD s :s", json!({":s": {"SS": ["a"]}}), json!({"s": {"SS": ["a"]}})),
        (json!({"s": {"SS": ["a", "b"]}}), "DELETE s :s", json!({":s": {"SS": ["a"]}}), json!({"s": {"SS": ["b"]}})),
        (json!({"s": {"SS": ["a"]}}), "DELETE s :s", json!({":s": {"SS": ["a"]}}), json!({})),
        (
            json!({"round": 1}),
            "SET #state = :v",
            json!({"#state": "state", ":v": "x"}),
            json!({"round": 1, "state": "x"}),
        ),
    ] {
        same!(target, updated(&target, &table, before, expression, given).await, after, "{expression}");
    }
}

pub(super) async fn update_errors(target: Arc<Target>) {
    let table = target.table().await;
    let before = json!({"a": 1, "s": "text", "l": [1], "m": {"k": 1}});
    for (expression, given) in [
        ("", json!({})),
        ("SET", json!({})),
        ("SET a = ", json!({})),
        ("SET a = :v,", json!({":v": 1})),
        ("SET a = :v SET b = :v", json!({":v": 1})),
        ("SET a = :v, a = :v", json!({":v": 1})),
        ("SET m = :v, m.k = :v", json!({":v": 1})),
        ("SET a = :v REMOVE a", json!({":v": 1})),
        ("SET state = :v", json!({":v": 1})),
        ("SET pk = :v", json!({":v": "b"})),
        ("SET a = absent", json!({})),
        ("SET a = absent + :v", json!({":v": 1})),
        ("SET a = s + :v", json!({":v": 1})),
        ("SET l = list_append(l, :v)", json!({":v": 1})),
        ("SET absent.k = :v", json!({":v": 1})),
        ("SET a = size(s)", json!({})),
        ("ADD a :v", json!({":v": "text"})),
        ("ADD s :v", json!({":v": 1})),
        ("DELETE a :v", json!({":v": 1})),
        ("SET a = nosuch(:v)", json!({":v": 1})),
    ] {
        let after = updated(&target, &table, before.clone(), expression, given).await;
        same!(target, after, json!("ValidationException"), "{expression}");
    }
    same!(target, get(&target, &table, "a", "1").await["a"], json!(1), "nothing was changed");
}

/// Whether a condition holds for an item, or the code of the error.
async fn holds(target: &Target, table: &str, condition: &str, given: Json) -> String {
    let mut delete = target.clients.tables.delete_item().table_name(table).condition_expression(condition);
    for (name, given) in given.as_object().expect("an object") {
        delete = match name.starts_with('#') {
            true => delete.expression_attribute_names(name, given.as_str().expect("a name")),
            false => delete.expression_attribute_values(name, value(given.clone())),
        };
    }
    let answer = code(delete.set_key(Some(item(json!({"pk": "a", "sk": "1"})))).send().await);
    match answer.as_str() {
        "ok" => "holds".to_owned(),
        "ConditionalCheckFailedException" => "does not".to_owned(),
        _ => answer,
    }
}

pub(super) async fn condition_results(target: Arc<Target>) {
    let table = target.table().await;
    let stored = json!({"pk": "a", "sk": "1", "n": 5, "s": "hello", "l": [1, "x"], "m": {"k": "v"}, "e": "",
        "set": {"SS": ["a", "b"]}, "b": false, "z": null});
    for (condition, given, expected) in [
        ("n = :v", json!({":v": 5.0}), true),
        ("n = :v", json!({":v": "5"}), false),
        ("n <> :v", json!({":v": "5"}), true),
        ("absent <> :v", json!({":v": 1}), true),
        ("absent = :v", json!({":v": 1}), false),
        ("absent < :v", json!({":v": 1}), false),
        ("n < :v", json!({":v": 10}), true),
        ("n >= :v", json!({":v": 5}), true),
        ("n > :v", json!({":v": "4"}), false),
        ("s > :v", json!({":v": "hell"}), true),
        ("n BETWEEN :a AND :b", json!({":a": 1, ":b": 5}), true),
        ("n between :a and :b", json!({":a": 6, ":b": 7}), false),
        ("s IN (:a, :b)", json!({":a": "x", ":b": "hello"}), true),
        ("s IN (:a)", json!({":a": 1}), false),
        ("begins_with(s, :v)", json!({":v": "he"}), true),
        ("contains(s, :v)", json!({":v": "ll"}), true),
        ("contains(l, :v)", json!({":v": "x"}), true),
        ("contains(set, :v)", json!({":v": "c"}), false),
        ("size(s) = :v", json!({":v": 5}), true),
        ("size(l) < :v AND size(m) = :w", json!({":v": 3, ":w": 1}), true),
        ("size(n) = :v", json!({":v": 1}), false),
        ("attribute_exists(m.k) AND attribute_not_exists(m.x)", json!({}), true),
        ("attribute_type(l, :v)", json!({":v": "L"}), true),
        ("m.k = :v AND l[0] = :w", json!({":v": "v", ":w": 1}), true),
        ("NOT n = :v", json!({":v": 5}), false),
        ("NOT (n = :v OR s = :w)", json!({":v": 4, ":w": "x"}), true),
        ("n = :v OR n = :w AND s = :w", json!({":v": 5, ":w": 6}), true),
        ("(n = :v OR n = :w) AND s = :w", json!({":v": 5, ":w": 6}), false),
        ("b = :v", json!({":v": false}), true),
        ("z = :v", json!({":v": null}), true),
        ("#a = :v", json!({"#a": "s", ":v": "hello"}), true),
        ("set = :v", json!({":v": {"SS": ["b", "a"]}}), true),
    ] {
        // `set` is a reserved word.
        let (condition, mut given) = (condition.replace("set", "#set"), given);
        if condition.contains("#set") {
            given["#set"] = json!("set");
        }
        put(&target, &table, stored.clone()).await;
        let expected = if expected { "holds" } else { "does not" };
        same!(target, holds(&target, &table, &condition, given).await, expected, "{condition}");
    }
}

pub(super) async fn condition_errors(target: Arc<Target>) {
    let table = target.table().await;
    for (condition, given) in [
        ("", json!({})),
        ("n", json!({})),
        ("n =", json!({})),
        ("n = :v AND", json!({":v": 1})),
        ("(n = :v", json!({":v": 1})),
        ("((n = :v))", json!({":v": 1})),
        ("n == :v", json!({":v": 1})),
        ("n = :v extra", json!({":v": 1})),
        ("n = n", json!({})),
        ("n < :v", json!({":v": true})),
        ("n BETWEEN :a AND :b", json!({":a": 2, ":b": 1})),
        ("n BETWEEN :a AND :b", json!({":a": 2, ":b": "3"})),
        ("begins_with(s, :v)", json!({":v": 1})),
        ("size(s)", json!({})),
        ("Attribute_Exists(s)", json!({})),
        ("attribute_exists(:v)", json!({":v": "s"})),
        ("if_not_exists(s, :v) = :v", json!({":v": "s"})),
        ("state = :v", json!({":v": 1})),
        ("attribute_type(s, :v)", json!({":v": "X"})),
    ] {
        same!(target, holds(&target, &table, condition, given).await, "ValidationException", "{condition}");
    }
}

pub(super) async fn placeholders(target: Arc<Target>) {
    let table = target.table().await;
    for (condition, given) in [
        ("n = :v", json!({":v": 1, ":unused": 1})),
        ("n = :v", json!({":v": 1, "#unused": "x"})),
        ("absent = :missing", json!({":v": 1})),
        ("#missing = :v", json!({":v": 1})),
        ("n = :missing", json!({})),
    ] {
        same!(target, holds(&target, &table, condition, given).await, "ValidationException", "{condition}");
    }
    let put = target.clients.tables.put_item().table_name(&table).set_item(Some(item(json!({"pk": "a", "sk": "1"}))));
    let put = put.expression_attribute_values(":v", value(json!(1)));
    same!(target, code(put.send().await), "ValidationException", "values without an expression");
}

pub(super) async fn projections(target: Arc<Target>) {
    let table = target.table().await;
    put(&target, &table, json!({"pk": "a", "sk": "1", "n": 5, "m": {"k": "v", "x": 1}, "l": [1, 2, 3], "state": "s"}))
        .await;
    let get = |projection: &str| {
        let get = target.clients.tables.get_item().table_name(&table).consistent_read(true);
        get.set_key(Some(item(json!({"pk": "a", "sk": "1"})))).projection_expression(projection)
    };
    for (projection, expected) in
        [("pk, n", json!({"pk": "a", "n": 5})), ("m.k, l[1], absent", json!({"m": {"k": "v"}, "l": [2]}))]
    {
        let answer = get(projection).send().await.expect("an answer");
        same!(target, answer.item.map(|item| plain(&item)), Some(expected), "{projection}");
    }
    let answer = get("#s").expression_attribute_names("#s", "state").send().await.expect("an answer");
    same!(target, answer.item.map(|item| plain(&item)), Some(json!({"state": "s"})));
    for projection in ["", "n,", "m, m.k", "n, n", "state", ":v"] {
        same!(target, code(get(projection).send().await), "ValidationException", "{projection}");
    }
}

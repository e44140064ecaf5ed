//! `BatchGetItem` and `BatchWriteItem`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, PutRequest, WriteRequest};
use serde_json::{Value as Json, json};

use super::items::{get, put};
use crate::plain::{item, plain};
use crate::sdk::code;
use crate::target::Target;

fn keys(keys: impl IntoIterator<Item = Json>) -> KeysAndAttributes {
    let keys = keys.into_iter().map(item).collect();
    KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build().expect("complete")
}

fn key(n: usize) -> Json {
    json!({"pk": "p", "sk": format!("{n:04}")})
}

pub(super) async fn gets(target: Arc<Target>) {
    let (first, second) = (target.table().await, target.table().await);
    for n in 0..3 {
        put(&target, &first, key(n)).await;
    }
    put(&target, &second, key(7)).await;
    let request = target.clients.tables.batch_get_item();
    let request = request.request_items(&first, keys((0..5).map(key))).request_items(&second, keys([key(7), key(8)]));
    let answer = request.send().await.expect("an answer");
    let found = |table: &str| -> BTreeSet<String> {
        answer.responses().expect("responses")[table].iter().map(|item| plain(item).to_string()).collect()
    };
    same!(target, found(&first), (0..3).map(|n| key(n).to_string()).collect());
    same!(target, found(&second), BTreeSet::from([key(7).to_string()]));
    same!(target, answer.unprocessed_keys().is_none_or(HashMap::is_empty), true);
}

pub(super) async fn writes(target: Arc<Target>) {
    let table = target.table().await;
    put(&target, &table, key(1)).await;
    let writes = [put_request(key(0)), delete_request(key(1)), delete_request(key(2))].to_vec();
    let answer = target.clients.tables.batch_write_item().request_items(&table, writes).send().await;
    same!(target, answer.expect("an answer").unprocessed_items().is_none_or(HashMap::is_empty), true);
    same!(target, get(&target, &table, "p", "0000").await, key(0));
    same!(target, get(&target, &table, "p", "0001").await, Json::Null);
}

fn put_request(json: Json) -> WriteRequest {
    let put = PutRequest::builder().set_item(Some(item(json))).build().expect("complete");
    WriteRequest::builder().put_request(put).build()
}

fn delete_request(json: Json) -> WriteRequest {
    let delete = DeleteRequest::builder().set_key(Some(item(json))).build().expect("complete");
    WriteRequest::builder().delete_request(delete).build()
}

pub(super) async fn limits(target: Arc<Target>) {
    let table = target.table().await;
    let get = |keys| target.clients.tables.batch_get_item().request_items(&table, keys).send();
    same!(target, code(get(keys((0..100).map(key))).await), "ok");
    same!(target, code(get(keys((0..101).map(key))).await), "ValidationException");
    same!(target, code(get(keys([key(1), key(1)])).await), "ValidationException");
    same!(target, code(get(keys([])).await), "ValidationException", "get nothing");
    let write = |writes| target.clients.tables.batch_write_item().request_items(&table, writes).send();
    same!(target, code(write((0..25).map(|n| put_request(key(n))).collect()).await), "ok");
    same!(target, code(write((0..26).map(|n| put_request(key(n))).collect()).await), "ValidationException", "write 26");
    same!(
        target,
        code(write(vec![put_request(key(1)), delete_request(key(1))]).await),
        "ValidationException",
        "write one twice"
    );
    let elsewhere = target.clients.tables.batch_get_item().request_items("nowhere", keys([key(1)])).send().await;
    same!(target, code(elsewhere), "ResourceNotFoundException");
}

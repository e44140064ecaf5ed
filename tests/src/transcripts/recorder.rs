//! Writes down what the code writes into a table server, as files that are only ever added.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use shared::aws;
use shared::clock::CloudClock;
use shared::queue::Outgoing;
use shared::tables::{Exchange, StateTable};

use super::{folder, shelf, values};
use crate::api::http_client;

const TABLES: [&str; 2] = ["exchange", "state"];

#[derive(Debug)]
pub(super) struct Recorder {
    endpoint: String,
    pub(super) exchange: Exchange,
    pub(super) state: StateTable,
    /// The items of the tables as they were last seen, by table and key.
    seen: BTreeMap<(String, String, String), Value>,
    pub(super) written: usize,
    /// Files whose content would be another one today.
    pub(super) different: Vec<String>,
}

impl Recorder {
    /// Makes the two tables at a server that has neither.
    pub(super) async fn start(endpoint: &str) -> Self {
        let sdk = shelf::sdk(None).to_builder().endpoint_url(endpoint).build();
        let client = aws::dynamodb(&sdk, &CloudClock::new());
        let recorder = Self {
            endpoint: endpoint.to_owned(),
            exchange: Exchange::new(client.clone(), TABLES[0].to_owned()),
            state: StateTable::new(client, TABLES[1].to_owned()),
            seen: BTreeMap::new(),
            written: 0,
            different: Vec::new(),
        };
        for table in TABLES {
            let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
            let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
            let made = json!({
                "TableName": table,
                "AttributeDefinitions": [attribute("pk"), attribute("sk")],
                "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
                "BillingMode": "PAY_PER_REQUEST",
            });
            recorder.ask("CreateTable", &made).await;
        }
        recorder
    }

    /// The state table as it is used so many seconds after everything happens.
    pub(super) fn state_later(&self, seconds: i64) -> StateTable {
        let sdk = shelf::sdk_at(None, values::later(seconds)).to_builder().endpoint_url(&self.endpoint).build();
        StateTable::new(aws::dynamodb(&sdk, &CloudClock::new()), TABLES[1].to_owned())
    }

    /// Keeps every item that is new or another one since the last time, each in a file of its kind and this name.
    pub(super) async fn keep(&mut self, name: &str) {
        for table in TABLES {
            let found = self.ask("Scan", &json!({"TableName": table, "ConsistentRead": true})).await;
            for item in found["Items"].as_array().cloned().unwrap_or_default() {
                let text = |key: &str| item[key]["S"].as_str().expect("a key").to_owned();
                let item = in_order(item.clone());
                let before = self.seen.insert((table.to_owned(), text("pk"), text("sk")), item.clone());
                if before.as_ref() != Some(&item) {
                    let version = if item["v"].is_null() { "" } else { "v1-" };
                    self.file(table, &format!("{}-{version}{name}", kind(&text("pk"), &text("sk"))), &item);
                }
            }
        }
    }

    pub(super) fn keep_message(&mut self, queue: &str, name: &str, message: &Outgoing) {
        let Outgoing { group, dedup, body } = message;
        self.file(queue, name, &json!({"group": group, "dedup": dedup, "body": body}));
    }

    /// A message of a queue without groups.
    pub(super) fn keep_body(&mut self, queue: &str, name: &str, body: &str) {
        self.file(queue, name, &json!({"body": body}));
    }

    fn file(&mut self, of: &str, name: &str, content: &Value) {
        let path = folder(of).join(format!("{name}.json"));
        let text = format!("{content:#}\n");
        match std::fs::read_to_string(&path) {
            Ok(kept) if kept == text => {}
            Ok(_) => self.different.push(format!("{of}/{name}")),
            Err(_) => {
                write_new(&path, &text);
                self.written += 1;
            }
        }
    }

    async fn ask(&self, operation: &str, request: &Value) -> Value {
        let request = http_client()
            .post(&self.endpoint)
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request")
            .body(request.to_string());
        let answer = request.send().await.expect("the table server answers");
        assert!(answer.status().is_success(), "{operation}: {}", answer.status());
        answer.json().await.expect("JSON")
    }
}

fn write_new(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
    std::fs::write(path, text).expect("the file is written");
}

/// What an item is, by its keys.
fn kind(pk: &str, sk: &str) -> String {
    match (pk, sk) {
        ("FEED", _) => "feed-head".to_owned(),
        (_, "live") => "live".to_owned(),
        (_, sk) if sk.starts_with("updated#") => "update".to_owned(),
        (pk, _) => pk.split('#').next().unwrap_or_default().to_lowercase(),
    }
}

/// The same with sets in order, which servers do not keep.
fn in_order(mut item: Value) -> Value {
    for attribute in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(Value::Array(set)) = attribute.get_mut("SS") {
            set.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    item
}

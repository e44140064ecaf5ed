//! A table of kept items behind the SDK, so that they are read by the code that reads them in production.
//!
//! It answers reads by key and by partition. It keeps nothing: a write under a condition is refused, with the item if that is asked
//! for, and one without answers as if it had been made.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::aws::{self, Platform};
use shared::clock::{BootTime, CloudClock, Machine};
use shared::tables::{Exchange, StateTable};

use super::read;
use super::values::now;

/// An SDK whose clock stands still when everything happens. Its requests go out, or to these items.
pub(super) fn sdk(items: Option<Vec<Value>>) -> SdkConfig {
    sdk_at(items, now())
}

/// The same with a clock that stands still at another time.
pub(super) fn sdk_at(items: Option<Vec<Value>>, wall: Timestamp) -> SdkConfig {
    let vars = std::collections::HashMap::from([("AWS_REGION", "us-east-1")]);
    let nobody = Credentials::new("test", "test", None, None, "test");
    let mut platform = Platform {
        machine: Arc::new(Then(wall)),
        credentials: SharedCredentialsProvider::new(nobody),
        ..Platform::default()
    };
    if let Some(items) = items {
        platform.http_client = http_client(Shelf { items });
    }
    aws::function_config(&vars, &platform)
}

/// A machine whose clocks stand still when everything happens.
#[derive(Debug)]
struct Then(Timestamp);

impl Machine for Then {
    fn wall(&self) -> Timestamp {
        self.0
    }

    fn boot(&self) -> BootTime {
        BootTime::after(Duration::from_secs(60))
    }
}

/// The state table with these files and nothing else.
pub(super) fn state(names: &[&str]) -> StateTable {
    StateTable::new(client("state", names), "state".to_owned())
}

/// The exchange table with these files and nothing else.
pub(super) fn exchange(names: &[&str]) -> Exchange {
    Exchange::new(client("exchange", names), "exchange".to_owned())
}

fn client(table: &str, names: &[&str]) -> aws_sdk_dynamodb::Client {
    let items = names.iter().map(|name| read(table, name)).collect();
    aws::dynamodb(&sdk(Some(items)), &CloudClock::new())
}

fn http_client(shelf: Shelf) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(shelf);
    http_client_fn(move |_, _| connector.clone())
}

#[derive(Debug)]
struct Shelf {
    items: Vec<Value>,
}

impl HttpConnector for Shelf {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let body = serde_json::from_slice(request.body().bytes().unwrap_or_default()).expect("JSON");
        let (status, answer) = self.answer(operation, &body);
        let status = StatusCode::try_from(status).expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(answer.to_string()))))
    }
}

impl Shelf {
    fn answer(&self, operation: &str, request: &Value) -> (u16, Value) {
        match operation {
            "GetItem" => (200, json!({"Item": self.at(&request["Key"])})),
            "BatchGetItem" => {
                let (table, wanted) = request["RequestItems"].as_object().expect("tables").iter().next().expect("one");
                let keys = wanted["Keys"].as_array().expect("keys");
                let found: Vec<&Value> = keys.iter().filter_map(|key| self.at(key)).collect();
                (200, json!({"Responses": {table: found}, "UnprocessedKeys": {}}))
            }
            "Query" => (200, self.query(request)),
            "PutItem" | "UpdateItem" if !request["ConditionExpression"].is_null() => {
                let mut refusal = json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"});
                if request["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD" {
                    let key = if operation == "PutItem" { &request["Item"] } else { &request["Key"] };
                    refusal["Item"] = json!(self.at(key));
                }
                (400, refusal)
            }
            "UpdateItem" => (200, json!({"Attributes": self.added(request)})),
            other => panic!("nothing reads with {other}"),
        }
    }

    fn at(&self, key: &Value) -> Option<&Value> {
        self.items.iter().find(|item| item["pk"] == key["pk"] && item["sk"] == key["sk"])
    }

    fn query(&self, request: &Value) -> Value {
        let value = |name: &str| request["ExpressionAttributeValues"][name]["S"].as_str().expect("a text");
        let expression = request["KeyConditionExpression"].as_str().expect("a condition");
        let mut words = expression.split([' ', ',', '(', ')']).filter(|word| !word.is_empty() && *word != "AND");
        assert_eq!((words.next(), words.next()), (Some("pk"), Some("=")), "{expression}");
        let pk = value(words.next().expect("a value"));
        let rest: Vec<&str> = words.collect();
        let fits = |sk: &str| match rest.as_slice() {
            [] => true,
            ["sk", ">=", least] => sk >= value(least),
            ["sk", "BETWEEN", first, last] => (value(first)..=value(last)).contains(&sk),
            ["begins_with", "sk", begins] => sk.starts_with(value(begins)),
            _ => panic!("nothing reads with {expression}"),
        };
        let sort = |item: &Value| item["sk"]["S"].as_str().expect("a key").to_owned();
        let mut found: Vec<&Value> =
            self.items.iter().filter(|item| item["pk"]["S"] == pk && fits(&sort(item))).collect();
        found.sort_by_key(|item| sort(item));
        if request["ScanIndexForward"] == false {
            found.reverse();
        }
        let limit = request["Limit"].as_u64().map_or(usize::MAX, |limit| limit as usize);
        let mut answer = json!({"Count": found.len().min(limit)});
        if found.len() > limit {
            found.truncate(limit);
            let last = found.last().expect("a limit is not zero");
            answer["LastEvaluatedKey"] = json!({"pk": last["pk"], "sk": last["sk"]});
        }
        answer["Items"] = json!(found);
        answer
    }

    /// The item with what an update adds to it.
    fn added(&self, request: &Value) -> Value {
        let mut item = self.at(&request["Key"]).cloned().unwrap_or_else(|| json!({}));
        let expression = request["UpdateExpression"].as_str().expect("an expression");
        let mut words = expression.split_whitespace();
        assert_eq!(words.next(), Some("ADD"), "{expression}");
        let (name, amount) = (words.next().expect("a name"), words.next().expect("a value"));
        let number = |value: &Value| value["N"].as_str().map_or(0, |text| text.parse::<i64>().expect("a number"));
        let sum = number(&item[name]) + number(&request["ExpressionAttributeValues"][amount]);
        item[name] = json!({"N": sum.to_string()});
        item
    }
}

//! What requests cost.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{KeysAndAttributes, Put, TransactWriteItem};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use cloud_sim::{Cloud, Counts, Mapping};
use serde_json::{Value as Json, json};

use crate::plain::{Item, item, value};
use crate::sdk::{Clients, code};
use crate::target::Target;

struct Bed {
    cloud: Cloud,
    clients: Clients,
    table: String,
    before: Counts,
}

impl Bed {
    async fn new() -> Self {
        let cloud = Cloud::new();
        let table = Target::simulator(&cloud).table().await;
        Self { clients: Clients::of(&cloud.process("test")), before: cloud.counts(), cloud, table }
    }

    /// Read and write units since the last look.
    fn units(&mut self) -> (f64, f64) {
        let now = self.cloud.counts();
        let spent = now.since(&self.before);
        self.before = now;
        (spent.read_units(), spent.write_units())
    }
}

fn large(sk: &str, bytes: usize) -> Item {
    item(json!({"pk": "p", "sk": sk, "x": "x".repeat(bytes)}))
}

#[tokio::test(start_paused = true)]
async fn writes_are_counted_by_the_larger_item() {
    let mut bed = Bed::new().await;
    let tables = bed.clients.tables.clone();
    let put = |table: &str, bytes| tables.put_item().table_name(table).set_item(Some(large("a", bytes)));
    put(&bed.table, 100).send().await.expect("stored");
    assert_eq!(bed.units(), (0.0, 1.0));
    put(&bed.table, 3000).send().await.expect("stored");
    assert_eq!(bed.units(), (0.0, 3.0));
    put(&bed.table, 1).send().await.expect("stored");
    assert_eq!(bed.units(), (0.0, 3.0), "what was there before counts as well");
    put(&bed.table, 5000).send().await.expect("stored");
    bed.units();
    let refused = put(&bed.table, 1).condition_expression("attribute_not_exists(pk)").send().await;
    assert_eq!(code(refused), "ConditionalCheckFailedException");
    assert_eq!(bed.units(), (0.0, 5.0), "a condition that fails costs the item that it looked at");
    let delete =
        |sk: &str| tables.delete_item().table_name(&bed.table).set_key(Some(item(json!({"pk": "p", "sk": sk})))).send();
    delete("a").await.expect("deleted");
    delete("nothing").await.expect("deleted");
    assert_eq!(bed.units(), (0.0, 6.0));
    assert_eq!(
        code(tables.put_item().table_name(&bed.table).set_item(Some(HashMap::new())).send().await),
        "ValidationException"
    );
    assert_eq!(bed.units(), (0.0, 0.0), "what is invalid costs nothing");
}

#[tokio::test(start_paused = true)]
async fn reads_are_counted_by_four_kilobytes() {
    let mut bed = Bed::new().await;
    let tables = bed.clients.tables.clone();
    for (sk, bytes) in [("a", 100), ("b", 5000)] {
        tables.put_item().table_name(&bed.table).set_item(Some(large(sk, bytes))).send().await.expect("stored");
    }
    bed.units();
    for (sk, consistent, expected) in [
        ("a", true, 1.0),
        ("a", false, 0.5),
        ("b", true, 2.0),
        ("b", false, 1.0),
        ("none", true, 1.0),
        ("none", false, 0.5),
    ] {
        let get = tables.get_item().table_name(&bed.table).consistent_read(consistent);
        get.set_key(Some(item(json!({"pk": "p", "sk": sk})))).send().await.expect("an answer");
        assert_eq!(bed.units(), (expected, 0.0), "{sk} {consistent}");
    }
    let keys: Vec<Json> = ["a", "b", "none"].iter().map(|sk| json!({"pk": "p", "sk": sk})).collect();
    let keys = KeysAndAttributes::builder().set_keys(Some(keys.into_iter().map(item).collect())).consistent_read(true);
    let get = tables.batch_get_item().request_items(&bed.table, keys.build().expect("complete"));
    get.send().await.expect("an answer");
    assert_eq!(bed.units(), (4.0, 0.0), "each item of a batch is rounded by itself");
    let query = tables.query().table_name(&bed.table).consistent_read(true).key_condition_expression("pk = :p");
    let query = query.expression_attribute_values(":p", value(json!("p")));
    query.clone().send().await.expect("an answer");
    assert_eq!(bed.units(), (2.0, 0.0), "a query is rounded as a whole");
    let filtered = query.filter_expression("attribute_not_exists(x)").send().await.expect("an answer");
    assert_eq!((filtered.count(), bed.units()), (0, (2.0, 0.0)), "what a filter throws away was read");
}

#[tokio::test(start_paused = true)]
async fn transactions_cost_twice() {
    let mut bed = Bed::new().await;
    let transact = |condition: &str, token: &str| {
        let put = |sk: &str, bytes| {
            let put = Put::builder().table_name(&bed.table).set_item(Some(large(sk, bytes)));
            let put = put.condition_expression(condition).build().expect("complete");
            TransactWriteItem::builder().put(put).build()
        };
        let writes = vec![put("a", 100), put("b", 1500)];
        bed.clients.tables.transact_write_items().set_transact_items(Some(writes)).client_request_token(token).send()
    };
    let first = code(transact("attribute_not_exists(pk)", "first").await);
    let repeat = code(transact("attribute_not_exists(pk)", "first").await);
    let second = code(transact("attribute_not_exists(pk)", "second").await);
    assert_eq!([first.as_str(), &repeat, &second], ["ok", "ok", "TransactionCanceledException"]);
    // 2 + 4 for the first, two reads of each item for its repeat, and the cancelled one like the first.
    assert_eq!(bed.units(), (4.0, 12.0));
}

#[tokio::test(start_paused = true)]
async fn queue_requests_are_billed_by_64_kilobytes() {
    let cloud = Cloud::new();
    let target = Target::simulator(&cloud);
    let url = target.queue(&[]).await;
    let queues = Clients::of(&cloud.process("test")).queues;
    let body = "x".repeat(40 * 1024);
    let entries = (0..3).map(|n| {
        SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(&body).build().expect("complete")
    });
    let send = queues.send_message_batch().queue_url(&url).set_entries(Some(entries.collect()));
    send.send().await.expect("an answer");
    queues.send_message().queue_url(&url).message_body("small").send().await.expect("an answer");
    queues.receive_message().queue_url(&url).max_number_of_messages(10).send().await.expect("an answer");
    queues.receive_message().queue_url(&url).send().await.expect("an answer");
    let counts = cloud.counts();
    let name = url.rsplit('/').next().expect("a name");
    let of = |operation: &str| {
        let count = counts.queues[&(name.to_owned(), operation.to_owned())];
        (count.requests, count.billed, count.messages, count.bytes)
    };
    assert_eq!(of("SendMessageBatch"), (1, 2, 3, 3 * 40 * 1024));
    assert_eq!(of("SendMessage"), (1, 1, 1, 5));
    assert_eq!(of("ReceiveMessage"), (2, 3, 4, 3 * 40 * 1024 + 5));
    assert_eq!(counts.queue_requests(), 6);
}

#[tokio::test(start_paused = true)]
async fn an_idle_mapping_polls() {
    let cloud = Cloud::new();
    let url = Target::simulator(&cloud).fifo(&[]).await;
    let name = url.rsplit('/').next().expect("a name");
    let mapping = Mapping::new(name, "function");
    let running = cloud.map(mapping, |_, _| async { Ok(Default::default()) });
    tokio::time::sleep(Duration::from_secs(3600)).await;
    drop(running);
    let polls = cloud.counts().queues[&(name.to_owned(), "ReceiveMessage".to_owned())].billed;
    assert!((895..=900).contains(&polls), "{polls}");
    assert_eq!(cloud.counts().invocations(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_has_caused_it() {
    let bed = Bed::new().await;
    let put = bed.clients.tables.put_item().table_name(&bed.table);
    put.set_item(Some(item(json!({"pk": "CALL#1", "sk": "a"})))).send().await.expect("stored");
    let keys =
        [json!({"pk": "CALL#1", "sk": "a"}), json!({"pk": "CALL#2", "sk": "a"}), json!({"pk": "FEED", "sk": "a"})];
    let keys = KeysAndAttributes::builder().set_keys(Some(keys.map(item).into())).consistent_read(true);
    let get = bed.clients.tables.batch_get_item().request_items(&bed.table, keys.build().expect("complete"));
    get.send().await.expect("an answer");
    let spent = bed.cloud.counts().since(&bed.before);
    let causes: Vec<_> =
        spent.table_causes.iter().map(|(cause, count)| (cause.keys.as_str(), count.requests)).collect();
    assert_eq!(causes, [("CALL# FEED", 1), ("CALL#", 1)]);
    assert!(spent.table_causes.keys().all(|cause| cause.process == "test" && cause.table == bed.table));
    let units: f64 = spent.table_causes.values().map(|count| count.read_units + count.write_units).sum();
    assert_eq!(units, spent.read_units() + spent.write_units());
}

//! Each kind of fault: that it happens, how a client sees it, that it is counted, and that a seed repeats it.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::{KeysAndAttributes, Put, PutRequest, TransactWriteItem, WriteRequest};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use cloud_sim::{Cloud, FaultKind, Faults};
use serde_json::json;
use tokio::task::JoinSet;

use crate::plain::{item, value};
use crate::sdk::{Clients, code};
use crate::target::Target;

struct Bed {
    cloud: Cloud,
    clients: Clients,
    table: String,
    queue: String,
}

/// A table and a queue in a kind cloud, which then gets its faults.
async fn bed(seed: u64, faults: Faults) -> Bed {
    let cloud = Cloud::builder().seed(seed).build();
    let target = Target::simulator(&cloud);
    let (table, queue) = (target.table().await, target.queue(&[]).await);
    cloud.set_faults(faults);
    Bed { clients: Clients::of(&cloud.process("test")), cloud, table, queue }
}

impl Bed {
    async fn put(&self, sk: &str) -> String {
        let put = self.clients.tables.put_item().table_name(&self.table);
        code(put.set_item(Some(item(json!({"pk": "p", "sk": sk})))).send().await)
    }

    async fn transact(&self, keys: &[&str]) -> String {
        let put = |sk: &&str| {
            let put = Put::builder().table_name(&self.table).set_item(Some(item(json!({"pk": "p", "sk": sk}))));
            TransactWriteItem::builder().put(put.build().expect("complete")).build()
        };
        let transact = self.clients.tables.transact_write_items();
        code(transact.set_transact_items(Some(keys.iter().map(put).collect())).send().await)
    }

    async fn query(&self) -> Vec<String> {
        let query = self.clients.tables.query().table_name(&self.table).consistent_read(true);
        let query = query.key_condition_expression("pk = :p").expression_attribute_values(":p", value(json!("p")));
        let answer = query.send().await.expect("an answer");
        answer.items().iter().map(|item| item["sk"].as_s().expect("a text").clone()).collect()
    }

    async fn send(&self, body: &str) -> String {
        code(self.clients.queues.send_message().queue_url(&self.queue).message_body(body).send().await)
    }

    async fn receive(&self, wait: i32) -> Vec<String> {
        let receive = self.clients.queues.receive_message().queue_url(&self.queue).max_number_of_messages(10);
        let answer = receive.wait_time_seconds(wait).send().await.expect("an answer");
        answer.messages().iter().map(|message| message.body().expect("a body").to_owned()).collect()
    }

    fn count(&self, kind: FaultKind) -> u64 {
        self.cloud.counts().of(kind)
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_meets_a_transaction_is_refused() {
    let bed = bed(1, Faults::latency_only()).await;
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let (write, transaction) = tokio::join!(bed.put("a"), bed.transact(&["a", "b"]));
        seen.extend([write, transaction]);
    }
    assert_eq!(seen, BTreeSet::from(["TransactionConflictException".to_owned(), "ok".to_owned()]));
    let (first, second) = loop {
        let (first, second) = tokio::join!(bed.transact(&["a", "b"]), bed.transact(&["b", "c"]));
        if first != second {
            break (first, second);
        }
    };
    assert!([first, second].contains(&"TransactionCanceledException".to_owned()));
    assert!(bed.count(FaultKind::Overlap) > 0);
    // Who comes after the other's answer meets nobody.
    assert_eq!((bed.transact(&["a"]).await.as_str(), bed.put("a").await.as_str()), ("ok", "ok"));
}

#[tokio::test(start_paused = true)]
async fn without_overlap_nothing_meets() {
    let bed = bed(1, Faults { overlap: false, ..Faults::latency_only() }).await;
    for _ in 0..40 {
        let (write, transaction) = tokio::join!(bed.put("a"), bed.transact(&["a", "b"]));
        assert_eq!((write.as_str(), transaction.as_str()), ("ok", "ok"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_sees_one_write_and_not_an_earlier_one() {
    let bed = bed(2, Faults::latency_only()).await;
    let mut torn = 0;
    for n in 0..60 {
        let (early, late) = (format!("{n:03}a"), format!("{n:03}b"));
        let in_turn = async {
            assert_eq!(bed.put(&early).await, "ok");
            assert_eq!(bed.put(&late).await, "ok");
        };
        let looks = async {
            let mut torn = 0;
            for _ in 0..3 {
                let seen = bed.query().await;
                torn += usize::from(seen.contains(&late) && !seen.contains(&early));
            }
            torn
        };
        torn += tokio::join!(in_turn, looks).1;
        // What was answered before the read began is seen by a consistent one.
        let seen = bed.query().await;
        assert!(seen.contains(&early) && seen.contains(&late));
    }
    assert!(bed.count(FaultKind::TornRead) > 0, "{}", bed.cloud.counts());
    println!("{torn} queries saw a later write without an earlier one");
}

#[tokio::test(start_paused = true)]
async fn an_eventually_consistent_read_lags_behind() {
    let bed = bed(3, Faults { staleness: Duration::from_secs(1), ..Faults::none() }).await;
    let mut stale = 0;
    for n in 0..40 {
        let put = bed.clients.tables.put_item().table_name(&bed.table);
        put.set_item(Some(item(json!({"pk": "p", "sk": "a", "n": n})))).send().await.expect("stored");
        for consistent in [true, false] {
            let get = bed.clients.tables.get_item().table_name(&bed.table).consistent_read(consistent);
            let answer = get.set_key(Some(item(json!({"pk": "p", "sk": "a"})))).send().await.expect("an answer");
            let is_fresh = answer.item.is_some_and(|found| found["n"] == value(json!(n)));
            assert!(is_fresh || !consistent);
            stale += u64::from(!is_fresh);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(stale > 0 && bed.count(FaultKind::StaleRead) >= stale);
}

/// One request of a kind with a fault that always comes: what the client sees.
macro_rules! injected {
    ($($name:ident: $field:ident, $kind:ident, $request:expr => $expected:expr;)+) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            let bed = bed(5, Faults { $field: 1.0, ..Faults::none() }).await;
            let request: fn(&Bed) -> std::pin::Pin<Box<dyn Future<Output = String> + '_>> = $request;
            assert_eq!(request(&bed).await, $expected);
            assert_eq!(bed.count(FaultKind::$kind), 1);
        }
    )+};
}

injected! {
    a_single_write_is_refused: conflicts, Conflict, |bed| Box::pin(bed.put("a")) => "TransactionConflictException";
    a_transaction_is_cancelled: cancellations, Cancellation, |bed| Box::pin(bed.transact(&["a", "b"]))
        => "TransactionCanceledException";
    a_request_is_throttled: throttled_requests, ThrottledRequest, |bed| Box::pin(bed.put("a")) => "ThrottlingException";
    a_message_is_throttled: throttled_requests, ThrottledRequest, |bed| Box::pin(bed.send("a")) => "RequestThrottled";
    an_item_is_throttled: throttled_items, ThrottledItem, |bed| Box::pin(bed.put("a"))
        => "ProvisionedThroughputExceededException";
    a_request_is_lost: lost_requests, LostRequest, |bed| Box::pin(bed.put("a")) => "no answer";
    an_answer_is_lost: lost_answers, LostAnswer, |bed| Box::pin(bed.put("a")) => "no answer";
    a_connection_hangs: hung_connections, HungConnection, |bed| Box::pin(bed.put("a")) => "timeout";
    the_service_fails: internal_errors, InternalError, |bed| Box::pin(bed.put("a")) => "InternalServerError";
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_was_carried_out_and_a_lost_request_not() {
    let bed = bed(6, Faults { lost_answers: 1.0, ..Faults::none() }).await;
    bed.put("answer lost").await;
    bed.cloud.set_faults(Faults { lost_requests: 1.0, ..Faults::none() });
    bed.put("request lost").await;
    bed.cloud.set_faults(Faults { hung_connections: 1.0, ..Faults::none() });
    bed.put("hung").await;
    bed.cloud.set_faults(Faults::none());
    assert_eq!(bed.query().await, ["answer lost", "hung"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_sender_went_away_is_carried_out() {
    let bed =
        bed(7, Faults { latency: (Duration::from_millis(20), Duration::from_millis(20)), ..Faults::none() }).await;
    let gone = tokio::time::timeout(Duration::from_millis(1), bed.put("a")).await;
    assert!(gone.is_err());
    assert_eq!(bed.query().await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn batches_are_answered_in_part() {
    let bed = bed(8, Faults { partial_batches: 1.0, ..Faults::none() }).await;
    let writes = (0..25).map(|n| {
        let put = PutRequest::builder().set_item(Some(item(json!({"pk": "p", "sk": format!("{n:02}")}))));
        WriteRequest::builder().put_request(put.build().expect("complete")).build()
    });
    let write = bed.clients.tables.batch_write_item().request_items(&bed.table, writes.collect());
    let unprocessed = write.send().await.expect("an answer").unprocessed_items.expect("some")[&bed.table].len();
    assert_eq!(bed.query().await.len() + unprocessed, 25);
    let keys = (0..25).map(|n| item(json!({"pk": "p", "sk": format!("{n:02}")}))).collect();
    let keys = KeysAndAttributes::builder().set_keys(Some(keys)).projection_expression("sk").build().expect("complete");
    let answer = bed.clients.tables.batch_get_item().request_items(&bed.table, keys).send().await.expect("an answer");
    let rest = &answer.unprocessed_keys.expect("some")[&bed.table];
    assert!((1..25).contains(&rest.keys().len()));
    assert_eq!(rest.projection_expression(), Some("sk"), "what is unprocessed can be asked for as it is");
    let entries = (0..10).map(|n| {
        SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body("x").build().expect("complete")
    });
    let send = bed.clients.queues.send_message_batch().queue_url(&bed.queue).set_entries(Some(entries.collect()));
    let answer = send.send().await.expect("an answer");
    assert!(!answer.failed().is_empty() && !answer.failed()[0].sender_fault());
    assert_eq!(answer.failed().len() + answer.successful().len(), 10);
    assert_eq!(bed.count(FaultKind::PartialBatch), 3);
}

#[tokio::test(start_paused = true)]
async fn a_standard_queue_has_copies_and_no_order() {
    let bed = bed(9, Faults { copies: 0.3, disorder: 1.0, ..Faults::none() }).await;
    for n in 0..20 {
        assert_eq!(bed.send(&n.to_string()).await, "ok");
    }
    let mut received = Vec::new();
    while received.iter().collect::<BTreeSet<_>>().len() < 20 {
        received.extend(bed.receive(20).await);
    }
    assert!(received.len() > 20, "some came twice");
    let in_order: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_ne!(received[..20], in_order[..]);
    assert!(bed.count(FaultKind::Copy) > 0 && bed.count(FaultKind::Disorder) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_takes_a_thousand_writes_a_second() {
    let bed = bed(1, Faults { hot_keys: true, ..Faults::none() }).await;
    let put = async |partition: &str| {
        let put = bed.clients.tables.put_item().table_name(&bed.table);
        code(put.set_item(Some(item(json!({"pk": partition, "sk": "a"})))).send().await)
    };
    for _ in 0..1000 {
        assert_eq!(put("hot").await, "ok");
    }
    assert_eq!(put("hot").await, "ProvisionedThroughputExceededException");
    assert_eq!(put("other").await, "ok", "each key by itself");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(put("hot").await, "ok");
    assert_eq!(bed.count(FaultKind::HotKey), 1);
}

/// Many clients side by side with every fault, and retries; returns the log.
async fn storm(seed: u64) -> (Vec<String>, String) {
    // The SDK draws its back-off from here.
    fastrand::seed(seed);
    let bed = bed(seed, Faults::all(0.05)).await;
    let mut clients = JoinSet::new();
    for client in 0..5 {
        let sdk = Clients::patient(&bed.cloud.process(format!("client {client}")), 3);
        let (table, queue) = (bed.table.clone(), bed.queue.clone());
        clients.spawn(async move {
            for n in 0..30 {
                let update = sdk.tables.update_item().table_name(&table).update_expression("ADD n :one");
                let update = update.expression_attribute_values(":one", value(json!(1)));
                let _ = update.set_key(Some(item(json!({"pk": "p", "sk": n.to_string()})))).send().await;
                let put =
                    Put::builder().table_name(&table).set_item(Some(item(json!({"pk": "p", "sk": n.to_string()}))));
                let put = TransactWriteItem::builder().put(put.build().expect("complete")).build();
                let _ = sdk.tables.transact_write_items().transact_items(put).send().await;
                let _ = sdk.queues.send_message().queue_url(&queue).message_body(n.to_string()).send().await;
                let _ = sdk.queues.receive_message().queue_url(&queue).wait_time_seconds(1).send().await;
            }
        });
    }
    clients.join_all().await;
    (bed.cloud.log().iter().map(ToString::to_string).collect(), bed.cloud.counts().to_string())
}

fn run(seed: u64) -> (Vec<String>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(storm(seed))
}

#[test]
fn a_seed_repeats_a_run_exactly() {
    let (first, counts) = run(11);
    assert_eq!((first.clone(), counts.clone()), run(11));
    assert_ne!(first, run(12).0);
    assert!(first.len() > 600, "{} requests", first.len());
    println!("{counts}");
}

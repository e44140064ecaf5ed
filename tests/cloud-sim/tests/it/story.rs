//! A story that holds, and the same one without what makes it hold.

use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use cloud_sim::story::{Ledger, Violation, tell, tell_for};
use cloud_sim::{Cloud, FaultKind, Faults, Mapping};
use serde_json::json;
use tokio::time::sleep;

use crate::plain::item;
use crate::sdk::{Clients, code};
use crate::target::Target;

/// What the consumer leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    None,
    /// It does not look whether the event was delivered before.
    ForgetsWhatItDid,
    /// It goes on with the later events of a call after one that failed.
    GoesOn,
}

/// Calls of three events each; the consumer delivers them and logs that it did. A receiver refuses now and then.
async fn calls(cloud: Cloud, ledger: Ledger, mutation: Mutation) {
    let faults = cloud.faults();
    cloud.set_faults(Faults::none());
    let target = Target::simulator(&cloud);
    let (table, url) = (target.table().await, target.fifo(&[("VisibilityTimeout", "20")]).await);
    cloud.set_faults(faults);
    let queue = url.rsplit('/').next().expect("a name").to_owned();
    let consumer = Clients::patient(&cloud.process("consumer"), 6);
    let mapping = Mapping { timeout: Duration::from_secs(15), ..Mapping::new(&queue, "consumer") };
    let running = cloud.map(mapping, {
        let ledger = ledger.clone();
        move |event: SqsEvent, _deadline| {
            let (consumer, table, ledger) = (consumer.clone(), table.clone(), ledger.clone());
            async move {
                let (mut response, mut stopped) = (SqsBatchResponse::default(), Vec::new());
                for record in &event.records {
                    let call = record.attributes["MessageGroupId"].clone();
                    let holds = mutation != Mutation::GoesOn && stopped.contains(&call);
                    if holds || !deliver(&consumer, &table, &ledger, record, mutation).await {
                        stopped.push(call);
                        let mut failure = BatchItemFailure::default();
                        failure.item_identifier = record.message_id.clone().unwrap_or_default();
                        response.batch_item_failures.push(failure);
                    }
                }
                Ok(response)
            }
        }
    });
    let sender = Clients::patient(&cloud.process("sender"), 20);
    for call in 0..10 {
        for number in 1..=3 {
            let (call, body) = (format!("call {call}"), number.to_string());
            ledger.sent(&call, number);
            let send = sender
                .queues
                .send_message()
                .queue_url(&url)
                .message_body(&body)
                .message_group_id(call.replace(' ', "-"));
            let id = format!("{call}-{number}").replace(' ', "-");
            while code(send.clone().message_deduplication_id(&id).send().await) != "ok" {
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
    while cloud.depth(&queue) != (0, 0, 0) {
        sleep(Duration::from_secs(1)).await;
    }
    running.stop().await;
}

/// Delivers one event and logs it; returns whether the record is finished.
async fn deliver(clients: &Clients, table: &str, ledger: &Ledger, record: &SqsMessage, mutation: Mutation) -> bool {
    let call = record.attributes["MessageGroupId"].replace('-', " ");
    let number: u64 = record.body.as_deref().expect("a body").parse().expect("a number");
    let (key, count) = (json!({"pk": call, "sk": number.to_string()}), &record.attributes["ApproximateReceiveCount"]);
    if mutation != Mutation::ForgetsWhatItDid && count != "1" {
        let get = clients.tables.get_item().table_name(table).consistent_read(true);
        match get.set_key(Some(item(key.clone()))).send().await {
            Ok(answer) if answer.item.is_some() => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    // The first event of every third call is refused twice; the second time its followers are in the same batch.
    if matches!(count.as_str(), "1" | "2") && number == 1 && call.ends_with(['0', '3', '6', '9']) {
        return false;
    }
    ledger.accepted(&call, number);
    let put = clients.tables.put_item().table_name(table).set_item(Some(item(key)));
    // What is delivered must be logged, however long it takes.
    while code(put.clone().send().await) != "ok" {
        sleep(Duration::from_millis(100)).await;
    }
    true
}

/// All but what kills a function between an answer and its log, which no consumer can be right about.
fn faults() -> Faults {
    Faults { crashed_invocations: 0.0, hung_connections: 0.0, ..Faults::all(0.05) }
}

#[test]
fn a_careful_consumer_passes_with_every_seed() {
    let story = |seed| tell(seed, faults(), |cloud, ledger| calls(cloud, ledger, Mutation::None));
    match tell_for(Duration::from_secs(20), 0..10, story) {
        Ok(seeds) => assert!(!seeds.is_empty()),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn a_story_repeats_itself() {
    let story = || tell(3, faults(), |cloud, ledger| calls(cloud, ledger, Mutation::None)).expect("it holds");
    let counts = story();
    assert_eq!(counts, story());
    assert!(counts.of(FaultKind::LostAnswer) > 0, "{counts}");
}

/// The violations of the first seed that has any.
fn violations(mutation: Mutation) -> Vec<Violation> {
    let story = |seed| tell(seed, faults(), |cloud, ledger| calls(cloud, ledger, mutation));
    tell_for(Duration::from_secs(60), 0..10, story).expect_err("some seed finds it").violations
}

#[test]
fn a_careless_consumer_is_found_out() {
    let repeated = violations(Mutation::ForgetsWhatItDid);
    assert!(matches!(repeated[0], Violation::Repeated { .. }), "{repeated:?}");
    let overtaken = violations(Mutation::GoesOn);
    assert!(matches!(overtaken[0], Violation::Overtaken { .. }), "{overtaken:?}");
}

#[test]
fn a_ledger_knows_what_is_missing_and_what_is_too_much() {
    let ledger = Ledger::default();
    for number in 1..=4 {
        ledger.sent("call", number);
    }
    ledger.accounted("call", 1, "expired");
    ledger.accepted("call", 3);
    ledger.accepted("call", 2);
    ledger.accepted("call", 2);
    ledger.accepted("other", 9);
    let call = || "call".to_owned();
    assert_eq!(ledger.open(), 1);
    assert_eq!(
        ledger.verdict(),
        [
            Violation::Repeated { call: call(), number: 2, times: 2 },
            Violation::Lost { call: call(), number: 4 },
            Violation::Overtaken { call: call(), number: 2, by: 3 },
            Violation::Stranger { call: "other".to_owned(), number: 9 },
        ]
    );
    ledger.excused("call", 2);
    assert_eq!(ledger.verdict().len(), 3);
}

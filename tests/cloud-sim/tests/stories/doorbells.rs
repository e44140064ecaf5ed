//! Two agents of a PBX, of which one reaches SQS but not DynamoDB.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::Method;
use cloud_sim::story::tell;
use cloud_sim::{Cloud, Entry, Faults};
use easyconnect_agent::commands::receiver::RECEIVERS;
use jiff::SignedDuration;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::commands::pbx;
use crate::stack::Stack;
use crate::way::Fate;

/// Commands that are given while one agent is cut off.
const COMMANDS: usize = 30;
/// A command that an agent swallows is carried out when `api` rings again, which is later.
const SOON: Duration = Duration::from_millis(1_200);

#[test]
fn agent_that_cannot_reach_the_table_swallows_no_command() {
    let story = async |cloud: Cloud, ledger| {
        let mut stack = Stack::start(cloud.clone(), ledger, 1).await;
        let pbx = pbx(&cloud, 1);
        let is_cut_off = Arc::new(AtomicBool::new(false));
        stack.whole_agent("rack", &pbx, SignedDuration::ZERO);
        let attic = stack.whole_agent("attic", &pbx, SignedDuration::ZERO);
        let decide = is_cut_off.clone();
        attic.decide(move |target, _| {
            let fails = target.contains("DynamoDB") && decide.load(Ordering::SeqCst);
            if fails { Fate::Fails } else { Fate::Arrives }
        });
        sleep(Duration::from_secs(30)).await;
        is_cut_off.store(true, Ordering::SeqCst);
        let mut late = Vec::new();
        for n in 0..COMMANDS {
            let number = format!("+3248{n:07}");
            let body = json!({"from": "77", "to": number});
            let begun = Instant::now();
            let asked = stack.api.ask(Method::POST, "/rcc/makecall?wait=10", Some(&body)).await;
            let (_, answer) = asked.expect("an answer");
            assert_eq!(answer["state"], "succeeded", "{answer}");
            if begun.elapsed() > SOON {
                late.push((n, begun.elapsed()));
            }
            let _ = pbx.control("/hangup", json!({"extension": number}));
            sleep(Duration::from_secs(1)).await;
        }
        // It has to find out.
        assert!(late.len() <= RECEIVERS, "{} of {COMMANDS} commands: {late:?}", late.len());
        let polls = attic_polls(&cloud);
        // It listens again when the table answers again.
        is_cut_off.store(false, Ordering::SeqCst);
        sleep(Duration::from_secs(60)).await;
        assert!(attic_polls(&cloud) > polls, "the agent does not listen any more");
        stack.settle().await;
    };
    tell(1, Faults::latency_only(), story).map(drop).unwrap_or_else(|failure| panic!("{:?}", failure.violations));
}

fn attic_polls(cloud: &Cloud) -> usize {
    let is_poll = |entry: &&Entry| entry.operation == "SQS.ReceiveMessage" && entry.process.starts_with("attic");
    cloud.log().iter().filter(is_poll).count()
}

//! What an agent reads before it names a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cloud_sim::story::tell;
use cloud_sim::{Cloud, Faults};
use jiff::SignedDuration;
use serde_json::json;
use tokio::time::sleep;

use crate::commands::pbx;
use crate::stack::Stack;
use crate::way::Fate;

const CALLS: usize = 5;

/// A user's day may be hundreds of items, and in the first hour of a session each call asks.
#[test]
fn name_of_a_call_costs_one_read_of_its_own_item() {
    let story = async |cloud: Cloud, ledger| {
        let mut stack = Stack::start(cloud.clone(), ledger, 1).await;
        let pbx = pbx(&cloud, 1);
        let agent = stack.whole_agent("rack", &pbx, SignedDuration::ZERO);
        let (days, items) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (of_days, of_items) = (days.clone(), items.clone());
        agent.decide(move |target, body| {
            if body.contains("LEG#") {
                of_days.fetch_add(usize::from(target.ends_with("Query")), Ordering::SeqCst);
                of_items.fetch_add(usize::from(target.ends_with("GetItem")), Ordering::SeqCst);
            }
            Fate::Arrives
        });
        sleep(Duration::from_secs(10)).await;
        for _ in 0..CALLS {
            pbx.control("/call", json!({"from": "+3247000000", "to": "42"})).expect("it rings");
            sleep(Duration::from_secs(2)).await;
            pbx.control("/hangup", json!({"extension": "42"})).expect("it ends");
            sleep(Duration::from_secs(2)).await;
        }
        stack.settle().await;
        assert_eq!((days.load(Ordering::SeqCst), items.load(Ordering::SeqCst)), (0, CALLS));
    };
    tell(1, Faults::latency_only(), story).map(drop).unwrap_or_else(|failure| panic!("{:?}", failure.violations));
}

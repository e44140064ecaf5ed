//! What an agent asks of its disk.

use std::time::Duration;

use cloud_sim::story::tell;
use cloud_sim::{Cloud, Faults};
use jiff::SignedDuration;
use serde_json::json;
use tokio::time::sleep;

use crate::commands::pbx;
use crate::stack::Stack;

/// One for each event, and one for what is done when nothing more comes.
const WRITES: u64 = 4;

#[test]
fn quiet_answered_call_costs_four_synced_writes() {
    let story = async |cloud: Cloud, ledger| {
        let mut stack = Stack::start(cloud.clone(), ledger, 1).await;
        let pbx = pbx(&cloud, 1);
        let agent = stack.whole_agent("rack", &pbx, SignedDuration::ZERO);
        sleep(Duration::from_secs(300)).await;
        let before = agent.writes();
        let press = |path: &str, body| pbx.control(path, body).expect("somebody can do this at a phone");
        press("/call", json!({"from": "+3247000000", "to": "42"}));
        sleep(Duration::from_secs(8)).await;
        press("/answer", json!({"extension": "42"}));
        sleep(Duration::from_secs(100)).await;
        press("/hangup", json!({"extension": "42"}));
        sleep(Duration::from_secs(300)).await;
        let writes = agent.writes() - before;
        assert!(writes <= WRITES, "{writes} synced writes");
        stack.settle().await;
    };
    tell(1, Faults::latency_only(), story).map(drop).unwrap_or_else(|failure| panic!("{:?}", failure.violations));
}

//! Two agents report every event, die, and send again what they did not see accepted. Each receiver gets it once.

use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};

use crate::judge::Summary;
use crate::receivers::Manners;
use crate::seeds::{OFTEN, SEEDS, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

async fn story(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    stack.agent("attic");
    stack.let_die(0.0, 0.7);
    let calls = stack.traffic(Traffic::usual(8)).await;
    stack.judge(&calls).await
}

#[test]
fn an_event_arrives_once() {
    tell_all(SEEDS, || Faults::all(OFTEN), story).verdict("once only");
}

//! A call's events arrive in order, however often they are refused and whatever else goes wrong.

use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};

use crate::judge::Summary;
use crate::receivers::Manners;
use crate::seeds::{OFTEN, SEEDS, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

async fn story(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("bad.example", Manners::bad(0.1)).await;
    stack.agent("rack");
    let calls = stack.traffic(Traffic::burst(15)).await;
    stack.judge(&calls).await
}

#[test]
fn events_of_a_call_arrive_in_order() {
    tell_all(SEEDS, || Faults::all(OFTEN), story).verdict("order");
}

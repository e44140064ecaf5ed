//! Every environment of every function dies, before or after one of its first requests.

use cloud_sim::story::Ledger;
use cloud_sim::{Cloud, Faults};

use crate::judge::Summary;
use crate::receivers::Manners;
use crate::seeds::{HALF_THE_SEEDS, OFTEN, SEEDS, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

async fn story(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("one.example", Manners::good()).await;
    stack.agent("rack");
    stack.poller("poller");
    stack.let_die(1.0, 0.5);
    let calls = stack.traffic(Traffic::usual(7)).await;
    stack.judge(&calls).await
}

#[test]
fn functions_die_at_any_request() {
    tell_all(HALF_THE_SEEDS, Faults::latency_only, story).verdict("crashes");
}

#[test]
fn functions_die_at_any_request_while_everything_else_goes_wrong() {
    tell_all(SEEDS, || Faults::all(OFTEN), story).verdict("crashes with every fault");
}

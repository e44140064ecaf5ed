//! Everything at once: every fault of the cloud, receivers that misbehave, and environments and agents that die.

use cloud_sim::story::{Ledger, tell};
use cloud_sim::{Cloud, Faults};

use crate::judge::Summary;
use crate::receivers::Manners;
use crate::seeds::{OFTEN, SEEDS, tell_all};
use crate::stack::Stack;
use crate::traffic::Traffic;

pub(crate) async fn story(cloud: Cloud, ledger: Ledger, seed: u64) -> Summary {
    let mut stack = Stack::start(cloud, ledger, seed).await;
    stack.webhook("good.example", Manners::good()).await;
    stack.webhook("bad.example", Manners::bad(0.05)).await;
    stack.agent("rack");
    stack.agent("attic");
    stack.poller("poller");
    stack.let_die(0.3, 0.3);
    let mut calls = stack.traffic(Traffic::usual(5)).await;
    calls.extend(stack.traffic(Traffic::burst(8)).await);
    stack.judge(&calls).await
}

/// Nothing in the functions may be left to chance, or a seed would not show a fault again.
#[test]
fn a_seed_repeats_a_story_exactly() {
    let counts = || {
        let told = tell(3, Faults::all(OFTEN), |cloud, ledger| async {
            story(cloud, ledger, 3).await;
        });
        told.unwrap_or_else(|failure| failure.counts)
    };
    let first = counts();
    assert_eq!(first, counts());
    assert!(first.table_causes.values().map(|count| count.requests).sum::<u64>() > 300, "{first}");
}

#[test]
fn everything_at_once() {
    tell_all(SEEDS, || Faults::all(OFTEN), story).verdict("everything at once");
}

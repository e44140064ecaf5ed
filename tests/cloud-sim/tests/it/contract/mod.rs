//! What AWS's documents promise of the operations in use, as cases that run against each target.
//!
//! Where another fake deviates, the case is listed as an exception with the reason, and the list is checked: an exception that
//! is none any more fails as well.

/// Notes where two values differ, and goes on: what a fake does wrong is to be known in full.
macro_rules! same {
    ($target:expr, $actual:expr, $expected:expr $(,)?) => {
        same!($target, $actual, $expected, "{}", stringify!($actual))
    };
    ($target:expr, $actual:expr, $expected:expr, $($what:tt)+) => {
        match (&$actual, &$expected) {
            (actual, expected) => {
                if actual != expected {
                    $target.deviates(format!($($what)+), format!("{actual:?} instead of {expected:?}"));
                }
            }
        }
    };
}

mod batches;
mod exceptions;
mod expressions;
mod items;
mod messages;
mod order;
mod queries;
mod transactions;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use cloud_sim::Cloud;

use crate::target::Target;
use exceptions::{Exceptions, MINISTACK, MOTO};

type Case = (&'static str, fn(Arc<Target>) -> Pin<Box<dyn Future<Output = ()> + Send>>);

/// Names of cases as cases.
macro_rules! cases {
    ($($module:ident: $($case:ident),+;)+) => {
        &[$($((concat!(stringify!($module), "::", stringify!($case)), |target| Box::pin($module::$case(target)))),+),+]
    };
}

const CASES: &[Case] = cases! {
    items: put_get_delete, keys_are_checked, values_are_checked, sizes_are_limited, conditions, returned_values,
        failed_conditions_return_the_item, no_such_table;
    expressions: updates, update_errors, condition_results, condition_errors, placeholders, projections;
    queries: ranges, pages, limits_stop_without_looking, filters_cost, refused_queries, scans;
    batches: gets, writes, limits;
    transactions: all_or_nothing, reasons, once_per_token, refused_transactions;
    messages: send_receive_delete, batches_of_messages, refused_messages, refused_batches, sizes, receipts, attributes;
    order: in_order_per_group, a_group_waits_for_its_message, the_same_message_once, visibility_of_a_group,
        dead_letters, refused_fifo_messages;
};

#[tokio::test(start_paused = true)]
async fn the_simulator_keeps_the_contract() {
    check(Target::simulator(&Cloud::new()), &[]).await;
}

#[tokio::test]
async fn ministack_keeps_the_contract() {
    if let Some(target) = Target::ministack().await {
        check(target, MINISTACK).await;
    }
}

#[tokio::test]
async fn moto_keeps_the_contract() {
    if let Some(target) = Target::moto().await {
        check(target, MOTO).await;
    }
}

async fn check(target: Target, exceptions: Exceptions) {
    let target = Arc::new(target);
    let (mut wrong, mut met) = (Vec::new(), BTreeSet::new());
    for (name, case) in CASES {
        if let Err(error) = tokio::spawn(case(target.clone())).await {
            target.deviates("to its end".to_owned(), error.to_string());
        }
        for (what, how) in target.take_deviations() {
            let label = format!("{name}: {what}");
            match exceptions.iter().find(|(_, excepted)| excepted.contains(&label.as_str())) {
                Some(_) => {
                    met.insert(label);
                }
                None => wrong.push(format!("{label}: {how}")),
            }
        }
    }
    if !met.is_empty() {
        println!("{} deviates from AWS's documents in {} ways (contract/exceptions.rs)", target.name, met.len());
    }
    let excepted = exceptions.iter().flat_map(|(_, excepted)| *excepted);
    let kept = excepted.filter(|excepted| !met.contains(**excepted));
    wrong.extend(kept.map(|excepted| format!("{excepted}: is no exception any more")));
    assert!(wrong.is_empty(), "{}:\n{}", target.name, wrong.join("\n"));
}

//! What a call of three events and two webhooks asks of AWS, and what that costs in a month: `make bench cost`.
//!
//! One agent, nothing goes wrong, and the events come so far apart that each is a batch of its own: the dearest way. What the same time
//! costs without a call is taken off, and is the price of doing nothing.

mod bill;
mod report;

use std::time::Duration;

use cloud_sim::story::{Ledger, tell};
use cloud_sim::{Cloud, Counts, Faults};
use shared::event::{CallEvent, Status};
use shared::ids::CallId;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::machine::Chance;
use crate::output::Listener;
use crate::presence::Presence;
use crate::receivers::Manners;
use crate::stack::Stack;

/// What is looked at, with a call in it and without.
const WINDOW: Duration = Duration::from_secs(600);
const WEBHOOKS: [&str; 2] = ["one.example", "two.example"];
/// An index entry that DynamoDB bills for each item.
const ITEM_OVERHEAD: usize = 100;

/// What was counted.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) with_a_call: Counts,
    pub(crate) idle: Counts,
    /// What a call leaves in each table, in bytes times seconds until the time to live takes it away.
    pub(crate) left: Vec<(&'static str, f64)>,
    /// Figures that go to CloudWatch.
    pub(crate) figures: usize,
    pub(crate) alarms: usize,
}

async fn measure(cloud: Cloud, ledger: Ledger) -> Measured {
    let listener = Listener::new(&cloud);
    let mut stack = Stack::start(cloud.clone(), ledger, 1).await;
    for host in WEBHOOKS {
        stack.webhook(host, Manners::good()).await;
    }
    stack.agent("agent");
    let (calls, happens) = mpsc::unbounded_channel();
    let (process, chance) = (cloud.process("agent"), Chance::new(2));
    let presence = tokio::spawn(Presence::new(&process, &stack.template, &chance, happens).run());

    // What is done only once is done with the first one.
    let first = call(&stack, &calls).await;
    sleep(WINDOW).await;
    let (before, stored) = (cloud.counts(), stored(&cloud));
    sleep(WINDOW).await;
    let (idle, before) = (cloud.counts().since(&before), cloud.counts());
    let begun = tokio::time::Instant::now();
    let second = call(&stack, &calls).await;
    sleep(WINDOW.saturating_sub(begun.elapsed())).await;
    let with_a_call = cloud.counts().since(&before);
    let left = left(&cloud, &stored);
    presence.abort();
    let (figures, alarms) = (listener.figures().len(), stack.template.alarms());
    stack.judge(&[first, second]).await;
    Measured { with_a_call, idle, left, figures, alarms }
}

/// A call that rings, is answered and ends.
async fn call(stack: &Stack, calls: &mpsc::UnboundedSender<(CallId, Status)>) -> CallId {
    let id = CallId::from_uuid(stack.chance.random().uuid());
    for (status, lasts) in [(Status::Ringing, 8), (Status::Connected, 45), (Status::Disconnected, 0)] {
        stack.expect(id, status);
        stack.agents[0].report(&CallEvent::full_example(id, status, stack.cloud.now()));
        calls.send((id, status)).expect("the agent listens");
        sleep(Duration::from_secs(lasts)).await;
    }
    id
}

fn stored(cloud: &Cloud) -> [Vec<(usize, Option<Duration>)>; 2] {
    ["state", "exchange"].map(|table| cloud.sizes(table))
}

fn left(cloud: &Cloud, before: &[Vec<(usize, Option<Duration>)>; 2]) -> Vec<(&'static str, f64)> {
    let now = Duration::try_from(cloud.now().as_duration()).expect("after 1970");
    let total = |items: &[(usize, Option<Duration>)]| -> f64 {
        // What has no end is no call's.
        let ending = items.iter().filter_map(|(bytes, ends)| Some((bytes, (*ends)?)));
        ending.map(|(bytes, ends)| (bytes + ITEM_OVERHEAD) as f64 * ends.saturating_sub(now).as_secs_f64()).sum()
    };
    let after = stored(cloud);
    let grown = |n: usize| total(&after[n]) - total(&before[n]);
    vec![("state", grown(0)), ("exchange", grown(1))]
}

/// It never fails for what it finds: it reports.
#[test]
fn what_a_call_costs() {
    let measured = std::sync::Mutex::new(None);
    let told = tell(1, Faults::latency_only(), |cloud, ledger| async {
        let found = measure(cloud, ledger).await;
        *measured.lock().expect("no panic") = Some(found);
    });
    if let Err(failure) = told {
        panic!("{failure}");
    }
    let measured = measured.into_inner().expect("no panic").expect("it was measured");
    report::print(&measured);
}

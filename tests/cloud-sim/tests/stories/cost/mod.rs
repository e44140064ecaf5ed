//! What a call of three events and two webhooks asks of AWS, what a command asks, and what that costs in a month: `make bench cost`.
//!
//! One agent at a simulated PBX, nothing goes wrong, and the events come so far apart that each is a batch of its own: the dearest way.
//! What the same time costs without a call is taken off, and is the price of doing nothing.

mod bill;
mod causes;
mod report;

use std::time::Duration;

use axum::http::Method;
use cloud_sim::story::{Ledger, tell};
use cloud_sim::{Cloud, Counts, Faults};
use jiff::SignedDuration;
use pbx_sim::InMemory;
use serde_json::{Value as Json, json};
use shared::event::{Direction, Status};
use shared::ids::CallId;
use tokio::time::{Instant, sleep};

use crate::commands::pbx;
use crate::output::Listener;
use crate::receivers::Manners;
use crate::stack::Stack;

/// What is looked at, with a call in it and without.
const WINDOW: Duration = Duration::from_secs(600);
const WEBHOOKS: [&str; 2] = ["one.example", "two.example"];
/// In the first hour of its session an agent reads before it names a call.
const FIRST_HOUR: Duration = Duration::from_secs(3600);
/// An index entry that DynamoDB bills for each item.
const ITEM_OVERHEAD: usize = 100;
/// For so long `deliver` does not note again that a webhook accepts.
pub(crate) const NOTED_FOR: Duration = Duration::from_secs(300);
/// Who calls from outside, or is called there.
const OUTSIDE: &str = "+32472591687";

/// What was counted.
#[derive(Debug)]
pub(crate) struct Measured {
    /// A call that comes within [`NOTED_FOR`] after another one.
    pub(crate) with_a_call: Counts,
    /// One that comes later: with it is noted that the webhooks accept.
    pub(crate) with_a_lonely_call: Counts,
    pub(crate) idle: Counts,
    /// With a `makecall`, whose call nobody answers, and with a read of a user.
    pub(crate) with_a_command: Counts,
    pub(crate) with_a_read: Counts,
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
    let pbx = pbx(&cloud, 1);
    stack.whole_agent("agent", &pbx, SignedDuration::ZERO);
    sleep(Duration::from_secs(5)).await;

    // What is done only once is done with the first one.
    let first = call(&stack, &pbx).await;
    ask(&stack, Method::GET, "/rcc/users/42", None).await;
    sleep(FIRST_HOUR - WINDOW).await;
    let idle = during(&cloud, async {}).await;
    let (mut lonely, mut second) = (None, None);
    let with_a_lonely_call = during(&cloud, async { lonely = Some(call(&stack, &pbx).await) }).await;
    let before = call(&stack, &pbx).await;
    // Until all of it has arrived.
    sleep(Duration::from_secs(10)).await;
    let stored = stored(&cloud);
    let with_a_call = during(&cloud, async { second = Some(call(&stack, &pbx).await) }).await;
    let left = left(&cloud, &stored);
    let mut third = None;
    let with_a_command = during(&cloud, async { third = Some(command(&stack, &pbx).await) }).await;
    let with_a_read = during(&cloud, ask(&stack, Method::GET, "/rcc/users/42", None)).await;
    let (figures, alarms) = (listener.figures().len(), stack.template.alarms());
    let calls = [Some(first), lonely, Some(before), second, third].map(|call| call.expect("it was placed"));
    stack.judge(&calls).await;
    Measured { with_a_call, with_a_lonely_call, idle, with_a_command, with_a_read, left, figures, alarms }
}

/// What is asked in a window in which this happens first.
async fn during(cloud: &Cloud, work: impl Future<Output = ()>) -> Counts {
    let (before, begun) = (cloud.counts(), Instant::now());
    work.await;
    sleep(WINDOW.saturating_sub(begun.elapsed())).await;
    cloud.counts().since(&before)
}

/// A call that rings, is answered and ends.
async fn call(stack: &Stack, pbx: &InMemory) -> CallId {
    let press = |path: &str, body: Json| pbx.control(path, body).expect("somebody can do this at a phone");
    press("/call", json!({"from": OUTSIDE, "to": "42"}));
    let id = only_call(pbx, Direction::Incoming);
    stack.expect(id, Status::Ringing);
    sleep(Duration::from_secs(8)).await;
    stack.expect(id, Status::Connected);
    press("/answer", json!({"extension": "42"}));
    sleep(Duration::from_secs(45)).await;
    stack.expect(id, Status::Disconnected);
    press("/hangup", json!({"extension": OUTSIDE}));
    id
}

/// A call that an app places, and that nobody answers.
async fn command(stack: &Stack, pbx: &InMemory) -> CallId {
    ask(stack, Method::POST, "/rcc/makecall", Some(&json!({"from": "42", "to": OUTSIDE}))).await;
    let id = only_call(pbx, Direction::Outgoing);
    sleep(Duration::from_secs(8)).await;
    stack.expect(id, Status::Disconnected);
    pbx.control("/hangup", json!({"extension": "42"})).expect("the call is there");
    id
}

async fn ask(stack: &Stack, method: Method, path: &str, body: Option<&Json>) {
    let (status, answer) = stack.api.ask(method, path, body).await.expect("nobody dies");
    assert_eq!(status, 200, "{path}: {answer}");
}

/// The name of the one call that there is, as it has to be for the user 42.
fn only_call(pbx: &InMemory, direction: Direction) -> CallId {
    let state = pbx.state();
    let user = state["users"].as_array().and_then(|users| users.iter().find(|user| user["extension"] == "42"));
    let text = |value: &Json| value.as_str().expect("a text").to_owned();
    let conference = text(&state["calls"][0]["conf"]);
    CallId::of_conference(&text(&state["pbx"]), &text(&user.expect("user 42")["guid"]), &conference, direction, 0)
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

/// What a call has cost since its events have numbers. Who adds something to it has to mean it.
const WRITE_UNITS: f64 = 16.0;
const READ_UNITS: f64 = 13.0;

/// It reports, and fails when a call costs more units than before.
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
    let [reads, writes] = report::print(&measured);
    assert!(writes <= WRITE_UNITS && reads <= READ_UNITS, "{writes} write units and {reads} read units");
}

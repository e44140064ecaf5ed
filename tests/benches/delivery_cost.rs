//! How many events `fanout` and `deliver` bring to a receiver for a second of processor time, both functions together.
//!
//! They run as deployed and are kept busy. Everything counts that they do: asking for work, reading the table, the request,
//! writing the log. What the queue, the table and the receiver do is not theirs, so the local cloud answers each kind of request
//! once, and that answer is repeated at once from then on. (Its own answers take milliseconds, in which other programs take the
//! processor's caches; then the same work costs nearly twice as much.)

use std::time::Duration;

use easyconnect_tests::stack::{batch, sqs_event};
use easyconnect_tests::{Inbox, Lambda, Stack, eventually};
use jiff::{SignedDuration, Timestamp};
use rustix::process::Pid;
use serde_json::{Value, json};
use shared::delivery::Delivery;
use shared::envelope;
use shared::event::{CallEvent, Status};
use shared::ids::CallId;
use shared::queue::BATCH;
use uuid::Uuid;

use crate::parrot::Parrot;
use crate::report::Report;

const WARMING: usize = 500;
const EVENTS: usize = 5_000;
const GOAL: f64 = 2_100.0;

pub(crate) async fn measure(report: &mut Report) {
    let (stack, inbox) = tokio::join!(Stack::start(), Inbox::start());
    let mut subscription = stack.subscribe(&inbox).await;
    // Successes are noted every few seconds only, so nearly every delivery finds a recent one.
    let an_hour = SignedDuration::from_hours(1);
    subscription.health.last_success_at = Some((Timestamp::now() + an_hour).as_millisecond());
    stack.state.put_subscription(&subscription).await.expect("the subscription is stored");

    let parrot = Parrot::start(stack.var("AWS_ENDPOINT_URL")).await;
    let mut lambda = Lambda::start(&stack, "fanout", &parrot.url()).await;
    let fanout = spend(&mut lambda, BATCH, || {
        let events: Vec<CallEvent> = std::iter::repeat_with(event).take(BATCH).collect();
        sqs_event(&events)
    })
    .await;
    // The first batch went into the real queue and on.
    eventually("the first batch is delivered", async || match inbox.count() {
        BATCH => Ok(()),
        came => Err(format!("{came} came")),
    })
    .await;
    inbox.forget();

    // Another one, because the two functions read different things.
    let parrot = Parrot::start(stack.var("AWS_ENDPOINT_URL")).await;
    let mut lambda = Lambda::start(&stack, "deliver", &parrot.url()).await;
    let deliver = spend(&mut lambda, 1, || {
        let delivery = Delivery::of_call(event(), subscription.id);
        batch([(delivery.group(), envelope::seal(&delivery).expect("JSON"))])
    })
    .await;
    assert_eq!(inbox.count(), WARMING + EVENTS, "each event came once");

    let per_second = EVENTS as f64 / (fanout + deliver).as_secs_f64();
    let measured = format!("{per_second:.0} /CPU s");
    report.line("events delivered", &measured, "-", "fanout and deliver >= 2,100 /CPU s", per_second >= GOAL);
    let each = |spent: Duration| format!("{:.0} µs", spent.as_secs_f64() * 1e6 / EVENTS as f64);
    report.note(&format!("of each event: fanout {}, deliver {}", each(fanout), each(deliver)));
}

/// The end of an answered call, which is fresh for days.
fn event() -> CallEvent {
    CallEvent::full_example(CallId::from_uuid(Uuid::new_v4()), Status::Disconnected, Timestamp::now())
}

/// Has a function handle events, so many at a time, and returns what of the processor's time that took.
async fn spend(lambda: &mut Lambda, at_a_time: usize, invocation: impl Fn() -> Value) -> Duration {
    let mut before = Duration::ZERO;
    for handled in (0..WARMING + EVENTS).step_by(at_a_time) {
        if handled == WARMING {
            before = processor_time(lambda.pid());
        }
        lambda.hand_over(&invocation());
        assert_eq!(lambda.answer().await, json!({"batchItemFailures": []}));
    }
    processor_time(lambda.pid()) - before
}

/// What a process has used of the processor until now, in its own code and in the kernel on its behalf.
fn processor_time(pid: Pid) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The program's name comes before and may hold anything.
    let numbers: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = numbers[11..=12].iter().map(|ticks| ticks.parse::<u64>().expect("a number of ticks")).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

//! How many events `fanout` and `deliver` bring to a receiver for a second of processor time, both functions together.
//!
//! The processes are those that the local cloud runs, so everything counts that a function does: asking for work, reading the
//! table, the request, writing the log. What the queue, the table and the receiver do is not theirs.

use std::time::Duration;

use easyconnect_tests::{Inbox, Stack, eventually_within};
use jiff::Timestamp;
use rustix::process::Pid;
use shared::envelope;
use shared::event::{CallEvent, Status};
use shared::ids::CallId;
use shared::queue::{BATCH, Outgoing, Taken};
use uuid::Uuid;

use crate::report::Report;

const WARMING: usize = 200;
const EVENTS: usize = 2_000;
const GOAL: f64 = 2_100.0;
const PATIENCE: Duration = Duration::from_secs(300);
const FUNCTIONS: [&str; 2] = ["FANOUT_FUNCTION", "DELIVER_FUNCTION"];

pub(crate) async fn measure(report: &mut Report) {
    let (stack, inbox) = tokio::join!(Stack::start(), Inbox::start());
    stack.subscribe(&inbox).await;
    deliver(&stack, &inbox, WARMING).await;
    let running = FUNCTIONS.map(|function| stack.environments(function));
    let spent = || running.each_ref().map(|environments| environments.iter().map(|pid| processor_time(*pid)).sum());
    let before: [Duration; 2] = spent();
    deliver(&stack, &inbox, EVENTS).await;
    let after: [Duration; 2] = spent();
    assert_eq!(running, FUNCTIONS.map(|function| stack.environments(function)), "the same environments did all");

    let [fanout, deliver] = [after[0] - before[0], after[1] - before[1]];
    let per_second = EVENTS as f64 / (fanout + deliver).as_secs_f64();
    let measured = format!("{per_second:.0} /CPU s");
    report.line("events delivered", &measured, "-", "fanout and deliver >= 2,100 /CPU s", per_second >= GOAL);
    let each = |spent: Duration| format!("{:.0} µs", spent.as_secs_f64() * 1e6 / EVENTS as f64);
    report.note(&format!("of each event: fanout {}, deliver {}", each(fanout), each(deliver)));
}

/// Queues so many events, each of a call of its own, and waits until nothing of them is left.
async fn deliver(stack: &Stack, inbox: &Inbox, events: usize) {
    let queue = stack.queue("EVENTS_QUEUE_URL");
    let goal = inbox.count() + events;
    for _ in 0..events / BATCH {
        let messages: Vec<Outgoing> = std::iter::repeat_with(message).take(BATCH).collect();
        let taken = queue.send_fifo(&messages).await.expect("the queue answers");
        assert!(taken.iter().all(Taken::is_yes), "{taken:?}");
    }
    eventually_within(PATIENCE, "all events are delivered", async || {
        let (came, left) = (inbox.count(), stack.messages_in("DELIVERIES_QUEUE_URL").await);
        if came == goal && left == 0 { Ok(()) } else { Err(format!("{came} of {goal} came, {left} are queued")) }
    })
    .await;
}

/// The end of an answered call, which is fresh for days.
fn message() -> Outgoing {
    let call = CallId::from_uuid(Uuid::new_v4());
    let event = CallEvent::full_example(call, Status::Disconnected, Timestamp::now());
    let body = envelope::seal(&event).expect("JSON");
    Outgoing { group: call.to_string(), dedup: event.event_id.to_string(), body }
}

/// What a process has used of the processor until now, in its own code and in the kernel on its behalf.
fn processor_time(pid: Pid) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The program's name comes before and may hold anything.
    let numbers: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = numbers[11..=12].iter().map(|ticks| ticks.parse::<u64>().expect("a number of ticks")).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

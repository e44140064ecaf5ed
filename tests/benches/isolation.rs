//! What a receiver that never answers costs the others.
//!
//! `deliver` is invoked directly, many at a time as on AWS, because a FIFO mapping of the local cloud runs one batch after the
//! other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use easyconnect_tests::{Inbox, Manner, Stack, eventually};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::delivery::Delivery;
use shared::event::{CallEvent, Status};
use shared::ids::{CallId, WebhookId};
use uuid::Uuid;

use crate::report::{Report, median, millis};

/// Shorter than the 10 s after which `deliver` gives a receiver up.
const MEASURED: Duration = Duration::from_secs(4);
const AT_A_TIME: usize = 4;
const GOAL: f64 = 1.5;

pub(crate) async fn measure(report: &mut Report) {
    let (stack, healthy, hanging) = tokio::join!(Stack::start(), Inbox::start(), Inbox::start());
    let stack = Arc::new(stack);
    let (to_healthy, to_hanging) = (stack.subscribe(&healthy).await.id, stack.subscribe(&hanging).await.id);
    hanging.behave(Manner::Hang);
    round(&stack, to_healthy, MEASURED / 2).await; // The environments are warm from here on.

    let mut without = round(&stack, to_healthy, MEASURED / 2).await;
    let open = tokio::spawn({
        let stack = stack.clone();
        async move { invoke(&stack, to_hanging).await }
    });
    eventually("the request hangs", async || match hanging.count() {
        0 => Err("it has not come".to_owned()),
        _ => Ok(()),
    })
    .await;
    let mut beside = round(&stack, to_healthy, MEASURED).await;
    let all_beside = !open.is_finished();
    let count = if all_beside { format!("all {}", beside.len()) } else { "NOT all".to_owned() };
    let refused = open.await.expect("the hanging invocation ends");
    assert_ne!(refused["batchItemFailures"], json!([]), "it was not accepted");
    without.extend(round(&stack, to_healthy, MEASURED / 2).await);

    let (beside, without) = (median(&mut beside), median(&mut without));
    let ratio = beside.as_secs_f64() / without.as_secs_f64();
    let met = ratio <= GOAL && all_beside;
    let goal = format!("<= {GOAL} x floor (now {ratio:.2}), {count} ended while the other hung");
    report.line("delivery beside a receiver that hangs", &millis(beside), &millis(without), &goal, met);
    report.note("floor: the same deliveries while nobody hangs");
}

/// Delivers events for so long, a few at a time, and returns how long each took.
async fn round(stack: &Stack, to: WebhookId, time: Duration) -> Vec<Duration> {
    let end = Instant::now() + time;
    let worker = async || {
        let mut durations = Vec::new();
        while Instant::now() < end {
            let begun = Instant::now();
            let answer = invoke(stack, to).await;
            assert_eq!(answer["batchItemFailures"], json!([]), "{answer}");
            durations.push(begun.elapsed());
        }
        durations
    };
    join_all((0..AT_A_TIME).map(|_| worker())).await.concat()
}

async fn invoke(stack: &Stack, to: WebhookId) -> Value {
    let call = CallId::from_uuid(Uuid::new_v4());
    let event = CallEvent::example(call, Status::Disconnected, Timestamp::now());
    stack.deliver(&Delivery::of_call(event, to)).await
}

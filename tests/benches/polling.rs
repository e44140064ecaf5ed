//! What a key that polls with many connections costs another one.

use std::time::{Duration, Instant};

use easyconnect_tests::{Api, Stack};
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::report::{Report, median, millis};

const CONNECTIONS: usize = 200;
/// The polls that are refused come back in this time, so that each has come at least once.
const SETTLES: Duration = Duration::from_secs(8);
const GOAL: f64 = 1.5;
const MEASURED: Duration = Duration::from_secs(10);

pub(crate) async fn measure(report: &mut Report) {
    let stack = Stack::start().await;
    let poller = key(&stack, "poller").await;
    let other = key(&stack, "other").await;
    status(&other, MEASURED / 2).await; // The environments are warm from here on.
    let mut without = status(&other, MEASURED / 2).await;

    let (stop, stopped) = watch::channel(false);
    let polls = tokio::spawn(join_all((0..CONNECTIONS).map(|_| poll(poller.clone(), stopped.clone()))));
    sleep(SETTLES).await;
    let mut beside = status(&other, MEASURED).await;
    stop.send(true).expect("the polls run");
    let polls: Vec<(u32, u32)> = polls.await.expect("the polls end");
    let (waited, refused) = polls.into_iter().fold((0, 0), |sum, poll| (sum.0 + poll.0, sum.1 + poll.1));
    without.extend(status(&other, MEASURED / 2).await);

    let (beside, without) = (median(&mut beside), median(&mut without));
    let ratio = beside.as_secs_f64() / without.as_secs_f64();
    let goal = format!("<= {GOAL} x floor (now {ratio:.2}); {waited} polls ended, {refused} were refused");
    report.line("GET /status beside 200 polls of another key", &millis(beside), &millis(without), &goal, ratio <= GOAL);
    report.note("floor: the same requests while nobody polls");
}

async fn key(stack: &Stack, name: &str) -> Api {
    let made = stack.api.post("/apikeys", json!({"name": name, "scopes": ["calls:read"]})).await.with_status(201);
    stack.api.with_key(made.text("key"))
}

/// Asks for so long, one request after the other, and returns how long each took.
async fn status(api: &Api, time: Duration) -> Vec<Duration> {
    let end = Instant::now() + time;
    let mut durations = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        api.get("/status").await.ok();
        durations.push(begun.elapsed());
    }
    durations
}

/// Polls as a client does that keeps to `retryAfter`; returns how many polls waited and how many were refused.
async fn poll(api: Api, mut stopped: watch::Receiver<bool>) -> (u32, u32) {
    let (mut waited, mut refused) = (0, 0);
    while !*stopped.borrow() {
        let answer = tokio::select! {
            answer = api.get("/events?after=latest&wait=20") => answer,
            _ = stopped.changed() => break,
        };
        match answer.status {
            429 => {
                refused += 1;
                let seconds = answer.body["retryAfter"].as_u64().expect("a time to wait");
                let _ = timeout(Duration::from_secs(seconds), stopped.changed()).await;
            }
            _ => waited += 1,
        }
    }
    (waited, refused)
}

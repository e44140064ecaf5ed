//! From exec to the first request for work, beside a hello function that builds the same SDK clients.

use std::process::Stdio;
use std::time::{Duration, Instant};

use easyconnect_tests::lambda;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::report::{Report, median, millis};

const ROUNDS: usize = 15;
const GOAL: f64 = 1.3;

pub(crate) async fn measure(report: &mut Report) {
    for name in ["api", "fanout", "deliver"] {
        let (mut function, mut hello) = (Vec::new(), Vec::new());
        // In turns, so that both see the same machine.
        for _ in 0..ROUNDS {
            hello.push(start("hello").await);
            function.push(start(name).await);
        }
        let (function, hello) = (median(&mut function), median(&mut hello));
        let ratio = function.as_secs_f64() / hello.as_secs_f64();
        let goal = format!("<= {GOAL} x floor (now {ratio:.2})");
        report.line(&format!("cold start of {name}"), &millis(function), &millis(hello), &goal, ratio <= GOAL);
    }
}

/// Starts a function and waits until it asks for its first invocation.
async fn start(name: &str) -> Duration {
    let runtime = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = runtime.local_addr().expect("an address");
    let begun = Instant::now();
    let mut child = lambda::environment(name, address)
        .envs([
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("EXCHANGE_TABLE", "exchange"),
            ("STATE_TABLE", "state"),
            ("COMMANDS_QUEUE_URLS", "http://127.0.0.1/commands"),
            ("EVENTS_QUEUE_URL", "http://127.0.0.1/events.fifo"),
            ("EVENTS_DLQ_URL", "http://127.0.0.1/events-dlq.fifo"),
            ("DELIVERIES_QUEUE_URL", "http://127.0.0.1/deliveries.fifo"),
            ("DELIVERIES_DLQ_URL", "http://127.0.0.1/deliveries-dlq.fifo"),
            ("LANES_QUEUE_URL", "http://127.0.0.1/lanes.fifo"),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the function starts");
    let (mut request, _) = tokio::select! {
        accepted = runtime.accept() => accepted.expect("a request"),
        ended = child.wait() => panic!("{name} ended at its start: {ended:?}"),
    };
    let mut head = [0; 64];
    let read = request.read(&mut head).await.expect("a request");
    let elapsed = begun.elapsed();
    let head = String::from_utf8_lossy(&head[..read]);
    assert!(head.contains("/runtime/invocation/next"), "{name} asked for {head}");
    child.kill().await.expect("the function ends");
    elapsed
}

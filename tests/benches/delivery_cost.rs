//! How many events `fanout` and `deliver` bring to a receiver for a second of processor time, both functions together.
//!
//! Everything counts that they do: asking for work, reading the table, the request, writing the log. Beside it stands the memory that
//! they have after that, which is what the template's `MemorySize` has to hold.

use std::time::Duration;

use easyconnect_tests::paths;
use easyconnect_tests::process::mebibytes;
use shared::queue::BATCH;
use tokio::process::Command;

use crate::report::Report;
use crate::workload::{Function, Workload};

const WARMING: usize = 500;
const EVENTS: usize = 5_000;
/// Events a second, for so many at a time.
const GOALS: [(usize, f64); 2] = [(BATCH, 4_000.0), (1, 2_100.0)];

pub(crate) async fn measure(report: &mut Report) {
    let workload = Workload::start().await;
    for (at_a_time, goal) in GOALS {
        let fanout = spend(&workload, Function::Fanout, at_a_time).await;
        let deliver = spend(&workload, Function::Deliver, at_a_time).await;
        let per_second = EVENTS as f64 / (fanout.time + deliver.time).as_secs_f64();
        let figure = format!("events delivered, {at_a_time} at a time");
        let measured = format!("{per_second:.0} /CPU s");
        report.line(&figure, &measured, "-", &format!("fanout and deliver >= {goal} /CPU s"), per_second >= goal);
        let each = |spent: &Spent| format!("{:.0} µs", spent.time.as_secs_f64() * 1e6 / EVENTS as f64);
        report.note(&format!("of each event: fanout {}, deliver {}", each(&fanout), each(&deliver)));
        report
            .note(&format!("memory: fanout {:.1} MiB, deliver {:.1} MiB of 256", fanout.mebibytes, deliver.mebibytes));
    }
}

struct Spent {
    /// Of the processor.
    time: Duration,
    mebibytes: f64,
}

/// Has a function handle events, and returns what that took.
async fn spend(workload: &Workload, function: Function, at_a_time: usize) -> Spent {
    let program = Command::new(paths::binary(function.name()));
    let mut busy = workload.begin(program, function, at_a_time).await;
    assert!(workload.handle(&mut busy, WARMING / at_a_time).await, "in time");
    let before = busy.lambda.process().cpu_time();
    assert!(workload.handle(&mut busy, EVENTS / at_a_time).await, "in time");
    let process = busy.lambda.process();
    Spent { time: process.cpu_time() - before, mebibytes: mebibytes(process.memory()) }
}

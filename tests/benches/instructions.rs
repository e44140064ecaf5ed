//! How many instructions `fanout` and `deliver` need for an event, counted by valgrind's tool callgrind: no other program on the machine
//! changes that.
//!
//! What runs is optimised as what is deployed, and has the names of its functions. What a function does once is not counted: it
//! handles a few batches in one run and more in another, and only what differs counts. Encryption is left out, because
//! the cloud of the benches has none. Callgrind's processor has no instructions for SHA-256, so that hashes, which sign each
//! request to AWS, take some ten times as many instructions here as in most places.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use easyconnect_tests::paths;
use shared::queue::BATCH;
use tokio::process::Command;
use uuid::Uuid;

use crate::report::Report;
use crate::workload::{Function, TRIES, Workload};

const RUNS: [(Function, usize); 3] = [(Function::Fanout, BATCH), (Function::Fanout, 1), (Function::Deliver, 1)];
/// Batches of the shorter run, and how many more there are in the longer one.
const FEW: usize = 20;
const MORE: usize = 50;
/// Of each list of costs so many are shown.
const SHOWN: usize = 12;

pub(crate) async fn measure(report: &Report) {
    if !runs("valgrind").await {
        report.note("instructions are not counted: valgrind is not installed");
        return;
    }
    let workload = Workload::start().await;
    for (function, at_a_time) in RUNS {
        let Some(program) = paths::binary_with_symbols(function.name()) else {
            report.note(
                "instructions are not counted: `make bench` and `make bench instructions` build what is run for it",
            );
            return;
        };
        let few = Profile::take(&workload, &program, function, at_a_time, FEW).await;
        let more = Profile::take(&workload, &program, function, at_a_time, FEW + MORE).await;
        let events = (MORE * at_a_time) as f64;
        let thousands = |instructions: f64| format!("{:.1} k", instructions / events / 1000.0);

        let all = more.instructions() as f64 - few.instructions() as f64;
        report.plain(&format!("instructions per event: {}, {at_a_time} at a time", function.name()), &thousands(all));
        for (what, inclusive) in [("alone", false), ("with all that it calls", true)] {
            let costs = difference(more.costs(inclusive).await, &few.costs(inclusive).await);
            // What has most of it calls everything, and says nothing.
            for (name, cost) in costs.into_iter().filter(|(_, cost)| *cost < all / 2.0).take(SHOWN) {
                report.note(&format!("{:>9} {name}, {what}", thousands(cost)));
            }
        }
    }
}

/// What callgrind wrote down of a process.
struct Profile {
    file: PathBuf,
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

impl Profile {
    /// Of a function that handles so many batches.
    async fn take(workload: &Workload, program: &Path, function: Function, at_a_time: usize, batches: usize) -> Self {
        let profile = Self { file: std::env::temp_dir().join(format!("easyconnect-{}", Uuid::new_v4())) };
        for _ in 0..TRIES {
            let mut valgrind = Command::new("valgrind");
            let output = format!("--callgrind-out-file={}", profile.file.display());
            valgrind.arg("--tool=callgrind").arg(output).arg(program);
            let mut busy = workload.begin(valgrind, function, at_a_time).await;
            let in_time = workload.handle(&mut busy, batches).await;
            busy.lambda.end().await;
            if in_time {
                return profile;
            }
        }
        panic!("this machine is too busy");
    }

    fn instructions(&self) -> u64 {
        let text = std::fs::read_to_string(&self.file).expect("callgrind has written its file");
        let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: ")).expect("a total");
        total.trim().parse().expect("a number")
    }

    /// The instructions of each function, by name; alone, or with all that it calls.
    async fn costs(&self, inclusive: bool) -> HashMap<String, u64> {
        let mut annotate = Command::new("callgrind_annotate");
        annotate.args(["--auto=no", "--threshold=100", if inclusive { "--inclusive=yes" } else { "--inclusive=no" }]);
        let output = annotate.arg(&self.file).stdin(Stdio::null()).output().await.expect("callgrind_annotate runs");
        let mut costs = HashMap::new();
        for (cost, name) in String::from_utf8_lossy(&output.stdout).lines().filter_map(cost) {
            let known: &mut u64 = costs.entry(name).or_default();
            // A function into which others were inlined has a line for each of their files.
            *known = if inclusive { cost.max(*known) } else { *known + cost };
        }
        costs
    }
}

/// Reads a line like `1,207,166 (80.22%)  file:function [program]`.
fn cost(line: &str) -> Option<(u64, String)> {
    let (number, rest) = line.trim_start().split_once(" (")?;
    let (_, location) = rest.split_once("%)  ")?;
    let (_, function) = location.split_once(':')?;
    let name = function.rsplit_once(" [").map_or(function, |(name, _)| name);
    Some((number.replace(',', "").parse().ok()?, name.to_owned()))
}

/// What comes on top, the most expensive first.
fn difference(more: HashMap<String, u64>, few: &HashMap<String, u64>) -> Vec<(String, f64)> {
    let on_top = |(name, cost): (String, u64)| {
        let before = few.get(&name).copied().unwrap_or_default();
        (name, cost as f64 - before as f64)
    };
    let mut costs: Vec<(String, f64)> = more.into_iter().map(on_top).collect();
    costs.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    costs
}

async fn runs(program: &str) -> bool {
    let tried = Command::new(program).arg("--version").stdin(Stdio::null()).output().await;
    tried.is_ok_and(|output| output.status.success())
}

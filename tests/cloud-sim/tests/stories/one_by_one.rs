//! Which fault breaks what: the story of everything, with one fault at a time. It takes minutes and only reports.

use cloud_sim::Faults;

use crate::everything::story;
use crate::seeds::{FEW_SEEDS, tell_all};

/// More often than where all of them happen.
const OFTEN: f64 = 0.06;

fn each() -> Vec<(&'static str, Faults)> {
    let usual = Faults::latency_only;
    let p = OFTEN;
    vec![
        ("latency only", usual()),
        ("conflicts", Faults { conflicts: p, ..usual() }),
        ("cancellations", Faults { cancellations: p, ..usual() }),
        ("throttled requests", Faults { throttled_requests: p, ..usual() }),
        ("throttled items", Faults { throttled_items: p, ..usual() }),
        ("partial batches", Faults { partial_batches: p, ..usual() }),
        ("lost requests", Faults { lost_requests: p, ..usual() }),
        ("lost answers", Faults { lost_answers: p, ..usual() }),
        ("hung connections", Faults { hung_connections: p, ..usual() }),
        ("internal errors", Faults { internal_errors: p, ..usual() }),
        ("throttled invocations", Faults { throttled_invocations: p, ..usual() }),
        ("crashed invocations", Faults { crashed_invocations: p, ..usual() }),
        ("lost deletes", Faults { lost_deletes: p, ..usual() }),
    ]
}

#[test]
#[ignore = "`make soak` runs it"]
fn one_fault_at_a_time() {
    for (name, faults) in each() {
        tell_all(FEW_SEEDS, || faults.clone(), story).print(name);
    }
}

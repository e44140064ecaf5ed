//! What takes minutes: `make soak`. The end-to-end suite has a short form of each.

mod faults;
mod fuzz;
mod idempotency;
mod memory;
mod polling;

use std::time::Duration;

/// How long something lasts, unless a variable says otherwise.
fn seconds(variable: &str, usual: u64) -> Duration {
    let asked = std::env::var(variable).ok().map(|text| text.parse().expect("a number of seconds"));
    Duration::from_secs(asked.unwrap_or(usual))
}

//! `make bench`: the figures that the design sets goals for, each beside its floor, measured in the same run. Names of modules as
//! arguments choose among them.
//!
//! Machines differ and are noisy, so the goals are ratios and differences to a floor. Nothing here fails: it reports.

mod agent;
mod call_core;
mod cold_start;
mod delivery_cost;
mod instructions;
mod isolation;
mod latency;
mod outbox;
mod parrot;
mod polling;
mod report;
mod round_trip;
mod sizes;
mod workload;

use report::Report;

#[tokio::main]
async fn main() {
    easyconnect_tests::api::install_crypto();
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let all = [
        "sizes",
        "call_core",
        "outbox",
        "agent",
        "cold_start",
        "round_trip",
        "delivery_cost",
        "instructions",
        "isolation",
        "polling",
        "latency",
    ];
    let mut report = Report::begin();
    for name in all.into_iter().filter(|name| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name)) {
        match name {
            "sizes" => sizes::measure(&mut report),
            "call_core" => call_core::measure(&mut report),
            "outbox" => outbox::measure(&mut report).await,
            "agent" => agent::measure(&mut report).await,
            "cold_start" => cold_start::measure(&mut report).await,
            "round_trip" => round_trip::measure(&mut report).await,
            "delivery_cost" => delivery_cost::measure(&mut report).await,
            "instructions" => instructions::measure(&report).await,
            "isolation" => isolation::measure(&mut report).await,
            "polling" => polling::measure(&mut report).await,
            _ => latency::measure(&report).await,
        }
    }
    report.end();
}

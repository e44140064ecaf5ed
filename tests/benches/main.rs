//! `make bench`: the figures that the design sets goals for, each beside its floor, measured in the same run.
//!
//! Machines differ and are noisy, so the goals are ratios and differences to a floor. Nothing here fails: it reports.

mod call_core;
mod cold_start;
mod report;
mod round_trip;
mod sizes;

use report::Report;

#[tokio::main]
async fn main() {
    easyconnect_tests::api::install_crypto();
    let mut report = Report::begin();
    sizes::measure(&mut report);
    call_core::measure(&mut report);
    cold_start::measure(&mut report).await;
    round_trip::measure(&mut report).await;
    report.end();
}

//! Everything that goes wrong beside a PBX, for minutes: `EASYCONNECT_FAULTS_SECONDS` says how long, `EASYCONNECT_SEED` repeats a run.

use std::time::Duration;

use easyconnect_tests::faults::{self, Story};

use crate::seconds;

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_wrong_for_minutes() {
    faults::tell(Story {
        lasts: seconds("EASYCONNECT_FAULTS_SECONDS", 420),
        call_every: Duration::from_millis(400),
        command_every: Duration::from_millis(1500),
        // An agent finds a half-open socket within 70 seconds by itself, and a heartbeat is stale after 30.
        longest_outage: Duration::from_secs(120),
    })
    .await;
}

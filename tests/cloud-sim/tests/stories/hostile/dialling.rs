//! How an agent gets to its PBX, and how often it tries.

use std::time::Duration;

use cloud_sim::story::{Failure, tell};
use cloud_sim::{Counts, Faults};
use serde_json::{Map, json};
use tokio::time::sleep;

use super::rig::{CALLER, Rig};
use crate::agent::PBX;

fn holds(told: Result<Counts, Box<Failure>>) {
    let violations = told.err().map(|failure| failure.violations).unwrap_or_default();
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn standby_serves_where_the_pbx_is_out_of_reach() {
    holds(tell(1, Faults::latency_only(), |cloud, ledger| async move {
        let urls = ["ws://main.test/PBX0/APPS/websocket", PBX];
        let rig = Rig::start_dialling(cloud, ledger, &Map::new(), &["rack"], &urls).await;
        rig.call(CALLER, "43").await;
        rig.hang_up(CALLER).await;
        let ringing = "ringing(00032472591687>43) in vain, disconnected(00032472591687>43) in vain";
        rig.judge(&[vec![format!("43 is called: {ringing}")]]).await;
    }));
}

#[test]
fn pbx_that_drops_every_session_is_dialled_ever_more_rarely() {
    holds(tell(1, Faults::latency_only(), |cloud, ledger| async move {
        let rig = Rig::start(cloud, ledger, &Map::new(), &["rack"]).await;
        let logins = || rig.pbx.log().iter().filter(|entry| entry["mt"] == "AppLogin").count();
        rig.act("/quirks", json!({"idle_close_ms": 500})).await;
        let before = logins();
        sleep(Duration::from_secs(600)).await;
        let dialled = logins() - before;
        // Five until the pauses have grown to 32 s, of which at least half passes each time.
        if !(10..=45).contains(&dialled) {
            rig.ledger.wrong(format!("the PBX was dialled {dialled} times in ten minutes"));
        }
        rig.judge(&[Vec::new()]).await;
    }));
}

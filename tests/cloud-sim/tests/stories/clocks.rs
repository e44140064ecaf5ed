//! Clocks of an agent's machine that are wrong at its start, or that somebody sets.

use std::sync::Arc;
use std::time::Duration;

use cloud_sim::story::{Ledger, tell};
use cloud_sim::{Cloud, Faults};
use jiff::{SignedDuration, Timestamp};
use pbx_sim::InMemory;
use serde_json::json;
use tokio::time::sleep;

use crate::agent::WholeAgent;
use crate::commands::pbx;
use crate::poller::whole_feed;
use crate::receivers::event_of;
use crate::stack::Stack;

const SIX_HOURS: SignedDuration = SignedDuration::from_hours(6);
/// What a `Date` of whole seconds leaves open.
const NEARLY: SignedDuration = SignedDuration::from_millis(1_100);

struct Scene {
    stack: Stack,
    pbx: Arc<InMemory>,
    agent: WholeAgent,
    /// When the calls really began.
    begun: Vec<Timestamp>,
}

impl Scene {
    /// An agent on a machine with this clock.
    async fn start(cloud: &Cloud, ledger: Ledger, ahead: SignedDuration) -> Self {
        let mut stack = Stack::start(cloud.clone(), ledger, 1).await;
        let pbx = pbx(cloud, 1);
        let agent = stack.whole_agent("rack", &pbx, ahead);
        Self { stack, pbx, agent, begun: Vec::new() }
    }

    async fn call(&mut self) {
        self.begun.push(self.stack.cloud.now());
        let _ = self.pbx.control("/call", json!({"from": "+3247000000", "to": "42"}));
        sleep(Duration::from_secs(2)).await;
        let _ = self.pbx.control("/hangup", json!({"extension": "42"}));
        sleep(Duration::from_secs(2)).await;
    }

    /// Every call rang at the time at which it did.
    async fn judge(mut self) {
        self.stack.settle().await;
        let events = whole_feed(&self.stack.api).await;
        for event in &events {
            let (call, number) = event_of(event).expect("an event");
            self.stack.ledger.sent(&format!("feed {call}"), number);
            self.stack.ledger.accepted(&format!("feed {call}"), number);
        }
        let ringing = events.iter().filter(|event| event["status"] == "ringing");
        let mut times: Vec<Timestamp> =
            ringing.map(|event| event["occurredAt"].as_str().and_then(|at| at.parse().ok()).expect("a time")).collect();
        times.sort_unstable();
        assert_eq!(times.len(), self.begun.len(), "{times:?} {events:?}");
        for (told, begun) in times.iter().zip(&self.begun) {
            let off = told.duration_since(*begun);
            assert!(off.abs() <= NEARLY, "a call of {begun} is told to have been at {told}");
        }
    }
}

#[test]
fn clock_that_somebody_sets_by_hours_moves_no_event() {
    let story = async |cloud: Cloud, ledger| {
        let mut scene = Scene::start(&cloud, ledger, SignedDuration::ZERO).await;
        sleep(Duration::from_secs(30)).await;
        for ahead in [SignedDuration::ZERO, -SIX_HOURS, SIX_HOURS, SignedDuration::ZERO] {
            scene.agent.set_clock(ahead);
            scene.call().await;
        }
        scene.judge().await;
    };
    tell(1, Faults::latency_only(), story).map(drop).unwrap_or_else(|failure| panic!("{:?}", failure.violations));
}

/// A machine without a battery believes that it is six hours ago until it has found a time server; AWS is out of reach for longer.
#[test]
fn events_before_the_first_answer_have_the_time_that_the_machine_has_found() {
    let story = async |cloud: Cloud, ledger| {
        let mut scene = Scene::start(&cloud, ledger, -SIX_HOURS).await;
        cloud.set_faults(Faults { lost_requests: 1.0, ..Faults::latency_only() });
        sleep(Duration::from_secs(5)).await;
        scene.agent.set_clock(SignedDuration::ZERO);
        scene.call().await;
        sleep(Duration::from_secs(30)).await;
        cloud.set_faults(Faults::latency_only());
        sleep(Duration::from_secs(30)).await;
        scene.call().await;
        scene.judge().await;
    };
    tell(1, Faults::latency_only(), story).map(drop).unwrap_or_else(|failure| panic!("{:?}", failure.violations));
}

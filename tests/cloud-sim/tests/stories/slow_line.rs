//! An agent behind a line on which each request to AWS takes a tenth of a second, at a busy PBX.

use std::sync::Arc;
use std::time::Duration;

use cloud_sim::story::{Ledger, tell};
use cloud_sim::{Cloud, Faults};
use easyconnect_agent::peers::identity::AgentIdentity;
use easyconnect_agent::peers::lookup::SharedNames;
use jiff::Timestamp;
use shared::aws;
use shared::event::{CallEvent, Direction, Status};
use shared::ids::CallId;
use shared::tables::{Exchange, LegItem};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::machine::{Chance, agent_config, platform};
use crate::stack::Stack;

const CALLS_A_SECOND: u64 = 200;
const SECONDS: u64 = 6;
/// What is on its way, and what has come since: it does not grow.
const BACKLOG: u64 = 2 * CALLS_A_SECOND;
const LINE: Duration = Duration::from_millis(100);

fn leg(n: u64) -> LegItem {
    LegItem {
        conference: format!("{n:032x}"),
        direction: Direction::Incoming,
        ended: 1,
        live: None,
        begun: Vec::new(),
        last_ended: None,
        last_ended_at: None,
        expires_at: i64::MAX,
    }
}

fn written(cloud: &Cloud) -> u64 {
    let users = (0..CALLS_A_SECOND).map(|user| cloud.items("exchange", &format!("LEG#pbx#{user}")).len() as u64);
    users.sum()
}

async fn story(cloud: Cloud, ledger: Ledger) {
    let mut stack = Stack::start(cloud.clone(), ledger, 1).await;
    // What becomes of the events behind the queue is other stories' concern.
    stack.stop_mappings().await;
    cloud.set_faults(Faults { latency: (LINE, LINE), ..Faults::latency_only() });
    stack.agent("rack");
    let reporter = stack.agents[0].clone();
    let (process, chance) = (cloud.process("rack-names"), Chance::new(1));
    let platform = platform(&process, &chance);
    let clock = platform.clock();
    let exchange = Exchange::new(aws::dynamodb(&agent_config(&platform).await, &clock), "exchange".to_owned());
    let identity = AgentIdentity { agent_id: "rack/1".into(), name: "rack".to_owned(), born: clock.boot() };
    let (answers, _) = mpsc::unbounded_channel();
    let (names, writer) = SharedNames::new(exchange, clock, identity, answers, chance.random());
    let writer = tokio::spawn(writer);
    for second in 0..SECONDS {
        for n in 0..CALLS_A_SECOND {
            let n = second * CALLS_A_SECOND + n;
            let call = CallId::of_conference("pbx", "user", &format!("{n:032x}"), Direction::Incoming, 0);
            for status in [Status::Ringing, Status::Connected, Status::Disconnected] {
                reporter.report(&CallEvent::example(call, status, Timestamp::UNIX_EPOCH));
            }
            names.remember(Arc::from("pbx"), (n % CALLS_A_SECOND).to_string().as_str().into(), leg(n));
            sleep(Duration::from_secs(1) / u32::try_from(CALLS_A_SECOND).expect("small")).await;
        }
        if second >= SECONDS / 2 {
            let (waiting, unwritten) = (reporter.waiting(), (second + 1) * CALLS_A_SECOND - written(&cloud));
            assert!(waiting <= 2 * BACKLOG, "{waiting} events wait after {second} s");
            assert!(unwritten <= BACKLOG, "{unwritten} names wait after {second} s");
        }
    }
    names.finish().await;
    writer.await.expect("no panic");
    assert_eq!(written(&cloud), SECONDS * CALLS_A_SECOND, "a name was given up");
}

#[test]
fn two_hundred_ends_a_second_pass_a_slow_line() {
    tell(1, Faults::latency_only(), story).map(drop).unwrap_or_else(|failure| panic!("{:?}", failure.violations));
}

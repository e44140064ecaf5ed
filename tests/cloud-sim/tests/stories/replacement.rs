//! Agents whose package is replaced while calls run: stopped, and started anew on the disk that the one before has left.
//!
//! With two agents, one after the other, nobody misses a status. With one, those that pass while there is no session are not told; but
//! every call that was reported has its end, and nothing comes twice or out of order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cloud_sim::story::{Failure, Ledger, Violation, tell};
use cloud_sim::{Cloud, Counts, Faults};
use jiff::SignedDuration;
use pbx_sim::InMemory;
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use crate::commands::pbx;
use crate::receivers::Manners;
use crate::seeds::OFTEN;
use crate::stack::Stack;

const HOST: &str = "desk.example";
const CALLS: usize = 24;
/// Between two upgrades of an agent.
const UPGRADES: Duration = Duration::from_secs(25);
/// Who is called, and how the other side is numbered.
const USERS: [&str; 3] = ["42", "43", "44"];

/// Calls one after the other, some of them answered, each for some seconds.
async fn calls(pbx: &InMemory, stack: &Stack) -> usize {
    let mut answered = 0;
    for n in 0..CALLS {
        let (caller, user) = (format!("+3247259{n:04}"), USERS[n % USERS.len()]);
        let press = |path: &str, body: Json| pbx.control(path, body).is_ok();
        let pause = || sleep(stack.chance.between(Duration::from_millis(200), Duration::from_secs(4)));
        if press("/call", json!({"from": caller, "to": user})) {
            pause().await;
            if stack.chance.happens(0.6) && press("/answer", json!({"extension": user})) {
                answered += 1;
                pause().await;
            }
            press("/hangup", json!({"extension": caller}));
        }
        pause().await;
    }
    answered
}

/// Told statuses by call, in their order.
fn told(stack: &Stack) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in stack.receivers.told(HOST) {
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        told.entry(text("CallId")).or_default().push(text("status"));
    }
    told
}

async fn story(cloud: Cloud, ledger: Ledger, seed: u64, names: &[&str]) {
    let mut stack = Stack::start(cloud.clone(), ledger.clone(), seed).await;
    stack.webhook(HOST, Manners::good()).await;
    let pbx: Arc<InMemory> = pbx(&cloud, seed);
    let mut agents = Vec::new();
    for name in names {
        let agent = stack.whole_agent(name, &pbx, SignedDuration::ZERO);
        // As long as dpkg takes.
        agent.lives.restart_within(Duration::from_secs(1), Duration::from_secs(6));
        agents.push(agent);
    }
    sleep(Duration::from_secs(30)).await;
    let upgrades = async {
        for agent in agents.iter().cycle() {
            sleep(UPGRADES / names.len() as u32).await;
            agent.replace();
        }
    };
    let answered = tokio::select! {
        answered = calls(&pbx, &stack) => answered,
        () = upgrades => unreachable!("they never end"),
    };
    // Ends that had to be concluded come later.
    sleep(Duration::from_secs(60)).await;
    stack.settle().await;

    let told = told(&stack);
    for (call, statuses) in &told {
        let order = ["ringing", "connected", "disconnected"];
        let positions: Vec<usize> =
            statuses.iter().filter_map(|status| order.iter().position(|at| at == status)).collect();
        let once: BTreeSet<usize> = positions.iter().copied().collect();
        if once.len() != positions.len() || !positions.is_sorted() || positions.last() != Some(&2) {
            ledger.wrong(format!("{call} was told as {statuses:?}"));
        }
    }
    let count = |status: &str| told.values().flatten().filter(|known| *known == status).count();
    let all = (count("ringing"), count("connected"), count("disconnected"));
    let expected = (CALLS, answered, CALLS);
    match names {
        [_] if all.2 < CALLS / 2 || all.2 > CALLS => ledger.wrong(format!("{all:?} of {expected:?} were told")),
        [_, _] if all != expected => ledger.wrong(format!("{all:?} of {expected:?} were told")),
        _ => {}
    }
}

/// Statuses were not announced to the ledger; the story judges them itself.
fn verdict(seed: u64, told: Result<Counts, Box<Failure>>) {
    let violations = told.map_or_else(|failure| failure.violations, |_| Vec::new());
    let wrong: Vec<_> = violations.iter().filter(|found| !matches!(found, Violation::Stranger { .. })).collect();
    assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
}

#[test]
fn one_agent_is_upgraded_under_load() {
    for seed in 1..=2 {
        verdict(seed, tell(seed, Faults::latency_only(), |cloud, ledger| story(cloud, ledger, seed, &["rack"])));
        verdict(seed, tell(seed, Faults::all(OFTEN), |cloud, ledger| story(cloud, ledger, seed, &["rack"])));
    }
}

#[test]
fn two_agents_upgraded_one_after_the_other_miss_nothing() {
    for seed in 1..=2 {
        let names = ["rack", "attic"];
        verdict(seed, tell(seed, Faults::latency_only(), |cloud, ledger| story(cloud, ledger, seed, &names)));
    }
}

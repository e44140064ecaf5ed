//! Stories: start, traffic, faults, and then the verdict "every event accepted once, in order per call, or accounted for".
//!
//! A story runs in one process on paused time. Its seed decides the faults and the back-off of the SDKs. It repeats exactly as
//! far as the code under test asks tokio's clock and leaves nothing else to chance: hash maps that are iterated, `select!`
//! without `biased`, and random numbers of its own still differ from run to run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cloud::Cloud;
use crate::counts::Counts;
use crate::faults::Faults;

/// What was sent and what became of it. Clones are the same ledger.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// By call and number.
    events: BTreeMap<(String, u64), Event>,
    /// Numbers by call, in the order in which they were accepted.
    order: BTreeMap<String, Vec<u64>>,
    strangers: Vec<(String, u64)>,
    wrong: Vec<String>,
}

#[derive(Debug, Default)]
struct Event {
    accepted: u32,
    excused: u32,
    accounted: Option<String>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Neither accepted nor accounted for.
    Lost {
        call: String,
        number: u64,
    },
    Repeated {
        call: String,
        number: u64,
        times: u32,
    },
    /// Accepted after a later one of its call.
    Overtaken {
        call: String,
        number: u64,
        by: u64,
    },
    /// Accepted although it was never sent.
    Stranger {
        call: String,
        number: u64,
    },
    /// What the story itself has found.
    Wrong {
        what: String,
    },
}

impl Ledger {
    /// An event that has to arrive. Numbers of a call rise.
    pub fn sent(&self, call: &str, number: u64) {
        self.entries().events.entry((call.to_owned(), number)).or_default();
    }

    /// The receiver has accepted it.
    pub fn accepted(&self, call: &str, number: u64) {
        let mut entries = self.entries();
        let key = (call.to_owned(), number);
        match entries.events.get_mut(&key) {
            Some(event) => event.accepted += 1,
            None => entries.strangers.push(key),
        }
        entries.order.entry(call.to_owned()).or_default().push(number);
    }

    /// It does not have to arrive any more, and somebody can see why.
    pub fn accounted(&self, call: &str, number: u64, why: &str) {
        self.entries().events.entry((call.to_owned(), number)).or_default().accounted = Some(why.to_owned());
    }

    /// It may be accepted once more: its sender was killed between the receiver's answer and writing that down.
    pub fn excused(&self, call: &str, number: u64) {
        self.entries().events.entry((call.to_owned(), number)).or_default().excused += 1;
    }

    /// Something else is not as it must be.
    pub fn wrong(&self, what: impl Into<String>) {
        self.entries().wrong.push(what.into());
    }

    /// Events that are neither accepted nor accounted for.
    pub fn open(&self) -> usize {
        self.entries().events.values().filter(|event| event.accepted == 0 && event.accounted.is_none()).count()
    }

    pub fn verdict(&self) -> Vec<Violation> {
        let entries = self.entries();
        let mut violations = Vec::new();
        for ((call, number), event) in &entries.events {
            let (call, number) = (call.clone(), *number);
            if event.accepted == 0 && event.accounted.is_none() {
                violations.push(Violation::Lost { call, number });
            } else if event.accepted > 1 + event.excused {
                violations.push(Violation::Repeated { call, number, times: event.accepted });
            }
        }
        for (call, order) in &entries.order {
            let mut seen: Vec<u64> = Vec::new();
            for number in order {
                // A repeat may come late; only the first time counts for the order.
                let later = seen.iter().copied().filter(|earlier| earlier > number).max();
                if let Some(by) = later.filter(|_| !seen.contains(number)) {
                    violations.push(Violation::Overtaken { call: call.clone(), number: *number, by });
                }
                seen.push(*number);
            }
        }
        let strangers = entries.strangers.iter().cloned();
        violations.extend(strangers.map(|(call, number)| Violation::Stranger { call, number }));
        violations.extend(entries.wrong.iter().map(|what| Violation::Wrong { what: what.clone() }));
        violations
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a story did not end well, with what is needed to run it again.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub violations: Vec<Violation>,
    pub counts: Counts,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}:", self.seed)?;
        for violation in &self.violations {
            writeln!(f, "  {violation:?}")?;
        }
        write!(f, "{}", self.counts)
    }
}

impl std::error::Error for Failure {}

/// Tells a story on paused time and judges it by its ledger.
pub fn tell<F>(seed: u64, faults: Faults, story: impl FnOnce(Cloud, Ledger) -> F) -> Result<Counts, Box<Failure>>
where
    F: Future<Output = ()>,
{
    // The SDKs draw their back-off and their tokens from here.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime of this thread alone");
    runtime.block_on(async {
        let (cloud, ledger) = (Cloud::builder().seed(seed).faults(faults).build(), Ledger::default());
        story(cloud.clone(), ledger.clone()).await;
        let (violations, counts) = (ledger.verdict(), cloud.counts());
        if violations.is_empty() { Ok(counts) } else { Err(Box::new(Failure { seed, violations, counts })) }
    })
}

/// Tells a story with one seed after the other until the time is over; returns the seeds that ran.
pub fn tell_for(
    limit: Duration,
    seeds: impl IntoIterator<Item = u64>,
    story: impl Fn(u64) -> Result<Counts, Box<Failure>>,
) -> Result<Vec<u64>, Box<Failure>> {
    let (started, mut ran) = (Instant::now(), Vec::new());
    for seed in seeds {
        if started.elapsed() >= limit && !ran.is_empty() {
            break;
        }
        story(seed)?;
        ran.push(seed);
    }
    Ok(ran)
}

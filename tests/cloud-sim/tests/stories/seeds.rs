//! A story with many seeds, side by side on the machine's cores, until its time is over.
//!
//! `STORY_SEEDS` says how many instead of 20 (and of others in proportion), `STORY_SEED` names the only one, `STORY_SECONDS` how long.
//! With `STORY_LOG` the requests of a story are written into that file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cloud_sim::story::{Failure, Ledger, Violation, tell};
use cloud_sim::{Cloud, FaultKind, Faults};

use crate::judge::Summary;

/// Seeds of a story in `make test`.
pub(crate) const SEEDS: u64 = 20;
/// Of another form of a story.
pub(crate) const HALF_THE_SEEDS: u64 = SEEDS / 2;
/// Of one that is not about chance.
pub(crate) const FEW_SEEDS: u64 = 4;
/// How often each fault happens where everything goes wrong.
pub(crate) const OFTEN: f64 = 0.02;
/// For each story: all of them together end within eight minutes, also on a busy machine.
const SECONDS: u64 = 30;

/// What came of all seeds.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) ran: Vec<u64>,
    pub(crate) failures: Vec<(Failure, Summary)>,
    pub(crate) faults: BTreeMap<FaultKind, u64>,
    summary: Summary,
}

/// Tells a story with each seed, `usual` of them unless a variable says otherwise.
pub(crate) fn tell_all<F>(
    usual: u64,
    faults: impl Fn() -> Faults + Sync,
    story: impl Fn(Cloud, Ledger, u64) -> F + Sync,
) -> Told
where
    F: Future<Output = Summary>,
{
    let until = Instant::now() + Duration::from_secs(number("STORY_SECONDS", SECONDS));
    let told: Mutex<Told> = Mutex::default();
    let one = std::env::var("STORY_SEED").ok().map(|seed| seed.parse().expect("a seed"));
    let seeds = (usual * number("STORY_SEEDS", SEEDS)).div_ceil(SEEDS);
    let seeds = one.map_or(1..=seeds, |seed: u64| seed..=seed);
    let next = Mutex::new(seeds);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while Instant::now() < until {
                    let Some(seed) = lock(&next).next() else { return };
                    let summary = Arc::new(Mutex::new(Summary::default()));
                    let written = summary.clone();
                    let ended = tell(seed, faults(), |cloud, ledger| {
                        let story = story(cloud, ledger, seed);
                        async move { *lock(&written) = story.await }
                    });
                    let summary = *lock(&summary);
                    lock(&told).add(seed, summary, ended.map_err(|failure| *failure));
                }
            });
        }
    });
    let mut told: Told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    told.ran.sort_unstable();
    told.failures.sort_by_key(|(failure, _)| failure.seed);
    told
}

impl Told {
    fn add(&mut self, seed: u64, summary: Summary, ended: Result<cloud_sim::Counts, Failure>) {
        self.ran.push(seed);
        let counts = ended.as_ref().unwrap_or_else(|failure| &failure.counts);
        for (kind, count) in &counts.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
        self.summary.add(summary);
        self.failures.extend(ended.err().map(|failure| (failure, summary)));
    }

    /// Prints which seeds ran and what went wrong in them.
    pub(crate) fn print(&self, name: &str) {
        println!("{name}: seeds {:?}", self.ran);
        let faults: Vec<String> = self.faults.iter().map(|(kind, count)| format!("{kind:?} {count}")).collect();
        println!("{name}: {}", faults.join(", "));
        println!("{name}: {}", self.summary);
        for (failure, summary) in &self.failures {
            println!("{name}: seed {}: {}; {}", failure.seed, shortly(&failure.violations), summary.repeats);
        }
    }

    /// The same; fails if any story did.
    pub(crate) fn verdict(&self, name: &str) {
        self.print(name);
        assert!(!self.ran.is_empty(), "no seed ran");
        let failed: Vec<u64> = self.failures.iter().map(|(failure, _)| failure.seed).collect();
        assert!(failed.is_empty(), "{name} failed with {} of {} seeds: {failed:?}", failed.len(), self.ran.len());
    }
}

/// The violations by whom they concern, and the first one of each.
fn shortly(violations: &[Violation]) -> String {
    let mut groups: BTreeMap<(&str, String), (usize, &Violation)> = BTreeMap::new();
    for violation in violations {
        let (kind, call) = match violation {
            Violation::Lost { call, .. } => ("lost", call.as_str()),
            Violation::Repeated { call, .. } => ("repeated", call.as_str()),
            Violation::Overtaken { call, .. } => ("overtaken", call.as_str()),
            Violation::Stranger { call, .. } => ("stranger", call.as_str()),
            Violation::Wrong { what } => ("wrong", what.as_str()),
        };
        let who = call.split(' ').next().unwrap_or_default().to_owned();
        groups.entry((kind, who)).or_insert((0, violation)).0 += 1;
    }
    let groups = groups.into_iter().map(|((kind, who), (count, first))| format!("{count} {kind} at {who} ({first:?})"));
    groups.collect::<Vec<_>>().join("; ")
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Everything that is left to chance: one generator, seeded, so that the same seed is the same run.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::counts::{Counts, FaultKind};
use crate::faults::Faults;

#[derive(Debug)]
pub(crate) struct Dice {
    rng: StdRng,
    pub(crate) faults: Faults,
}

impl Dice {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), faults }
    }

    /// Whether something of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability.min(1.0))
    }

    /// Whether a fault is injected; it is counted then.
    pub(crate) fn injects(&mut self, kind: FaultKind, counts: &mut Counts) -> bool {
        let injects = self.happens(self.faults.probability(kind));
        if injects {
            counts.fault(kind);
        }
        injects
    }

    /// At least one of `n` things, chosen each by itself; `all` says whether it may be all of them.
    pub(crate) fn some_of(&mut self, n: usize, all: bool) -> Vec<bool> {
        let mut chosen: Vec<bool> = (0..n).map(|_| self.happens(0.5)).collect();
        if n > 0 && !chosen.contains(&true) {
            let one = self.below(n);
            chosen[one] = true;
        }
        if !all && n > 0 && !chosen.contains(&false) {
            let one = self.below(n);
            chosen[one] = false;
        }
        chosen
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n.max(1))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.rng.random()
    }

    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        if low >= high {
            return low;
        }
        // Whole microseconds: tokio's clock is no finer than milliseconds, and the log is to be readable.
        Duration::from_micros(self.rng.random_range(low.as_micros() as u64..=high.as_micros() as u64))
    }

    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for n in (1..values.len()).rev() {
            values.swap(n, self.rng.random_range(0..=n));
        }
    }
}

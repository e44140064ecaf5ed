//! How much one partition key takes in a second. AWS lets it burst now and then and promises nothing of it, so here it does not.

use std::collections::BTreeMap;
use std::time::Duration;

/// Units a second of one partition.
const READS: f64 = 3000.0;
const WRITES: f64 = 1000.0;
/// Beyond so many, those that are full again are forgotten.
const REMEMBERED: usize = 1000;

#[derive(Debug)]
pub(crate) struct Rates {
    pub(crate) reads: Rate,
    pub(crate) writes: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Self { reads: Rate::new(READS), writes: Rate::new(WRITES) }
    }
}

/// A bucket for each key, by its table and partition, that holds what a second brings.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    /// When each was last looked at, and what was left in it then. A large item may leave less than nothing.
    buckets: BTreeMap<(String, String), (Duration, f64)>,
}

impl Rate {
    fn new(per_second: f64) -> Self {
        Self { per_second, buckets: BTreeMap::new() }
    }

    fn left(&self, key: &(String, String), now: Duration) -> f64 {
        let Some((at, left)) = self.buckets.get(key) else { return self.per_second };
        let since = now.saturating_sub(*at).as_secs_f64();
        (left + since * self.per_second).min(self.per_second)
    }

    pub(crate) fn takes(&self, key: &(String, String), now: Duration) -> bool {
        self.left(key, now) > 0.0
    }

    pub(crate) fn spend(&mut self, key: &(String, String), now: Duration, units: f64) {
        let left = self.left(key, now) - units;
        if self.buckets.len() >= REMEMBERED {
            let per_second = self.per_second;
            self.buckets
                .retain(|_, (at, left)| *left + now.saturating_sub(*at).as_secs_f64() * per_second < per_second);
        }
        self.buckets.insert(key.clone(), (now, left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_brings_what_a_key_takes_in_it() {
        let (mut rate, key) = (Rate::new(10.0), ("table".to_owned(), "key".to_owned()));
        let at = Duration::from_millis;
        for _ in 0..10 {
            assert!(rate.takes(&key, at(0)));
            rate.spend(&key, at(0), 1.0);
        }
        assert!(!rate.takes(&key, at(0)));
        assert!(rate.takes(&key, at(1)), "what comes in a millisecond is something");
        rate.spend(&key, at(1), 5.0);
        assert!(!rate.takes(&key, at(400)));
        assert!(rate.takes(&key, at(600)));
        assert!(rate.takes(&("table".to_owned(), "other".to_owned()), at(0)));
    }
}

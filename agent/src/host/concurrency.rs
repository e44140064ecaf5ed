//! How many requests of a kind may be on their way at once: few at first, more while those that wait would wait for long and all of them
//! succeed, half after a failure. So a slow line is filled, a service in trouble is not asked the more for it, and one that answers at once
//! has few connections: each takes some 40 kB, and on the other side a place.

use std::time::Duration;

/// How long a request may wait for its turn before more of them are on their way at once.
const SOON: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub struct Concurrency {
    first: usize,
    most: usize,
    now: usize,
}

impl Concurrency {
    pub const fn new(first: usize, most: usize) -> Self {
        Self { first, most, now: first }
    }

    pub fn limit(&self) -> usize {
        self.now
    }

    /// A request has succeeded after so long, and so many wait for their turn.
    pub fn succeeded(&mut self, took: Duration, waiting: usize) {
        let turns = u32::try_from(waiting / self.now).unwrap_or(u32::MAX);
        if took.saturating_mul(turns) >= SOON {
            self.now = (self.now + 1).min(self.most);
        }
    }

    pub fn failed(&mut self) {
        self.now = (self.now / 2).max(self.first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(100);

    #[test]
    fn limit_grows_while_requests_would_wait_and_halves_with_a_failure() {
        let mut concurrency = Concurrency::new(4, 32);
        concurrency.succeeded(ROUND_TRIP, 3);
        assert_eq!(concurrency.limit(), 4);
        for _ in 0..100 {
            concurrency.succeeded(ROUND_TRIP, 100);
        }
        assert_eq!(concurrency.limit(), 32);
        for expected in [16, 8, 4, 4] {
            concurrency.failed();
            assert_eq!(concurrency.limit(), expected);
        }
    }

    #[test]
    fn limit_stays_while_everything_is_answered_soon() {
        let mut concurrency = Concurrency::new(4, 32);
        for _ in 0..100 {
            concurrency.succeeded(Duration::from_millis(1), 100);
        }
        assert_eq!(concurrency.limit(), 4);
        // A backlog of an outage.
        concurrency.succeeded(Duration::from_millis(1), 10_000);
        assert_eq!(concurrency.limit(), 5);
    }
}

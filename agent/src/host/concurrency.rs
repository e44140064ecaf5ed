//! How many requests of a kind may be on their way at once: few at first, more while work waits and all of them succeed, half after a
//! failure. So a slow line is filled, and a service in trouble is not asked the more for it.

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

    /// A request has succeeded; `waits` tells whether work is left for another one.
    pub fn succeeded(&mut self, waits: bool) {
        if waits {
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

    #[test]
    fn limit_grows_while_work_waits_and_halves_with_a_failure() {
        let mut concurrency = Concurrency::new(4, 32);
        concurrency.succeeded(false);
        assert_eq!(concurrency.limit(), 4);
        for _ in 0..100 {
            concurrency.succeeded(true);
        }
        assert_eq!(concurrency.limit(), 32);
        for expected in [16, 8, 4, 4] {
            concurrency.failed();
            assert_eq!(concurrency.limit(), expected);
        }
    }
}

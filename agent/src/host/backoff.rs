//! How long to wait before what is out of reach is tried again: a first pause that doubles up to a longest one, with jitter.

use std::time::Duration;

use shared::random::Random;

/// For the PBX and for whatever nobody waits for.
const SLOW: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(32));
/// For what somebody waits for: events, commands and their results.
const QUICK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    random: Random,
}

impl Backoff {
    /// One second at first, 32 at last.
    pub fn new(random: Random) -> Self {
        Self::between(SLOW, random)
    }

    /// A tenth of a second at first, ten seconds at last.
    pub fn quick(random: Random) -> Self {
        Self::between(QUICK, random)
    }

    fn between((first, longest): (Duration, Duration), random: Random) -> Self {
        Self { first, longest, next: first, random }
    }

    /// The next pause: between half and all of its step, so that two agents do not come back in step.
    pub fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.longest);
        step.mul_f64(0.5 + self.random.part() / 2.0)
    }

    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit() {
        let mut backoff = Backoff::new(Random::default());
        for step in [1u64, 2, 4, 8, 16, 32, 32, 32] {
            let pause = backoff.pause();
            assert!(pause >= Duration::from_millis(step * 500) && pause <= Duration::from_secs(step), "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_secs(1));
    }
}

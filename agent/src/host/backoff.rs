//! How long to wait before what is out of reach is tried again: one second, doubling to 32, with jitter.

use std::time::Duration;

use shared::random::Random;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(32);

#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    random: Random,
}

impl Backoff {
    pub fn new(random: Random) -> Self {
        Self { next: FIRST, random }
    }

    /// The next pause: between half and all of its step, so that two agents do not come back in step.
    pub fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(LONGEST);
        step.mul_f64(0.5 + self.random.part() / 2.0)
    }

    pub fn reset(&mut self) {
        self.next = FIRST;
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

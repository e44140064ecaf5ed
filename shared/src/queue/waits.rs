//! How long a message waits before it is received again.
//!
//! As long as it has waited by then, so that the waits double, but no longer than a ceiling. So a message that is fresh is tried again
//! soon, however often it was received before.
//!
//! The ceiling rises with the number of receives, because a queue gives a message up after a thousand of them, and an outage must not
//! use them up before the 14 days are over for which the queue keeps a message. A thousand times 30 s are eight hours, a thousand times
//! 5 min are three days. So after a hundred receives (most of an hour) the ceiling is 5 min, and after fifty more (some hours) half an
//! hour; with that a thousand receives last for 14 days and a half where the jitter always shortens, and for 18 days on average.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_secs(1);
const JITTER: f64 = 0.2;

/// The next wait of a message that has waited `waited` by now and was received so often. `ceiling` is the longest wait of everyday.
/// It is up to a fifth more or less, as `jitter` (−1 to 1) says.
pub(super) fn backoff(waited: Duration, receives: u32, ceiling: Duration, jitter: f64) -> Duration {
    let longest = ceiling.max(longest_after(receives));
    waited.clamp(SHORTEST, longest).mul_f64(1.0 + JITTER * jitter.clamp(-1.0, 1.0))
}

/// How long a message may wait after so many receives at least.
pub(super) fn longest_after(receives: u32) -> Duration {
    Duration::from_secs(match receives {
        0..=100 => 0,
        101..=150 => 5 * 60,
        _ => 30 * 60,
    })
}

/// The queue counts whole seconds. Only "at once" is zero, because a short wait that became none would spin.
pub(super) fn whole_seconds(delay: Duration) -> u64 {
    if delay.is_zero() { 0 } else { (delay.as_secs_f64().round() as u64).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DAYS: u64 = 24 * 60 * 60;
    /// The queues' maxReceiveCount.
    const RECEIVES: u32 = 1000;

    #[test]
    fn waits_double_within_their_bounds() {
        let wait = |waited: u32, jitter: f64| backoff(SECOND * waited, 3, SECOND * 30, jitter);
        assert_eq!(wait(0, 0.0), SECOND);
        assert_eq!(wait(8, 0.0), SECOND * 8);
        assert_eq!(wait(99, 1.0), SECOND * 36);
        assert_eq!(wait(10, -1.0), SECOND * 8);
        assert_eq!(wait(10, -7.0), SECOND * 8);
    }

    #[test]
    fn an_outage_lasts_for_two_weeks_before_a_message_is_given_up() {
        for ceiling in [SECOND * 30, SECOND * 300] {
            let waited = (1..RECEIVES).fold(Duration::ZERO, |waited, receives| {
                waited + SECOND * whole_seconds(backoff(waited, receives, ceiling, -1.0)) as u32
            });
            assert!(waited.as_secs() >= 14 * DAYS, "{waited:?}");
        }
    }

    #[test]
    fn what_is_fresh_does_not_wait_for_long() {
        for receives in [1, 100, 101, 999] {
            assert_eq!(backoff(SECOND * 20, receives, SECOND * 30, 0.0), SECOND * 20);
        }
    }

    #[test]
    fn only_at_once_is_zero() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1_400)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1_600)), 2);
    }
}

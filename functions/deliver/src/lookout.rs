//! What a worker learns of its receiver by what it sends.

use std::time::Duration;

use jiff::Timestamp;
use shared::webhook::Lookout;

use crate::slow::SLOW;
use crate::tried::counted;

/// While nothing is accepted one delivery is tried after these times in seconds, and then every five minutes.
const PROBES: [u64; 8] = [5, 10, 20, 40, 60, 120, 240, 300];
pub(crate) const FIRST_PROBE: Duration = Duration::from_secs(PROBES[0]);
/// A receiver that asks to be left alone is left alone for at most so long.
const LONGEST_REQUEST: Duration = Duration::from_secs(300);

/// What a receiver has made of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    Accepted {
        took: Duration,
    },
    Refused {
        took: Duration,
        retry_after: Option<Duration>,
        in_words: String,
    },
    /// It wants no more.
    Gone {
        in_words: String,
    },
    /// It was not asked.
    NotAsked,
}

impl Reaction {
    /// What it said when it wanted no more.
    pub(crate) fn gone(&self) -> Option<&str> {
        if let Self::Gone { in_words } = self { Some(in_words) } else { None }
    }
}

/// Takes in what came of one look. Returns what the receiver answered last if it has accepted nothing.
pub(crate) fn learn<'a>(lookout: &mut Lookout, reactions: &'a [Reaction], now: Timestamp) -> Option<&'a str> {
    let millis = now.as_millisecond();
    let took = |reaction: &Reaction| match reaction {
        Reaction::Accepted { took } | Reaction::Refused { took, .. } => *took,
        Reaction::Gone { .. } | Reaction::NotAsked => Duration::ZERO,
    };
    if reactions.iter().any(|reaction| took(reaction) > SLOW) {
        lookout.slow_at = Some(millis);
    }
    let asks = reactions.iter().filter_map(|reaction| match reaction {
        Reaction::Refused { retry_after, .. } => *retry_after,
        _ => None,
    });
    let asked = asks.max().unwrap_or_default().min(LONGEST_REQUEST);
    let after = |wait: Duration| Some(millis + wait.as_millis() as i64).filter(|_| !wait.is_zero());
    if reactions.iter().any(|reaction| matches!(reaction, Reaction::Accepted { .. })) {
        lookout.next_attempt_at = after(asked);
        (lookout.refusals, lookout.refused_for, lookout.refused_at, lookout.last_probed) = (0, 0, None, None);
        return None;
    }
    let refused = reactions.iter().rev().find_map(|reaction| match reaction {
        Reaction::Refused { in_words, .. } => Some(in_words.as_str()),
        _ => None,
    })?;
    if let Some(last) = lookout.refused_at {
        lookout.refused_for = lookout.refused_for.saturating_add(counted(last, lookout.next_attempt_at, now));
    }
    let wait = Duration::from_secs(PROBES[PROBES.len().min(lookout.refusals as usize + 1) - 1]);
    lookout.refusals = lookout.refusals.saturating_add(1);
    lookout.refused_at = Some(millis);
    lookout.slow_at = Some(millis);
    lookout.next_attempt_at = after(wait.max(asked));
    Some(refused)
}

#[cfg(test)]
mod tests {
    use shared::time::from_millis;

    use super::*;

    fn refused(retry_after: Option<u64>) -> Reaction {
        let retry_after = retry_after.map(Duration::from_secs);
        Reaction::Refused { took: Duration::ZERO, retry_after, in_words: "answered 503".to_owned() }
    }

    #[test]
    fn a_dead_receiver_is_tried_more_and_more_rarely() {
        let (mut lookout, mut now, mut waits) = (Lookout::default(), 0, Vec::new());
        for _ in 0..10 {
            assert_eq!(learn(&mut lookout, &[refused(None)], from_millis(now)), Some("answered 503"));
            waits.push((lookout.next_attempt_at.expect("a time") - now) / 1000);
            now = lookout.next_attempt_at.expect("a time");
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 120, 240, 300, 300, 300]);
        assert_eq!((lookout.refusals, i64::from(lookout.refused_for)), (10, now - 300_000));
        assert_eq!(learn(&mut lookout, &[refused(None), Reaction::Accepted { took: SLOW }], from_millis(now)), None);
        assert_eq!((lookout.refusals, lookout.refused_for, lookout.next_attempt_at), (0, 0, None));
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_ever() {
        let wait = |seconds| {
            let mut lookout = Lookout::default();
            learn(&mut lookout, &[refused(Some(seconds))], from_millis(0));
            lookout.next_attempt_at
        };
        assert_eq!([1, 60, 9_999].map(wait), [Some(5_000), Some(60_000), Some(300_000)]);
        // So may one that accepts others.
        let mut lookout = Lookout::default();
        learn(&mut lookout, &[Reaction::Accepted { took: Duration::ZERO }, refused(Some(7))], from_millis(0));
        assert_eq!((lookout.refusals, lookout.next_attempt_at), (0, Some(7_000)));
    }

    #[test]
    fn time_in_which_nobody_tried_is_not_held_against_the_receiver() {
        let mut lookout = Lookout::default();
        learn(&mut lookout, &[refused(None)], from_millis(0));
        learn(&mut lookout, &[refused(None)], from_millis(20 * 60_000));
        assert_eq!(lookout.refused_for, 65_000);
    }

    #[test]
    fn what_was_not_asked_says_nothing() {
        let mut lookout = Lookout::default();
        assert_eq!(learn(&mut lookout, &[Reaction::NotAsked], from_millis(9)), None);
        assert_eq!(lookout, Lookout::default());
    }
}

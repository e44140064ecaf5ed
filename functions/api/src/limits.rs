//! How much a key may ask for: requests a minute, requests that wait at once, calls an hour and calls between two numbers.
//!
//! Requests are counted where they arrive and added to the shared count with the first one of a minute and then in steps of a
//! twentieth of the limit. So an ordinary request costs no write, an environment knows from its first request on what the
//! others have seen, and all together keep the limit, give or take a step each. A request that waits counts for each second
//! of its wait. Calls cost money, so each is counted in the table. When the table cannot count, requests go on; calls and
//! requests that wait do not.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use shared::apikey::ApiKey;
use shared::codes::Code;
use shared::ids::CommandId;
use shared::tables::{StateTable, Window};
use tracing::warn;

use crate::errors::{ApiError, in_time};

const STEPS: i64 = 20;
/// Requests of one key that may wait for events at once.
const POLLS_OF_A_KEY: u32 = 5;
/// How long calls between two numbers are remembered.
const PAIR_MINUTES: i64 = 10;
/// A request that waits has ended when the next minute but one begins.
const POLL_MINUTES: i64 = 1;
const POLL_AGAIN_SECONDS: i64 = 5;

/// The requests of one key in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    minute: i64,
    /// What the table said last; it includes what this environment has added.
    shared: i64,
    /// Counted here and not yet in the table.
    own: i64,
    /// The table was asked in this minute.
    asked: bool,
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
    fn admit(&mut self, minute: i64, limit: i64, weight: i64) -> Admission {
        if self.minute != minute {
            *self = Self { minute, ..Self::default() };
        }
        if self.shared + self.own >= limit {
            return Admission::Refused;
        }
        self.own += weight;
        let first = !std::mem::replace(&mut self.asked, true);
        if first || self.own >= (limit / STEPS).max(1) { Admission::Ask(self.own) } else { Admission::Admitted }
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
    /// Admits a request that weighs as much as this many ordinary ones.
    pub(crate) async fn admit(
        &self,
        state: &StateTable,
        key: &ApiKey,
        weight: i64,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let limit = i64::from(key.requests_per_minute);
        let (minute, left) = Window::Minute.of(now);
        let refused = || {
            let message = format!("The API key may send {limit} requests a minute, and has.");
            Err(ApiError::with_message(Code::RateLimited, message).after(left))
        };
        let amount = match self.with(&key.id, minute, |seen| seen.admit(minute, limit, weight)) {
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

/// New calls, counted against the limits of the key, the stack and the two numbers before they are placed.
#[derive(Debug)]
pub(crate) struct Calls {
    hourly: Vec<String>,
    pair: Option<String>,
    /// The command that places them. Between two numbers it counts once, also where many repeats of one request come at the same time
    /// and none of them knows yet that it is a repeat.
    command: String,
    amount: i64,
    at: Timestamp,
}

impl Calls {
    pub(crate) fn new(command: CommandId, amount: i64, at: Timestamp) -> Self {
        Self { hourly: Vec::new(), pair: None, command: command.to_string(), amount, at }
    }

    /// Counts the calls in the hour; above the limit all counts are taken back, and the error says why.
    pub(crate) async fn take(
        &mut self,
        state: &StateTable,
        what: &str,
        limit: Option<u32>,
        who: &str,
    ) -> Result<(), ApiError> {
        let Some(limit) = limit else { return Ok(()) };
        let total = match in_time(state.count(what, Window::Hour, self.amount, self.at)).await {
            Ok(total) => total,
            Err(error) => {
                self.give_back(state).await;
                return Err(error);
            }
        };
        self.hourly.push(what.to_owned());
        if total <= i64::from(limit) {
            return Ok(());
        }
        self.give_back(state).await;
        let (_, left) = Window::Hour.of(self.at);
        let message = format!("{who} may place {limit} calls an hour, and they are used up.");
        Err(ApiError::with_message(Code::TooManyCalls, message).after(left))
    }

    /// Counts a call between two numbers; above the limit all counts are taken back, and the error says why.
    pub(crate) async fn take_pair(&mut self, state: &StateTable, pair: String, limit: u32) -> Result<(), ApiError> {
        let (calls, left) = match in_time(state.count_pair(&pair, PAIR_MINUTES, &self.command, self.at)).await {
            Ok(counted) => counted,
            Err(error) => {
                self.give_back(state).await;
                return Err(error);
            }
        };
        self.pair = Some(pair);
        if calls <= i64::from(limit) {
            return Ok(());
        }
        self.give_back(state).await;
        let message = format!("There were {limit} calls between these two numbers in the last ten minutes.");
        Err(ApiError::with_message(Code::TooManyCallsToPair, message).after(left))
    }

    /// The calls are placed by another request of the same name, which was quicker and is counted as the same call between the two numbers.
    pub(crate) async fn leave_to_repeat(&mut self, state: &StateTable) {
        self.pair = None;
        self.give_back(state).await;
    }

    /// The calls are not placed after all.
    pub(crate) async fn give_back(&mut self, state: &StateTable) {
        for what in std::mem::take(&mut self.hourly) {
            if in_time(state.count(&what, Window::Hour, -self.amount, self.at)).await.is_err() {
                warn!("A call that was not placed counts");
            }
        }
        if let Some(pair) = self.pair.take()
            && in_time(state.forget_pair(&pair, &self.command, self.at)).await.is_err()
        {
            warn!("A call that was not placed counts");
        }
    }
}

/// A slot for a request that waits for events; their number is limited. Each holds an execution of the function, which all share.
///
/// A slot that was not given back, because the function crashed, is free again a minute or two later.
#[derive(Debug)]
pub(crate) struct Poll {
    taken: Vec<String>,
    at: Timestamp,
}

impl Poll {
    pub(crate) async fn begin(
        state: &StateTable,
        key: &ApiKey,
        stack_limit: u32,
        now: Timestamp,
    ) -> Result<Self, ApiError> {
        let mut poll = Self { taken: Vec::new(), at: now };
        let limits = [
            (format!("polls#{}", key.id), POLLS_OF_A_KEY.min(stack_limit), "The API key"),
            ("polls".to_owned(), stack_limit, "This EasyConnect"),
        ];
        for (what, limit, who) in limits {
            let total = match in_time(state.count_recent(&what, POLL_MINUTES, 1, now)).await {
                Ok((total, _)) => total,
                Err(error) => {
                    poll.end(state).await;
                    return Err(error);
                }
            };
            poll.taken.push(what);
            if total > i64::from(limit) {
                poll.end(state).await;
                let message = format!("{who} may have {limit} requests at once that wait for events.");
                return Err(ApiError::with_message(Code::TooManyPolls, message).after(POLL_AGAIN_SECONDS));
            }
        }
        Ok(poll)
    }

    pub(crate) async fn end(&mut self, state: &StateTable) {
        for what in std::mem::take(&mut self.taken) {
            if in_time(state.count_recent(&what, POLL_MINUTES, -1, self.at)).await.is_err() {
                warn!("A request that has ended counts as waiting for another minute");
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
            assert_eq!(seen.admit(7, 5, 1), Admission::Ask(1));
            seen.counted(7, 1, n);
        }
        assert_eq!(seen.admit(7, 5, 1), Admission::Refused);
        assert_eq!(seen.admit(8, 5, 1), Admission::Ask(1), "a new minute begins anew");
    }

    #[test]
    fn a_large_limit_asks_the_table_first_and_then_in_steps() {
        let mut seen = Seen::default();
        let asked = (0..2_999).filter(|_| match seen.admit(7, 3_000, 1) {
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
        assert_eq!(asked.count(), 20);
    }

    #[test]
    fn a_request_that_waits_weighs_more() {
        let mut seen = Seen::default();
        assert_eq!(seen.admit(7, 3_000, 21), Admission::Ask(21));
        seen.counted(7, 21, 2_990);
        assert_eq!(seen.admit(7, 3_000, 21), Admission::Admitted);
        assert_eq!(seen.admit(7, 3_000, 1), Admission::Refused);
    }

    #[test]
    fn what_others_have_used_counts() {
        let mut seen = Seen::default();
        assert_eq!(seen.admit(7, 20, 1), Admission::Ask(1));
        seen.counted(7, 1, 20);
        assert_eq!(seen.admit(7, 20, 1), Admission::Refused);
    }
}

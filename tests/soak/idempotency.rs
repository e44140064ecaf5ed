//! One name, one call, longer than any queue's de-duplication remembers.

use std::time::Duration;

use easyconnect_tests::idempotency::{self, Repeats};
use easyconnect_tests::{Agent, Pbx, Stack};
use tokio::time::{MissedTickBehavior, interval};

/// Twenty rounds, the last one more than six minutes after the first.
const ROUNDS: usize = 20;
const EVERY: Duration = Duration::from_secs(19);
const REPEATS: Repeats = Repeats { count: 50, at_a_time: 50, other_bodies: 1 };

#[tokio::test(flavor = "multi_thread")]
async fn thousand_repeats_over_six_minutes_are_one_call() {
    let (stack, pbx) = tokio::join!(Stack::start(), Pbx::start());
    let _agent = Agent::start(&stack, &pbx, "one").await;
    let mut round = interval(EVERY);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = None;
    for n in 0..ROUNDS {
        round.tick().await;
        if n == ROUNDS / 2 {
            stack.force_cold_start("API_FUNCTION").await;
        }
        // Half of the rounds have a request with another body.
        let other_bodies = if n % 2 == 0 { REPEATS.other_bodies } else { 0 };
        let answer = idempotency::repeat(&stack, &Repeats { other_bodies, ..REPEATS }).await;
        assert_eq!(*known.get_or_insert_with(|| answer.clone()), answer, "round {n}");
    }
    assert_eq!(pbx.heard("UserCall"), 1);
    assert_eq!(pbx.legs("50"), ["alerting"]);
}

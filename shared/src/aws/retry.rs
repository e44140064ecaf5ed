//! How long a request may take, how often it is tried, and what is worth another try.
//!
//! In the cloud an answer takes milliseconds, so an attempt of a function is given up after a second: a connection that hangs costs one
//! attempt and not the invocation. All attempts together end after three seconds, because a function that cannot reach a service needs
//! the rest of its time to give its records back. Attempts that are refused at once fit into that eight times.
//!
//! The SDK tries again by itself after a lost connection, a 5xx and a throttled request. It gives up where DynamoDB refuses a write
//! for the sake of a transaction on the same item, although that is over in milliseconds: [`TransactionConflicts`] adds it.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime_api::client::interceptors::context::{Error, InterceptorContext};
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};

const ATTEMPT: Duration = Duration::from_secs(1);
const OPERATION: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 8;
/// Before another attempt there is a pause of a random part of this, which doubles up to the longest: two seconds at most for all
/// attempts, one on average.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

pub(super) fn function_limits() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION).build()
}

pub(super) fn function_attempts() -> RetryConfig {
    let attempts = RetryConfig::standard().with_max_attempts(ATTEMPTS);
    attempts.with_initial_backoff(FIRST_PAUSE).with_max_backoff(LONGEST_PAUSE)
}

/// The limits of a client for a request that AWS answers only after this wait.
pub(crate) fn after_a_wait(limits: Option<&TimeoutConfig>, wait: Duration) -> TimeoutConfig {
    let limits = limits.cloned().unwrap_or_else(TimeoutConfig::disabled);
    let mut longer = limits.to_builder();
    longer.set_read_timeout(limits.read_timeout().map(|limit| limit + wait));
    longer.set_operation_attempt_timeout(limits.operation_attempt_timeout().map(|limit| limit + wait));
    longer.set_operation_timeout(limits.operation_timeout().map(|limit| limit + wait));
    longer.build()
}

/// The repeats that a client may make. They are limited so that a service in trouble is not asked the more often for it, and what is
/// borrowed is earned back by success. Conflicts are free: they are among our own requests and say nothing about the service, but a
/// burst of them would leave none for what follows.
pub(super) fn quota() -> RetryPartition {
    let bucket = TokenBucket::builder().retry_cost(0).build();
    RetryPartition::custom("tables").token_bucket(bucket).build()
}

/// Has writes tried again that DynamoDB has refused because of a transaction. EasyConnect has none of its own any more: an environment of
/// an earlier version, or somebody else's tool, may.
#[derive(Debug)]
pub(super) struct TransactionConflicts;

impl ClassifyRetry for TransactionConflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let failed = context.output_or_error().and_then(Result::err);
        failed.and_then(|error| error.as_operation_error()).map(classify).unwrap_or_default()
    }

    fn name(&self) -> &'static str {
        "Transaction Conflicts"
    }
}

fn classify(error: &Error) -> RetryAction {
    let is_conflict = error.downcast_ref().is_some_and(PutItemError::is_transaction_conflict_exception)
        || error.downcast_ref().is_some_and(UpdateItemError::is_transaction_conflict_exception)
        || error.downcast_ref().is_some_and(DeleteItemError::is_transaction_conflict_exception);
    // The kind of error whose repeats cost nothing of the [`quota`].
    if is_conflict { RetryAction::client_error() } else { RetryAction::NoActionIndicated }
}

/// The pauses before a service is asked again for what it has left out of its answer.
#[derive(Debug)]
pub(crate) struct Pauses {
    sleep: SharedAsyncSleep,
    longest: Duration,
    left: u32,
}

impl Pauses {
    /// Sleeps as the client does.
    pub(crate) fn new(sleep: Option<SharedAsyncSleep>) -> Self {
        let sleep = sleep.unwrap_or_else(|| SharedAsyncSleep::new(TokioSleep::new()));
        Self { sleep, longest: FIRST_PAUSE, left: ATTEMPTS - 1 }
    }

    /// Waits before the next request. False: it was asked often enough.
    pub(crate) async fn pause(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        // The generator that the SDK draws its own pauses from, so that a simulation seeds both.
        self.sleep.sleep(self.longest.mul_f64(fastrand::f64())).await;
        self.longest = (self.longest * 2).min(LONGEST_PAUSE);
        true
    }
}

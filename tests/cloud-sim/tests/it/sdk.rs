//! SDK clients: of a process of the simulator, or of an address.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedHttpClient};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use cloud_sim::Process;

static MADE: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) tables: aws_sdk_dynamodb::Client,
    pub(crate) queues: aws_sdk_sqs::Client,
}

impl Clients {
    /// Without retries: a test sees each answer.
    pub(crate) fn of(process: &Process) -> Self {
        Self::patient(process, 1)
    }

    pub(crate) fn patient(process: &Process, attempts: u32) -> Self {
        let time = process.cloud().time_source();
        Self::make(process.http_client(), "http://cloud-sim.invalid", time, attempts)
    }

    /// Of an address.
    pub(crate) fn new(http: SharedHttpClient, endpoint: &str) -> Self {
        Self::make(http, endpoint, SharedTimeSource::new(SystemTimeSource::new()), 1)
    }

    fn make(http: SharedHttpClient, endpoint: &str, time: SharedTimeSource, attempts: u32) -> Self {
        let credentials = Credentials::new("test", "test", None, None, "test");
        let timeouts = TimeoutConfig::builder().read_timeout(Duration::from_secs(30)).build();
        let sleep = SharedAsyncSleep::new(TokioSleep::new());
        let retries = RetryConfig::standard().with_max_attempts(attempts);
        // The SDK has one budget of retries for all clients of a partition. A run must not begin with what another one left.
        let partition = RetryPartition::new(format!("clients {}", MADE.fetch_add(1, Ordering::Relaxed)));
        let tables = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(credentials.clone())
            .endpoint_url(endpoint)
            .http_client(http.clone())
            .time_source(time.clone())
            .timeout_config(timeouts.clone())
            .sleep_impl(sleep.clone())
            .retry_config(retries.clone())
            .retry_partition(partition.clone())
            .build();
        let queues = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(credentials)
            .endpoint_url(endpoint)
            .http_client(http)
            .time_source(time)
            .timeout_config(timeouts)
            .sleep_impl(sleep)
            .retry_config(retries)
            .retry_partition(partition)
            .build();
        Self { tables: aws_sdk_dynamodb::Client::from_conf(tables), queues: aws_sdk_sqs::Client::from_conf(queues) }
    }
}

/// The code of an error, or what kept the answer away.
pub(crate) fn code<T, E>(answer: Result<T, SdkError<E>>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match answer {
        Ok(_) => "ok".to_owned(),
        Err(SdkError::DispatchFailure(failure)) if failure.is_timeout() => "timeout".to_owned(),
        Err(SdkError::DispatchFailure(_)) => "no answer".to_owned(),
        Err(SdkError::ServiceError(error)) => error.err().code().unwrap_or("no code").to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

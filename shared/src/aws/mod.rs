//! The AWS clients of both sides: one TLS stack, one way to sign and to try again, and a clock that learns from every answer; and
//! how a function is configured. What only the agent needs of the SDK is in the agent.

mod interceptors;
pub(crate) mod retry;
mod signing;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::TimeSource;
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use jiff::Timestamp;

use crate::clock::{CloudClock, Machine, ThisMachine};
use crate::config::Vars;
use crate::random::Random;

pub use interceptors::DateOfAnswer;
use interceptors::{ClockTeacher, FewHeaders};
use signing::{BY_DAY, BothWays, DaySigner};

/// The one TLS stack of all clients.
pub const TLS: tls::Provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);

/// What a function stands on: everything through which it touches the world. By default it is Lambda; a simulation that runs functions
/// in its own process puts its own things there.
#[derive(Clone, Debug)]
pub struct Platform {
    pub machine: Arc<dyn Machine>,
    pub sleep: SharedAsyncSleep,
    pub http_client: SharedHttpClient,
    /// Of the requests to AWS.
    pub credentials: SharedCredentialsProvider,
    pub random: Random,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            machine: Arc::new(ThisMachine),
            sleep: SharedAsyncSleep::new(TokioSleep::new()),
            http_client: http_client(),
            credentials: SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()),
            random: Random::default(),
        }
    }
}

impl Platform {
    /// A clock on this machine.
    pub fn clock(&self) -> CloudClock {
        CloudClock::on(Arc::clone(&self.machine))
    }
}

/// Signs requests by a machine's wall clock.
#[derive(Clone, Debug)]
struct WallClock(Arc<dyn Machine>);

impl TimeSource for WallClock {
    fn now(&self) -> SystemTime {
        let since_epoch = self.0.wall().duration_since(Timestamp::UNIX_EPOCH);
        SystemTime::UNIX_EPOCH + Duration::try_from(since_epoch).unwrap_or_default()
    }
}

/// For a function: credentials, region and endpoint are in the variables that Lambda sets. No other source is linked in, which
/// is a fifth of the program's size.
pub fn function_config(vars: &impl Vars, platform: &Platform) -> SdkConfig {
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(platform.http_client.clone())
        .timeout_config(retry::function_limits())
        .retry_config(retry::function_attempts())
        // What goes to and fro is small and has a time limit; to watch its pace would only cost.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Lambda's clock is right.
        .disable_clock_skew_correction(true)
        .auth_scheme_preference([BY_DAY])
        .sleep_impl(platform.sleep.clone())
        .time_source(WallClock(Arc::clone(&platform.machine)))
        .credentials_provider(platform.credentials.clone());
    config.set_region(vars.get("AWS_REGION").map(Region::new));
    config.set_endpoint_url(vars.get("AWS_ENDPOINT_URL"));
    config.build()
}

/// The same configuration on another platform than this machine.
pub fn on_platform(config: &SdkConfig, platform: &Platform) -> SdkConfig {
    let builder = config.to_builder().http_client(platform.http_client.clone()).sleep_impl(platform.sleep.clone());
    let builder = builder.time_source(WallClock(Arc::clone(&platform.machine)));
    builder.credentials_provider(platform.credentials.clone()).build()
}

pub fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(TLS).build_https()
}

pub fn sqs(config: &SdkConfig, clock: &CloudClock) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::config::Builder::from(config)
        .interceptor(ClockTeacher::new(clock))
        .interceptor(FewHeaders)
        .auth_scheme_resolver(BothWays)
        .push_auth_scheme(DaySigner::default())
        .build();
    aws_sdk_sqs::Client::from_conf(config)
}

pub fn dynamodb(config: &SdkConfig, clock: &CloudClock) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config)
        .interceptor(ClockTeacher::new(clock))
        .interceptor(FewHeaders)
        .auth_scheme_resolver(BothWays)
        .push_auth_scheme(DaySigner::default())
        .retry_classifier(retry::TransactionConflicts)
        .retry_partition(retry::quota())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// Stands for the code of an error when AWS has not answered.
pub const NO_ANSWER: &str = "no answer";

/// The request was not even made.
pub const NO_CREDENTIALS: &str = "no credentials";

/// An SDK error in two short texts: AWS's code and its message, or what kept the answer away.
pub fn explain<E: std::error::Error + ProvideErrorMetadata>(error: &E) -> (String, String) {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => (code.to_owned(), message.to_owned()),
        (code, _) => {
            let mut causes = vec![error.to_string()];
            let mut source = error.source();
            while let Some(cause) = source {
                if cause.is::<CredentialsError>() {
                    // What stands around it says nothing.
                    let why = cause.source().map(|why| format!(": {why}")).unwrap_or_default();
                    return (NO_CREDENTIALS.to_owned(), format!("{cause}{why}"));
                }
                causes.push(cause.to_string());
                source = cause.source();
            }
            causes.dedup();
            (code.unwrap_or(NO_ANSWER).to_owned(), causes.join(": "))
        }
    }
}

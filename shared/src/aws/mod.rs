//! The AWS clients: one TLS stack, one region provider chain, one policy of time limits and retries, and a clock that learns from
//! every answer.

mod interceptors;
pub(crate) mod retry;
mod signing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::TimeSource;
use aws_smithy_http_client::proxy::{ProxyConfig, ProxyError};
use aws_smithy_http_client::{Builder, Connector, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use jiff::Timestamp;

use crate::clock::{CloudClock, Machine, ThisMachine};
use crate::config::Vars;
use crate::random::Random;

pub use interceptors::DateOfAnswer;
use interceptors::{ClockTeacher, Destination, FewHeaders};
use signing::{BY_DAY, BothWays, DaySigner};

const TLS: tls::Provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);

/// Where the queues and tables are and how to get there, when not as the environment says.
#[derive(Clone, Debug, Default)]
pub struct Location {
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    /// A shared credentials file, instead of the one in the home folder.
    pub credentials_file: Option<PathBuf>,
    /// Whom to ask for a tunnel to AWS.
    pub proxy: Option<Proxy>,
}

/// An HTTP proxy that makes tunnels (`CONNECT`). What is not encrypted does not go through it: that is only the instance metadata
/// of a cloud machine, and a local stack.
#[derive(Clone)]
pub struct Proxy(ProxyConfig);

impl Proxy {
    /// `http://HOST:PORT`, with `USER:PASSWORD@` before the host where the proxy wants to know who asks.
    pub fn new(url: &str) -> Result<Self, ProxyError> {
        ProxyConfig::https(url).map(Self)
    }
}

/// Its URL may hold a password.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proxy")
    }
}

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

/// For the agent: credentials and region from wherever an administrator keeps them (variables, profile files, a credential
/// process), checked on first use only.
pub async fn sdk_config(location: Location) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(location.proxy.map_or_else(http_client, http_client_through))
        .timeout_config(retry::agent_limits())
        .retry_config(retry::agent_attempts());
    if let Some(file) = location.credentials_file {
        let files = EnvConfigFiles::builder().include_default_config_file(true);
        loader = loader.profile_files(files.with_file(EnvConfigFileKind::Credentials, file).build());
    }
    if let Some(region) = location.region {
        loader = loader.region(Region::new(region));
    }
    if let Some(endpoint_url) = location.endpoint_url {
        loader = loader.endpoint_url(endpoint_url);
    }
    loader.load().await
}

/// The same configuration on another platform than this machine.
pub fn on_platform(config: &SdkConfig, platform: &Platform) -> SdkConfig {
    let builder = config.to_builder().http_client(platform.http_client.clone()).sleep_impl(platform.sleep.clone());
    let builder = builder.time_source(WallClock(Arc::clone(&platform.machine)));
    builder.credentials_provider(platform.credentials.clone()).build()
}

/// When the credentials of the agent end; none if they do not. Asks for them as a request would.
pub async fn credentials_expire(config: &SdkConfig) -> Result<Option<Timestamp>, CredentialsError> {
    let none = || CredentialsError::not_loaded("no provider of credentials is configured");
    let credentials = config.credentials_provider().ok_or_else(none)?.provide_credentials().await?;
    Ok(credentials.expiry().and_then(|expiry| Timestamp::try_from(expiry).ok()))
}

/// For a check: one answer counts, and nobody waits for a second try.
pub fn without_retries(config: &SdkConfig) -> SdkConfig {
    config.to_builder().retry_config(RetryConfig::disabled()).build()
}

/// The URLs that requests to the queues and to the table go to, as the clients themselves work them out of region, endpoint and
/// variables; none if they cannot. Nothing is sent.
pub async fn destinations(config: &SdkConfig) -> [Option<String>; 2] {
    // Where the requests go does not depend on who makes them.
    let nobody = Credentials::new("nobody", "nothing", None, None, "destinations");
    let config = config.to_builder().credentials_provider(SharedCredentialsProvider::new(nobody)).build();
    let (config, clock) = (without_retries(&config), CloudClock::new());
    let (queues, tables) = (Destination::default(), Destination::default());
    let request = sqs(&config, &clock).receive_message().queue_url("none");
    let _ = request.customize().interceptor(queues.clone()).send().await;
    let request = dynamodb(&config, &clock).get_item().table_name("none");
    let request = request.key("pk", AttributeValue::S("none".to_owned()));
    let _ = request.customize().interceptor(tables.clone()).send().await;
    [queues.get(), tables.get()]
}

fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(TLS).build_https()
}

/// The same as `http_client`, whose builder knows no proxy.
fn http_client_through(proxy: Proxy) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(proxy.0.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.tls_provider(TLS).build()
    })
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
pub(crate) const NO_ANSWER: &str = "no answer";

/// The request was not even made.
pub(crate) const NO_CREDENTIALS: &str = "no credentials";

/// An SDK error in two short texts: AWS's code and its message, or what kept the answer away.
pub(crate) fn explain<E: std::error::Error + ProvideErrorMetadata>(error: &E) -> (String, String) {
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

//! The AWS clients: one TLS stack, one region provider chain, and a clock that learns from every answer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
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
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::clock::{BootTime, CloudClock, Machine, ThisMachine};
use crate::config::Vars;
use crate::random::Random;

const TLS: tls::Provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

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
        .timeout_config(timeouts())
        .retry_config(retries())
        // What goes to and fro is small and has a time limit; to watch its pace would only cost.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
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
        .timeout_config(timeouts())
        .retry_config(retries());
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
    [queues.0.get(), tables.0.get()]
}

/// What an interceptor has noted of a request.
#[derive(Clone, Debug)]
struct Note<T>(Arc<Mutex<Option<T>>>);

impl<T> Default for Note<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Note<T> {
    fn set(&self, seen: Option<T>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    fn get(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Notes where a request would go, and stops it.
#[derive(Clone, Debug, Default)]
struct Destination(Note<String>);

#[dyn_dispatch_hint]
impl Intercept for Destination {
    fn name(&self) -> &'static str {
        "Destination"
    }

    fn read_before_signing(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.set(Some(context.request().uri().to_owned()));
        Err("only the destination is wanted".into())
    }
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

/// A connection whose way is gone must not cost a heartbeat or a command; the next attempt takes another one.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN).read_timeout(ANSWER_WITHIN).build()
}

/// For a request to which AWS answers only after a while.
pub(crate) fn patient(wait: Duration) -> TimeoutConfig {
    timeouts().to_builder().read_timeout(wait + ANSWER_WITHIN).build()
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(3)
}

pub fn sqs(config: &SdkConfig, clock: &CloudClock) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::config::Builder::from(config).interceptor(ClockTeacher(clock.clone())).build();
    aws_sdk_sqs::Client::from_conf(config)
}

pub fn dynamodb(config: &SdkConfig, clock: &CloudClock) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config).interceptor(ClockTeacher(clock.clone())).build();
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

#[derive(Clone, Copy, Debug)]
struct SentAt(BootTime);

impl Storable for SentAt {
    type Storer = StoreReplace<Self>;
}

/// Teaches the clock by every answer of a client.
#[derive(Clone, Debug)]
struct ClockTeacher(CloudClock);

#[dyn_dispatch_hint]
impl Intercept for ClockTeacher {
    fn name(&self) -> &'static str {
        "ClockTeacher"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(SentAt(self.0.boot()));
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let (Some(SentAt(sent)), Some(date)) = (bag.load::<SentAt>(), date_of(context)) {
            self.0.learn(*sent, self.0.boot(), date);
        }
        Ok(())
    }
}

/// Remembers the `Date` of one operation's answer, for who must know when it took effect.
#[derive(Clone, Debug, Default)]
pub struct DateOfAnswer(Note<Timestamp>);

impl DateOfAnswer {
    pub fn get(&self) -> Option<Timestamp> {
        self.0.get()
    }
}

#[dyn_dispatch_hint]
impl Intercept for DateOfAnswer {
    fn name(&self) -> &'static str {
        "DateOfAnswer"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.set(date_of(context));
        Ok(())
    }
}

fn date_of(context: &BeforeDeserializationInterceptorContextRef<'_>) -> Option<Timestamp> {
    let date = context.response().headers().get("date")?;
    Some(rfc2822::parse(date).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_understood() {
        let date = rfc2822::parse("Fri, 16 Sep 2022 11:57:43 GMT").expect("a date").timestamp();
        assert_eq!(date.to_string(), "2022-09-16T11:57:43Z");
    }
}

//! How the agent uses the AWS SDK: where AWS is and how to get there, and how long a request may take.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use shared::aws::TLS;

use crate::config::{AwsLocation, AwsProxy};

/// The agent may stand behind a line that a backup or a telephone call fills. There a handshake takes seconds, and one that is
/// begun anew takes as long again.
const CONNECTS_WITHIN: Duration = Duration::from_secs(3);
const IS_ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// What the agent cannot write now it writes later by itself.
const ATTEMPTS: u32 = 3;
/// Connections to one service that may stay open without a request. Each takes some 40 kB.
const IDLE_CONNECTIONS: usize = 8;

/// Takes credentials and region from wherever an administrator keeps them (variables, profile files, a credential process), and
/// checks them on first use only.
pub async fn config(location: AwsLocation) -> SdkConfig {
    let limits = TimeoutConfig::builder().connect_timeout(CONNECTS_WITHIN).read_timeout(IS_ANSWERED_WITHIN).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client(location.proxy))
        .timeout_config(limits)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
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

/// For a check: one answer counts, and nobody waits for a second try.
pub fn without_retries(config: &SdkConfig) -> SdkConfig {
    config.to_builder().retry_config(RetryConfig::disabled()).build()
}

/// Keeps few connections: the others of a burst are closed behind it.
fn http_client(proxy: Option<AwsProxy>) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().pool_max_idle_per_host(IDLE_CONNECTIONS);
        connector.set_proxy_config(proxy.as_ref().map(AwsProxy::tunnels));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.tls_provider(TLS).build()
    })
}

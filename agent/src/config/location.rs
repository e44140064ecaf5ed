//! Where AWS is, and the proxy on the way there.

use std::path::PathBuf;

use aws_smithy_http_client::proxy::{ProxyConfig, ProxyError};

/// Where the queues and tables are and how to get there, when not as the environment says.
#[derive(Clone, Debug, Default)]
pub struct AwsLocation {
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    /// A shared credentials file, instead of the one in the home folder.
    pub credentials_file: Option<PathBuf>,
    /// The proxy for tunnels to AWS.
    pub proxy: Option<AwsProxy>,
}

/// An HTTP proxy that makes tunnels (`CONNECT`). What is not encrypted does not go through it: that is only the instance metadata
/// of a cloud machine, and a local stack.
#[derive(Clone)]
pub struct AwsProxy(ProxyConfig);

impl AwsProxy {
    /// The URL as [`super::AwsConfig::proxy_url`] makes it.
    pub fn new(url: &str) -> Result<Self, ProxyError> {
        ProxyConfig::https(url).map(Self)
    }

    /// As the SDK takes it.
    pub(crate) fn tunnels(&self) -> ProxyConfig {
        self.0.clone()
    }
}

/// Its URL may hold a password.
impl std::fmt::Debug for AwsProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proxy")
    }
}

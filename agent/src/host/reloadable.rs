//! AWS credentials that can be replaced while clients use them.

use std::sync::{Arc, PoisonError, RwLock};

use aws_config::SdkConfig;
use aws_config::identity::IdentityCache;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as CredentialsFuture;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::identity::{
    IdentityFuture, ResolveCachedIdentity, SharedIdentityCache, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::host::access_key::KeyInUse;

/// Where clients get their credentials, and the cache of what they got. Clones are the same.
#[derive(Clone, Debug)]
pub struct ReloadableCredentials {
    source: Arc<RwLock<Source>>,
    key: KeyInUse,
}

#[derive(Clone, Debug)]
struct Source {
    provider: Option<SharedCredentialsProvider>,
    /// A cache keeps what does not expire for a quarter of an hour, so it goes with its provider.
    cache: SharedIdentityCache,
}

impl Source {
    fn of(sdk: &SdkConfig) -> Self {
        Self { provider: sdk.credentials_provider(), cache: IdentityCache::lazy().build() }
    }
}

impl ReloadableCredentials {
    /// Begins with the credentials of this configuration. The clients have to be made from the one that is returned.
    pub fn new(sdk: &SdkConfig) -> (SdkConfig, Self) {
        let credentials = Self { source: Arc::new(RwLock::new(Source::of(sdk))), key: KeyInUse::default() };
        let builder = sdk.to_builder().credentials_provider(SharedCredentialsProvider::new(credentials.clone()));
        (builder.identity_cache(credentials.clone()).build(), credentials)
    }

    /// From the next request on, clients take those of another configuration.
    pub fn use_those_of(&self, sdk: &SdkConfig) {
        *self.source.write().unwrap_or_else(PoisonError::into_inner) = Source::of(sdk);
    }

    /// The access key that signs requests.
    pub fn key_in_use(&self) -> KeyInUse {
        self.key.clone()
    }

    fn source(&self) -> Source {
        self.source.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProvideCredentials for ReloadableCredentials {
    fn provide_credentials<'a>(&'a self) -> CredentialsFuture<'a>
    where
        Self: 'a,
    {
        let provider = self.source().provider;
        CredentialsFuture::new(async move {
            let none = || CredentialsError::not_loaded("no provider of credentials is configured");
            let credentials = provider.ok_or_else(none)?.provide_credentials().await?;
            self.key.set(&credentials);
            Ok(credentials)
        })
    }
}

impl ResolveCachedIdentity for ReloadableCredentials {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        settings: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let cache = self.source().cache;
        IdentityFuture::new(async move { cache.resolve_cached_identity(resolver, components, settings).await })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::Credentials;
    use axum::Router;
    use axum::http::HeaderMap;
    use tokio::net::TcpListener;

    use super::*;

    fn sdk(key: &str, endpoint: &str) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(endpoint)
            .http_client(shared::aws::http_client())
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(key, "secret", None, None, "test")))
            .build()
    }

    #[tokio::test]
    async fn clients_take_the_new_credentials_from_the_next_request_on() {
        let signatures = Arc::new(Mutex::new(Vec::new()));
        let seen = signatures.clone();
        let answer = async move |headers: HeaderMap| {
            let signature = headers["authorization"].to_str().expect("text").to_owned();
            seen.lock().expect("no panic").push(signature);
            "{}"
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let (config, credentials) = ReloadableCredentials::new(&sdk("OLD", &endpoint));
        let client = aws_sdk_sqs::Client::new(&config);
        let ask = async || drop(client.list_queues().send().await.expect("an answer"));
        ask().await;
        ask().await;
        credentials.use_those_of(&sdk("NEW", &endpoint));
        ask().await;
        let signatures = signatures.lock().expect("no panic");
        let keys: Vec<bool> = signatures.iter().map(|signature| signature.contains("Credential=NEW/")).collect();
        assert_eq!(keys, [false, false, true], "{signatures:?}");
    }
}

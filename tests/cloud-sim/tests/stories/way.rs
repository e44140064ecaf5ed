//! The way of one agent's requests to AWS, on which some fail or panic. The cloud's own faults befall everybody.

use std::fmt;
use std::sync::Arc;

use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Arrives,
    /// The connection is refused.
    Fails,
}

/// Decides by target and body what becomes of a request.
#[derive(Clone)]
pub(crate) struct Decide(Arc<Decision>);

type Decision = dyn Fn(&str, &str) -> Fate + Send + Sync;

impl Decide {
    pub(crate) fn new(decide: impl Fn(&str, &str) -> Fate + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }
}

impl fmt::Debug for Decide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decide")
    }
}

#[derive(Clone, Debug)]
struct Way {
    client: SharedHttpClient,
    connector: Option<SharedHttpConnector>,
    decide: Decide,
}

/// The same client, whose requests have the fate that is decided by their target and body.
pub(crate) fn through(client: SharedHttpClient, decide: Decide) -> SharedHttpClient {
    SharedHttpClient::new(Way { client, connector: None, decide })
}

impl HttpClient for Way {
    fn http_connector(&self, settings: &HttpConnectorSettings, parts: &RuntimeComponents) -> SharedHttpConnector {
        let connector = Some(self.client.http_connector(settings, parts));
        SharedHttpConnector::new(Self { connector, ..self.clone() })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.client.connector_metadata()
    }
}

impl HttpConnector for Way {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default());
        match (self.decide.0)(target, &body) {
            Fate::Arrives => self.connector.as_ref().expect("it was made by a client").call(request),
            Fate::Fails => HttpConnectorFuture::ready(Err(ConnectorError::io("connection refused".into()))),
        }
    }
}

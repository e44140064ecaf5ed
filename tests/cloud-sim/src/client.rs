//! The face for SDK clients in the same process: an HTTP client that has no network.

use std::time::{Duration, SystemTime};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use jiff::fmt::rfc2822;

use crate::cloud::Cloud;
use crate::exchange::{Broken, exchange};
use crate::process::Process;
use crate::protocol::{CONTENT_TYPE, Request, Response};

#[derive(Clone, Debug)]
struct Client(Process);

#[derive(Clone, Debug)]
struct Connection {
    process: Process,
    read_timeout: Option<Duration>,
}

impl Process {
    /// For the `http_client` of an SDK's configuration. Its read time-out is kept, on tokio's clock.
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(Client(self.clone()))
    }
}

impl Cloud {
    /// For the `time_source` of an SDK's configuration: what the SDK times, it times by the cloud's clock then.
    pub fn time_source(&self) -> SharedTimeSource {
        SharedTimeSource::new(Clock(self.clone()))
    }
}

#[derive(Clone, Debug)]
struct Clock(Cloud);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.0.since_1970()
    }
}

impl HttpClient for Client {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Connection { process: self.0.clone(), read_timeout: settings.read_timeout() })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("cloud-sim", None))
    }
}

impl HttpConnector for Connection {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (process, read_timeout) = (self.process.clone(), self.read_timeout);
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
            // Read to its end, as a network would: the SDK watches whether it gets rid of the body.
            let body = request.into_body().collect().await.map_err(|error| ConnectorError::other(error, None))?;
            let asked = Request::parse(&target, &body.to_bytes());
            let answer = exchange(process.clone(), asked);
            let answer = match read_timeout {
                Some(limit) => tokio::time::timeout(limit, answer)
                    .await
                    .map_err(|elapsed| ConnectorError::timeout(elapsed.into()))?,
                None => answer.await,
            };
            match answer {
                Ok(response) => http(response, &process),
                Err(broken @ (Broken::Reset | Broken::Dead)) => Err(ConnectorError::io(broken.into())),
            }
        })
    }
}

fn http(response: Response, process: &Process) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(response.status).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut http = HttpResponse::new(status, SdkBody::from(response.body));
    let headers = http.headers_mut();
    headers.insert("content-type", CONTENT_TYPE);
    headers.insert("date", date(process.cloud().now()));
    if let Some(error) = response.query_error {
        headers.insert("x-amzn-query-error", error);
    }
    Ok(http)
}

/// The time as HTTP writes it.
pub(crate) fn date(now: jiff::Timestamp) -> String {
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default()
}

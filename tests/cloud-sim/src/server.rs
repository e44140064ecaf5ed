//! The face for everybody else: HTTP on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::{get, post};
use futures_util::stream;
use tokio::net::TcpListener;

use crate::client::date;
use crate::cloud::{Builder, Cloud};
use crate::exchange::exchange;
use crate::process::Process;
use crate::protocol::{CONTENT_TYPE, Request};

/// A cloud that listens.
#[derive(Debug)]
pub struct Server {
    pub cloud: Cloud,
    pub address: SocketAddr,
    listener: TcpListener,
    process: Process,
}

/// Opens a port on loopback, any free one with 0. The cloud has the machine's time.
pub async fn serve(builder: Builder, port: u16) -> std::io::Result<Server> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = listener.local_addr()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let cloud = builder.base_url(format!("http://{address}")).epoch(now).build();
    let process = cloud.process("http");
    Ok(Server { cloud, address, listener, process })
}

impl Server {
    /// Answers until told to stop.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        let router = Router::new()
            .route("/_counts", get(async |State(process): State<Process>| process.cloud().counts().to_string()))
            .fallback(post(answer))
            .with_state(self.process);
        axum::serve(self.listener, router).with_graceful_shutdown(stop).await
    }
}

async fn answer(State(process): State<Process>, headers: HeaderMap, body: Bytes) -> HttpResponse {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let request = Request::parse(target, &body);
    let Ok(response) = exchange(process.clone(), request).await else {
        // The nearest that HTTP has to a connection that breaks: an answer that ends before it is complete.
        return HttpResponse::new(Body::from_stream(stream::once(async {
            Err::<Bytes, _>(std::io::Error::other("the connection breaks"))
        })));
    };
    let mut headers = HeaderMap::new();
    let mut insert = |name, value: &str| headers.extend(value.parse().ok().map(|value| (name, value)));
    insert(header::CONTENT_TYPE, CONTENT_TYPE);
    insert(header::DATE, &date(process.cloud().now()));
    if let Some(error) = &response.query_error {
        insert(header::HeaderName::from_static("x-amzn-query-error"), error);
    }
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, headers, response.body).into_response()
}

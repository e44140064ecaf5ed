//! A front of the cloud that is as wrong as a test wants: it lives at another time, or refuses everything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api::http_client;

#[derive(Debug)]
struct Manner {
    upstream: String,
    ahead: SignedDuration,
    refuses: AtomicBool,
}

#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    manner: Arc<Manner>,
    server: JoinHandle<()>,
}

impl Front {
    /// Forwards to `upstream`. What its answers give as the time is so far ahead of the truth.
    pub async fn start(upstream: &str, ahead: SignedDuration) -> Self {
        let upstream = upstream.trim_end_matches('/').to_owned();
        let manner = Arc::new(Manner { upstream, ahead, refuses: AtomicBool::new(false) });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(forward).with_state(manner.clone());
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { address, manner, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on requests are refused, or no longer.
    pub fn refuse(&self, refuses: bool) {
        self.manner.refuses.store(refuses, Ordering::SeqCst);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(
    State(manner): State<Arc<Manner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if manner.refuses.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    // With its `Host`, for which it is signed.
    let request = http_client().request(method, format!("{}{uri}", manner.upstream)).headers(headers).body(body);
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&(Timestamp::now() + manner.ahead)).expect("a date");
    headers.insert(header::DATE, date.parse().expect("a header"));
    headers.remove(header::TRANSFER_ENCODING);
    let body = answer.bytes().await.unwrap_or_default();
    (status, headers, Body::from(body)).into_response()
}

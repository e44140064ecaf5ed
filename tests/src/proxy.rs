//! An HTTP proxy in front of the cloud. It can stop a request on its way, before it has happened or before its answer is back; let
//! nothing through for a while; and refuse like a cloud that is asked too much.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::http_client;
use crate::eventually;

/// Where a request is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Before the cloud has it. It will never get there.
    Request,
    /// After the cloud has done what it asks for; its answer is held back.
    Answer,
}

/// What the way is like for everything that takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Open,
    /// What is on the way is lost, and nobody gets through.
    Cut,
    /// Nothing arrives and nothing comes back, but nobody says so.
    Silent,
    /// The cloud refuses, as it does when it is asked too much.
    Throttled,
}

#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    /// Which of the matching requests to come is stopped, counted from 1. Those behind it stop as well.
    stop: Option<(Stop, usize)>,
    /// Matching requests before it that the cloud has not answered yet.
    open: usize,
    stopped: usize,
}

#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    traffic: Arc<watch::Sender<Traffic>>,
    way: Arc<watch::Sender<Way>>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Forwarder {
    client: reqwest::Client,
    upstream: String,
    texts: &'static [&'static str],
    traffic: Arc<watch::Sender<Traffic>>,
    way: Arc<watch::Sender<Way>>,
}

impl Proxy {
    /// Forwards to this base URL. A request matches when the name of its operation and its body hold all of the texts.
    pub async fn start(upstream: &str, texts: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let traffic = Arc::new(watch::Sender::new(Traffic::default()));
        let way = Arc::new(watch::Sender::new(Way::default()));
        let upstream = upstream.trim_end_matches('/').to_owned();
        let forwarder =
            Forwarder { client: http_client(), upstream, texts, traffic: traffic.clone(), way: way.clone() };
        let router = Router::new().fallback(forward).with_state(forwarder);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the proxy serves") });
        Self { address, traffic, way, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets nothing through any more, and nothing back of what is on its way.
    pub fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    /// Lets nothing through any more, and keeps everybody waiting.
    pub fn fall_silent(&self) {
        self.way.send_replace(Way::Silent);
    }

    /// Refuses everything for too many requests.
    pub fn throttle(&self) {
        self.way.send_replace(Way::Throttled);
    }

    /// Opens the way again. What waits on it was never heard.
    pub fn mend(&self) {
        self.way.send_replace(Way::Open);
    }

    /// Stops the n-th matching request from now, and all that match after it.
    pub fn stop(&self, stop: Stop, nth: usize) {
        self.traffic.send_modify(|traffic| traffic.stop = Some((stop, nth)));
    }

    /// Waits until a request is stopped and the cloud has answered all those before it.
    pub async fn until_stopped(&self) {
        eventually("the proxy stops a request", async || match *self.traffic.borrow() {
            Traffic { stopped: 1.., open: 0, .. } => Ok(()),
            traffic => Err(format!("{traffic:?}")),
        })
        .await;
    }

    /// Lets the answers go that were held back, and stops nothing more.
    pub fn release(&self) {
        self.traffic.send_modify(|traffic| traffic.stop = None);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(
    State(forwarder): State<Forwarder>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let way = *forwarder.way.borrow();
    match way {
        Way::Open => {}
        Way::Cut => return StatusCode::BAD_GATEWAY.into_response(),
        Way::Silent => {
            let _ = forwarder.way.subscribe().wait_for(|way| *way != Way::Silent).await;
            return StatusCode::BAD_GATEWAY.into_response();
        }
        Way::Throttled => {
            let refusal = r#"{"__type":"com.amazonaws#ThrottlingException","message":"Rate exceeded"}"#;
            let headers = [(CONTENT_TYPE, "application/x-amz-json-1.0")];
            return (StatusCode::BAD_REQUEST, headers, refusal).into_response();
        }
    }
    let mut way = forwarder.way.subscribe();
    tokio::select! {
        biased;
        _ = way.wait_for(|way| *way == Way::Cut) => StatusCode::BAD_GATEWAY.into_response(),
        answer = forward_in_order(&forwarder, method, uri, headers, body) => answer,
    }
}

async fn forward_in_order(
    forwarder: &Forwarder,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let operation = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let content = String::from_utf8_lossy(&body);
    let matches = forwarder.texts.iter().all(|text| operation.contains(text) || content.contains(text));
    if !matches {
        return forwarder.pass(method, &uri, headers, body).await;
    }
    let mut stop = None;
    forwarder.traffic.send_modify(|traffic| match &mut traffic.stop {
        Some((place, 0 | 1)) => {
            stop = Some(*place);
            traffic.stopped += usize::from(*place == Stop::Request);
        }
        Some((_, before)) => {
            *before -= 1;
            traffic.open += 1;
        }
        None => traffic.open += 1,
    });
    match stop {
        // Until the client is gone.
        Some(Stop::Request) => std::future::pending().await,
        Some(Stop::Answer) => {
            let answer = forwarder.pass(method, &uri, headers, body).await;
            forwarder.traffic.send_modify(|traffic| traffic.stopped += 1);
            let _ = forwarder.traffic.subscribe().wait_for(|traffic| traffic.stop.is_none()).await;
            answer
        }
        None => {
            let answer = forwarder.pass(method, &uri, headers, body).await;
            forwarder.traffic.send_modify(|traffic| traffic.open -= 1);
            answer
        }
    }
}

impl Forwarder {
    async fn pass(&self, method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Response {
        let url = format!("{}{uri}", self.upstream);
        let request = self.client.request(method, url).headers(of_the_message(headers)).body(body);
        let answer = async {
            let answer = request.send().await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            Ok::<_, reqwest::Error>((status, of_the_message(headers), answer.bytes().await?))
        };
        answer.await.map_or_else(|_| StatusCode::BAD_GATEWAY.into_response(), IntoResponse::into_response)
    }
}

/// Without what concerns one connection only.
fn of_the_message(mut headers: HeaderMap) -> HeaderMap {
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

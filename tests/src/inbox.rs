//! A receiver of webhooks that remembers what came, and answers as a test wants.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::stream;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::eventually;

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub received_at: Timestamp,
    /// Whether it was answered with a 2xx.
    pub accepted: bool,
}

impl Request {
    /// The event of a POST.
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// How a receiver answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    Status(u16),
    /// Never, as long as this is so.
    Hang,
    /// 200 and a body without end.
    Endless,
    /// 307 to this place.
    Redirect(String),
    /// 400 for whatever holds this text, 204 for all else.
    RefuseWhatHas(String),
}

#[derive(Debug)]
struct Memory {
    received: Vec<Request>,
    /// Statuses for the next requests; afterwards the manner decides.
    script: VecDeque<u16>,
    manner: Manner,
}

impl Default for Memory {
    fn default() -> Self {
        Self { received: Vec::new(), script: VecDeque::new(), manner: Manner::Status(204) }
    }
}

#[derive(Debug)]
pub struct Inbox {
    address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    server: JoinHandle<()>,
}

impl Inbox {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1").await
    }

    /// Starts at another address of the loopback interface.
    pub async fn start_at(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let memory = Arc::new(Mutex::new(Memory::default()));
        let router = Router::new().fallback(receive).with_state(memory.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the inbox serves") });
        Self { address, memory, server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Lets the next requests fail with these statuses.
    pub fn answer_next(&self, statuses: impl IntoIterator<Item = u16>) {
        self.memory.lock().expect("no panic").script.extend(statuses);
    }

    /// How requests are answered from now on.
    pub fn behave(&self, manner: Manner) {
        self.memory.lock().expect("no panic").manner = manner;
    }

    pub fn forget(&self) {
        self.memory.lock().expect("no panic").received.clear();
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn received(&self) -> Vec<Request> {
        self.memory.lock().expect("no panic").received.clone()
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        self.memory.lock().expect("no panic").received.len()
    }

    /// Every event that came by POST, in the order of arrival.
    pub fn events(&self) -> Vec<Value> {
        self.received().iter().map(Request::event).collect()
    }

    /// Every event that was accepted, in the order of arrival.
    pub fn accepted(&self) -> Vec<Value> {
        self.received().iter().filter(|request| request.accepted).map(Request::event).collect()
    }

    /// "extension status" of every event, in the order of arrival.
    pub fn statuses(&self) -> Vec<String> {
        let text = |event: &Value, name: &str| event[name].as_str().unwrap_or("?").to_owned();
        self.events()
            .iter()
            .map(|event| format!("{} {}", text(event, "monitoredExtension"), text(event, "status")))
            .collect()
    }

    /// Waits until exactly these have come, in any order between extensions and in this order for each.
    pub async fn expect(&self, expected: &[&str]) -> Vec<Value> {
        eventually(&format!("webhooks {expected:?}"), async || {
            let statuses = self.statuses();
            if statuses.len() < expected.len() { Err(format!("came: {statuses:?}")) } else { Ok(()) }
        })
        .await;
        let by_extension = |list: Vec<String>| {
            let mut list: Vec<(String, String)> = list
                .iter()
                .filter_map(|text| text.split_once(' '))
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .collect();
            list.sort_by(|a, b| a.0.cmp(&b.0)); // Stable: the order per extension stays.
            list
        };
        let expected = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(by_extension(self.statuses()), by_extension(expected));
        self.events()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(memory): State<Arc<Mutex<Memory>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received_at = Timestamp::now();
    let text = String::from_utf8_lossy(&body).into_owned();
    let manner = {
        let mut memory = memory.lock().expect("no panic");
        let manner = memory.script.pop_front().map_or_else(|| memory.manner.clone(), Manner::Status);
        memory.received.push(Request {
            method: method.to_string(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            headers,
            body,
            received_at,
            accepted: match &manner {
                Manner::Status(status) => (200..300).contains(status),
                Manner::Endless => true,
                Manner::RefuseWhatHas(part) => !text.contains(part),
                Manner::Hang | Manner::Redirect(_) => false,
            },
        });
        manner
    };
    let status = |status| StatusCode::from_u16(status).expect("a status").into_response();
    match manner {
        Manner::Status(code) => status(code),
        Manner::Hang => std::future::pending().await,
        Manner::Endless => {
            let chunks = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 1024])));
            Body::from_stream(chunks).into_response()
        }
        Manner::Redirect(to) => Redirect::temporary(&to).into_response(),
        Manner::RefuseWhatHas(part) => status(if text.contains(&part) { 400 } else { 204 }),
    }
}

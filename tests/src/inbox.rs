//! A receiver of webhooks that remembers what came, and answers as a test wants.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
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

#[derive(Debug, Default)]
struct Memory {
    received: Vec<Request>,
    /// Statuses for the next requests; afterwards 204.
    script: VecDeque<u16>,
}

#[derive(Debug)]
pub struct Inbox {
    address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    server: JoinHandle<()>,
}

impl Inbox {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
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

    pub fn received(&self) -> Vec<Request> {
        self.memory.lock().expect("no panic").received.clone()
    }

    /// Every event that came by POST, in the order of arrival.
    pub fn events(&self) -> Vec<Value> {
        self.received().iter().map(Request::event).collect()
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
) -> StatusCode {
    let mut memory = memory.lock().expect("no panic");
    memory.received.push(Request {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers,
        body,
    });
    let status = memory.script.pop_front().unwrap_or(204);
    StatusCode::from_u16(status).expect("a status")
}

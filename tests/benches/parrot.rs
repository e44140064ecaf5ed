//! Stands before the local cloud and repeats, without a delay, its first answer to each kind of request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Debug)]
pub(crate) struct Parrot {
    address: SocketAddr,
    server: JoinHandle<()>,
}

#[derive(Clone, Debug)]
struct Cloud {
    endpoint: String,
    client: reqwest::Client,
    heard: Arc<Mutex<HashMap<Kind, Answer>>>,
}

/// What requests have in common that get the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    operation: HeaderValue,
    /// The partition that is asked for, without what tells it from others of its kind.
    partition: String,
}

impl Kind {
    fn of(operation: HeaderValue, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).expect("a request is JSON");
        let condition = body["KeyConditionExpression"].as_str().and_then(|condition| condition.strip_prefix("pk = "));
        let partition = match condition.and_then(|condition| condition.split(' ').next()) {
            Some(name) => &body["ExpressionAttributeValues"][name],
            None => &body["Key"]["pk"],
        };
        let partition = partition["S"].as_str().and_then(|partition| partition.split('#').next());
        Self { operation, partition: partition.unwrap_or_default().to_owned() }
    }
}

type Answer = ([(axum::http::HeaderName, HeaderValue); 1], Bytes);

impl Parrot {
    pub(crate) async fn start(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let cloud = Cloud { endpoint: endpoint.to_owned(), client: reqwest::Client::new(), heard: Arc::default() };
        let router = Router::new().fallback(answer).with_state(cloud);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the parrot serves") });
        Self { address, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(cloud): State<Cloud>, mut headers: HeaderMap, body: Bytes) -> Answer {
    let kind = Kind::of(headers["x-amz-target"].clone(), &body);
    let heard = cloud.heard.lock().expect("no panic").get(&kind).cloned();
    if let Some(answer) = heard {
        return answer;
    }
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
    let asked = cloud.client.post(&cloud.endpoint).headers(headers).body(body).send().await.expect("the cloud answers");
    let asked = asked.error_for_status().expect("the cloud agrees");
    let form = asked.headers()[CONTENT_TYPE].clone();
    let answer = ([(CONTENT_TYPE, form)], asked.bytes().await.expect("a whole answer"));
    cloud.heard.lock().expect("no panic").insert(kind, answer.clone());
    answer
}

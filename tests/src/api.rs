//! A caller of the public API.

use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use serde_json::{Value, json};
use shared::apikey::{ApiKey, KeyHash};

use crate::openapi::{Contract, Seen};

const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Clone, Debug)]
pub struct Api {
    client: reqwest::Client,
    pub base: String,
    pub key: String,
}

/// What the API said.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The answer's text at a property, empty when it is not a text.
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// Panics unless the answer is a success.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.with_status(200)
    }

    #[track_caller]
    pub fn with_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// Panics unless the answer is this error.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.text("code")), (status, code), "{}", self.body);
        for name in ["message", "hint"] {
            assert!(!self.text(name).is_empty(), "`{name}` is empty: {}", self.body);
        }
        assert!(self.body["retryable"].is_boolean(), "{}", self.body);
        assert!(self.body.as_object().is_some_and(|body| body.contains_key("commandId")), "{}", self.body);
        self
    }
}

/// The HTTP library asks for a crypto provider even where only `http` is spoken.
pub fn install_crypto() {
    // It fails only when one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A plain HTTP client that waits longer than the API may ever take.
pub fn http_client() -> reqwest::Client {
    install_crypto();
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client")
}

impl Api {
    pub fn new(base: &str, key: &str) -> Self {
        Self { client: http_client(), base: base.to_owned(), key: key.to_owned() }
    }

    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// How commands name the key, when it is one of the deployment's first ones.
    pub fn key_id(&self) -> String {
        ApiKey::bootstrap(&KeyHash::of(&self.key).expect("a key")).id
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.client.get(self.url(path))).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.client.post(self.url(path)).json(&body)).await
    }

    /// Posts what is not JSON, or is not said to be.
    pub async fn post_as(&self, path: &str, content_type: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.client.post(self.url(path)).body(body);
        self.send(match content_type {
            Some(content_type) => request.header(CONTENT_TYPE, content_type),
            None => request,
        })
        .await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.client.put(self.url(path)).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.client.patch(self.url(path)).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.client.delete(self.url(path))).await
    }

    /// Deletes as a tool that can only read JSON.
    pub async fn delete_for_json(&self, path: &str) -> Answer {
        self.send(self.client.delete(self.url(path)).header("accept", "application/json")).await
    }

    /// Posts under a name by which a repeat is recognised.
    pub async fn post_named(&self, path: &str, name: &str, body: &Value) -> Answer {
        self.send(self.client.post(self.url(path)).header("idempotency-key", name).json(body)).await
    }

    /// Every delivery in a webhook's log, oldest first.
    pub async fn log_of(&self, webhook: &str) -> Vec<Value> {
        let (mut log, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/webhooks/{webhook}/deliveries?limit=200{cursor}")).await.ok();
            log.extend(page.body["deliveries"].as_array().cloned().expect("deliveries"));
            match page.body["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        log.reverse();
        log
    }

    pub async fn make_call(&self, from: &str, to: &str) -> Answer {
        self.post("/rcc/makecall", json!({"from": from, "to": to})).await
    }

    fn url(&self, path: &str) -> String {
        let separator = if path.contains('?') { '&' } else { '?' };
        format!("{}{path}{separator}apikey={}", self.base, self.key)
    }

    /// Whatever the API answers has to be as its description says.
    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.client.execute(request).await.expect("the API answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a whole answer");
        Contract::published().check(&Seen {
            method: method.as_str(),
            path: &path,
            status,
            content_type: headers.get("content-type").and_then(|value| value.to_str().ok()),
            headers: &headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            body: &text,
        });
        let body = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| panic!("{status}, not JSON: {text}")),
        };
        Answer { status, headers, body }
    }
}

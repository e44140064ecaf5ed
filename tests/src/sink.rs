//! What stands for the cloud when only the agent is measured: it takes every event at once, knows nothing, and has no commands.
//!
//! It is no cloud to test against. What the agent makes of the cloud's answers is shown on the local stack.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::agent::Cloud;

/// An event and when its request was there.
#[derive(Clone, Debug)]
pub struct Taken {
    pub at: Instant,
    /// The number outside.
    pub from: String,
    pub status: String,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    taken: Arc<Mutex<Vec<Taken>>>,
}

#[derive(Debug)]
pub struct Sink {
    url: String,
    memory: Memory,
    server: JoinHandle<()>,
}

impl Sink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let memory = Memory::default();
        let router = Router::new().fallback(answer).with_state(memory.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the sink serves") });
        Self { url, memory, server }
    }

    pub fn cloud(&self) -> Cloud {
        Cloud {
            endpoint: self.url.clone(),
            events_queue_url: format!("{}/events.fifo", self.url),
            commands_queue_url: format!("{}/commands", self.url),
            exchange_table: "exchange".to_owned(),
            access_key_id: "nobody".to_owned(),
            secret_access_key: "nothing".to_owned(),
        }
    }

    pub fn count(&self) -> usize {
        self.memory.taken.lock().expect("no panic").len()
    }

    /// What was taken since the last time.
    pub fn take(&self) -> Vec<Taken> {
        std::mem::take(&mut self.memory.taken.lock().expect("no panic"))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(memory): State<Memory>, headers: HeaderMap, body: String) -> Response {
    let at = Instant::now();
    let operation = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let answer = match operation.rsplit('.').next().unwrap_or_default() {
        "SendMessageBatch" => taken(&memory, &body, at),
        "ReceiveMessage" => {
            sleep(Duration::from_secs(20)).await;
            json!({})
        }
        "Query" => json!({"Items": [], "Count": 0, "ScannedCount": 0}),
        _ => json!({}),
    };
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&jiff::Timestamp::now());
    ([("date", date.expect("a date"))], Json(answer)).into_response()
}

fn taken(memory: &Memory, body: &str, at: Instant) -> Value {
    let request: Value = serde_json::from_str(body).expect("JSON");
    let entries = request["Entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut all = memory.taken.lock().expect("no panic");
    let successful = entries.iter().map(|entry| {
        let message: Value = serde_json::from_str(entry["MessageBody"].as_str().unwrap_or_default()).expect("JSON");
        let event = &message["webHookEvent"];
        let text = |name: &str| event[name].as_str().expect("an event").to_owned();
        all.push(Taken { at, from: text("from"), status: text("status") });
        let digest = "00000000000000000000000000000000";
        json!({"Id": entry["Id"], "MessageId": "taken", "MD5OfMessageBody": digest, "SequenceNumber": "1"})
    });
    json!({"Successful": successful.collect::<Vec<_>>(), "Failed": []})
}

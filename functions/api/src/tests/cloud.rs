//! A cloud for one test: tables and queues that answer what the test says, and note what they are asked.

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request to a table or a queue.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Such as `GetItem`.
    pub(super) operation: String,
    pub(super) body: Value,
}

/// What is answered; `None` refuses.
type Answers = dyn Fn(&Asked) -> Option<Value> + Send + Sync;

pub(super) struct Cloud {
    pub(super) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Cloud {
    pub(super) async fn start(answers: impl Fn(&Asked) -> Option<Value> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Answers> = Arc::new(answers);
        tokio::spawn({
            let asked = asked.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, asked.clone(), answers.clone()));
                }
            }
        });
        Self { address, asked }
    }

    /// What was asked since the last look.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("a lock"))
    }
}

/// Answers one request after the other.
async fn serve(stream: TcpStream, asked: Arc<Mutex<Vec<Asked>>>, answers: Arc<Answers>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut length, mut operation, mut line) = (0, String::new(), String::new());
        while stream.read_line(&mut line).await.ok()? > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if lower.starts_with("x-amz-target:") {
                operation = line.trim().rsplit('.').next().unwrap_or_default().to_owned();
            }
            line.clear();
        }
        if line.is_empty() {
            return None;
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let request = Asked { operation, body: serde_json::from_slice(&body).unwrap_or_default() };
        let (status, answer) = match answers(&request) {
            Some(answer) => ("200 OK", answer),
            None => ("400 Bad Request", json!({"__type": "ValidationException", "message": "refused by the test"})),
        };
        asked.lock().ok()?.push(request);
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\n");
        let answer = format!("{head}content-length: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// A value as DynamoDB writes it.
pub(super) fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(flag) => json!({"BOOL": flag}),
        Value::Number(number) => json!({"N": number.to_string()}),
        Value::String(text) => json!({"S": text}),
        Value::Array(list) => json!({"L": list.iter().map(attribute).collect::<Vec<_>>()}),
        Value::Object(object) => json!({"M": item(object)}),
    }
}

pub(super) fn item(object: &Map<String, Value>) -> Map<String, Value> {
    object.iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

//! What a request asks of the tables.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A DynamoDB in which nothing is; it notes the operations that it is asked for.
struct EmptyTables {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl EmptyTables {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn({
            let asked = asked.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, asked.clone()));
                }
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("a lock"))
    }
}

/// Answers one request after the other with nothing.
async fn serve(stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        while stream.read_line(&mut line).await.ok()? > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if lower.starts_with("x-amz-target:") {
                asked.lock().ok()?.push(line.trim().rsplit('.').next().unwrap_or_default().to_owned());
            }
            line.clear();
        }
        if line.is_empty() {
            return None;
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

#[tokio::test]
async fn request_without_a_valid_key_reads_no_more_than_the_key() {
    let tables = EmptyTables::start().await;
    let requests = [
        ("POST", "/rcc/makecall", r#"{"from":"42","to":"50"}"#),
        ("POST", "/rcc/connect", r#"{"via":"77","a":"50","b":"43"}"#),
        ("GET", "/rcc/users", ""),
        ("GET", "/rcc/commands/0b6a2f5e-8f0f-4b55-9d0c-6b7a4b1f7a55", ""),
        ("GET", "/status", ""),
        ("GET", "/events?wait=20", ""),
        ("POST", "/webhooks", r#"{"url":"https://example.invalid"}"#),
        ("GET", "/webhooks", ""),
        ("DELETE", "/webhooks/0b6a2f5e-8f0f-4b55-9d0c-6b7a4b1f7a55", ""),
        ("PATCH", "/apikeys/0123456789abcdef", r#"{"disabled":true}"#),
        ("GET", "/audit", ""),
    ];
    for (key, expected) in [(None, &[][..]), (Some(OTHER_KEY), &["GetItem"])] {
        for (method, path, body) in requests {
            let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
            if let Some(key) = key {
                request = request.header("x-api-key", key);
            }
            let router = router(context_at(&tables.address));
            let answer = router.oneshot(request.body(Body::from(body)).expect("a request")).await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(tables.asked(), expected, "{method} {path}");
        }
    }
}

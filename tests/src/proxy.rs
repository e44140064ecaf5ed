//! A TCP proxy between an agent and the cloud that can hold back the answer to one request.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::eventually;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Off,
    /// The answer to the next matching request will be held back.
    Armed,
    Holding,
}

#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    hold: Arc<watch::Sender<Hold>>,
    server: JoinHandle<()>,
}

impl Proxy {
    /// Forwards to the host and port of `upstream`. A request matches when it holds all of the texts.
    pub async fn start(upstream: &str, texts: &'static [&'static str]) -> Self {
        let upstream = upstream.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let hold = Arc::new(watch::channel(Hold::Off).0);
        let shared = hold.clone();
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, hold) = (upstream.clone(), shared.clone());
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(&upstream).await {
                        forward(client, server, texts, &hold).await;
                    }
                });
            }
        });
        Self { address, hold, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn hold_next(&self) {
        self.hold.send_replace(Hold::Armed);
    }

    pub async fn until_holding(&self) {
        eventually("the proxy holds an answer back", async || match *self.hold.borrow() {
            Hold::Holding => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    pub fn release(&self) {
        self.hold.send_replace(Hold::Off);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(client: TcpStream, server: TcpStream, texts: &[&str], hold: &watch::Sender<Hold>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let own = watch::channel(false).0;
    let upstream = async {
        let mut buffer = vec![0; 64 * 1024];
        // Long enough for a request that comes in two pieces.
        let mut recent = String::new();
        while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
            recent.push_str(&String::from_utf8_lossy(&buffer[..n]));
            if *hold.borrow() == Hold::Armed && texts.iter().all(|text| recent.contains(text)) {
                hold.send_replace(Hold::Holding);
                own.send_replace(true);
                recent.clear();
            }
            let keep = recent.len().saturating_sub(16 * 1024);
            if recent.is_char_boundary(keep) {
                recent.drain(..keep);
            }
            if to_server.write_all(&buffer[..n]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let downstream = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
            if *own.borrow() {
                let _ = hold.subscribe().wait_for(|hold| *hold == Hold::Off).await;
                own.send_replace(false);
            }
            if to_client.write_all(&buffer[..n]).await.is_err() {
                break;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(upstream, downstream);
}

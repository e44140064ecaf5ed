//! The WebSocket to the PBX: connect, log in, keep alive.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shared::subscription::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tracing::{debug, warn};
use url::Url;

use super::frames::Frame;
use super::login;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const LOGIN_WITHIN: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(20);
/// Any frame is a sign of life; after two unanswered pings and a half the link is dead.
const DEAD_AFTER: Duration = Duration::from_secs(50);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How to reach the PBX and who to be there.
#[derive(Debug)]
pub struct Dialer {
    pub url: Url,
    pub app: String,
    pub password: Secret,
    pub tls: Arc<ClientConfig>,
}

/// A logged-in connection.
pub struct Link {
    socket: WebSocketStream<Box<dyn Stream>>,
    ping: Interval,
    last_heard: Instant,
}

impl Dialer {
    pub async fn connect(&self) -> anyhow::Result<Link> {
        let socket = timeout(CONNECT_WITHIN, self.open()).await.context("the PBX did not answer in time")??;
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut link = Link { socket, ping, last_heard: Instant::now() };
        timeout(LOGIN_WITHIN, link.log_in(&self.app, &self.password))
            .await
            .context("the PBX did not finish the login")??;
        Ok(link)
    }

    async fn open(&self) -> anyhow::Result<WebSocketStream<Box<dyn Stream>>> {
        let host =
            self.url.host_str().ok_or_else(|| anyhow!("`pbx.url` has no host"))?.trim_matches(['[', ']']).to_owned();
        let secure = self.url.scheme() == "wss";
        let port = self.url.port_or_known_default().unwrap_or(if secure { 443 } else { 80 });
        let tcp = TcpStream::connect((host.as_str(), port))
            .await
            .with_context(|| format!("cannot connect to {host}:{port}"))?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = if secure {
            let name = ServerName::try_from(host.clone()).context("`pbx.url` has an invalid host name")?;
            let connector = TlsConnector::from(self.tls.clone());
            Box::new(
                connector.connect(name, tcp).await.with_context(|| format!("the TLS handshake with {host} failed"))?,
            )
        } else {
            Box::new(tcp)
        };
        let (socket, _) = tokio_tungstenite::client_async(self.url.as_str(), stream)
            .await
            .with_context(|| format!("{host} refused the WebSocket at {}", self.url.path()))?;
        Ok(socket)
    }
}

impl Link {
    async fn log_in(&mut self, app: &str, password: &Secret) -> anyhow::Result<()> {
        self.send(login::challenge_request()).await?;
        loop {
            match self.next().await? {
                Frame::Challenge(challenge) => {
                    self.send(login::login_request(app, &challenge, password.expose())).await?;
                }
                Frame::LoginResult { ok: true, .. } => return Ok(()),
                Frame::LoginResult { ok: false, error } => {
                    let reason = error.map(|error| format!(" ({error})")).unwrap_or_default();
                    bail!("the PBX refused the login of App object `{app}`{reason}; check its Name and password")
                }
                other => debug!(?other, "Frame before the login's end"),
            }
        }
    }

    pub async fn send(&mut self, text: String) -> anyhow::Result<()> {
        self.socket.send(Message::text(text)).await.context("cannot write to the PBX")
    }

    /// The next frame. Pings on the way and fails when the PBX has gone silent. May be dropped and called again.
    pub async fn next(&mut self) -> anyhow::Result<Frame> {
        loop {
            let message = tokio::select! {
                message = self.socket.next() => message,
                _ = self.ping.tick() => {
                    if self.last_heard.elapsed() > DEAD_AFTER {
                        bail!("the PBX has been silent for {} s", DEAD_AFTER.as_secs());
                    }
                    self.socket.send(Message::Ping(Bytes::new())).await.context("cannot write to the PBX")?;
                    continue;
                }
            };
            self.last_heard = Instant::now();
            let text = match message {
                None => bail!("the PBX closed the connection"),
                Some(Err(error)) => return Err(error).context("the connection to the PBX broke"),
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_))) => bail!("the PBX closed the connection"),
                Some(Ok(_)) => continue,
            };
            match Frame::parse(text.as_str()) {
                Ok(frame) => return Ok(frame),
                // Its content may hold numbers of people, so only its length is told.
                Err(error) => warn!(length = text.len(), "Frame skipped: {error}"),
            }
        }
    }

    /// Says good-bye; a PBX that does not answer is not waited for.
    pub async fn close(mut self) {
        let _ = timeout(Duration::from_secs(1), self.socket.close(None)).await;
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("last_heard", &self.last_heard).finish_non_exhaustive()
    }
}

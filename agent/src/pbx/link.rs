//! The WebSocket to the PBX: connect, log in, keep alive.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use rustix::net::sockopt::set_tcp_user_timeout;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use shared::webhook::Secret;
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tracing::{debug, warn};
use url::Url;

use super::base::{self, BaseFrame};
use super::frames::Frame;
use super::login;
use super::tcp::{self, Stream};
use super::text_frames::TextFrames;
use super::tls::{self, Untrusted};
use crate::config::{ConfigError, PbxConfig};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const LOGIN_WITHIN: Duration = Duration::from_secs(10);
/// The vendor's own libraries take 64 KiB.
const LONGEST_MESSAGE: usize = 1 << 20;
const FIRST_PING: Duration = Duration::from_secs(1);
const PING_EVERY: Duration = Duration::from_secs(20);
/// Any frame is a sign of life; after two unanswered pings and a half the link is dead. Nothing says that a PBX answers pings, so
/// this is true only of one that has done so. The kernel finds out about others: their pings have to be acknowledged, too.
const DEAD_AFTER: Duration = Duration::from_secs(50);
/// The vendor's own library says so when nothing else was said for so long. Nothing has to come back.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(60);
/// A PBX that is gone acknowledges nothing, and the kernel would go on for a quarter of an hour before it says so.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// What the PBX has not acknowledged by then breaks the connection. Without it the kernel would deliver a call when the way is open again,
/// to a phone that nobody expects to ring any more.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);

/// How the agent gets a connection to a PBX: TCP, or in a simulation a pipe in memory.
pub trait Network: fmt::Debug + Send + Sync {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, anyhow::Result<Box<dyn Stream>>>;
}

#[derive(Debug)]
pub struct Tcp;

impl Network for Tcp {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, anyhow::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let addresses = tcp::resolve(host, port).await?;
            Ok(Box::new(reach(host, port, &addresses).await?) as Box<dyn Stream>)
        })
    }
}

async fn reach(host: &str, port: u16, addresses: &[SocketAddr]) -> anyhow::Result<TcpStream> {
    let tcp = tcp::reach(host, port, addresses).await?;
    set_tcp_user_timeout(&tcp, ACKNOWLEDGED_WITHIN.as_millis() as u32)?;
    Ok(tcp)
}

/// Address, credentials and TLS configuration with which the agent connects to the PBX.
#[derive(Debug)]
pub struct Dialer {
    pub network: Arc<dyn Network>,
    pub url: Url,
    pub app: String,
    pub password: Secret,
    pub tls: Arc<ClientConfig>,
    /// The PBX has answered a ping, be it on an earlier connection.
    pub answers_pings: Arc<AtomicBool>,
}

impl Dialer {
    /// Dials the PBX of this configuration at each of its addresses. Reads the files that it names.
    pub fn all(network: &Arc<dyn Network>, pbx: &PbxConfig) -> Result<Vec<Self>, ConfigError> {
        let (tls, password) = (tls::client_config(pbx)?, pbx.password()?);
        let dialer = |url: &Url| Self {
            network: network.clone(),
            url: url.clone(),
            app: pbx.app.clone(),
            password: password.clone(),
            tls: tls.clone(),
            answers_pings: Arc::default(),
        };
        Ok(pbx.url.iter().map(dialer).collect())
    }
}

/// A logged-in connection.
pub struct Link {
    socket: WebSocketStream<TextFrames<Box<dyn Stream>>>,
    ping: Interval,
    last_heard: Instant,
    /// When a message was sent or received; pings do not count.
    last_message: Instant,
    answers_pings: Arc<AtomicBool>,
}

/// A connection on which the WebSocket can begin.
pub struct Secured {
    stream: Box<dyn Stream>,
    /// The certificate that the PBX has shown; none without TLS.
    pub certificate: Option<CertificateDer<'static>>,
}

/// The steps of a connection, one by one for `check`, which tells where it breaks.
impl Dialer {
    pub async fn connect(&self) -> anyhow::Result<Link> {
        let mut link = timeout(CONNECT_WITHIN, self.open()).await.context("the PBX did not answer in time")??;
        timeout(LOGIN_WITHIN, self.log_in(&mut link)).await.context("the PBX did not finish the login")??;
        Ok(link)
    }

    async fn open(&self) -> anyhow::Result<Link> {
        let stream = self.network.connect(self.host(), self.port()).await?;
        let secured = self.secure(stream).await?;
        self.begin(secured).await
    }

    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(if self.is_secure() { 443 } else { 80 })
    }

    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "wss"
    }

    /// Whether others on the way can read what is said, and answer in the place of the PBX.
    pub fn is_exposed(&self) -> bool {
        let host = self.host();
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        !self.is_secure() && !is_here
    }

    pub async fn resolve(&self) -> anyhow::Result<Vec<SocketAddr>> {
        tcp::resolve(self.host(), self.port()).await
    }

    pub async fn reach(&self, addresses: &[SocketAddr]) -> anyhow::Result<TcpStream> {
        reach(self.host(), self.port(), addresses).await
    }

    /// Does the TLS handshake where the URL asks for it. A certificate that is refused makes an [`Untrusted`].
    pub async fn secure(&self, stream: Box<dyn Stream>) -> anyhow::Result<Secured> {
        if !self.is_secure() {
            return Ok(Secured { stream, certificate: None });
        }
        let host = self.host();
        let name = ServerName::try_from(host.to_owned()).context("`pbx.url` has an invalid host name")?;
        match TlsConnector::from(self.tls.clone()).connect(name, stream).await {
            Ok(stream) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate = shown.map(|certificate| certificate.clone().into_owned());
                Ok(Secured { stream: Box::new(stream), certificate })
            }
            Err(error) => Err(match Untrusted::of(&error).cloned() {
                Some(untrusted) => anyhow!(untrusted.fix()).context(untrusted),
                None => error.into(),
            })
            .with_context(|| format!("the TLS handshake with {host} failed")),
        }
    }

    pub async fn begin(&self, secured: Secured) -> anyhow::Result<Link> {
        let limits = WebSocketConfig::default().max_message_size(Some(LONGEST_MESSAGE));
        let stream = TextFrames::new(secured.stream);
        let begun = tokio_tungstenite::client_async_with_config(self.url.as_str(), stream, Some(limits)).await;
        let (socket, _) =
            begun.with_context(|| format!("{} refused the WebSocket at {}", self.host(), self.url.path()))?;
        Ok(Link::new(socket, self.answers_pings.clone()))
    }

    pub async fn log_in(&self, link: &mut Link) -> anyhow::Result<()> {
        link.log_in(&self.app, &self.password).await
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("certificate", &self.certificate.is_some()).finish_non_exhaustive()
    }
}

impl Link {
    fn new(socket: WebSocketStream<TextFrames<Box<dyn Stream>>>, answers_pings: Arc<AtomicBool>) -> Self {
        let now = Instant::now();
        // The first ping comes early, so that it is soon known whether this PBX answers them.
        let mut ping = interval_at(now + FIRST_PING, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { socket, ping, last_heard: now, last_message: now, answers_pings }
    }

    async fn log_in(&mut self, app: &str, password: &Secret) -> anyhow::Result<()> {
        self.send(login::challenge_request()).await?;
        loop {
            match self.next().await? {
                Frame::Base(BaseFrame::Challenge(challenge)) => {
                    self.send(login::login_request(app, &challenge, password.expose())).await?;
                }
                Frame::Base(BaseFrame::LoginResult { ok: true, .. }) => return Ok(()),
                Frame::Base(BaseFrame::LoginResult { ok: false, error }) => {
                    let reason = error.map(|error| format!(" ({error})")).unwrap_or_default();
                    bail!("the PBX refused the login of App object `{app}`{reason}; check its Name and password")
                }
                other => debug!(?other, "Frame before the login's end"),
            }
        }
    }

    pub async fn send(&mut self, text: String) -> anyhow::Result<()> {
        self.last_message = Instant::now();
        self.write(Message::text(text)).await
    }

    async fn write(&mut self, message: Message) -> anyhow::Result<()> {
        let written = timeout(WRITE_WITHIN, self.socket.send(message)).await;
        written.context("the PBX takes nothing more")?.context("cannot write to the PBX")
    }

    /// The next frame. Pings on the way and fails when the PBX has gone silent. May be dropped and called again.
    pub async fn next(&mut self) -> anyhow::Result<Frame> {
        loop {
            let message = tokio::select! {
                biased;
                message = self.socket.next() => message,
                _ = self.ping.tick() => {
                    self.on_ping_due().await?;
                    continue;
                }
            };
            self.last_heard = Instant::now();
            let bytes = match message {
                None => bail!("the PBX closed the connection"),
                Some(Err(error)) => return Err(error).context("the connection to the PBX broke"),
                // Text comes as bytes, see `text_frames`.
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Text(text))) => text.into(),
                Some(Ok(Message::Close(_))) => bail!("the PBX closed the connection"),
                Some(Ok(Message::Pong(_))) => {
                    self.answers_pings.store(true, Ordering::Relaxed);
                    continue;
                }
                Some(Ok(_)) => continue,
            };
            self.last_message = self.last_heard;
            // A name in another encoding makes a wrong character, not a lost message.
            let text = String::from_utf8_lossy(&bytes);
            match Frame::parse(&text) {
                Ok(frame) => return Ok(frame),
                // Its content may hold numbers of people, so only its length is told.
                Err(error) => warn!(length = text.len(), "Frame skipped: {error}"),
            }
        }
    }

    async fn on_ping_due(&mut self) -> anyhow::Result<()> {
        if self.answers_pings.load(Ordering::Relaxed) && self.last_heard.elapsed() > DEAD_AFTER {
            bail!("the PBX has been silent for {} s", DEAD_AFTER.as_secs());
        }
        if self.last_message.elapsed() >= KEEP_ALIVE_AFTER {
            self.send(base::keep_alive()).await?;
        }
        self.write(Message::Ping(Bytes::new())).await
    }

    /// Says good-bye; a PBX that does not answer is not waited for.
    pub async fn close(mut self) {
        let _ = timeout(Duration::from_secs(1), self.socket.close(None)).await;
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("last_heard", &self.last_heard).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::super::rcc::RccFrame;
    use super::*;

    /// A link with the stream of its other end, on which so many bytes may wait.
    async fn link(room: usize) -> (Link, DuplexStream) {
        let (near, far) = duplex(room);
        let near = TextFrames::behind_handshake(Box::new(near) as Box<dyn Stream>);
        (Link::new(WebSocketStream::from_raw_socket(near, Role::Client, None).await, Arc::default()), far)
    }

    #[tokio::test]
    async fn kernel_keeps_nothing_for_later() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let pbx = listener.local_addr().expect("an address");
        let dialer = Dialer {
            network: Arc::new(Tcp),
            url: format!("ws://{pbx}/").parse().expect("a URL"),
            app: "easyconnect".to_owned(),
            password: Secret::new("secret"),
            tls: Arc::new(
                ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .expect("versions")
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth(),
            ),
            answers_pings: Arc::default(),
        };
        let tcp = dialer.reach(&[pbx]).await.expect("a connection");
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(&tcp).expect("the option"), 5000);
    }

    #[tokio::test(start_paused = true)]
    async fn half_open_socket_is_found_out() {
        let (mut link, far) = link(1 << 16).await;
        link.answers_pings.store(true, Ordering::Relaxed); // On an earlier connection.
        let begun = Instant::now();
        let error = link.next().await.expect_err("nobody answers the pings");
        assert_eq!(error.to_string(), "the PBX has been silent for 50 s");
        assert_eq!(begun.elapsed().as_secs(), 61, "the first tick after {DEAD_AFTER:?}");
        drop(far);
    }

    #[tokio::test(start_paused = true)]
    async fn pbx_that_never_answers_pings_is_not_judged_by_them() {
        let (mut link, mut far) = link(1 << 16).await;
        let mut waste = vec![0; 1 << 16];
        tokio::select! {
            frame = link.next() => panic!("{frame:?}"),
            read = async { loop { tokio::io::AsyncReadExt::read(&mut far, &mut waste).await.expect("pings"); } } => read,
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
        }
        assert!(link.last_message.elapsed() <= KEEP_ALIVE_AFTER + PING_EVERY, "it says that it is there");
    }

    #[tokio::test(start_paused = true)]
    async fn name_in_another_encoding_does_not_end_the_connection() {
        let (mut link, mut far) = link(1 << 16).await;
        let message = b"{\"mt\":\"UserInfo\",\"cn\":\"M\xfcller\"}";
        let frame = [&[0x81, message.len() as u8], message.as_slice()].concat();
        tokio::io::AsyncWriteExt::write_all(&mut far, &frame).await.expect("room");
        let Frame::Rcc(RccFrame::User(user)) = link.next().await.expect("a frame") else { panic!("not a user") };
        assert_eq!(user.cn, "M\u{fffd}ller");
    }

    #[tokio::test(start_paused = true)]
    async fn pbx_that_answers_pings_may_have_nothing_to_say() {
        let (mut link, far) = link(1 << 16).await;
        // Reading is what answers pings.
        let mut pbx = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        tokio::select! {
            frame = link.next() => panic!("{frame:?}"),
            message = async { loop { pbx.next().await.expect("a ping").expect("a ping"); } } => message,
            () = tokio::time::sleep(Duration::from_secs(3600)) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pbx_that_takes_nothing_holds_nobody_up() {
        let (mut link, far) = link(64).await;
        let begun = Instant::now();
        let error = link.send("x".repeat(1000)).await.expect_err("there is room for 64 bytes");
        assert_eq!(error.to_string(), "the PBX takes nothing more");
        assert_eq!(begun.elapsed(), WRITE_WITHIN);
        drop(far);
    }
}

//! A running simulator: listeners, certificate, start and shutdown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::body::Refused;
use crate::control;
use crate::hub::Hub;
use crate::link;
use crate::session::Visitor;
use crate::world::World;

/// Bytes that may be on their way between the simulator and a client in the same process.
const PIPE: usize = 64 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What to start.
#[derive(Debug, Clone)]
pub struct Builder {
    world: World,
    listen: SocketAddr,
    tls_listen: SocketAddr,
    control: SocketAddr,
    seed: Option<u64>,
    certificate_days: i64,
}

/// A running simulator. Dropping it stops it.
#[derive(Debug)]
pub struct Sim {
    hub: Arc<Hub>,
    ws: SocketAddr,
    /// The WebSocket addresses of the further PBXs, by name.
    further: BTreeMap<String, SocketAddr>,
    wss: SocketAddr,
    control: SocketAddr,
    app: String,
    certificate: Certificate,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A running simulator without sockets, for a program that has it in its own process, also on tokio's paused time. Dropping it stops it.
#[derive(Debug)]
pub struct InMemory {
    hub: Arc<Hub>,
    pbx: String,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug, Clone)]
struct Certificate {
    pem: String,
    sha256: String,
}

impl Default for Builder {
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { world: World::default(), listen: any, tls_listen: any, control: any, seed: None, certificate_days: 3650 }
    }
}

impl Builder {
    /// What exists in the PBX.
    #[must_use]
    pub fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// Address for `ws`; the default is a free port.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Address for `wss`; the default is a free port.
    #[must_use]
    pub fn tls_listen(mut self, address: SocketAddr) -> Self {
        self.tls_listen = address;
        self
    }

    /// Address of the control API; the default is a free port.
    #[must_use]
    pub fn control(mut self, address: SocketAddr) -> Self {
        self.control = address;
        self
    }

    /// Makes conference ids the same in every run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// For how many days from now the certificate of `wss` is valid; with a negative number it has expired.
    #[must_use]
    pub fn certificate_days(mut self, days: i64) -> Self {
        self.certificate_days = days;
        self
    }

    /// Opens the sockets and starts serving.
    pub async fn start(self) -> Result<Sim> {
        for address in [self.listen, self.tls_listen, self.control] {
            // The control API obeys everybody, and the passwords are test passwords.
            ensure!(address.ip().is_loopback(), "{address} is not a loopback address");
        }
        let app = self.world.apps.first().map(|app| app.name.clone()).unwrap_or_default();
        let bind = async |address: SocketAddr| -> Result<(TcpListener, SocketAddr)> {
            let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        };
        let (plain, ws) = bind(self.listen).await?;
        let (secure, wss) = bind(self.tls_listen).await?;
        let (http, control) = bind(self.control).await?;
        let mut further = Vec::new();
        for name in &self.world.pbxs {
            further.push((name.clone(), bind(SocketAddr::new(self.listen.ip(), 0)).await?));
        }
        let pbx = self.world.pbx.clone();
        let (acceptor, certificate) = tls(self.certificate_days)?;
        let (hub, stop, tasks) = begin(self.world, self.seed, SystemTime::now())?;
        let listen = |listener, tls, pbx| accept(hub.clone(), listener, tls, pbx, stop.clone(), tasks.clone());
        tasks.spawn(listen(plain, None, pbx.clone()));
        tasks.spawn(listen(secure, Some(acceptor), pbx));
        let mut addresses = BTreeMap::new();
        for (name, (listener, address)) in further {
            tasks.spawn(listen(listener, None, name.clone()));
            addresses.insert(name, address);
        }
        let router = crate::http::router(hub.clone(), certificate.pem.clone());
        let stopping = stop.clone();
        tasks.spawn(async move {
            // A kept-alive control connection must not delay the end, so it is cut rather than drained.
            let served = stopping.run_until_cancelled(axum::serve(http, router).into_future()).await;
            if let Some(Err(err)) = served {
                warn!("The control API ended: {err}");
            }
        });
        Ok(Sim { hub, ws, further: addresses, wss, control, app, certificate, stop, tasks })
    }

    /// Starts without any socket. `began` is the present time, for the log.
    pub fn start_in_memory(self, began: SystemTime) -> Result<InMemory> {
        let pbx = self.world.pbx.clone();
        let (hub, stop, tasks) = begin(self.world, self.seed, began)?;
        Ok(InMemory { hub, pbx, stop, tasks })
    }
}

fn begin(world: World, seed: Option<u64>, began: SystemTime) -> Result<(Arc<Hub>, CancellationToken, TaskTracker)> {
    world.check().map_err(anyhow::Error::msg).context("this world cannot exist")?;
    let hub = Arc::new(Hub::new(world, seed.unwrap_or_else(rand::random), began));
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let driver = (hub.clone(), stop.clone());
    tasks.spawn(async move { driver.0.drive(driver.1).await });
    Ok((hub, stop, tasks))
}

impl Sim {
    /// A simulator with the default world on free ports.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// WebSocket address without TLS.
    pub fn ws_url(&self) -> String {
        format!("ws://{}{}", self.ws, link::PATH)
    }

    /// WebSocket address of a further PBX, without TLS.
    pub fn ws_url_of(&self, pbx: &str) -> Option<String> {
        self.further.get(pbx).map(|address| format!("ws://{address}{}", link::PATH))
    }

    /// WebSocket address with TLS.
    pub fn wss_url(&self) -> String {
        format!("wss://{}{}", self.wss, link::PATH)
    }

    /// Base address of the control API.
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control)
    }

    /// The self-signed certificate of `wss`.
    pub fn ca_pem(&self) -> &str {
        &self.certificate.pem
    }

    /// SHA-256 of the certificate, in hex.
    pub fn fingerprint(&self) -> &str {
        &self.certificate.sha256
    }

    /// The line that the binary prints when it is ready.
    pub fn ready(&self) -> Value {
        json!({
            "ws": self.ws_url(),
            "pbxs": self.further.keys().map(|pbx| (pbx.clone(), self.ws_url_of(pbx))).collect::<BTreeMap<_, _>>(),
            "wss": self.wss_url(),
            "control": self.control_url(),
            "app": self.app,
            "certSha256": self.fingerprint(),
        })
    }

    /// `POST` to the control API, without HTTP.
    pub fn control(&self, path: &str, body: Value) -> Result<Value, Refused> {
        control::post(&self.hub, path, body)
    }

    /// `GET /state`, without HTTP.
    pub fn state(&self) -> Value {
        control::state(&self.hub)
    }

    /// `GET /log`, without HTTP: the frames received from clients.
    pub fn log(&self) -> Vec<Value> {
        self.hub.log()
    }

    /// Closes all connections and waits until every task has ended.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl InMemory {
    /// The client's end of a new connection, on which the WebSocket can begin; `None` while the PBX is down.
    pub fn connect(&self) -> Option<DuplexStream> {
        self.connect_to(&self.pbx)
    }

    /// The same for one of the PBXs of the world.
    pub fn connect_to(&self, pbx: &str) -> Option<DuplexStream> {
        if self.hub.is_down(pbx) {
            return None;
        }
        let (client, server) = duplex(PIPE);
        let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
        let visitor = Visitor { remote: nobody, tls: false, pbx: pbx.to_owned() };
        self.tasks.spawn(link::serve(self.hub.clone(), server, visitor, self.stop.clone()));
        Some(client)
    }

    /// As [`Sim::control`].
    pub fn control(&self, path: &str, body: Value) -> Result<Value, Refused> {
        control::post(&self.hub, path, body)
    }

    /// As [`Sim::state`].
    pub fn state(&self) -> Value {
        control::state(&self.hub)
    }

    /// As [`Sim::log`].
    pub fn log(&self) -> Vec<Value> {
        self.hub.log()
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn tls(days: i64) -> Result<(TlsAcceptor, Certificate)> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut wanted = rcgen::CertificateParams::new(names)?;
    wanted.not_after = (SystemTime::now() + DAY * u32::try_from(days.max(0))?).into();
    if days < 0 {
        wanted.not_after -= DAY * u32::try_from(-days)?;
    }
    let key = rcgen::KeyPair::generate()?;
    let made = wanted.self_signed(&key)?;
    let der = made.der().clone();
    let certificate = Certificate { pem: made.pem(), sha256: hex::encode(Sha256::digest(&der)) };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![der], key)?;
    Ok((TlsAcceptor::from(Arc::new(config)), certificate))
}

async fn accept(
    hub: Arc<Hub>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    pbx: String,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(err) => {
                // Typically out of file descriptors: waiting lets connections end.
                warn!("Cannot accept: {err}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if hub.is_down(&pbx) {
            let _already_gone = stream.set_zero_linger();
            continue;
        }
        let _only_slower = stream.set_nodelay(true);
        let visitor = Visitor { remote, tls: tls.is_some(), pbx: pbx.clone() };
        tasks.spawn(greet(hub.clone(), stream, visitor, tls.clone(), stop.clone()));
    }
}

async fn greet(hub: Arc<Hub>, stream: TcpStream, visitor: Visitor, tls: Option<TlsAcceptor>, stop: CancellationToken) {
    let Some(acceptor) = tls else { return link::serve(hub, stream, visitor, stop).await };
    match stop.run_until_cancelled(acceptor.accept(stream)).await {
        Some(Ok(stream)) => link::serve(hub, stream, visitor, stop).await,
        Some(Err(err)) => debug!(remote = %visitor.remote, "No TLS: {err}"),
        None => {}
    }
}

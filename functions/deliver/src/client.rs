//! The HTTP client that talks to strangers. It defends itself: addresses are filtered in the resolver, redirects are not
//! followed, one time limit covers everything from the look-up to the last byte, and no answer is read without end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, redirect};
use rustls::{ClientConfig, RootCertStore};
use tracing::{error, warn};

use crate::boundary::Boundary;
use crate::failure::Failure;
use crate::receiver::{Answer, Answering, Content, Limits, Request, Transport};

/// How much of an answer is kept, and read at all.
pub(crate) const ANSWER_BYTES: usize = 4096;
const USER_AGENT: &str = concat!("EasyConnect/", env!("CARGO_PKG_VERSION"));
/// Many receivers close an idle connection after a few seconds more; using one at that moment would cost an attempt.
const KEEP_IDLE: Duration = Duration::from_secs(15);

/// One for the life of the environment, so that connections stay warm.
///
/// Reading the system's root certificates takes as long as the rest of a cold start, so a thread does it while the function
/// already asks for its first work.
#[derive(Clone, Debug)]
pub(crate) struct Webhooks {
    client: Arc<LazyLock<Result<Client, BuildError>, Build>>,
}

type Build = Box<dyn FnOnce() -> Result<Client, BuildError> + Send>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("the TLS library does not offer what it should")]
    Tls(#[from] rustls::Error),
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
}

impl Webhooks {
    pub(crate) fn new(boundary: &Arc<Boundary>, limits: Limits) -> Self {
        Self::with_resolver(Resolver { boundary: Arc::clone(boundary), look_up }, limits)
    }

    fn with_resolver(resolver: Resolver, limits: Limits) -> Self {
        let build: Build = Box::new(move || build(resolver, limits));
        let client = Arc::new(LazyLock::new(build));
        let early = Arc::clone(&client);
        std::thread::spawn(move || LazyLock::force(&early).is_ok());
        Self { client }
    }

    fn client(&self) -> Result<&Client, Failure> {
        LazyLock::force(&self.client).as_ref().map_err(|error| {
            error!(cause = %error, "Webhooks cannot be sent");
            Failure::NoClient
        })
    }
}

impl Transport for Webhooks {
    fn send(&self, request: Request, at: Timestamp) -> Answering<'_> {
        Box::pin(async move {
            let (client, Request { url, headers, content }) = (self.client()?, request);
            let request = match content {
                Content::Json(body) => client.post(url).header(CONTENT_TYPE, "application/json").body(body),
                Content::Query => client.get(url),
            };
            let response = request.headers(headers).send().await.map_err(|error| Failure::of(&error))?;
            Ok(Answer::read(response, at).await)
        })
    }
}

fn build(resolver: Resolver, limits: Limits) -> Result<Client, BuildError> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls()?)
        .https_only(!resolver.boundary.http)
        .dns_resolver(resolver)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(USER_AGENT)
        .connect_timeout(limits.connect)
        .timeout(limits.total)
        .pool_idle_timeout(KEEP_IDLE)
        .build()?;
    Ok(client)
}

impl Answer {
    /// The status decides, so a body that breaks off or does not end changes nothing.
    async fn read(mut response: Response, now: Timestamp) -> Self {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), now);
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = ANSWER_BYTES - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() >= room {
                break;
            }
        }
        let mut text = String::from_utf8_lossy(&body).into_owned();
        text.truncate(text.floor_char_boundary(ANSWER_BYTES)); // Replacement characters are longer than what they replace.
        Self { status, retry_after, text }
    }
}

/// Seconds, or an HTTP date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::parse(text).ok()?.timestamp();
    Duration::try_from(date.duration_since(now)).ok()
}

fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        warn!("No root certificates on this system: https webhooks cannot be verified");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Answers only with addresses inside the boundary; what is connected to is what was checked.
#[derive(Clone, Debug)]
struct Resolver {
    boundary: Arc<Boundary>,
    look_up: fn(Name) -> LookUp,
}

type LookUp = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Asks the system.
fn look_up(name: Name) -> LookUp {
    Box::pin(async move { Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.collect()) })
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (boundary, found) = (Arc::clone(&self.boundary), (self.look_up)(name));
        Box::pin(async move {
            let found = found.await.map_err(|_| Failure::Unresolved)?;
            if found.is_empty() {
                return Err(Failure::Unresolved.into());
            }
            let permitted: Vec<SocketAddr> =
                found.into_iter().filter(|address| boundary.permits(address.ip())).collect();
            if permitted.is_empty() {
                return Err(Failure::Forbidden.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;

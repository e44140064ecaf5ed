//! The network on the way to AWS: names, ports, the proxy where there is one, and certificates.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use aws_config::SdkConfig;
use hyper::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::destinations::destinations;
use super::report::CheckReport;
use super::steps::{CLOCK_FIX, within};
use crate::config::{AwsConfig, Config};
use crate::pbx::tcp::{self, Stream};
use crate::pbx::tls::{self, Untrusted};

/// Longer is no answer of a proxy.
const LONGEST_HEAD: usize = 16 << 10;

/// A host and its port.
type HostPort = (String, u16);

/// A server of AWS, and the proxy that leads to it.
struct AwsServer {
    host_port: HostPort,
    is_secure: bool,
    proxy: Option<Intercept>,
}

impl AwsServer {
    /// The way that the SDK takes to this URL.
    fn of(url: &str, aws: &AwsConfig) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let proxy =
            aws.proxy_url().ok()?.and_then(|proxy| Matcher::builder().https(proxy.expose()).build().intercept(&uri));
        Some(Self { host_port: host_port(&uri)?, is_secure: uri.scheme_str() == Some("https"), proxy })
    }

    /// Whom this machine has to reach itself.
    fn door(&self) -> Option<HostPort> {
        self.proxy.as_ref().map_or_else(|| Some(self.host_port.clone()), |proxy| host_port(proxy.uri()))
    }
}

fn host_port(uri: &Uri) -> Option<HostPort> {
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    Some((uri.host()?.trim_matches(['[', ']']).to_owned(), port))
}

/// Goes as far as requests come. Returns whether they arrive.
pub(super) async fn check(config: &Config, sdk: &SdkConfig, report: &mut CheckReport) -> bool {
    let hop = report.begin("aws-dns");
    let mut targets: BTreeMap<HostPort, AwsServer> = BTreeMap::new();
    for url in destinations(sdk).await {
        let Some(target) = url.and_then(|url| AwsServer::of(&url, &config.aws)) else {
            let fix = "correct `aws.region` and, if it is set, `aws.endpoint_url`";
            report.broken(hop, "these settings name no place where AWS could be", fix);
            return false;
        };
        targets.insert(target.host_port.clone(), target);
    }
    let doors: BTreeSet<HostPort> = targets.values().filter_map(AwsServer::door).collect();
    let has_proxy = targets.values().any(|target| target.proxy.is_some());
    let mut known: BTreeMap<HostPort, Vec<SocketAddr>> = BTreeMap::new();
    let mut details = Vec::new();
    for (host, port) in doors {
        let addresses = match within(tcp::resolve(&host, port)).await {
            Ok(addresses) => addresses,
            Err(error) => {
                let fix = if has_proxy {
                    "correct the host of `aws.proxy`, or make this machine's DNS (or /etc/hosts) know it"
                } else {
                    "correct `aws.region` (or `aws.endpoint_url`), or make this machine's DNS know the name; where only a proxy knows \
                     it, set `aws.proxy`"
                };
                report.broken(hop, format!("{error:#}"), fix);
                return false;
            }
        };
        let list: BTreeSet<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        details.push(format!("{host} is {}", list.into_iter().collect::<Vec<_>>().join(", ")));
        known.insert((host, port), addresses);
    }
    report.good(hop, details.join("; "));

    let hop = report.begin("aws-tcp");
    let mut streams: Vec<(AwsServer, Box<dyn Stream>)> = Vec::new();
    for target in targets.into_values() {
        let (host, port) = target.door().unwrap_or_default();
        let addresses = known.get(&(host.clone(), port)).map(Vec::as_slice).unwrap_or_default();
        match within(tcp::reach(&host, port, addresses)).await {
            Ok(tcp) => streams.push((target, Box::new(tcp))),
            Err(error) => {
                let fix = if has_proxy {
                    format!(
                        "correct host and port of `aws.proxy`, start the proxy, and let this machine reach its port {port} (firewall)"
                    )
                } else {
                    format!(
                        "let this machine reach port {port} of {host} (firewall); where only a proxy leads there, set `aws.proxy`"
                    )
                };
                report.broken(hop, format!("{error:#}"), fix);
                return false;
            }
        }
    }
    let doors: BTreeSet<String> =
        streams.iter().filter_map(|(target, _)| target.door()).map(|(host, port)| format!("{host}:{port}")).collect();
    report.good(hop, format!("{} answers", doors.into_iter().collect::<Vec<_>>().join(", ")));

    let hop = report.begin("aws-proxy");
    let trust = tls::system_config();
    let mut tunnels = Vec::new();
    for (target, stream) in streams {
        let Some(proxy) = &target.proxy else {
            tunnels.push((target, stream));
            continue;
        };
        match within(tunnel(stream, proxy, &target.host_port, trust.as_ref().ok())).await {
            Ok(ProxyAnswer::Tunnel(stream)) => tunnels.push((target, stream)),
            Ok(ProxyAnswer::Refusal(code)) => {
                let (host, port) = &target.host_port;
                let detail = format!("the proxy answers {code} when it is asked for a tunnel to {host}:{port}");
                report.broken(hop, detail, refusal_fix(code, host, *port));
                return false;
            }
            Err(error) => {
                report.broken(hop, format!("{error:#}"), "let host and port of `aws.proxy` be those of an HTTP proxy");
                return false;
            }
        }
    }
    report.good(hop, if has_proxy { "it makes tunnels to AWS" } else { "none is used" });

    let hop = report.begin("aws-tls");
    let trust = match trust {
        Ok(trust) => trust,
        Err(error) => {
            report.broken(hop, format!("{error:#}"), "install the package ca-certificates");
            return false;
        }
    };
    let mut is_secure = true;
    for (target, stream) in tunnels {
        is_secure &= target.is_secure;
        let host = &target.host_port.0;
        if !target.is_secure {
            continue;
        }
        if let Err(error) = within(secure(stream, host, &trust)).await {
            match error.downcast_ref::<Untrusted>() {
                Some(untrusted) => report.broken(hop, why(host, untrusted), distrust_fix(&untrusted.reason)),
                None => report.broken(hop, format!("{error:#}"), OPENED_FIX),
            }
            return false;
        }
    }
    report.good(
        hop,
        if is_secure {
            "trusted by this system's authorities"
        } else {
            "not encrypted, because `aws.endpoint_url` is http://"
        },
    );
    true
}

enum ProxyAnswer {
    Tunnel(Box<dyn Stream>),
    /// A status of HTTP.
    Refusal(u16),
}

/// Asks the proxy to pass on what follows, as the SDK does.
async fn tunnel(
    mut stream: Box<dyn Stream>,
    proxy: &Intercept,
    (host, port): &HostPort,
    trust: Option<&Arc<ClientConfig>>,
) -> anyhow::Result<ProxyAnswer> {
    if proxy.uri().scheme_str() == Some("https") {
        let trust = trust.context("this system has no certificate authorities to trust a proxy by")?;
        stream = secure(stream, proxy.uri().host().unwrap_or_default(), trust).await?;
    }
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(password) = proxy.basic_auth() {
        request.extend([b"Proxy-Authorization: ", password.as_bytes(), b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    stream.write_all(&request).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < LONGEST_HEAD, NO_PROXY);
        head.push(stream.read_u8().await.context(NO_PROXY)?);
    }
    // `HTTP/1.1 200 Connection established`. The words are the proxy's own, so they are not repeated.
    let head = String::from_utf8_lossy(&head).into_owned();
    let code = head.strip_prefix("HTTP/1.").and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    match code.context(NO_PROXY)? {
        200..=299 => Ok(ProxyAnswer::Tunnel(stream)),
        code => Ok(ProxyAnswer::Refusal(code)),
    }
}

const NO_PROXY: &str = "what answers there is no HTTP proxy";

fn refusal_fix(code: u16, host: &str, port: u16) -> String {
    match code {
        407 => "set `aws.proxy` to http://USER@HOST:PORT with a user whom the proxy knows, and `aws.proxy_password_file` to a file with \
                the password"
            .to_owned(),
        500..=599 => format!(
            "let the proxy know the name {host} and reach its port {port}; if there is no such name, correct `aws.region` (or \
             `aws.endpoint_url`)"
        ),
        _ => format!("let the proxy allow CONNECT to {host}:{port}"),
    }
}

async fn secure(stream: Box<dyn Stream>, host: &str, trust: &Arc<ClientConfig>) -> anyhow::Result<Box<dyn Stream>> {
    let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is no name of a server"))?;
    match TlsConnector::from(trust.clone()).connect(name, stream).await {
        Ok(secured) => Ok(Box::new(secured)),
        Err(error) => match Untrusted::of(&error).cloned() {
            Some(untrusted) => Err(untrusted.into()),
            None => Err(error).with_context(|| format!("the TLS handshake with {host} failed")),
        },
    }
}

fn why(host: &str, untrusted: &Untrusted) -> String {
    let issuer = &untrusted.issuer;
    match &untrusted.reason {
        CertificateError::UnknownIssuer => {
            format!("the certificate of {host} was issued by {issuer}, whom this machine does not trust")
        }
        reason => format!("the certificate of {host}, issued by {issuer}, is refused: {reason}"),
    }
}

const OPENED_FIX: &str = "a proxy or firewall on the way opens the encryption: let it pass AWS on unopened, or make this machine trust \
     its authority (a file NAME.crt in /usr/local/share/ca-certificates, then update-ca-certificates)";

fn distrust_fix(reason: &CertificateError) -> &'static str {
    match reason {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => CLOCK_FIX,
        _ => OPENED_FIX,
    }
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region};
    use tokio::io::{AsyncBufReadExt, BufReader, duplex};

    use super::*;

    fn aws(lines: &str) -> AwsConfig {
        let text = format!("events_queue_url = \"\"\ncommands_queue_url = \"\"\nexchange_table = \"\"\n{lines}");
        toml::from_str(&text).expect("the table `aws`")
    }

    fn host_port(host: &str, port: u16) -> HostPort {
        (host.to_owned(), port)
    }

    #[tokio::test]
    async fn requests_go_where_region_and_endpoint_say() {
        let sdk = || SdkConfig::builder().behavior_version(BehaviorVersion::latest()).region(Region::new("eu-west-1"));
        let url = |url: &str| Some(url.to_owned());
        let found = destinations(&sdk().build()).await;
        assert_eq!(
            found,
            [url("https://sqs.eu-west-1.amazonaws.com/"), url("https://dynamodb.eu-west-1.amazonaws.com/")]
        );
        let found = destinations(&sdk().endpoint_url("http://127.0.0.1:1").build()).await;
        assert_eq!(found, [url("http://127.0.0.1:1/"), url("http://127.0.0.1:1/")]);
        assert_eq!(destinations(&sdk().endpoint_url("no URL").build()).await, [None, None]);
    }

    #[test]
    fn a_proxy_is_in_front_of_what_is_encrypted() {
        let direct = AwsServer::of("https://sqs.test/", &aws("")).expect("a target");
        assert_eq!((direct.door(), direct.is_secure), (Some(host_port("sqs.test", 443)), true));
        let local = AwsServer::of("http://[::1]:4566/", &aws("proxy = \"http://proxy.test:3128\"")).expect("a target");
        assert_eq!((local.door(), local.is_secure), (Some(host_port("::1", 4566)), false));
        let behind = AwsServer::of("https://sqs.test/", &aws("proxy = \"http://u@proxy.test\"")).expect("a target");
        assert_eq!((behind.door(), behind.host_port), (Some(host_port("proxy.test", 80)), host_port("sqs.test", 443)));
    }

    /// What a proxy is asked that answers this.
    async fn ask(answer: &'static [u8]) -> (String, anyhow::Result<ProxyAnswer>) {
        let (near, far) = duplex(1 << 10);
        let file = std::env::temp_dir().join(format!("easyconnect-proxy-{}", uuid::Uuid::new_v4()));
        std::fs::write(&file, "h%41:/@h\n").expect("a file");
        let lines = format!("proxy = \"http://a%40b@proxy.test\"\nproxy_password_file = {file:?}");
        let target = AwsServer::of("https://sqs.test/", &aws(&lines)).expect("a target");
        std::fs::remove_file(&file).expect("the file is removed");
        let proxy = async move {
            let mut far = BufReader::new(far);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                far.read_line(&mut head).await.expect("a line");
            }
            far.write_all(answer).await.expect("the answer is read");
            head
        };
        let intercept = target.proxy.as_ref().expect("a proxy");
        tokio::join!(proxy, tunnel(Box::new(near), intercept, &target.host_port, None))
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_a_tunnel() {
        let (head, answer) = ask(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await;
        let asked = "CONNECT sqs.test:443 HTTP/1.1\r\nHost: sqs.test:443\r\nProxy-Authorization: Basic YUBiOmglNDE6L0Bo\r\n\r\n";
        assert_eq!(head, asked);
        assert!(matches!(answer, Ok(ProxyAnswer::Tunnel(_))));
        let (_, answer) = ask(b"HTTP/1.0 407 \x1b[31mNo\r\n\r\n").await;
        assert!(matches!(answer, Ok(ProxyAnswer::Refusal(407))));
        for no_proxy in [&b"220 mail.test ESMTP\r\n\r\n"[..], b"HTTP/1.1 no\r\n\r\n", b"HTTP/1.1 200"] {
            let (_, answer) = ask(no_proxy).await;
            assert_eq!(answer.err().map(|error| error.to_string()).as_deref(), Some(NO_PROXY));
        }
    }
}

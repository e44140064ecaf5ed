//! An HTTP proxy of a company network, and behind it the cloud as AWS shows it: by a name that only the proxy can resolve, with TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The cloud's name behind the proxy.
const HOST: &str = "cloud.easyconnect.test";
/// Who may use the proxy.
const USER: &str = "agent";
const PASSWORD: &str = "hush-hush";

#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    /// The certificate of the cloud.
    pub ca_pem: String,
    server: JoinHandle<()>,
}

impl Tunnel {
    /// Tunnels to the host and port of `upstream`.
    pub async fn start(upstream: &str) -> Self {
        let upstream = upstream.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key))
            .expect("a TLS configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, acceptor) = (upstream.clone(), acceptor.clone());
                // A client that goes away ends its tunnel; that is no failure of the proxy.
                tokio::spawn(async move { drop(serve(client, &upstream, &acceptor).await) });
            }
        });
        Self { address, ca_pem: made.cert.pem(), server }
    }

    /// What an agent's configuration says to use the proxy. The password is put into a file of this folder.
    pub fn lines(&self, folder: &Path) -> String {
        let file = folder.join("proxy-password");
        std::fs::write(&file, PASSWORD).expect("a file");
        format!("proxy = \"http://{USER}@{}\"\nproxy_password_file = {file:?}", self.address)
    }

    /// The same of somebody whom the proxy does not know.
    pub fn lines_without_password(&self) -> String {
        format!("proxy = \"http://{}\"", self.address)
    }

    /// The cloud behind the proxy.
    pub fn endpoint() -> String {
        format!("https://{HOST}")
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(client: TcpStream, upstream: &str, acceptor: &TlsAcceptor) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = head.to_lowercase();
    let authorization =
        format!("proxy-authorization: basic {}\r\n", BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}")))
            .to_lowercase();
    let answer = match head.lines().next() {
        Some(line) if !line.starts_with(&format!("connect {HOST}:443 ")) => "HTTP/1.1 403 Forbidden",
        _ if !head.contains(&authorization) => "HTTP/1.1 407 Proxy Authentication Required",
        _ => "HTTP/1.1 200 Connection established",
    };
    client.write_all(format!("{answer}\r\n\r\n").as_bytes()).await?;
    if answer.contains(" 200 ") {
        let mut cloud = TcpStream::connect(upstream).await?;
        let mut client = acceptor.accept(client).await?;
        copy_bidirectional(&mut client, &mut cloud).await?;
    }
    Ok(())
}

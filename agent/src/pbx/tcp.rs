//! TCP connections: DNS and connect as separate steps, so that `check` can tell which one fails.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

/// A connection, with or without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub async fn resolve(host: &str, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    let found = lookup_host((host, port)).await;
    let addresses: Vec<SocketAddr> = found.with_context(|| format!("the name {host} is not known"))?.collect();
    ensure!(!addresses.is_empty(), "the name {host} has no address");
    Ok(addresses)
}

/// Connects to the first of a host's addresses that answers.
pub async fn reach(host: &str, port: u16, addresses: &[SocketAddr]) -> anyhow::Result<TcpStream> {
    let tcp = TcpStream::connect(addresses).await;
    let tcp = tcp.with_context(|| format!("cannot connect to {host}:{port}"))?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

//! TCP connections: DNS and connect as separate steps, so that `check` can tell which one fails.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};

/// How long an attempt is alone before the next address is tried beside it (RFC 8305).
const ALONE: Duration = Duration::from_millis(250);
const ATTEMPT_WITHIN: Duration = Duration::from_secs(5);

/// A connection, with or without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub async fn resolve(host: &str, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    let found = lookup_host((host, port)).await;
    let addresses: Vec<SocketAddr> = found.with_context(|| format!("the name {host} is not known"))?.collect();
    ensure!(!addresses.is_empty(), "the name {host} has no address");
    Ok(addresses)
}

/// Connects to the first of a host's addresses that answers. They are tried side by side, each a little later than the one before.
pub async fn reach(host: &str, port: u16, addresses: &[SocketAddr]) -> anyhow::Result<TcpStream> {
    let tcp = race(by_turns(addresses), TcpStream::connect).await;
    let tcp = tcp.with_context(|| format!("cannot connect to {host}:{port}"))?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// The two families by turns, beginning with that of the first address: a family without a way out costs one attempt.
fn by_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address: &SocketAddr| address.is_ipv6() == first_is_v6);
    let most = first.len().max(second.len());
    (0..most).flat_map(|n| [first.get(n), second.get(n)]).flatten().copied().collect()
}

async fn race<T, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let attempt = |address| {
        let connecting = connect(address);
        async move { timeout(ATTEMPT_WITHIN, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) }
    };
    let (mut attempts, mut last) = (FuturesUnordered::new(), io::Error::from(io::ErrorKind::AddrNotAvailable));
    let mut next = addresses.into_iter().peekable();
    loop {
        if attempts.is_empty() {
            let Some(address) = next.next() else { return Err(last) };
            attempts.push(attempt(address));
        }
        tokio::select! {
            Some(ended) = attempts.next() => match ended {
                Ok(connected) => return Ok(connected),
                Err(error) => {
                    last = error;
                    attempts.extend(next.next().map(attempt));
                }
            },
            () = sleep(ALONE), if next.peek().is_some() => attempts.extend(next.next().map(attempt)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().expect("an address")).collect()
    }

    #[test]
    fn families_take_turns() {
        let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        assert_eq!(by_turns(&given), addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]));
    }

    #[tokio::test(start_paused = true)]
    async fn black_hole_costs_a_quarter_of_a_second() {
        let begun = Instant::now();
        let connected = race(addresses(&["[::1]:1", "1.1.1.1:1"]), |address| async move {
            if address.is_ipv6() { pending().await } else { Ok(address) }
        });
        assert!(connected.await.expect("a connection").is_ipv4());
        assert_eq!(begun.elapsed(), ALONE);
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_costs_nothing_and_an_attempt_has_an_end() {
        let begun = Instant::now();
        let refused = |address: SocketAddr| async move {
            if address.port() == 1 { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
        };
        race(addresses(&["1.1.1.1:1", "1.1.1.1:2"]), refused).await.expect("a connection");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let never = |_| pending::<io::Result<()>>();
        let error = race(addresses(&["1.1.1.1:1", "1.1.1.1:2"]), never).await.expect_err("nobody answers");
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, ATTEMPT_WITHIN + ALONE));
    }
}

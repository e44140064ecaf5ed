//! A listener whose clients cannot exhaust the agent's descriptors: so many connections at once, each for so long.
//!
//! Every local user may connect to the health port. Beyond the limit, connections wait in the system's queue.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Monitoring needs one or two.
const CONNECTIONS: usize = 32;
/// An answer takes milliseconds; a client that wants more connects again.
const LASTS: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
    lasts: Duration,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self::with(listener, CONNECTIONS, LASTS)
    }

    fn with(listener: TcpListener, connections: usize, lasts: Duration) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(connections)), lasts }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let Ok(permit) = self.room.clone().acquire_owned().await else { return std::future::pending().await };
        // It waits a moment after an error, for example while descriptors are short.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Connection { stream, over: Box::pin(sleep(self.lasts)), _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    over: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// What a step has to return once the time is over.
    fn is_over<T>(&mut self, context: &mut Context<'_>) -> Option<Poll<io::Result<T>>> {
        let is_over = self.over.as_mut().poll(context).is_ready();
        is_over.then(|| Poll::Ready(Err(io::ErrorKind::TimedOut.into())))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(over) = self.is_over(context) {
            return over;
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(over) = self.is_over(context) {
            return over;
        }
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    async fn ask(address: SocketAddr) -> io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /live HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn clients_that_say_nothing_leave_room_for_others_after_a_while() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let bounded = Bounded::with(listener, 2, SHORT);
        let room = bounded.room.clone();
        let router = Router::new().route("/live", get(async || "live"));
        tokio::spawn(async move { axum::serve(bounded, router).await });
        assert!(ask(address).await.expect("an answer").ends_with("live"));
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(TcpStream::connect(address).await.expect("the system takes it"));
        }
        while room.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(timeout(SHORT / 3, ask(address)).await.is_err(), "there is no room");
        drop(silent);
        let answer = timeout(SHORT * 40, ask(address)).await.expect("there is room again").expect("an answer");
        assert!(answer.ends_with("live"), "{answer}");
    }
}

//! A byte stream on which pings of the client can be made invisible, so that nothing answers them.
//!
//! The WebSocket library answers each ping by itself. This turns the ping's opcode into that of a pong, which asks for no
//! answer; the rest of the frame stays as it is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const OPCODE: u8 = 0x0f;
const PING: u8 = 0x09;
const PONG: u8 = 0x0a;
const MASKED: u8 = 0x80;

/// What the next byte of a client's frame is.
#[derive(Debug, Clone, Copy)]
enum Next {
    Opcode,
    Length,
    /// Bytes of a longer length to come, the length so far, and the bytes of the mask behind it.
    LongLength(u8, u64, u64),
    /// Bytes to come of mask and payload.
    Rest(u64),
}

#[derive(Debug)]
pub(crate) struct PingFilter<S> {
    inner: S,
    is_on: Arc<AtomicBool>,
    /// `None` before the first frame, during the handshake.
    next: Option<Next>,
}

impl<S> PingFilter<S> {
    pub(crate) fn new(inner: S, is_on: Arc<AtomicBool>) -> Self {
        Self { inner, is_on, next: None }
    }

    /// The handshake is over: frames begin.
    pub(crate) fn begin(&mut self) {
        self.next = Some(Next::Opcode);
    }

    pub(crate) fn inner(&self) -> &S {
        &self.inner
    }
}

impl Next {
    fn after(self, byte: &mut u8, is_on: bool) -> Self {
        match self {
            Self::Opcode => {
                if is_on && *byte & OPCODE == PING {
                    *byte = *byte & !OPCODE | PONG;
                }
                Self::Length
            }
            Self::Length => {
                let mask = if *byte & MASKED == 0 { 0 } else { 4 };
                match *byte & !MASKED {
                    126 => Self::LongLength(2, 0, mask),
                    127 => Self::LongLength(8, 0, mask),
                    length => Self::rest(u64::from(length) + mask),
                }
            }
            Self::LongLength(left, length, mask) => {
                let length = length << 8 | u64::from(*byte);
                if left > 1 { Self::LongLength(left - 1, length, mask) } else { Self::rest(length + mask) }
            }
            Self::Rest(left) => Self::rest(left - 1),
        }
    }

    fn rest(left: u64) -> Self {
        if left == 0 { Self::Opcode } else { Self::Rest(left) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PingFilter<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let is_on = self.is_on.load(Ordering::Relaxed);
        if let Some(mut next) = self.next {
            for byte in &mut buf.filled_mut()[before..] {
                next = next.after(byte, is_on);
            }
            self.next = Some(next);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PingFilter<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

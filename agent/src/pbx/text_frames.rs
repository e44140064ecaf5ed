//! A byte stream on which text messages of the PBX are turned into binary ones.
//!
//! The WebSocket library refuses a text message that is not UTF-8 and ends the connection, as RFC 6455 demands. A PBX may have a name
//! in Latin-1, and sends it again after each reconnect. Of binary messages the library leaves the reading to the caller. Only the
//! opcode changes: fragments, pings, limits and masks remain the library's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const OPCODE: u8 = 0x0f;
const TEXT: u8 = 0x01;
const BINARY: u8 = 0x02;
const MASKED: u8 = 0x80;
const HANDSHAKE_END: &[u8] = b"\r\n\r\n";

/// What the next byte from the PBX is.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// A byte of the HTTP answer, behind so many bytes of the blank line that ends it.
    Handshake(usize),
    Opcode,
    Length,
    /// So many bytes of a longer length are to come; the length so far; the bytes of the mask behind it.
    LongLength(u8, u64, u64),
    /// Bytes to come of mask and payload.
    Rest(u64),
}

impl Next {
    fn after(self, byte: &mut u8) -> Self {
        match self {
            Self::Handshake(matched) if HANDSHAKE_END[matched] == *byte => {
                if matched + 1 == HANDSHAKE_END.len() {
                    Self::Opcode
                } else {
                    Self::Handshake(matched + 1)
                }
            }
            Self::Handshake(_) => Self::Handshake(usize::from(*byte == HANDSHAKE_END[0])),
            Self::Opcode => {
                if *byte & OPCODE == TEXT {
                    *byte = *byte & !OPCODE | BINARY;
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
                if left > 1 {
                    Self::LongLength(left - 1, length, mask)
                } else {
                    Self::rest(length.saturating_add(mask))
                }
            }
            Self::Rest(left) => Self::rest(left - 1),
        }
    }

    fn rest(left: u64) -> Self {
        if left == 0 { Self::Opcode } else { Self::Rest(left) }
    }
}

#[derive(Debug)]
pub(super) struct TextFrames<S> {
    inner: S,
    next: Next,
}

impl<S> TextFrames<S> {
    /// The HTTP answer is still to come.
    pub(super) fn new(inner: S) -> Self {
        Self { inner, next: Next::Handshake(0) }
    }

    #[cfg(test)]
    pub(super) fn behind_handshake(inner: S) -> Self {
        Self { inner, next: Next::Opcode }
    }

    fn read(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            // A payload is passed over at once.
            if let Next::Rest(left) = self.next {
                let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.next = Next::rest(left - skipped as u64);
                at += skipped;
            } else {
                self.next = self.next.after(&mut bytes[at]);
                at += 1;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TextFrames<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.read(&mut buf.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TextFrames<S> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, whatever parts it comes in.
    fn check(given: &[u8], expected: &[u8]) {
        for size in [1, 2, 3, 7, given.len()] {
            let (mut filter, mut bytes) = (TextFrames::new(()), given.to_vec());
            bytes.chunks_mut(size).for_each(|part| filter.read(part));
            assert_eq!(bytes, expected, "in parts of {size}");
        }
    }

    #[test]
    fn only_the_opcode_of_text_changes() {
        let long = vec![0x81; 300];
        let frames = |text: u8| {
            let head: &[u8] = b"HTTP/1.1 101 \x81\r\n\r\r\nX: \x81\r\n\r\n";
            // A text, a ping, a text in two parts, a long text, and one with a mask.
            let parts: [&[u8]; 8] = [
                head,
                &[0x80 | text, 2, 0x81, 0xfc],
                &[0x89, 1, 0x81],
                &[text, 1, 0x81, 0x80, 1, 0x81],
                &[0x80 | text, 126, 1, 44],
                &long,
                &[0x80 | text, 0x81, 1, 2, 3, 4, 0x81],
                &[0x80 | text, 0],
            ];
            parts.concat()
        };
        check(&frames(TEXT), &frames(BINARY));
    }
}

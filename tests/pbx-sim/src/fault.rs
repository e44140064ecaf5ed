//! What can go wrong with a connection on purpose.

/// A fault of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The TCP connection closes without a WebSocket close.
    Drop,
    /// The socket stays open; nothing is sent or answered any more, not even pings.
    Silent,
    /// A text frame that is no JSON object.
    Garbage(String),
    /// Half a frame, then a reset.
    CutMidFrame,
}

//! What the outbox tells of itself.

use jiff::Timestamp;

/// How the outbox is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Events that the queue has not accepted yet.
    pub depth: u64,
    /// When the oldest of them occurred.
    pub oldest: Option<Timestamp>,
    /// What they take up on disk, and how much that may be.
    pub bytes: u64,
    pub cap: u64,
    /// Events that are in memory alone.
    pub unwritten: u64,
    /// Events given up for lack of space, since the file was begun.
    pub dropped: u64,
    /// Events that the queue will never take, since the file was begun.
    pub refused: u64,
    /// Synced writes since the start.
    pub writes: u64,
    pub problem: Option<String>,
}

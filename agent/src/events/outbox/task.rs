//! What the outbox's thread is told.

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::event::{OutboxEvent, Settled};
use crate::calls::Changes;

#[derive(Debug)]
pub(super) enum OutboxTask {
    Put(Put),
    Settle(Vec<(u64, Settled)>),
    Flush(oneshot::Sender<()>),
    /// Whether tasks are still taken.
    Probe(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(super) struct Put {
    pub events: Vec<OutboxEvent>,
    pub changes: Changes,
    pub now: Timestamp,
    /// What the inflow counts it as.
    pub bytes: u64,
}

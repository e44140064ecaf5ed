//! An event in the outbox and in the uplink's hands.

use jiff::Timestamp;
use shared::event::CallEvent;
use shared::event::message::{self, EventTag};

/// Events that the uplink may have at once.
pub const WINDOW: usize = 256;

/// An event on its way to the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Its position in the outbox. Later events have greater numbers, also after a restart with a backlog.
    pub number: u64,
    pub tag: EventTag,
    pub occurred_at: Timestamp,
    /// The text of the message.
    pub body: String,
}

impl OutboxEvent {
    pub(super) fn new(event: &CallEvent) -> Self {
        Self {
            number: 0,
            tag: event.into(),
            occurred_at: event.occurred_at,
            body: message::seal(event).expect("an event is always JSON"),
        }
    }
}

/// What became of an event in the uplink's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Accepted,
    /// The queue will never take it.
    Refused,
}

/// An event in the uplink's hands.
#[derive(Debug)]
pub(super) struct HandedEvent {
    pub rank: u8,
    pub occurred_at: Timestamp,
    /// It was given up for lack of space meanwhile, and counted.
    pub dropped: bool,
}

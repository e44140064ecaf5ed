//! What the uplink has been given: events that it has not settled yet, and how far it has come in what is on disk.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::event::{HandedEvent, OutboxEvent, WINDOW};

#[derive(Debug)]
pub(super) struct Handing {
    to_uplink: mpsc::UnboundedSender<OutboxEvent>,
    /// The number of the last event that the uplink got; those that it gets while what is on disk cannot be read do not count.
    pub cursor: u64,
    handed: BTreeMap<u64, HandedEvent>,
}

impl Handing {
    pub(super) fn new(to_uplink: mpsc::UnboundedSender<OutboxEvent>) -> Self {
        Self { to_uplink, cursor: 0, handed: BTreeMap::new() }
    }

    pub(super) fn hand(&mut self, event: OutboxEvent) {
        let handed = HandedEvent { rank: event.tag.rank, occurred_at: event.occurred_at, dropped: false };
        self.handed.insert(event.number, handed);
        let _ = self.to_uplink.send(event);
    }

    /// The uplink has done with an event.
    pub(super) fn settled(&mut self, number: u64) -> Option<HandedEvent> {
        self.handed.remove(&number)
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.handed.contains_key(&number)
    }

    /// Whether the uplink has had an event and is done with it.
    pub(super) fn is_behind(&self, number: u64) -> bool {
        number <= self.cursor && !self.has(number)
    }

    /// How many events the uplink may get.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.handed.len())
    }

    /// Events are read from disk in portions, so that each event of a backlog does not cost a look at the disk.
    pub(super) fn has_room_for_a_portion(&self) -> bool {
        self.handed.len() <= WINDOW / 2
    }

    /// These events had to go for lack of space. The uplink may send them all the same.
    pub(super) fn dropped(&mut self, numbers: &[u64]) {
        for number in numbers {
            if let Some(handed) = self.handed.get_mut(number) {
                handed.dropped = true;
            }
        }
    }

    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.handed.values().next().map(|handed| handed.occurred_at)
    }
}

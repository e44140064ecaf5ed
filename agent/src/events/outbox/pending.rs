//! What is not on disk yet, and what is given up of it when the disk takes nothing for long.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::event::OutboxEvent;
use super::store::WriteBatch;
use crate::calls::{Changes, RecordKey};

/// Bytes of events that wait in memory while the disk refuses them.
pub const MEMORY_CAP: u64 = 8 << 20;
/// Changes of records that wait for a disk that refuses. With more, those that are needed least are given up.
pub(super) const RECORDS: usize = 8_192;
/// Events that are removed in one transaction when space is short: it frees more than it needs itself.
const PORTION: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Pending {
    pub events: Vec<OutboxEvent>,
    pub changes: Changes,
    /// Events on disk that the queue has accepted or will never take, each with its rank. No more than the disk had when it began to refuse.
    pub done: BTreeMap<u64, u8>,
    pub dropped: i64,
    pub refused: u64,
    pub seen: i64,
    /// Since when something waits that a crash would lose.
    pub since: Option<Instant>,
    /// Since when an event waits to leave the disk. A crash in that time has it sent once more, and the queue drops the copy.
    pub done_since: Option<Instant>,
    /// Events up to this number were in a transaction that failed, and may have reached the disk all the same.
    pub tried: u64,
    /// How many changes were left when some were given up last.
    left: usize,
}

impl Pending {
    pub(super) fn batch(&self) -> WriteBatch<'_> {
        let done = self.done.iter().map(|(number, rank)| (*number, *rank)).collect();
        let Self { events, changes, dropped, refused, seen, .. } = self;
        WriteBatch { events, changes, done, dropped: *dropped, refused: *refused, seen: *seen }
    }

    /// Some of the events that may leave the disk.
    pub(super) fn portion_done(&self) -> Vec<(u64, u8)> {
        self.done.iter().take(PORTION).map(|(number, rank)| (*number, *rank)).collect()
    }

    /// The queue has accepted this event or will never take it.
    pub(super) fn settle(&mut self, number: u64, rank: u8) {
        let waits = self.events.binary_search_by_key(&number, |event| event.number);
        if let Ok(at) = waits {
            self.events.remove(at);
        }
        if waits.is_err() || number <= self.tried {
            self.done.insert(number, rank);
        }
    }

    /// What a failed transaction wrote shows when the store is opened again: its greatest number tells.
    pub(super) fn is_on_disk_up_to(&mut self, greatest: u64) {
        let written = greatest.min(self.tried);
        self.events.retain(|event| event.number > written);
        self.tried = 0;
    }

    /// Lets events go until the rest fits into memory. Returns their numbers.
    pub(super) fn trim_events(&mut self) -> Vec<u64> {
        let mut bytes: u64 = self.events.iter().map(|event| event.body.len() as u64).sum();
        let mut dropped = Vec::new();
        while bytes > MEMORY_CAP
            && let Some(at) = self.least_worthy()
        {
            let event = self.events.remove(at);
            bytes -= event.body.len() as u64;
            dropped.push(event.number);
        }
        self.dropped += i64::try_from(dropped.len()).unwrap_or(i64::MAX);
        dropped
    }

    /// The event that is given up first.
    fn least_worthy(&self) -> Option<usize> {
        (0..self.events.len()).min_by_key(|at| (self.events[*at].tag.rank, *at))
    }

    pub(super) fn has_many_changes(&self) -> bool {
        self.changes.len() > RECORDS.max(2 * self.left)
    }

    /// Gives changes up: first that a record goes which is not on disk, then all about spots, which the table has as well and a
    /// restart asks for. What stays is one for each call that runs, or whose record is on disk.
    pub(super) fn trim_changes(&mut self, is_on_disk: impl Fn(&RecordKey) -> bool) {
        self.changes.retain(|key, text| text.is_some() || is_on_disk(key));
        if self.changes.len() > RECORDS {
            self.changes.retain(|key, _| matches!(key, RecordKey::Call(_)));
        }
        self.left = self.changes.len();
    }
}

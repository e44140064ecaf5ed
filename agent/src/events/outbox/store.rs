//! The outbox's database: what is done with it at once, and what of it can be read, damaged or not.
//!
//! The whole file is read and checked whenever it is opened. The database could open faster by trusting what was written last, but a disk
//! that lies about its syncs makes that trust fatal. A gigabyte takes one to two seconds.
//!
//! Unreadable records are skipped, so that readable ones are still sent. What can be read later follows late, and out of the order of its
//! call.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend};
use shared::ids::CallId;
use shared::time::from_millis;
use tracing::warn;
use uuid::Uuid;

use super::event::OutboxEvent;
use super::file::Medium;
use super::shadow::Shadow;
use super::tables::{
    CALLS, EVENTS, Events, Figures, SPOTS, depth, make_room, put_changes, put_events, read_figures, remove_events,
    waiting, write_figures,
};
use crate::calls::{Changes, RecordKey, Records};
use crate::host::disk;

/// The library's cache is large by default, and nothing here is read twice.
const CACHE: usize = 512 << 10;
/// A file that has been larger than this returns its space once next to nothing is left in it.
const LARGE: u64 = 64 << 20;
/// Events that are copied out of a damaged file in one transaction.
const COPY: usize = 500;

#[derive(Clone, Copy, Debug)]
pub(super) struct StoreLimits {
    /// Bytes that events may take.
    pub cap: u64,
    pub large: u64,
}

impl StoreLimits {
    pub(super) fn with_cap(cap: u64) -> Self {
        Self { cap, large: LARGE }
    }
}

/// Why the disk did not do what it should.
#[derive(Debug)]
pub(super) enum StoreError {
    /// It is full, read-only or failing: what was to be written is not written, and opening it again may help.
    Refused(String),
    /// There is no such place, or it is not the agent's.
    Denied(String),
    /// What is there cannot be right.
    Damaged(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) | Self::Denied(reason) | Self::Damaged(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        let reason = error.to_string();
        match error {
            redb::Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => Self::Damaged(reason),
            redb::Error::Io(error) if disk::is_wrong_place(&error) => Self::Denied(reason),
            redb::Error::Io(_)
            | redb::Error::Backend(_)
            | redb::Error::PreviousIo
            | redb::Error::DatabaseAlreadyOpen
            | redb::Error::DatabaseClosed
            | redb::Error::TransactionPoisoned => Self::Refused(reason),
            _ => Self::Damaged(reason),
        }
    }
}

/// What goes into one transaction.
#[derive(Debug)]
pub(super) struct WriteBatch<'a> {
    pub events: &'a [OutboxEvent],
    pub changes: &'a Changes,
    /// Events that the queue has accepted or will never take, each with its rank.
    pub done: Vec<(u64, u8)>,
    /// Events that were given up, or turned out not to be after all.
    pub dropped: i64,
    pub refused: u64,
    pub seen: i64,
}

pub(super) struct Store {
    /// `None` only while it is being dropped.
    database: Option<Database>,
    limits: StoreLimits,
    pub figures: Figures,
    was_large: bool,
}

/// What the disk lets be done with the store.
#[derive(Debug)]
pub(super) enum Access {
    Write(Store),
    /// It refuses to be written to.
    Read(Store),
    /// It refuses to be written to, and has not been asked what can be read.
    Closed,
    /// It refuses everything.
    Nothing,
}

impl Access {
    pub(super) fn store(&self) -> Option<&Store> {
        match self {
            Self::Write(store) | Self::Read(store) => Some(store),
            Self::Closed | Self::Nothing => None,
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("limits", &self.limits).field("figures", &self.figures).finish_non_exhaustive()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let database = self.database.take();
        let _ = guarded(|| {
            drop(database);
            Ok(())
        });
    }
}

impl Store {
    pub(super) fn open<M: Medium>(medium: &M, limits: StoreLimits) -> Result<Self, StoreError> {
        let mut is_new = false;
        let opened = guarded(|| {
            let backend = medium.open()?;
            is_new = backend.len()? == 0;
            Self::over(backend, limits)
        });
        if opened.is_err() && is_new {
            medium.discard(); // Half a file would be taken for a damaged one.
        }
        let mut store = opened?;
        store.give_back();
        Ok(store)
    }

    /// Opens what is there without writing to it; nothing, if nothing is there. It serves to be read alone: what is written to it
    /// is gone when it is dropped.
    pub(super) fn open_to_read<M: Medium>(medium: &M, limits: StoreLimits) -> Result<Self, StoreError> {
        guarded(|| Self::over(Shadow::over(medium.look()?)?, limits))
    }

    fn over(backend: impl StorageBackend, limits: StoreLimits) -> Result<Self, redb::Error> {
        let was_large = backend.len()? > limits.large;
        let database = Builder::new()
            .set_cache_size(CACHE)
            // Everything is read and checked, however the last run ended: what the disk has lost or mixed up must not come to
            // light later.
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map_err(redb::Error::from)?;
        let write = database.begin_write()?;
        let Some(figures) = read_figures(&write)? else {
            return Err(redb::Error::Corrupted("another version of the agent has written it".to_owned()));
        };
        write.commit()?;
        Ok(Self { database: Some(database), limits, figures, was_large })
    }

    /// Returns the space of a backlog that is gone.
    fn give_back(&mut self) {
        self.was_large |= self.figures.bytes > self.limits.large;
        if !self.was_large || self.figures.bytes >= self.limits.large / 64 {
            return;
        }
        self.was_large = false;
        let Some(database) = &mut self.database else { return };
        // What was to be written is written; if this fails, the next transaction will say so.
        if let Err(error) = guarded(|| Ok(database.compact()?)) {
            warn!("The outbox does not return its space: {error}");
        }
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("it is there until the store is dropped")
    }

    /// Writes all of it or nothing. Returns the numbers of the events that had to go for lack of space.
    pub(super) fn commit(&mut self, batch: &WriteBatch<'_>) -> Result<Vec<u64>, StoreError> {
        let (figures, dropped) = guarded(|| {
            let write = self.database().begin_write()?;
            let mut figures = self.figures;
            put_events(&write, batch.events, &mut figures)?;
            remove_events(&write, &batch.done, &mut figures)?;
            put_changes(&write, batch.changes)?;
            let dropped = make_room(&write, self.limits.cap, &mut figures)?;
            figures.depth = depth(&write)?;
            figures.dropped = figures.dropped.saturating_add_signed(batch.dropped) + dropped.len() as u64;
            figures.refused += batch.refused;
            figures.seen = figures.seen.max(batch.seen);
            write_figures(&write, &figures)?;
            write.commit()?;
            Ok((figures, dropped))
        })?;
        self.figures = figures;
        self.give_back();
        Ok(dropped)
    }

    /// Up to `most` events behind this number, in order.
    pub(super) fn page(&self, behind: u64, most: usize) -> Result<Vec<OutboxEvent>, StoreError> {
        guarded(|| {
            let read = self.database().begin_read()?;
            let mut page = Vec::new();
            for (rank, table) in EVENTS {
                let table = read.open_table(table)?;
                for row in table.range(behind.saturating_add(1)..)?.take(most) {
                    let (number, row) = row?;
                    let event = waiting(number.value(), rank, row.value());
                    page.push(event.ok_or_else(|| redb::Error::Corrupted("an event is not what it was".to_owned()))?);
                }
            }
            page.sort_by_key(|event| event.number);
            page.truncate(most);
            // Pages of a disk that lost writes may be any mixture of old and new.
            let ascends =
                page.first().is_none_or(|event| event.number > behind) && page.is_sorted_by(|a, b| a.number < b.number);
            if !ascends {
                return Err(redb::Error::Corrupted("the events are out of order".to_owned()));
            }
            Ok(page)
        })
    }

    /// The greatest number of an event, 0 if there is none.
    pub(super) fn greatest(&self) -> Result<u64, StoreError> {
        guarded(|| {
            let read = self.database().begin_read()?;
            let mut greatest = 0;
            for (_, table) in EVENTS {
                greatest = greatest.max(read.open_table(table)?.last()?.map_or(0, |(number, _)| number.value()));
            }
            Ok(greatest)
        })
    }

    /// What the call core wrote down, without what there are `newer` changes of.
    pub(super) fn records(&self, newer: &Changes) -> Result<Records, StoreError> {
        guarded(|| {
            let read = self.database().begin_read()?;
            let mut records = Records::default();
            let mut unreadable = 0u32;
            for row in read.open_table(CALLS)?.iter()? {
                let (id, text) = row?;
                if !newer.contains_key(&call(id.value())) {
                    unreadable += u32::from(records.add_call(text.value()).is_err());
                }
            }
            for row in read.open_table(SPOTS)?.iter()? {
                let (key, text) = row?;
                if !newer.contains_key(&RecordKey::Spot(key.value().to_owned())) {
                    unreadable += u32::from(records.add_spot(key.value(), text.value()).is_err());
                }
            }
            if unreadable > 0 {
                warn!(unreadable, "Records of calls cannot be read; those calls may be named anew");
            }
            if self.figures.seen > 0 {
                records.seen_at(from_millis(self.figures.seen));
            }
            Ok(records)
        })
    }

    /// Whether there is a record of this.
    pub(super) fn holds(&self, key: &RecordKey) -> Result<bool, StoreError> {
        guarded(|| {
            let read = self.database().begin_read()?;
            Ok(match key {
                RecordKey::Call(id) => read.open_table(CALLS)?.get(id.as_uuid().as_u128())?.is_some(),
                RecordKey::Spot(key) => read.open_table(SPOTS)?.get(key.as_str())?.is_some(),
            })
        })
    }

    /// Copies what can be read out of a damaged store, but no event that is `done`. Returns how many events it could read.
    pub(super) fn rescue(&mut self, damaged: &Self, done: impl Fn(u64) -> bool) -> Result<usize, StoreError> {
        let changes = damaged.readable_changes();
        let Figures { dropped, refused, seen, .. } = damaged.figures;
        let dropped = i64::try_from(dropped).unwrap_or(i64::MAX);
        self.commit(&WriteBatch { events: &[], changes: &changes, done: Vec::new(), dropped, refused, seen })?;
        let nothing = Changes::new();
        let mut rescued = 0;
        for (rank, table) in EVENTS {
            // What lies between two unreadable places is out of reach; what is before and behind them is not.
            let (mut from, mut to) = (0, u64::MAX);
            for backwards in [false, true] {
                loop {
                    let mut events = damaged.readable_events(rank, table, from..to, backwards);
                    match events.last() {
                        Some(last) if backwards => to = last.number,
                        Some(last) => from = last.number + 1,
                        None => break,
                    }
                    events.retain(|event| !done(event.number));
                    rescued += events.len();
                    self.commit(&WriteBatch {
                        events: &events,
                        changes: &nothing,
                        done: Vec::new(),
                        dropped: 0,
                        refused: 0,
                        seen,
                    })?;
                }
            }
        }
        Ok(rescued)
    }

    /// Some events of a range from one of its ends on, as far as they can be read.
    fn readable_events(&self, rank: u8, table: Events, range: Range<u64>, backwards: bool) -> Vec<OutboxEvent> {
        let mut events: Vec<OutboxEvent> = Vec::new();
        let _ = guarded(|| {
            let read = self.database().begin_read()?;
            let table = read.open_table(table)?;
            let mut rows = table.range(range.clone())?;
            while events.len() < COPY
                && let Some(row) = if backwards { rows.next_back() } else { rows.next() }
            {
                let (number, row) = row?;
                let Some(event) = waiting(number.value(), rank, row.value()) else { continue };
                let follows = events
                    .last()
                    .is_none_or(|last| if backwards { event.number < last.number } else { event.number > last.number });
                if !follows || !range.contains(&event.number) {
                    break;
                }
                events.push(event);
            }
            Ok(())
        });
        events
    }

    pub(super) fn readable_changes(&self) -> Changes {
        let mut changes = Changes::new();
        let _ = guarded(|| {
            let read = self.database().begin_read()?;
            for row in read.open_table(CALLS)?.iter()? {
                let (id, text) = row?;
                changes.insert(call(id.value()), Some(text.value().to_owned()));
            }
            for row in read.open_table(SPOTS)?.iter()? {
                let (key, text) = row?;
                changes.insert(RecordKey::Spot(key.value().to_owned()), Some(text.value().to_owned()));
            }
            Ok(())
        });
        changes
    }
}

fn call(id: u128) -> RecordKey {
    RecordKey::Call(CallId::from_uuid(Uuid::from_u128(id)))
}

/// Does something with the database. It trusts what it reads and may panic over a damaged file; that is damage like any other.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Ok(result?),
        Err(_) => Err(StoreError::Damaged("the database cannot make sense of it".to_owned())),
    }
}

//! The outbox's database: one table of events for each status, the call core's records, and a few figures.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend, TableDefinition,
    WriteTransaction,
};
use shared::event::Status;
use shared::ids::{CallId, EventId};
use shared::time::from_millis;
use tracing::warn;
use uuid::Uuid;

use super::Waiting;
use super::file::Medium;
use crate::calls::{Changes, Records, Subject};

/// What the tables mean. A file with another version is set aside.
const SCHEMA: u64 = 1;
/// Call, event, when it occurred, checksum, sealed envelope.
type Row<'a> = (u128, u128, i64, u32, &'a str);
type Events = TableDefinition<'static, u64, Row<'static>>;

/// In the order in which events lose their worth.
const EVENTS: [(Status, Events); 3] = [
    (Status::Ringing, TableDefinition::new("ringing")),
    (Status::Connected, TableDefinition::new("connected")),
    (Status::Disconnected, TableDefinition::new("disconnected")),
];
const CALLS: TableDefinition<u128, &str> = TableDefinition::new("calls");
const SPOTS: TableDefinition<&str, &str> = TableDefinition::new("spots");
const FIGURES: TableDefinition<&str, u64> = TableDefinition::new("figures");

/// What an event takes on disk beside its envelope: key, ids, and its share of pages that are not full.
const ROW_OVERHEAD: u64 = 128;
/// The library's cache is large by default, and nothing here is read twice.
const CACHE: usize = 2 << 20;
/// A file that has been larger than this returns its space once next to nothing is left in it.
const LARGE: u64 = 64 << 20;
/// Events that are copied out of a damaged file in one transaction.
const COPY: usize = 500;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes that events may take.
    pub cap: u64,
    pub large: u64,
}

impl Limits {
    pub(super) fn with_cap(cap: u64) -> Self {
        Self { cap, large: LARGE }
    }
}

/// Why the disk did not do what it should.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is full, read-only or failing: what was to be written is not written, and opening it again may help.
    Refused(String),
    /// What is there cannot be right.
    Damaged(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) | Self::Damaged(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        let reason = error.to_string();
        match error {
            redb::Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => Self::Damaged(reason),
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

/// Figures that are kept with the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub depth: u64,
    pub bytes: u64,
    pub dropped: u64,
    pub refused: u64,
    /// When something was written last, in milliseconds on the cloud's clock; 0 for never.
    pub seen: i64,
}

/// What goes into one transaction.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub events: &'a [Waiting],
    pub changes: &'a Changes,
    /// Events that the queue has accepted or will never take.
    pub done: &'a [(u64, Status)],
    /// Events that were given up, or turned out not to be after all.
    pub dropped: i64,
    pub refused: u64,
    pub seen: i64,
}

pub(super) struct Store {
    /// `None` only while it is being dropped.
    database: Option<Database>,
    limits: Limits,
    pub figures: Figures,
    was_large: bool,
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
    pub(super) fn open<M: Medium>(medium: &M, limits: Limits) -> Result<Self, Trouble> {
        let mut store = guarded(|| {
            let backend = medium.open()?;
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
        })?;
        store.give_back();
        Ok(store)
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
        if let Err(trouble) = guarded(|| Ok(database.compact()?)) {
            warn!("The outbox does not return its space: {trouble}");
        }
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("it is there until the store is dropped")
    }

    /// Writes all of it or nothing. Returns the numbers of the events that had to go for lack of space.
    pub(super) fn commit(&mut self, batch: &Batch<'_>) -> Result<Vec<u64>, Trouble> {
        let (figures, dropped) = guarded(|| {
            let write = self.database().begin_write()?;
            let mut figures = self.figures;
            put_events(&write, batch.events, &mut figures)?;
            remove_events(&write, batch.done, &mut figures)?;
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
    pub(super) fn page(&self, behind: u64, most: usize) -> Result<Vec<Waiting>, Trouble> {
        guarded(|| {
            let read = self.database().begin_read()?;
            let mut page = Vec::new();
            for (status, table) in EVENTS {
                let table = read.open_table(table)?;
                for row in table.range(behind.saturating_add(1)..)?.take(most) {
                    let (number, row) = row?;
                    let event = waiting(number.value(), status, row.value());
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
    pub(super) fn greatest(&self) -> Result<u64, Trouble> {
        guarded(|| {
            let read = self.database().begin_read()?;
            let mut greatest = 0;
            for (_, table) in EVENTS {
                greatest = greatest.max(read.open_table(table)?.last()?.map_or(0, |(number, _)| number.value()));
            }
            Ok(greatest)
        })
    }

    pub(super) fn records(&self) -> Result<Records, Trouble> {
        guarded(|| {
            let read = self.database().begin_read()?;
            let mut records = Records::default();
            let mut unreadable = 0u32;
            for row in read.open_table(CALLS)?.iter()? {
                unreadable += u32::from(records.add_call(row?.1.value()).is_err());
            }
            for row in read.open_table(SPOTS)?.iter()? {
                let (key, value) = row?;
                unreadable += u32::from(records.add_spot(key.value(), value.value()).is_err());
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

    /// Copies what can be read out of a damaged store, but no event that is `done`. Returns how many events it could read.
    pub(super) fn rescue(&mut self, damaged: &Self, done: impl Fn(u64) -> bool) -> Result<usize, Trouble> {
        let changes = damaged.readable_changes();
        let Figures { dropped, refused, seen, .. } = damaged.figures;
        let dropped = i64::try_from(dropped).unwrap_or(i64::MAX);
        self.commit(&Batch { events: &[], changes: &changes, done: &[], dropped, refused, seen })?;
        let nothing = Changes::new();
        let mut rescued = 0;
        for (status, table) in EVENTS {
            // What lies between two unreadable places is out of reach; what is before and behind them is not.
            let (mut from, mut to) = (0, u64::MAX);
            for backwards in [false, true] {
                loop {
                    let mut events = damaged.readable_events(status, table, from..to, backwards);
                    match events.last() {
                        Some(last) if backwards => to = last.number,
                        Some(last) => from = last.number + 1,
                        None => break,
                    }
                    events.retain(|event| !done(event.number));
                    rescued += events.len();
                    self.commit(&Batch {
                        events: &events,
                        changes: &nothing,
                        done: &[],
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
    fn readable_events(&self, status: Status, table: Events, range: Range<u64>, backwards: bool) -> Vec<Waiting> {
        let mut events: Vec<Waiting> = Vec::new();
        let _ = guarded(|| {
            let read = self.database().begin_read()?;
            let table = read.open_table(table)?;
            let mut rows = table.range(range.clone())?;
            while events.len() < COPY
                && let Some(row) = if backwards { rows.next_back() } else { rows.next() }
            {
                let (number, row) = row?;
                let Some(event) = waiting(number.value(), status, row.value()) else { continue };
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
                let call = CallId::from_uuid(Uuid::from_u128(id.value()));
                changes.insert(Subject::Call(call), Some(text.value().to_owned()));
            }
            for row in read.open_table(SPOTS)?.iter()? {
                let (key, text) = row?;
                changes.insert(Subject::Spot(key.value().to_owned()), Some(text.value().to_owned()));
            }
            Ok(())
        });
        changes
    }
}

/// Does something with the database. It trusts what it reads and may panic over a damaged file; that is damage like any other.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Ok(result?),
        Err(_) => Err(Trouble::Damaged("the database cannot make sense of it".to_owned())),
    }
}

fn row(event: &Waiting) -> Row<'_> {
    let (call, id) = (event.call_id.as_uuid().as_u128(), event.event_id.as_uuid().as_u128());
    let occurred_at = event.occurred_at.as_millisecond();
    let checksum = checksum(event.number, event.status, call, id, occurred_at, &event.body);
    (call, id, occurred_at, checksum, &event.body)
}

/// The event in a row; `None` if it is not what was written there.
fn waiting(number: u64, status: Status, row: Row<'_>) -> Option<Waiting> {
    let (call, id, occurred_at, checked, body) = row;
    if checksum(number, status, call, id, occurred_at, body) != checked {
        return None;
    }
    Some(Waiting {
        number,
        status,
        call_id: CallId::from_uuid(Uuid::from_u128(call)),
        event_id: EventId::from_uuid(Uuid::from_u128(id)),
        occurred_at: from_millis(occurred_at),
        body: body.to_owned(),
    })
}

/// The database checks its pages only when it is opened, and a disk may return anything at any time.
fn checksum(number: u64, status: Status, call: u128, id: u128, occurred_at: i64, body: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&[status.sequence()]);
    hasher.update(&call.to_le_bytes());
    hasher.update(&id.to_le_bytes());
    hasher.update(&occurred_at.to_le_bytes());
    hasher.update(body.as_bytes());
    hasher.finalize()
}

fn size(body: &str) -> u64 {
    body.len() as u64 + ROW_OVERHEAD
}

fn table_of(status: Status) -> Events {
    EVENTS[usize::from(status.sequence() - 1)].1
}

fn put_events(write: &WriteTransaction, events: &[Waiting], figures: &mut Figures) -> Result<(), redb::Error> {
    for (status, table) in EVENTS {
        let mut rows = events.iter().filter(|event| event.status == status).peekable();
        if rows.peek().is_none() {
            continue;
        }
        let mut table = write.open_table(table)?;
        for event in rows {
            // It may be there already: a commit that failed may have reached the disk all the same.
            let before = table.insert(event.number, row(event))?.map_or(0, |row| size(row.value().4));
            figures.bytes = (figures.bytes + size(&event.body)).saturating_sub(before);
        }
    }
    Ok(())
}

fn remove_events(write: &WriteTransaction, done: &[(u64, Status)], figures: &mut Figures) -> Result<(), redb::Error> {
    for (number, status) in done {
        let mut table = write.open_table(table_of(*status))?;
        if let Some(row) = table.remove(number)? {
            figures.bytes = figures.bytes.saturating_sub(size(row.value().4));
        }
    }
    Ok(())
}

fn put_changes(write: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let (mut calls, mut spots) = (write.open_table(CALLS)?, write.open_table(SPOTS)?);
    for change in changes {
        match change {
            (Subject::Call(id), Some(text)) => drop(calls.insert(id.as_uuid().as_u128(), text.as_str())?),
            (Subject::Call(id), None) => drop(calls.remove(id.as_uuid().as_u128())?),
            (Subject::Spot(key), Some(text)) => drop(spots.insert(key.as_str(), text.as_str())?),
            (Subject::Spot(key), None) => drop(spots.remove(key.as_str())?),
        }
    }
    Ok(())
}

/// Lets events go until the rest fits. Returns their numbers.
fn make_room(write: &WriteTransaction, cap: u64, figures: &mut Figures) -> Result<Vec<u64>, redb::Error> {
    let mut dropped = Vec::new();
    for (_, table) in EVENTS {
        if figures.bytes <= cap {
            break;
        }
        let mut table = write.open_table(table)?;
        while figures.bytes > cap
            && let Some((number, row)) = table.pop_first()?
        {
            figures.bytes = figures.bytes.saturating_sub(size(row.value().4));
            dropped.push(number.value());
        }
    }
    Ok(dropped)
}

fn depth(write: &WriteTransaction) -> Result<u64, redb::Error> {
    let mut depth = 0;
    for (_, table) in EVENTS {
        depth += write.open_table(table)?.len()?;
    }
    Ok(depth)
}

/// The figures of a file, `None` if it is of another schema. A new file gets its tables.
fn read_figures(write: &WriteTransaction) -> Result<Option<Figures>, redb::Error> {
    let depth = depth(write)?;
    drop((write.open_table(CALLS)?, write.open_table(SPOTS)?));
    let mut table = write.open_table(FIGURES)?;
    if table.is_empty()? {
        table.insert("schema", SCHEMA)?;
    }
    let get = |name| Ok::<_, redb::Error>(table.get(name)?.map_or(0, |figure| figure.value()));
    if get("schema")? != SCHEMA {
        return Ok(None);
    }
    let seen = i64::try_from(get("seen")?).unwrap_or(0);
    let bytes = if depth == 0 { 0 } else { get("bytes")? };
    Ok(Some(Figures { depth, bytes, dropped: get("dropped")?, refused: get("refused")?, seen }))
}

fn write_figures(write: &WriteTransaction, figures: &Figures) -> Result<(), redb::Error> {
    let mut table = write.open_table(FIGURES)?;
    let seen = u64::try_from(figures.seen).unwrap_or(0);
    for (name, figure) in
        [("bytes", figures.bytes), ("dropped", figures.dropped), ("refused", figures.refused), ("seen", seen)]
    {
        table.insert(name, figure)?;
    }
    Ok(())
}

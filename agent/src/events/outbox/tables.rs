//! The outbox's tables: one of events for each rank, the call core's records, and a few figures.

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use shared::event::message::EventTag;
use shared::ids::{CallId, EventId};
use shared::kind::Kind;
use shared::time::from_millis;
use uuid::Uuid;

use super::event::OutboxEvent;
use crate::calls::{Changes, RecordKey};

/// What the tables mean. A file with another version is set aside.
const SCHEMA: u64 = 1;
/// The tag's group and dedup, when the event occurred, checksum, the message.
type Row<'a> = (u128, u128, i64, u32, &'a str);
pub(super) type Events = TableDefinition<'static, u64, Row<'static>>;

/// By rank, which is the order in which events lose their worth. Updates are of rank 0: what they tell is told anew with the next one.
pub(super) const EVENTS: [(u8, Events); 4] = [
    (0, TableDefinition::new("updated")),
    (1, TableDefinition::new("ringing")),
    (2, TableDefinition::new("connected")),
    (3, TableDefinition::new("disconnected")),
];
pub(super) const CALLS: TableDefinition<u128, &str> = TableDefinition::new("calls");
pub(super) const SPOTS: TableDefinition<&str, &str> = TableDefinition::new("spots");
const FIGURES: TableDefinition<&str, u64> = TableDefinition::new("figures");

/// What an event takes on disk beside its envelope: key, ids, and its share of pages that are not full.
const ROW_OVERHEAD: u64 = 128;

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

fn row(event: &OutboxEvent) -> Row<'_> {
    let EventTag { rank, group, dedup, .. } = event.tag;
    let (group, dedup) = (group.as_uuid().as_u128(), dedup.as_uuid().as_u128());
    let occurred_at = event.occurred_at.as_millisecond();
    let checksum = checksum(event.number, rank, group, dedup, occurred_at, &event.body);
    (group, dedup, occurred_at, checksum, &event.body)
}

/// The event in a row; `None` if it is not what was written there.
pub(super) fn waiting(number: u64, rank: u8, row: Row<'_>) -> Option<OutboxEvent> {
    let (group, dedup, occurred_at, checked, body) = row;
    if checksum(number, rank, group, dedup, occurred_at, body) != checked {
        return None;
    }
    let (group, dedup) = (CallId::from_uuid(Uuid::from_u128(group)), EventId::from_uuid(Uuid::from_u128(dedup)));
    Some(OutboxEvent {
        number,
        tag: EventTag { kind: if rank == 0 { Kind::CallUpdated } else { Kind::Call }, rank, group, dedup },
        occurred_at: from_millis(occurred_at),
        body: body.to_owned(),
    })
}

/// The database checks its pages only when it is opened, and a disk may return anything at any time.
fn checksum(number: u64, rank: u8, group: u128, dedup: u128, occurred_at: i64, body: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&[rank]);
    hasher.update(&group.to_le_bytes());
    hasher.update(&dedup.to_le_bytes());
    hasher.update(&occurred_at.to_le_bytes());
    hasher.update(body.as_bytes());
    hasher.finalize()
}

fn size(body: &str) -> u64 {
    body.len() as u64 + ROW_OVERHEAD
}

pub(super) fn put_events(
    write: &WriteTransaction,
    events: &[OutboxEvent],
    figures: &mut Figures,
) -> Result<(), redb::Error> {
    for (rank, table) in EVENTS {
        let mut rows = events.iter().filter(|event| event.tag.rank == rank).peekable();
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

pub(super) fn remove_events(
    write: &WriteTransaction,
    done: &[(u64, u8)],
    figures: &mut Figures,
) -> Result<(), redb::Error> {
    for (number, rank) in done {
        let mut table = write.open_table(EVENTS[usize::from(*rank)].1)?;
        if let Some(row) = table.remove(number)? {
            figures.bytes = figures.bytes.saturating_sub(size(row.value().4));
        }
    }
    Ok(())
}

pub(super) fn put_changes(write: &WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let (mut calls, mut spots) = (write.open_table(CALLS)?, write.open_table(SPOTS)?);
    for change in changes {
        match change {
            (RecordKey::Call(id), Some(text)) => drop(calls.insert(id.as_uuid().as_u128(), text.as_str())?),
            (RecordKey::Call(id), None) => drop(calls.remove(id.as_uuid().as_u128())?),
            (RecordKey::Spot(key), Some(text)) => drop(spots.insert(key.as_str(), text.as_str())?),
            (RecordKey::Spot(key), None) => drop(spots.remove(key.as_str())?),
        }
    }
    Ok(())
}

/// Lets events go until the rest fits. Returns their numbers.
pub(super) fn make_room(write: &WriteTransaction, cap: u64, figures: &mut Figures) -> Result<Vec<u64>, redb::Error> {
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

pub(super) fn depth(write: &WriteTransaction) -> Result<u64, redb::Error> {
    let mut depth = 0;
    for (_, table) in EVENTS {
        depth += write.open_table(table)?.len()?;
    }
    Ok(depth)
}

/// The figures of a file, `None` if it is of another schema. A new file gets its tables.
pub(super) fn read_figures(write: &WriteTransaction) -> Result<Option<Figures>, redb::Error> {
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

pub(super) fn write_figures(write: &WriteTransaction, figures: &Figures) -> Result<(), redb::Error> {
    let mut table = write.open_table(FIGURES)?;
    let seen = u64::try_from(figures.seen).unwrap_or(0);
    for (name, figure) in
        [("bytes", figures.bytes), ("dropped", figures.dropped), ("refused", figures.refused), ("seen", seen)]
    {
        table.insert(name, figure)?;
    }
    Ok(())
}

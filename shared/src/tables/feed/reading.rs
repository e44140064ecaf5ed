//! Reads the feed: what the protocol's reader asks for, as requests.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::head::{Ages, FeedHead};
use super::items::{FeedEntry, StoredSlot};
use super::keys::{PARTITION, first_of_partition, head_key, last_of_partition, partition, sort_key};
use super::writing::Put;
use crate::event::{CallEvent, CallPosition};
use crate::feed::{Next, Page, Reader, Slot};
use crate::ids::CallId;
use crate::tables::calls::{call_key, event_of};
use crate::tables::deliveries::Order;
use crate::tables::item::{TableError, is_over, now, text};
use crate::tables::state::StateTable;

/// A slot is filled so soon after it was reserved, unless an event had to wait for long between the two.
const FILLED_WITHIN: SignedDuration = SignedDuration::from_mins(1);
/// By how much the clocks of two functions may differ.
const CLOCKS_DIFFER_BY: SignedDuration = SignedDuration::from_secs(5);

/// Some entries of the feed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeedPart {
    pub entries: Vec<FeedEntry>,
    /// Behind this number it goes on.
    pub cursor: u64,
    /// The number behind the cursor was reserved just now, and nobody knows yet what it is for.
    pub waits: bool,
    /// How many gaps of the last hour this reading has closed with tombstones: numbers whose writers died or were slow.
    pub closed_gaps: usize,
}

/// Slots as they were read.
struct Read {
    slots: Vec<StoredSlot>,
    /// Whether there are more in this part of the feed.
    is_part: bool,
}

impl StateTable {
    /// How far the feed goes.
    pub async fn feed_head(&self) -> Result<FeedHead, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(head_key()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the head of the feed", &error.into_service_error()))?;
        Ok(answer.item.as_ref().map(FeedHead::read).unwrap_or_default())
    }

    /// The next entries behind a number, at most `limit` of them. Nothing is left out and nothing comes twice. Entries whose
    /// time is over are not shown.
    pub async fn feed(&self, after: u64, limit: usize, head: FeedHead) -> Result<FeedPart, TableError> {
        if after >= head.n {
            return Ok(FeedPart { cursor: after, ..FeedPart::default() });
        }
        let first = after + 1;
        let end = last_of_partition(first).min(head.n);
        let read = self.read_slots(first, end, limit, Order::OldestFirst).await?;
        let mut last = read.slots.last().filter(|_| read.is_part).map_or(end, |slot| slot.n);
        let mut times: Vec<(u64, i64)> = read.slots.iter().map(|slot| (slot.n, slot.recorded_at)).collect();
        let mut forgotten = 0;
        if read.slots.is_empty() && end < head.n {
            let next = self.first_behind(end, head).await?;
            times.extend(next);
            match next.map(|(n, _)| first_of_partition(n)) {
                // Of a whole partition something is left, unless the table has forgotten it.
                Some(partition) if partition > end + 1 => (last, forgotten) = (partition - 1, partition - 1),
                None if head.is_forgotten(now(&self.client)) => last = head.n,
                _ => {}
            }
        }
        self.pass(after, read.slots, last, times, forgotten, head).await
    }

    /// The last entries behind a number, in their order and at most about `limit` of them, and where what comes later begins. The first
    /// of the numbers that were read is returned, too: what is older lies before it.
    pub async fn feed_tail(&self, after: u64, limit: usize, head: FeedHead) -> Result<(FeedPart, u64), TableError> {
        if after >= head.n {
            return Ok((FeedPart { cursor: after, ..FeedPart::default() }, head.n + 1));
        }
        let first = first_of_partition(head.n).max(after + 1);
        let mut read = self.read_slots(first, head.n, limit, Order::NewestFirst).await?;
        read.slots.reverse();
        let first = read.slots.first().filter(|_| read.is_part).map_or(first, |slot| slot.n);
        let times = read.slots.iter().map(|slot| (slot.n, slot.recorded_at)).collect();
        Ok((self.pass(first - 1, read.slots, head.n, times, 0, head).await?, first))
    }

    /// The entries between two numbers, both excluded, the newest first: at most `limit` of them, and at least one if there is any.
    pub async fn feed_before(&self, before: u64, after: u64, limit: usize) -> Result<Vec<FeedEntry>, TableError> {
        let mut entries = Vec::new();
        let mut last = before.saturating_sub(1);
        while last > after && entries.is_empty() {
            let first = first_of_partition(last).max(after + 1);
            let read = self.read_slots(first, last, limit, Order::NewestFirst).await?;
            if read.slots.is_empty() && (first, last) == (first_of_partition(first), last_of_partition(first)) {
                break; // The table has forgotten all of this partition, and so what is before it.
            }
            last = read.slots.last().filter(|_| read.is_part).map_or(first, |slot| slot.n) - 1;
            entries.extend(read.slots.into_iter().filter_map(StoredSlot::entry));
        }
        Ok(entries)
    }

    /// A number behind which lies what was recorded from then on, and little else: see [`FeedEntry::is_since`]. Slots are settled
    /// about in the order of their numbers.
    pub async fn feed_since(&self, since: Timestamp, after: u64, head: FeedHead) -> Result<u64, TableError> {
        let since = since.checked_sub(FILLED_WITHIN).unwrap_or(Timestamp::MIN).as_millisecond();
        // Everything up to `early` was recorded before, and nothing behind `late`.
        let (mut early, mut late) = (after, head.n);
        while early < late {
            let middle = early + (late - early) / 2;
            let end = last_of_partition(middle + 1).min(head.n);
            let read = self.read_slots(middle + 1, end, 1, Order::OldestFirst).await?;
            let next = match read.slots.first() {
                Some(slot) => Some((slot.n, slot.recorded_at)),
                None if end < head.n => self.first_behind(end, head).await?,
                None => None,
            };
            match next {
                Some((n, recorded_at)) if recorded_at < since => early = n.min(late),
                _ => late = middle,
            }
        }
        Ok(early)
    }

    /// The events of entries, in the same order. What is no longer kept is left out.
    pub async fn events_of(&self, entries: Vec<FeedEntry>) -> Result<Vec<CallEvent>, TableError> {
        let elsewhere = entries.iter().filter(|entry| entry.event.is_none());
        let wanted = elsewhere.map(|entry| call_key(entry.call, entry.position)).collect();
        let found = self.get_all(wanted, Some("body, event, expiresAt"), "read the feed's events").await?;
        let now = now(&self.client);
        let events = found.iter().filter(|item| !is_over(item, now)).filter_map(event_of);
        let mut events: HashMap<(CallId, CallPosition), CallEvent> =
            events.map(|event| ((event.call_id(), event.position()), event)).collect();
        let event = |entry: FeedEntry| match entry.event {
            Some(event) => Some(*event),
            None => events.remove(&(entry.call, entry.position)),
        };
        Ok(entries.into_iter().filter_map(event).collect())
    }

    /// Lets the protocol's reader pass what was read.
    async fn pass(
        &self,
        after: u64,
        slots: Vec<StoredSlot>,
        last: u64,
        times: Vec<(u64, i64)>,
        forgotten: u64,
        head: FeedHead,
    ) -> Result<FeedPart, TableError> {
        let ages = Ages::of(&times, head, now(&self.client));
        let slots: VecDeque<(u64, Slot<FeedEntry>)> = slots.into_iter().map(|slot| (slot.n, slot.slot)).collect();
        let mut page = Page { slots, last, old: ages.old, forgotten: forgotten.max(ages.forgotten) };
        let (mut reader, mut part) = (Reader::behind(after), FeedPart::default());
        loop {
            match reader.next(&mut page) {
                Next::Entry(_, entry) => part.entries.push(entry),
                Next::Settle(n) => {
                    let slot = match self.put_tombstone(n).await? {
                        Put::Done => {
                            part.closed_gaps += usize::from(n > ages.past);
                            Slot::Tombstone
                        }
                        Put::Refused(found) => StoredSlot::read(&found, self.keep, now(&self.client))
                            .map_or(Slot::Tombstone, |stored| stored.slot),
                    };
                    reader.settled(&mut page, n, slot);
                }
                Next::Wait => {
                    part.waits = true;
                    break;
                }
                Next::End => break,
            }
        }
        part.cursor = reader.cursor();
        Ok(part)
    }

    /// The first slot of the partitions behind a number that is not empty, with the time at which it was recorded. Partitions
    /// are forgotten in their order.
    async fn first_behind(&self, end: u64, head: FeedHead) -> Result<Option<(u64, i64)>, TableError> {
        let (mut low, mut high) = (end + 1, first_of_partition(head.n));
        let mut found = None;
        while low <= high {
            let partitions = (high - low) / PARTITION;
            let middle = low + partitions / 2 * PARTITION;
            let read = self.read_slots(middle, last_of_partition(middle).min(head.n), 1, Order::OldestFirst).await?;
            match read.slots.first() {
                Some(slot) => {
                    found = Some((slot.n, slot.recorded_at));
                    if middle == low {
                        break;
                    }
                    high = middle - PARTITION;
                }
                None => low = middle + PARTITION,
            }
        }
        Ok(found)
    }

    /// Slots of one partition.
    async fn read_slots(&self, first: u64, last: u64, limit: usize, order: Order) -> Result<Read, TableError> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :partition AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":partition", text(partition(first)))
            .expression_attribute_values(":first", text(sort_key(first)))
            .expression_attribute_values(":last", text(sort_key(last)))
            .scan_index_forward(order == Order::OldestFirst)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| TableError::request("read the feed", &error.into_service_error()))?;
        let now = now(&self.client);
        let slots =
            answer.items.unwrap_or_default().iter().filter_map(|item| StoredSlot::read(item, self.keep, now)).collect();
        Ok(Read { slots, is_part: answer.last_evaluated_key.is_some() })
    }
}

impl FeedEntry {
    /// Whether it was recorded from then on, as far as clocks can tell.
    pub fn is_since(&self, since: Timestamp) -> bool {
        let since = since.checked_sub(CLOCKS_DIFFER_BY).unwrap_or(Timestamp::MIN);
        self.recorded_at >= since.as_millisecond()
    }
}

impl StoredSlot {
    fn entry(self) -> Option<FeedEntry> {
        match self.slot {
            Slot::Entry(entry) => Some(entry),
            Slot::Tombstone => None,
        }
    }
}

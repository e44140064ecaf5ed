//! All tables, what changed lately in them, and which transaction holds which item.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::table::{Key, Table};
use crate::counts::FaultKind;
use crate::dice::Dice;
use crate::error::{Answer, ApiError};
use crate::value::Attributes;
use crate::world::World;

/// Longer ago than any read looks back.
const REMEMBERED: Duration = Duration::from_secs(10);
/// A transaction that was carried out longer ago than this has been answered.
const ANSWERED: Duration = Duration::from_secs(1);

/// An item's place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ItemKey {
    pub(crate) table: String,
    pub(crate) key: Key,
}

impl ItemKey {
    /// Table and partition, as far as they share what a partition takes.
    pub(crate) fn partition(&self) -> (String, String) {
        (self.table.clone(), self.key.partition.text())
    }
}

/// Names a request from its begin to its end.
pub(crate) type Ticket = u64;

#[derive(Debug)]
struct Change {
    number: u64,
    at: Duration,
    /// From then on every read of several items sees it.
    settled_at: Duration,
    place: ItemKey,
    before: Option<Arc<Attributes>>,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) tables: BTreeMap<String, Table>,
    changes: VecDeque<Change>,
    changed: u64,
    tickets: Ticket,
    /// Items of transactions that have begun and not ended.
    held: BTreeMap<ItemKey, Ticket>,
    /// Single-item writes that have begun and not ended.
    writing: BTreeMap<Ticket, ItemKey>,
    /// Those of them that have met a transaction.
    met: BTreeSet<Ticket>,
}

/// Older versions of items, which a read sees instead of the present ones.
pub(crate) type Overlay = BTreeMap<ItemKey, Option<Arc<Attributes>>>;

impl Store {
    pub(crate) fn table(&self, name: &str) -> Answer<&Table> {
        self.tables.get(name).ok_or_else(ApiError::no_table)
    }

    pub(crate) fn table_mut(&mut self, name: &str) -> Answer<&mut Table> {
        self.tables.get_mut(name).ok_or_else(ApiError::no_table)
    }

    pub(crate) fn get(&self, place: &ItemKey) -> Option<&Arc<Attributes>> {
        self.tables.get(&place.table)?.get(&place.key)
    }

    pub(crate) fn replace(&mut self, place: &ItemKey, item: Option<Arc<Attributes>>, now: Duration) {
        self.commit(place, item, now, now);
    }

    /// A transaction's change, whose answer leaves at another time. Until then reads of several items, which are not isolated from
    /// transactions, may see it or not, also when a read of one item has seen another change of the transaction already.
    pub(crate) fn commit(
        &mut self,
        place: &ItemKey,
        item: Option<Arc<Attributes>>,
        now: Duration,
        answered_at: Duration,
    ) {
        let Some(table) = self.tables.get_mut(&place.table) else { return };
        let before = table.replace(&place.key, item);
        let (number, place) = (self.changed, place.clone());
        self.changes.push_back(Change { number, at: now, settled_at: answered_at, place, before });
        self.changed += 1;
        while self.changes.front().is_some_and(|change| change.at + REMEMBERED < now) {
            self.changes.pop_front();
        }
    }

    /// Deletes what the time to live has come to.
    pub(crate) fn expire(&mut self, now: Duration) {
        let expired: Vec<ItemKey> = self
            .tables
            .iter_mut()
            .flat_map(|(name, table)| {
                table.expired(now).into_iter().map(move |key| ItemKey { table: name.clone(), key })
            })
            .collect();
        for place in expired {
            self.replace(&place, None, now);
        }
    }

    /// How many changes there were, so that a read knows which came after its begin.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    /// How many changes there were at an earlier time.
    pub(crate) fn changed_at(&self, at: Duration) -> u64 {
        self.changes.iter().find(|change| change.at > at).map_or(self.changed, |change| change.number)
    }

    /// For each of the read's items that changed since then, or that a transaction without an answer had changed when the read
    /// began, whether the read sees it as it was: half of them by chance. Also says whether it sees some as they were and others
    /// as they are.
    pub(crate) fn overlay(
        &self,
        since: u64,
        began: Duration,
        is_read: impl Fn(&ItemKey) -> bool,
        dice: &mut Dice,
    ) -> (Overlay, bool) {
        let (mut overlay, mut seen, mut is_torn) = (Overlay::new(), BTreeSet::new(), false);
        let first = self.changes.partition_point(|change| change.number < since);
        let unsettled = self.unsettled(first, began);
        let changes = unsettled.into_iter().rev().chain(self.changes.range(first..));
        for change in changes.filter(|change| is_read(&change.place)) {
            if seen.insert(&change.place) && dice.happens(0.5) {
                overlay.insert(change.place.clone(), change.before.clone());
                is_torn |= change.number < since;
            }
        }
        is_torn |= !overlay.is_empty() && overlay.len() < seen.len();
        (overlay, is_torn)
    }

    /// The changes before the `first`-th that were not settled at a time, as far as they are the last ones of their items, the
    /// latest first.
    fn unsettled(&self, first: usize, at: Duration) -> Vec<&Change> {
        let mut later = BTreeSet::new();
        let recent = self.changes.range(..first).rev().take_while(|change| change.at + ANSWERED > at);
        recent.filter(|change| later.insert(&change.place) && change.settled_at > at).collect()
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    /// A write of one item begins.
    pub(crate) fn begin_write(&mut self, ticket: Ticket, place: &ItemKey) {
        if self.held.contains_key(place) {
            self.met.insert(ticket);
        }
        self.writing.insert(ticket, place.clone());
    }

    /// A write of one item ends; it may not be carried out if it has met a transaction.
    pub(crate) fn end_write(&mut self, ticket: Ticket, world: &mut World<'_>) -> Answer<()> {
        self.writing.remove(&ticket);
        if self.met.remove(&ticket) {
            world.counts.fault(FaultKind::Overlap);
            return Err(ApiError::conflict());
        }
        Ok(())
    }

    /// A transaction begins and holds its items, unless another one holds some of them: those are returned.
    pub(crate) fn hold(&mut self, ticket: Ticket, places: &[ItemKey]) -> Vec<bool> {
        let taken: Vec<bool> = places.iter().map(|place| self.held.contains_key(place)).collect();
        if !taken.contains(&true) {
            for place in places {
                self.held.insert(place.clone(), ticket);
                self.met.extend(self.writing.iter().filter(|(_, other)| *other == place).map(|(ticket, _)| *ticket));
            }
        }
        taken
    }

    pub(crate) fn release(&mut self, ticket: Ticket) {
        self.held.retain(|_, holder| *holder != ticket);
    }
}

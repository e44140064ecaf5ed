//! What a request needs of the world around it: the time, chance, who asks, and where to count.

use std::time::Duration;

use crate::counts::{Cause, Counts, FaultKind, QueueCause, QueueCount, TableCount};
use crate::dice::Dice;
use crate::rates::Rates;

#[derive(Debug)]
pub(crate) struct World<'a> {
    /// Since 1970.
    pub(crate) now: Duration,
    /// When the answer to this request leaves the service.
    pub(crate) answered_at: Duration,
    /// The process that asks.
    pub(crate) who: &'a str,
    /// The kinds of the keys that it asks for.
    pub(crate) keys: String,
    pub(crate) dice: &'a mut Dice,
    pub(crate) counts: &'a mut Counts,
    pub(crate) rates: &'a mut Rates,
}

impl World<'_> {
    pub(crate) fn counts_request(&mut self, table: &str, operation: &str) {
        self.count(table, operation, TableCount { requests: 1, ..TableCount::default() });
    }

    pub(crate) fn counts_read(&mut self, table: &str, operation: &str, units: f64) {
        self.count(table, operation, TableCount { read_units: units, ..TableCount::default() });
    }

    pub(crate) fn counts_write(&mut self, table: &str, operation: &str, units: f64) {
        self.count(table, operation, TableCount { write_units: units, ..TableCount::default() });
    }

    fn count(&mut self, table: &str, operation: &str, more: TableCount) {
        let cause = Cause {
            process: self.who.to_owned(),
            table: table.to_owned(),
            operation: operation.to_owned(),
            keys: self.keys.clone(),
        };
        self.counts.tables.entry((table.to_owned(), operation.to_owned())).or_default().add(more);
        self.counts.table_causes.entry(cause).or_default().add(more);
    }

    pub(crate) fn counts_queue(&mut self, queue: &str, operation: &str, more: QueueCount) {
        let cause =
            QueueCause { process: self.who.to_owned(), queue: queue.to_owned(), operation: operation.to_owned() };
        self.counts.queues.entry((queue.to_owned(), operation.to_owned())).or_default().add(more);
        self.counts.queue_causes.entry(cause).or_default().add(more);
    }

    /// Whether a key takes another write now; if not, that is counted.
    pub(crate) fn takes_write(&mut self, key: &(String, String)) -> bool {
        let takes = !self.dice.faults.hot_keys || self.rates.writes.takes(key, self.now);
        self.counts_heat(takes)
    }

    pub(crate) fn takes_read(&mut self, key: &(String, String)) -> bool {
        let takes = !self.dice.faults.hot_keys || self.rates.reads.takes(key, self.now);
        self.counts_heat(takes)
    }

    fn counts_heat(&mut self, takes: bool) -> bool {
        if !takes {
            self.counts.fault(FaultKind::HotKey);
        }
        takes
    }
}

//! What was asked of the cloud, as AWS bills it, and what went wrong.

use std::collections::BTreeMap;
use std::fmt;

/// A kind of fault that was injected, or that happened because requests met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    Conflict,
    Cancellation,
    ThrottledRequest,
    ThrottledItem,
    PartialBatch,
    LostRequest,
    LostAnswer,
    HungConnection,
    InternalError,
    TableError,
    Copy,
    Disorder,
    ThrottledInvocation,
    CrashedInvocation,
    LostDelete,
    /// A write met a transaction, or a transaction another one.
    Overlap,
    /// A read of several items saw one change made meanwhile and not another.
    TornRead,
    /// An eventually consistent read saw an older item.
    StaleRead,
    /// A process was killed.
    Kill,
    /// An invocation took longer than its function may.
    TimeOut,
}

impl FaultKind {
    pub const ALL: [Self; 20] = [
        Self::Conflict,
        Self::Cancellation,
        Self::ThrottledRequest,
        Self::ThrottledItem,
        Self::PartialBatch,
        Self::LostRequest,
        Self::LostAnswer,
        Self::HungConnection,
        Self::InternalError,
        Self::TableError,
        Self::Copy,
        Self::Disorder,
        Self::ThrottledInvocation,
        Self::CrashedInvocation,
        Self::LostDelete,
        Self::Overlap,
        Self::TornRead,
        Self::StaleRead,
        Self::Kill,
        Self::TimeOut,
    ];
}

/// Of one operation on one table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TableCount {
    pub requests: u64,
    /// Request units, in halves because an eventually consistent read may cost half a unit.
    pub read_units: f64,
    pub write_units: f64,
}

/// Of one operation on one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCount {
    pub requests: u64,
    /// As billed: one for every 64 KiB of payload begun.
    pub billed: u64,
    /// Messages in the request or in its answer.
    pub messages: u64,
    /// Bytes of their bodies and attributes.
    pub bytes: u64,
}

/// Of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FunctionCount {
    pub invocations: u64,
    pub records: u64,
    pub errors: u64,
    /// Time in the handler, as tokio's clock has it.
    pub seconds: f64,
}

/// All that was counted since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// By table and operation.
    pub tables: BTreeMap<(String, String), TableCount>,
    /// By queue and operation.
    pub queues: BTreeMap<(String, String), QueueCount>,
    pub functions: BTreeMap<String, FunctionCount>,
    pub faults: BTreeMap<FaultKind, u64>,
}

impl Counts {
    pub fn read_units(&self) -> f64 {
        self.tables.values().map(|count| count.read_units).sum()
    }

    pub fn write_units(&self) -> f64 {
        self.tables.values().map(|count| count.write_units).sum()
    }

    /// SQS requests as they are billed.
    pub fn queue_requests(&self) -> u64 {
        self.queues.values().map(|count| count.billed).sum()
    }

    pub fn invocations(&self) -> u64 {
        self.functions.values().map(|count| count.invocations).sum()
    }

    pub fn of(&self, fault: FaultKind) -> u64 {
        self.faults.get(&fault).copied().unwrap_or_default()
    }

    /// What was counted since an earlier look.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = self.clone();
        for (key, count) in &mut difference.tables {
            let before = earlier.tables.get(key).copied().unwrap_or_default();
            count.requests -= before.requests;
            count.read_units -= before.read_units;
            count.write_units -= before.write_units;
        }
        for (key, count) in &mut difference.queues {
            let before = earlier.queues.get(key).copied().unwrap_or_default();
            count.requests -= before.requests;
            count.billed -= before.billed;
            count.messages -= before.messages;
            count.bytes -= before.bytes;
        }
        for (key, count) in &mut difference.functions {
            let before = earlier.functions.get(key).copied().unwrap_or_default();
            count.invocations -= before.invocations;
            count.records -= before.records;
            count.errors -= before.errors;
            count.seconds -= before.seconds;
        }
        for (key, count) in &mut difference.faults {
            *count -= earlier.of(*key);
        }
        difference.tables.retain(|_, count| *count != TableCount::default());
        difference.queues.retain(|_, count| *count != QueueCount::default());
        difference.functions.retain(|_, count| *count != FunctionCount::default());
        difference.faults.retain(|_, count| *count != 0);
        difference
    }

    pub(crate) fn fault(&mut self, kind: FaultKind) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub(crate) fn table(&mut self, table: &str, operation: &str) -> &mut TableCount {
        self.tables.entry((table.to_owned(), operation.to_owned())).or_default()
    }

    pub(crate) fn queue(&mut self, queue: &str, operation: &str) -> &mut QueueCount {
        self.queues.entry((queue.to_owned(), operation.to_owned())).or_default()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24} {:<28} {:>9} {:>11} {:>11}",
            "table", "operation", "requests", "read units", "write units"
        )?;
        for ((table, operation), count) in &self.tables {
            writeln!(
                f,
                "{table:<24} {operation:<28} {:>9} {:>11.1} {:>11.1}",
                count.requests, count.read_units, count.write_units
            )?;
        }
        writeln!(
            f,
            "{:<24} {:<28} {:>9} {:>11} {:>11} {:>11}",
            "queue", "operation", "requests", "billed", "messages", "bytes"
        )?;
        for ((queue, operation), count) in &self.queues {
            writeln!(
                f,
                "{queue:<24} {operation:<28} {:>9} {:>11} {:>11} {:>11}",
                count.requests, count.billed, count.messages, count.bytes
            )?;
        }
        writeln!(f, "{:<24} {:>11} {:>9} {:>11} {:>11}", "function", "invocations", "records", "errors", "seconds")?;
        for (function, count) in &self.functions {
            writeln!(
                f,
                "{function:<24} {:>11} {:>9} {:>11} {:>11.3}",
                count.invocations, count.records, count.errors, count.seconds
            )?;
        }
        for (fault, count) in &self.faults {
            writeln!(f, "fault {:<24} {count:>9}", format!("{fault:?}"))?;
        }
        Ok(())
    }
}

//! What was asked of the cloud, as AWS bills it, and what went wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

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
    QueueError,
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
    /// One key was asked for more than it takes.
    HotKey,
    /// A process was killed.
    Kill,
    /// An invocation took longer than its function may.
    TimeOut,
}

impl FaultKind {
    pub const ALL: [Self; 22] = [
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
        Self::QueueError,
        Self::Copy,
        Self::Disorder,
        Self::ThrottledInvocation,
        Self::CrashedInvocation,
        Self::LostDelete,
        Self::Overlap,
        Self::TornRead,
        Self::StaleRead,
        Self::HotKey,
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

impl TableCount {
    pub(crate) fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.read_units += more.read_units;
        self.write_units += more.write_units;
    }

    fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            read_units: self.read_units - before.read_units,
            write_units: self.write_units - before.write_units,
        }
    }
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

impl QueueCount {
    pub(crate) fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.billed += more.billed;
        self.messages += more.messages;
        self.bytes += more.bytes;
    }

    fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            billed: self.billed - before.billed,
            messages: self.messages - before.messages,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// Of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FunctionCount {
    pub invocations: u64,
    pub records: u64,
    pub errors: u64,
    /// Time in the handler, as tokio's clock has it.
    pub seconds: f64,
    /// As billed: the memory, for each millisecond begun.
    pub gigabyte_seconds: f64,
    pub log_lines: u64,
    pub log_bytes: u64,
}

impl FunctionCount {
    fn since(self, before: Self) -> Self {
        Self {
            invocations: self.invocations - before.invocations,
            records: self.records - before.records,
            errors: self.errors - before.errors,
            seconds: self.seconds - before.seconds,
            gigabyte_seconds: self.gigabyte_seconds - before.gigabyte_seconds,
            log_lines: self.log_lines - before.log_lines,
            log_bytes: self.log_bytes - before.log_bytes,
        }
    }
}

/// Who asked a table, for what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    pub process: String,
    pub table: String,
    pub operation: String,
    /// What the partition keys of the request begin with, up to their first `#`, each kind once.
    pub keys: String,
}

/// Who asked a queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueCause {
    pub process: String,
    pub queue: String,
    pub operation: String,
}

/// All that was counted since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// By table and operation.
    pub tables: BTreeMap<(String, String), TableCount>,
    /// The same by who asked for what.
    pub table_causes: BTreeMap<Cause, TableCount>,
    /// By queue and operation.
    pub queues: BTreeMap<(String, String), QueueCount>,
    /// The same by who asked.
    pub queue_causes: BTreeMap<QueueCause, QueueCount>,
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
        Self {
            tables: difference(&self.tables, &earlier.tables, TableCount::since),
            table_causes: difference(&self.table_causes, &earlier.table_causes, TableCount::since),
            queues: difference(&self.queues, &earlier.queues, QueueCount::since),
            queue_causes: difference(&self.queue_causes, &earlier.queue_causes, QueueCount::since),
            functions: difference(&self.functions, &earlier.functions, FunctionCount::since),
            faults: difference(&self.faults, &earlier.faults, |now, before| now - before),
        }
    }

    pub(crate) fn fault(&mut self, kind: FaultKind) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// An invocation of a function with this memory.
    pub(crate) fn invocation(&mut self, function: &str, memory_mib: u32, records: usize, took: Duration, failed: bool) {
        let count = self.functions.entry(function.to_owned()).or_default();
        count.invocations += 1;
        count.records += records as u64;
        count.errors += u64::from(failed);
        count.seconds += took.as_secs_f64();
        let billed = took.as_micros().div_ceil(1000) as f64 / 1000.0;
        count.gigabyte_seconds += billed * f64::from(memory_mib) / 1024.0;
    }
}

/// What is new in each entry; entries without anything new are left out.
fn difference<K: Clone + Ord, C: Copy + Default + PartialEq>(
    now: &BTreeMap<K, C>,
    before: &BTreeMap<K, C>,
    since: impl Fn(C, C) -> C,
) -> BTreeMap<K, C> {
    let entry = |(key, count): (&K, &C)| (key.clone(), since(*count, before.get(key).copied().unwrap_or_default()));
    now.iter().map(entry).filter(|(_, count)| *count != C::default()).collect()
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
        writeln!(
            f,
            "{:<24} {:>11} {:>9} {:>11} {:>11} {:>11} {:>11}",
            "function", "invocations", "records", "errors", "seconds", "GB-seconds", "log bytes"
        )?;
        for (function, count) in &self.functions {
            writeln!(
                f,
                "{function:<24} {:>11} {:>9} {:>11} {:>11.3} {:>11.4} {:>11}",
                count.invocations, count.records, count.errors, count.seconds, count.gigabyte_seconds, count.log_bytes
            )?;
        }
        for (fault, count) in &self.faults {
            writeln!(f, "fault {:<24} {count:>9}", format!("{fault:?}"))?;
        }
        Ok(())
    }
}

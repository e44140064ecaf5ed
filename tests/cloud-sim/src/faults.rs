//! What can go wrong, each with a switch and a probability of its own. All of it is allowed by AWS's documents.

use std::time::Duration;

use crate::counts::FaultKind;

/// Probabilities are per request (or per message, item or invocation, as said) and between 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// How long a request takes from its sending to its answer, at least and at most.
    pub latency: (Duration, Duration),
    /// Whether requests to a table take time there: then a transaction holds its items from its begin to its commit, a write that
    /// meets it is refused with `TransactionConflict`, and a read of several items (`Query`, `Scan`, `BatchGetItem`) sees of each
    /// change meanwhile or does not.
    pub overlap: bool,
    /// Whether one partition key takes no more than 1,000 write units and 3,000 read units in a second.
    pub hot_keys: bool,
    /// How far an eventually consistent read may lag behind. Each draws a lag up to it.
    pub staleness: Duration,
    /// A single-item write is refused with `TransactionConflictException` although nothing of ours holds the item.
    pub conflicts: f64,
    /// A transaction is cancelled: some of its items get `TransactionConflict`, `ThrottlingError` or
    /// `ProvisionedThroughputExceeded` as their reason; conditions that do not hold are reported beside them.
    pub cancellations: f64,
    /// A request to a table or queue is throttled (`ThrottlingException`, `RequestThrottled`).
    pub throttled_requests: f64,
    /// One item is throttled: an error for a single-item request, an unprocessed one in a batch.
    pub throttled_items: f64,
    /// A batch is carried out in part: `UnprocessedKeys`, `UnprocessedItems`, failed entries of a queue's batch.
    pub partial_batches: f64,
    /// The request never arrives and the connection breaks.
    pub lost_requests: f64,
    /// The request is carried out and the connection breaks before the answer.
    pub lost_answers: f64,
    /// The request is carried out, and neither an answer nor an end of the connection comes.
    pub hung_connections: f64,
    /// AWS says 500 without having done anything.
    pub internal_errors: f64,
    /// The tables alone say 500 without having done anything: at 1, they are out of service.
    pub table_errors: f64,
    /// The queues alone say 500 without having done anything.
    pub queue_errors: f64,
    /// A message of a standard queue is handed out and stays visible at once for another receiver.
    pub copies: f64,
    /// A receive of a standard queue hands out messages in any order, and not all that there are.
    pub disorder: f64,
    /// An invocation is throttled: its messages stay hidden until their visibility ends, received once more.
    pub throttled_invocations: f64,
    /// The function's environment dies during an invocation, after a time of at most its time-out.
    pub crashed_invocations: f64,
    /// The event source mapping does not delete what a function has finished: it comes again.
    pub lost_deletes: f64,
}

impl Faults {
    /// A kind cloud: immediate, and always right.
    pub fn none() -> Self {
        Self {
            latency: (Duration::ZERO, Duration::ZERO),
            overlap: false,
            hot_keys: false,
            staleness: Duration::ZERO,
            conflicts: 0.0,
            cancellations: 0.0,
            throttled_requests: 0.0,
            throttled_items: 0.0,
            partial_batches: 0.0,
            lost_requests: 0.0,
            lost_answers: 0.0,
            hung_connections: 0.0,
            internal_errors: 0.0,
            table_errors: 0.0,
            queue_errors: 0.0,
            copies: 0.0,
            disorder: 0.0,
            throttled_invocations: 0.0,
            crashed_invocations: 0.0,
            lost_deletes: 0.0,
        }
    }

    /// Nothing is injected, but requests take time and meet each other: every day.
    pub fn latency_only() -> Self {
        Self {
            latency: (Duration::from_millis(5), Duration::from_millis(20)),
            overlap: true,
            hot_keys: true,
            staleness: Duration::from_millis(500),
            disorder: 1.0,
            ..Self::none()
        }
    }

    /// Every fault, each this often.
    pub fn all(probability: f64) -> Self {
        Self {
            conflicts: probability,
            cancellations: probability,
            throttled_requests: probability,
            throttled_items: probability,
            partial_batches: probability,
            lost_requests: probability,
            lost_answers: probability,
            hung_connections: probability,
            internal_errors: probability,
            table_errors: probability,
            queue_errors: probability,
            copies: probability,
            throttled_invocations: probability,
            crashed_invocations: probability,
            lost_deletes: probability,
            ..Self::latency_only()
        }
    }

    pub(crate) fn probability(&self, kind: FaultKind) -> f64 {
        match kind {
            FaultKind::Conflict => self.conflicts,
            FaultKind::Cancellation => self.cancellations,
            FaultKind::ThrottledRequest => self.throttled_requests,
            FaultKind::ThrottledItem => self.throttled_items,
            FaultKind::PartialBatch => self.partial_batches,
            FaultKind::LostRequest => self.lost_requests,
            FaultKind::LostAnswer => self.lost_answers,
            FaultKind::HungConnection => self.hung_connections,
            FaultKind::InternalError => self.internal_errors,
            FaultKind::TableError => self.table_errors,
            FaultKind::QueueError => self.queue_errors,
            FaultKind::Copy => self.copies,
            FaultKind::Disorder => self.disorder,
            FaultKind::ThrottledInvocation => self.throttled_invocations,
            FaultKind::CrashedInvocation => self.crashed_invocations,
            FaultKind::LostDelete => self.lost_deletes,
            // These happen by themselves.
            FaultKind::Overlap
            | FaultKind::TornRead
            | FaultKind::StaleRead
            | FaultKind::HotKey
            | FaultKind::Kill
            | FaultKind::TimeOut => 0.0,
        }
    }
}

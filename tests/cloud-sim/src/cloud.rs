//! The cloud that tests hold: made with a seed, asked through its processes, looked at from outside.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::counts::Counts;
use crate::engine::{Engine, Wait};
use crate::faults::Faults;
use crate::log::Entry;
use crate::protocol::{Request, Response};

/// 2026-01-01, so that a run has the same times whenever it is made.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// Who asks without being a process.
const OUTSIDE: &str = "outside";

/// DynamoDB, SQS and what invokes functions, in memory. Clones are the same cloud.
///
/// Its clock is tokio's: with the time paused, hours of it pass in no time.
#[derive(Clone, Debug)]
pub struct Cloud(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Mutex<Engine>,
    /// Told whenever a message may have become receivable.
    changed: Notify,
    started: Instant,
    epoch: Duration,
}

/// How a cloud is made.
#[derive(Clone, Debug)]
pub struct Builder {
    seed: u64,
    faults: Faults,
    epoch: Duration,
    base: String,
}

impl Builder {
    /// Decides all that is left to chance.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    pub fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// The time at which the cloud starts, since 1970.
    pub fn epoch(self, epoch: Duration) -> Self {
        Self { epoch, ..self }
    }

    /// What queue URLs begin with: scheme, host and port.
    pub fn base_url(self, base: impl Into<String>) -> Self {
        Self { base: base.into(), ..self }
    }

    pub fn build(self) -> Cloud {
        let engine = Mutex::new(Engine::new(self.seed, self.faults, self.base));
        Cloud(Arc::new(Inner { engine, changed: Notify::new(), started: Instant::now(), epoch: self.epoch }))
    }
}

impl Cloud {
    pub fn builder() -> Builder {
        let base = "http://sqs.cloud-sim.invalid".to_owned();
        Builder { seed: 0, faults: Faults::none(), epoch: EPOCH, base }
    }

    /// A kind cloud without faults.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// The cloud's time.
    pub fn now(&self) -> Timestamp {
        let now = self.since_1970();
        Timestamp::new(now.as_secs() as i64, now.subsec_nanos() as i32).unwrap_or(Timestamp::MAX)
    }

    /// Answers a request at this moment, as if it took no time. `target` is the header `X-Amz-Target`.
    pub fn answer(&self, target: &str, body: &[u8]) -> Response {
        let request = Request::parse(target, body);
        let (mut engine, now) = (self.engine(), self.since_1970());
        let mut begun = Some(engine.begin(&request, now, OUTSIDE));
        // A receive that would wait has nothing at this moment.
        let answer =
            engine.end(&mut begun, now, Duration::ZERO, OUTSIDE).unwrap_or_else(|_waits| Ok(serde_json::json!({})));
        drop(engine);
        self.0.changed.notify_waiters();
        Response::new(request.service, &answer)
    }

    /// From now on other things go wrong, or nothing any more.
    pub fn set_faults(&self, faults: Faults) {
        self.engine().dice.faults = faults;
    }

    pub fn faults(&self) -> Faults {
        self.engine().dice.faults.clone()
    }

    /// Counts an invocation that no mapping makes: of the API, or of the clock.
    pub fn count_invocation(&self, function: &str, memory_mib: u32, took: Duration, failed: bool) {
        self.engine().counts.invocation(function, memory_mib, 0, took, failed);
    }

    /// Counts a line in a function's log.
    pub fn count_log_line(&self, function: &str, bytes: usize) {
        let mut engine = self.engine();
        let count = engine.counts.functions.entry(function.to_owned()).or_default();
        count.log_lines += 1;
        count.log_bytes += bytes as u64;
    }

    /// What was asked and went wrong so far.
    pub fn counts(&self) -> Counts {
        self.engine().counts.clone()
    }

    /// Every request so far, in the order in which they ended.
    pub fn log(&self) -> Vec<Entry> {
        self.engine().log.clone()
    }

    /// How many requests of an operation there were so far, such as `SQS.SendMessage`.
    pub fn requests(&self, operation: &str) -> usize {
        self.engine().log.iter().filter(|entry| entry.operation == operation).count()
    }

    /// Messages of a queue, by its name: visible, in flight, delayed.
    pub fn depth(&self, queue: &str) -> (usize, usize, usize) {
        let now = self.since_1970();
        self.engine().queues.depth(queue, now)
    }

    /// The bodies of all messages of a queue, whoever has them.
    pub fn bodies(&self, queue: &str) -> Vec<String> {
        self.engine().queues.bodies(queue)
    }

    /// The items of a partition as they are at this moment, in the order of their sort keys, as DynamoDB writes items in JSON. To
    /// look from outside costs nothing and meets nobody.
    pub fn items(&self, table: &str, partition: &str) -> Vec<Json> {
        self.engine().items(table, partition)
    }

    /// The bytes of each item of a table, and when its time to live ends, since 1970.
    pub fn sizes(&self, table: &str) -> Vec<(usize, Option<Duration>)> {
        self.engine().sizes(table)
    }

    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        self.0.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn since_1970(&self) -> Duration {
        self.0.epoch + self.since_start()
    }

    pub(crate) fn since_start(&self) -> Duration {
        self.0.started.elapsed()
    }

    pub(crate) fn notify(&self) {
        self.0.changed.notify_waiters();
    }

    /// Tries until it succeeds, whenever a message may have come or become visible.
    pub(crate) async fn until<T>(&self, mut attempt: impl FnMut(&mut Engine, Duration) -> Result<T, Wait>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let wait = match attempt(&mut self.engine(), self.since_1970()) {
                Ok(done) => return done,
                Err(wait) => wait,
            };
            let at = self.0.started + wait.at.saturating_sub(self.0.epoch);
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(at) => {}
            }
        }
    }
}

impl Default for Cloud {
    fn default() -> Self {
        Self::new()
    }
}

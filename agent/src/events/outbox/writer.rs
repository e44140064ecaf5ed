//! The owner of the database: it writes what waits, hands events to the uplink, and copes with a disk that fails.
//!
//! While the disk refuses, events go out from memory, although an event is on disk before it is sent otherwise. A full disk would silence a
//! site that works. For the same reason the agent starts on one.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use super::event::{OutboxEvent, Settled};
use super::file::Medium;
use super::handing::Handing;
use super::inflow::Inflow;
use super::pending::Pending;
use super::status::OutboxStatus;
use super::store::{Access, Store, StoreError, StoreLimits, WriteBatch};
use super::tables::Figures;
use super::task::{OutboxTask, Put};
use crate::calls::{Changes, RecordKey, Records};

/// What belongs to no event may wait this long for one whose sync it can share.
const LINGER: Duration = Duration::from_millis(100);
/// That an event was accepted may wait this long for the next one, whose sync it shares: well within the five minutes in which the queue
/// drops a copy that a crash would cause.
const SETTLED_LINGERS: Duration = Duration::from_secs(120);
/// Without another event, so many are written down earlier.
const MANY_SETTLED: usize = 1_000;
const TRY_DISK_EVERY: Duration = Duration::from_secs(1);
/// A large file takes long to open; this many times as long it is left alone after an attempt that failed.
const PATIENCE: u32 = 10;

/// A writer that has opened what there is.
#[derive(Debug)]
pub(super) struct OpenedWriter<M> {
    pub writer: OutboxWriter<M>,
    pub records: Records,
    /// The records, should the disk let them be read only later.
    pub late: mpsc::UnboundedReceiver<Records>,
    pub status: watch::Receiver<OutboxStatus>,
}

#[derive(Debug)]
pub(super) struct OutboxWriter<M> {
    medium: M,
    limits: StoreLimits,
    tasks: mpsc::UnboundedReceiver<OutboxTask>,
    inflow: Inflow,
    handing: Handing,
    status: watch::Sender<OutboxStatus>,
    access: Access,
    /// What the store said last.
    figures: Figures,
    try_disk_at: Instant,
    /// How long it took last to open the file.
    took: Duration,
    pending: Pending,
    flushes: Vec<oneshot::Sender<()>>,
    /// The number of the next event.
    next: u64,
    /// The greatest number that was written.
    written: u64,
    /// What the disk said last, as long as it refuses.
    refusal: Option<String>,
    /// It was logged that it cannot even be read.
    is_dark: bool,
    /// Synced writes so far.
    writes: u64,
    /// Where a damaged file is now.
    aside: Option<String>,
    /// Gets the records that could not be read at the start.
    late: Option<mpsc::UnboundedSender<Records>>,
}

impl<M: Medium> OutboxWriter<M> {
    pub(super) fn open(
        medium: M,
        limits: StoreLimits,
        tasks: mpsc::UnboundedReceiver<OutboxTask>,
        to_uplink: mpsc::UnboundedSender<OutboxEvent>,
    ) -> Result<OpenedWriter<M>, StoreError> {
        let (status, watch_status) = watch::channel(OutboxStatus::default());
        let (to_controller, late) = mpsc::unbounded_channel();
        let mut writer = Self {
            medium,
            limits,
            tasks,
            inflow: Inflow::default(),
            handing: Handing::new(to_uplink),
            status,
            access: Access::Closed,
            figures: Figures::default(),
            try_disk_at: Instant::now(),
            took: Duration::ZERO,
            pending: Pending::default(),
            flushes: Vec::new(),
            next: 1,
            written: 0,
            refusal: None,
            is_dark: false,
            writes: 0,
            aside: None,
            late: None,
        };
        let opened = writer.open_to_write().or_else(|error| match error {
            StoreError::Damaged(reason) => writer.set_aside(&reason),
            StoreError::Refused(_) | StoreError::Denied(_) => Err(error),
        });
        let records = match opened {
            Ok(records) => records,
            Err(StoreError::Denied(reason)) => return Err(StoreError::Denied(reason)),
            Err(StoreError::Refused(reason) | StoreError::Damaged(reason)) => {
                writer.refused(reason);
                writer.begin_in_memory(to_controller)
            }
        };
        writer.next = writer.next.max(writer.written + 1);
        if writer.figures.depth > 0 {
            info!(events = writer.figures.depth, "Events of the last run go out now");
        }
        writer.publish();
        Ok(OpenedWriter { writer, records, late, status: watch_status })
    }

    /// What the disk holds goes on, if it can be read. If it cannot, it follows as soon as it can be.
    fn begin_in_memory(&mut self, late: mpsc::UnboundedSender<Records>) -> Records {
        self.look();
        match self.access.store().map(|store| store.records(&Changes::new())) {
            Some(Ok(records)) => records,
            Some(Err(_)) | None => {
                self.access = Access::Nothing;
                self.late = Some(late);
                // By now greater than all numbers on disk, even those of an earlier start of this kind.
                self.next = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(1);
                Records::default()
            }
        }
    }

    pub(super) fn inflow(&self) -> Inflow {
        self.inflow.clone()
    }

    /// Works until nobody has anything more to say.
    pub(super) async fn run(mut self) {
        self.turn();
        while self.wait().await {
            self.turn();
        }
        self.write(true);
    }

    /// Writes what is due, hands over what there is, and says how it stands.
    pub(super) fn turn(&mut self) {
        self.write(!self.flushes.is_empty());
        self.hand_over();
        self.publish();
        for flush in self.flushes.drain(..) {
            let _ = flush.send(());
        }
    }

    /// Takes everything that there is to do. Waits for it, unless something else is due before. Returns false at the end.
    async fn wait(&mut self) -> bool {
        let due = match (&self.refusal, self.pending.since) {
            (Some(_), _) => Some(self.try_disk_at),
            (None, since) => {
                let settled = self.pending.done_since.map(|since| since + SETTLED_LINGERS);
                since.map(|since| since + LINGER).into_iter().chain(settled).min()
            }
        };
        let first = match due {
            Some(due) => timeout_at(due, self.tasks.recv()).await,
            None => Ok(self.tasks.recv().await),
        };
        match first {
            Ok(Some(task)) => self.take(task),
            Ok(None) => return false,
            Err(_) => {} // Something is due.
        }
        while let Ok(task) = self.tasks.try_recv() {
            self.take(task);
        }
        true
    }

    pub(super) fn take(&mut self, task: OutboxTask) {
        match task {
            OutboxTask::Put(Put { events, changes, now, bytes }) => {
                self.inflow.taken(bytes);
                self.pending.dropped += i64::try_from(self.inflow.given_up()).unwrap_or(i64::MAX);
                for mut event in events {
                    event.number = self.next;
                    self.next += 1;
                    self.pending.events.push(event);
                }
                self.pending.changes.extend(changes);
                self.pending.seen = self.pending.seen.max(now.as_millisecond());
            }
            OutboxTask::Settle(settled) => {
                settled.into_iter().for_each(|(number, how)| self.settle(number, how));
                self.pending.done_since.get_or_insert_with(Instant::now);
                return;
            }
            OutboxTask::Flush(reply) => {
                self.flushes.push(reply);
                return;
            }
            OutboxTask::Probe(reply) => {
                let _ = reply.send(());
                return;
            }
        }
        self.pending.since.get_or_insert_with(Instant::now);
    }

    fn settle(&mut self, number: u64, how: Settled) {
        let Some(handed) = self.handing.settled(number) else { return };
        if how == Settled::Refused {
            self.pending.refused += 1;
        }
        if handed.dropped {
            self.pending.dropped -= 1; // It has not been given up after all.
        } else {
            self.pending.settle(number, handed.rank);
        }
    }

    /// Writes what is due, if the disk lets it.
    fn write(&mut self, at_once: bool) {
        match &self.refusal {
            None if !self.is_due(at_once) => return,
            Some(_) if !at_once && Instant::now() < self.try_disk_at => return self.keep_in_memory(),
            _ => {}
        }
        match self.write_pending() {
            Ok(dropped) => {
                self.count_dropped(&dropped);
                if self.refusal.take().is_some() {
                    self.is_dark = false;
                    info!("The disk takes events again");
                }
            }
            Err(StoreError::Damaged(reason)) => {
                let _ = self.set_aside(&reason);
                self.keep_in_memory();
            }
            Err(StoreError::Refused(reason) | StoreError::Denied(reason)) => {
                self.refused(reason);
                self.keep_in_memory();
            }
        }
    }

    fn is_due(&self, at_once: bool) -> bool {
        let Pending { events, done, since, done_since, .. } = &self.pending;
        let waits_for =
            |since: &Option<Instant>, linger| since.is_some_and(|since| at_once || since.elapsed() >= linger);
        let is_loaded = !events.is_empty() || done.len() >= MANY_SETTLED;
        is_loaded || waits_for(since, LINGER) || waits_for(done_since, SETTLED_LINGERS)
    }

    /// Whether a disk that refused takes anything again shows when something is written, and be it nothing but the figures.
    /// Returns the numbers of the events that had to go for lack of space.
    fn write_pending(&mut self) -> Result<Vec<u64>, StoreError> {
        if !matches!(self.access, Access::Write(_)) {
            self.open_to_write()?;
        }
        let Access::Write(store) = &mut self.access else { return Ok(Vec::new()) };
        // What may leave a full disk makes room for what follows, and stays away even if that is refused.
        while self.refusal.is_some() && !self.pending.done.is_empty() {
            let done = self.pending.portion_done();
            let nothing = Changes::new();
            store.commit(&WriteBatch {
                done: done.clone(),
                changes: &nothing,
                events: &[],
                dropped: 0,
                refused: 0,
                seen: 0,
            })?;
            self.figures = store.figures;
            for (number, _) in done {
                self.pending.done.remove(&number);
            }
        }
        let last = self.pending.events.last().map_or(0, |event| event.number);
        self.pending.tried = last;
        let dropped = store.commit(&self.pending.batch())?;
        self.writes += 1;
        self.figures = store.figures;
        self.written = self.written.max(last);
        self.pending = Pending::default();
        Ok(dropped)
    }

    /// The store is opened, or opened again after the disk had refused.
    fn open_to_write(&mut self) -> Result<Records, StoreError> {
        // A file is open once at a time.
        self.access = Access::Closed;
        let begun = Instant::now();
        let opened = Store::open(&self.medium, self.limits);
        self.took = begun.elapsed();
        let store = opened?;
        let records = self.learn(&store)?;
        self.access = Access::Write(store);
        Ok(records)
    }

    /// Opens what is on a disk that refuses to be written to, if that was not tried since it refused last.
    fn look(&mut self) {
        if !matches!(self.access, Access::Closed) {
            return;
        }
        let begun = Instant::now();
        let opened = Store::open_to_read(&self.medium, self.limits);
        self.took += begun.elapsed();
        self.leave_disk_alone();
        self.access = match opened.and_then(|store| self.learn(&store).map(|_| store)) {
            Ok(store) => Access::Read(store),
            Err(error) => self.unreadable(&error),
        };
    }

    fn unreadable(&mut self, error: &StoreError) -> Access {
        if !std::mem::replace(&mut self.is_dark, true) {
            warn!("What is on the disk cannot be read: {error}");
        }
        Access::Nothing
    }

    /// Takes over what a store that was just opened says.
    fn learn(&mut self, store: &Store) -> Result<Records, StoreError> {
        let (greatest, records) = (store.greatest()?, store.records(&self.pending.changes)?);
        self.figures = store.figures;
        self.written = self.written.max(greatest);
        self.pending.is_on_disk_up_to(greatest);
        Ok(self.tell_late(records))
    }

    /// Records that could not be read at the start go to the controller, which has begun without them.
    fn tell_late(&mut self, records: Records) -> Records {
        match self.late.take() {
            Some(late) => {
                info!("What the outbox held can be read again");
                let _ = late.send(records);
                Records::default()
            }
            None => records,
        }
    }

    fn refused(&mut self, reason: String) {
        if self.refusal.is_none() {
            error!("The disk refuses events, which are kept in memory as far as it goes: {reason}");
        }
        self.refusal = Some(reason);
        self.access = Access::Closed;
        self.leave_disk_alone();
    }

    fn leave_disk_alone(&mut self) {
        self.try_disk_at = Instant::now() + TRY_DISK_EVERY.max(PATIENCE * self.took);
    }

    /// Begins a new file, with what can be read out of the damaged one.
    fn set_aside(&mut self, reason: &str) -> Result<Records, StoreError> {
        let damaged = std::mem::replace(&mut self.access, Access::Closed);
        let begun = self.begin_anew(damaged.store(), reason);
        if let Err(error) = &begun {
            self.refused(format!("the damaged outbox ({reason}) cannot be replaced: {error}"));
        }
        begun
    }

    fn begin_anew(&mut self, damaged: Option<&Store>, reason: &str) -> Result<Records, StoreError> {
        let aside = self.medium.set_aside().map_err(|error| StoreError::Refused(error.to_string()))?;
        let mut fresh = Store::open(&self.medium, self.limits)?;
        let (handing, done) = (&self.handing, &self.pending.done);
        let is_done = |number| handing.is_behind(number) || done.contains_key(&number);
        let rescued = damaged.map_or(Ok(0), |damaged| fresh.rescue(damaged, is_done))?;
        error!(
            aside,
            events = rescued,
            "The outbox was damaged ({reason}) and begins anew with the events that could be read"
        );
        self.aside = Some(aside);
        self.figures = fresh.figures;
        self.written = self.handing.cursor.max(fresh.greatest()?);
        let records = fresh.records(&self.pending.changes)?;
        self.access = Access::Write(fresh);
        Ok(self.tell_late(records))
    }

    /// What cannot be written has its limits.
    fn keep_in_memory(&mut self) {
        let dropped = self.pending.trim_events();
        self.count_dropped(&dropped);
        if self.pending.has_many_changes() {
            self.look();
            let store = self.access.store();
            let is_on_disk = |key: &RecordKey| store.is_some_and(|store| store.holds(key).unwrap_or(false));
            self.pending.trim_changes(is_on_disk);
        }
    }

    fn count_dropped(&mut self, dropped: &[u64]) {
        if dropped.is_empty() {
            return;
        }
        warn!(events = dropped.len(), "Events were given up for lack of space");
        self.handing.dropped(dropped);
    }

    /// Gives the uplink what it has room for: what is on disk, and behind it what the disk refuses. Unreadable
    /// events are skipped so that readable ones are still sent.
    fn hand_over(&mut self) {
        if self.late.is_some() {
            self.look();
        }
        while self.handing.has_room_for_a_portion() && self.handing.cursor < self.written {
            self.look();
            let Some(store) = self.access.store() else { break };
            match store.page(self.handing.cursor, self.handing.room()) {
                Ok(page) if page.is_empty() => self.handing.cursor = self.written,
                Ok(page) => {
                    for event in page {
                        self.handing.cursor = event.number;
                        // It may have gone out from memory before it was written.
                        if !self.handing.has(event.number) && !self.pending.done.contains_key(&event.number) {
                            self.handing.hand(event);
                        }
                    }
                }
                Err(error) if matches!(self.access, Access::Read(_)) => self.access = self.unreadable(&error),
                Err(StoreError::Damaged(reason)) => {
                    if self.set_aside(&reason).is_err() {
                        return;
                    }
                }
                Err(StoreError::Refused(reason) | StoreError::Denied(reason)) => self.refused(reason),
            }
        }
        let is_behind = self.handing.cursor < self.written;
        let is_readable = !matches!(self.access, Access::Nothing);
        if self.refusal.is_none() || (is_behind && is_readable) {
            return;
        }
        let unsent = self.pending.events.iter().filter(|event| !self.handing.has(event.number));
        let unsent: Vec<OutboxEvent> = unsent.take(self.handing.room()).cloned().collect();
        for event in unsent {
            if is_readable {
                self.handing.cursor = event.number;
            }
            self.handing.hand(event);
        }
    }

    fn publish(&self) {
        let Pending { events, done, dropped, refused, .. } = &self.pending;
        let depth = (self.figures.depth + events.len() as u64).saturating_sub(done.len() as u64);
        let unread = if self.late.is_some() { "; what the outbox held cannot be read" } else { "" };
        let refusal = self.refusal.as_ref().map(|reason| format!("the disk refuses events: {reason}{unread}"));
        let damage = || self.aside.as_ref().map(|aside| format!("the outbox was damaged; what it was is in {aside}"));
        let now = OutboxStatus {
            depth,
            oldest: self.handing.oldest().or_else(|| events.first().map(|event| event.occurred_at)),
            bytes: self.figures.bytes,
            cap: self.limits.cap,
            unwritten: events.len() as u64,
            dropped: self.figures.dropped.saturating_add_signed(*dropped),
            refused: self.figures.refused + refused,
            writes: self.writes,
            problem: refusal.or_else(damage),
        };
        self.status.send_if_modified(|status| {
            let changed = *status != now;
            *status = now;
            changed
        });
    }

    #[cfg(test)]
    pub(super) fn store(&self) -> Option<&Store> {
        self.access.store()
    }

    #[cfg(test)]
    pub(super) fn waiting_changes(&self) -> &Changes {
        &self.pending.changes
    }
}

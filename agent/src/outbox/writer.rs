//! The thread that owns the database: it writes what waits, hands events to the uplink, and copes with a disk that fails.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use shared::event::Status;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use super::file::Medium;
use super::store::{Batch, Limits, Store, Trouble};
use super::tables::Figures;
use super::{MEMORY_CAP, OutboxStatus, Settled, WINDOW, Waiting};
use crate::calls::{Changes, Records};

/// What belongs to no event may wait this long for one whose sync it can share.
const LINGER: Duration = Duration::from_millis(100);
const TRY_DISK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Job {
    Put(Put),
    Settle(Vec<(u64, Settled)>),
    Flush(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(super) struct Put {
    pub events: Vec<Waiting>,
    pub changes: Changes,
    pub now: Timestamp,
}

/// What is not on disk yet.
#[derive(Debug, Default)]
struct Pending {
    events: Vec<Waiting>,
    changes: Changes,
    done: Vec<(u64, Status)>,
    dropped: i64,
    refused: u64,
    seen: i64,
    /// Since when something waits.
    since: Option<Instant>,
}

impl Pending {
    fn batch(&self) -> Batch<'_> {
        let Self { events, changes, done, dropped, refused, seen, .. } = self;
        Batch { events, changes, done, dropped: *dropped, refused: *refused, seen: *seen }
    }

    fn bytes(&self) -> u64 {
        self.events.iter().map(|event| event.body.len() as u64).sum()
    }

    /// The event that is given up first.
    fn least_worthy(&self) -> Option<usize> {
        (0..self.events.len()).min_by_key(|at| (self.events[*at].status, *at))
    }
}

/// An event in the uplink's hands.
#[derive(Debug)]
struct Handed {
    status: Status,
    occurred_at: Timestamp,
    /// It was given up for lack of space meanwhile, and counted.
    dropped: bool,
}

#[derive(Debug)]
pub(super) struct Writer<M> {
    medium: M,
    limits: Limits,
    jobs: Receiver<Job>,
    to_uplink: mpsc::UnboundedSender<Waiting>,
    status: watch::Sender<OutboxStatus>,
    /// `None` while the disk refuses.
    store: Option<Store>,
    /// What the store said last.
    figures: Figures,
    try_disk_at: Instant,
    pending: Pending,
    flushes: Vec<oneshot::Sender<()>>,
    /// The number of the next event.
    next: u64,
    /// The greatest number that was written.
    written: u64,
    /// The number of the last event that the uplink got.
    cursor: u64,
    handed: BTreeMap<u64, Handed>,
    /// What the disk said last, as long as it refuses.
    refusal: Option<String>,
    /// Where a damaged file is now.
    aside: Option<String>,
}

impl<M: Medium> Writer<M> {
    pub(super) fn open(
        medium: M,
        limits: Limits,
        jobs: Receiver<Job>,
        to_uplink: mpsc::UnboundedSender<Waiting>,
    ) -> Result<(Self, Records, watch::Receiver<OutboxStatus>), Trouble> {
        let (status, watch_status) = watch::channel(OutboxStatus::default());
        let mut writer = Self {
            medium,
            limits,
            jobs,
            to_uplink,
            status,
            store: None,
            figures: Figures::default(),
            try_disk_at: Instant::now(),
            pending: Pending::default(),
            flushes: Vec::new(),
            next: 1,
            written: 0,
            cursor: 0,
            handed: BTreeMap::new(),
            refusal: None,
            aside: None,
        };
        let records = writer.open_store().or_else(|trouble| match trouble {
            Trouble::Damaged(reason) => writer.set_aside(&reason),
            Trouble::Refused(_) => Err(trouble),
        })?;
        writer.next = writer.written + 1;
        if writer.figures.depth > 0 {
            info!(events = writer.figures.depth, "Events of the last run go out now");
        }
        writer.publish();
        Ok((writer, records, watch_status))
    }

    /// Works until nobody has anything more to say.
    pub(super) fn run(mut self) {
        self.turn();
        while self.wait() {
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
    fn wait(&mut self) -> bool {
        let due = match (&self.store, self.pending.since) {
            (None, _) => Some(self.try_disk_at),
            (Some(_), Some(since)) => Some(since + LINGER),
            (Some(_), None) => None,
        };
        let first = match due {
            Some(due) => self.jobs.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => self.jobs.recv().map_err(Into::into),
        };
        match first {
            Ok(job) => self.take(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        while let Ok(job) = self.jobs.try_recv() {
            self.take(job);
        }
        true
    }

    pub(super) fn take(&mut self, job: Job) {
        match job {
            Job::Put(Put { events, changes, now }) => {
                for mut event in events {
                    event.number = self.next;
                    self.next += 1;
                    self.pending.events.push(event);
                }
                self.pending.changes.extend(changes);
                self.pending.seen = self.pending.seen.max(now.as_millisecond());
            }
            Job::Settle(settled) => settled.into_iter().for_each(|(number, how)| self.settle(number, how)),
            Job::Flush(reply) => {
                self.flushes.push(reply);
                return;
            }
        }
        self.pending.since.get_or_insert_with(Instant::now);
    }

    fn settle(&mut self, number: u64, how: Settled) {
        let Some(handed) = self.handed.remove(&number) else { return };
        if how == Settled::Refused {
            self.pending.refused += 1;
        }
        if handed.dropped {
            self.pending.dropped -= 1; // It has not been given up after all.
        } else if let Ok(at) = self.pending.events.binary_search_by_key(&number, |event| event.number) {
            self.pending.events.remove(at);
        } else {
            self.pending.done.push((number, handed.status));
        }
    }

    /// Writes what is due, if the disk lets it.
    fn write(&mut self, at_once: bool) {
        if self.store.is_none() && (at_once || Instant::now() >= self.try_disk_at) {
            match self.open_store() {
                Ok(_) => {}
                Err(Trouble::Damaged(reason)) => drop(self.set_aside(&reason)),
                Err(Trouble::Refused(reason)) => self.refused(reason),
            }
        }
        let is_due = |since: Instant| at_once || !self.pending.events.is_empty() || since.elapsed() >= LINGER;
        // Whether a disk that refused takes anything again shows when something is written.
        if !self.pending.since.is_some_and(is_due) && self.refusal.is_none() {
            return;
        }
        let Some(store) = &mut self.store else { return self.keep_in_memory() };
        match store.commit(&self.pending.batch()) {
            Ok(dropped) => {
                self.figures = store.figures;
                self.written = self.written.max(self.pending.events.last().map_or(0, |event| event.number));
                self.pending = Pending::default();
                self.count_dropped(&dropped);
                if self.refusal.take().is_some() {
                    info!("The disk takes events again");
                }
            }
            Err(Trouble::Damaged(reason)) => {
                let _ = self.set_aside(&reason);
                self.keep_in_memory();
            }
            Err(Trouble::Refused(reason)) => {
                self.refused(reason);
                self.keep_in_memory();
            }
        }
    }

    /// The store is opened, or opened again after the disk had refused.
    fn open_store(&mut self) -> Result<Records, Trouble> {
        let store = self.store.insert(Store::open(&self.medium, self.limits)?);
        self.figures = store.figures;
        self.written = self.written.max(store.greatest()?);
        store.records()
    }

    fn refused(&mut self, reason: String) {
        if self.refusal.is_none() {
            error!("The disk refuses events, which are kept in memory as far as it goes: {reason}");
        }
        self.refusal = Some(reason);
        self.store = None;
        self.try_disk_at = Instant::now() + TRY_DISK_EVERY;
    }

    /// Begins a new file, with what can be read out of the damaged one.
    fn set_aside(&mut self, reason: &str) -> Result<Records, Trouble> {
        let damaged = self.store.take();
        let begun = self.begin_anew(damaged.as_ref(), reason);
        if let Err(trouble) = &begun {
            self.refused(format!("the damaged outbox ({reason}) cannot be replaced: {trouble}"));
        }
        begun
    }

    fn begin_anew(&mut self, damaged: Option<&Store>, reason: &str) -> Result<Records, Trouble> {
        let aside = self.medium.set_aside().map_err(|error| Trouble::Refused(error.to_string()))?;
        let mut fresh = Store::open(&self.medium, self.limits)?;
        let (cursor, handed) = (self.cursor, &self.handed);
        let is_done = |number| number <= cursor && !handed.contains_key(&number);
        let rescued = damaged.map_or(Ok(0), |damaged| fresh.rescue(damaged, is_done))?;
        error!(
            aside,
            events = rescued,
            "The outbox was damaged ({reason}) and begins anew with the events that could be read"
        );
        self.aside = Some(aside);
        self.figures = fresh.figures;
        self.written = cursor.max(fresh.greatest()?);
        let records = fresh.records();
        self.store = Some(fresh);
        records
    }

    /// What cannot be written has its limits.
    fn keep_in_memory(&mut self) {
        let mut bytes = self.pending.bytes();
        let mut dropped = Vec::new();
        while bytes > MEMORY_CAP
            && let Some(at) = self.pending.least_worthy()
        {
            let event = self.pending.events.remove(at);
            bytes -= event.body.len() as u64;
            dropped.push(event.number);
        }
        self.pending.dropped += i64::try_from(dropped.len()).unwrap_or(i64::MAX);
        self.count_dropped(&dropped);
    }

    fn count_dropped(&mut self, dropped: &[u64]) {
        if dropped.is_empty() {
            return;
        }
        warn!(events = dropped.len(), "Events were given up for lack of space");
        for number in dropped {
            if let Some(handed) = self.handed.get_mut(number) {
                handed.dropped = true;
            }
        }
    }

    /// Gives the uplink what it has room for.
    fn hand_over(&mut self) {
        // In portions, so that each event of a backlog does not cost a look at the disk.
        while self.handed.len() <= WINDOW / 2 && self.cursor < self.written {
            let Some(store) = &self.store else { return };
            match store.page(self.cursor, WINDOW - self.handed.len()) {
                Ok(page) if page.is_empty() => self.cursor = self.written,
                Ok(page) => page.into_iter().for_each(|event| self.hand(event)),
                Err(Trouble::Damaged(reason)) => {
                    if self.set_aside(&reason).is_err() {
                        return;
                    }
                }
                Err(Trouble::Refused(reason)) => return self.refused(reason),
            }
        }
        if self.store.is_none() && self.cursor >= self.written {
            let room = WINDOW.saturating_sub(self.handed.len());
            let unsent = self.pending.events.iter().filter(|event| event.number > self.cursor);
            let unsent: Vec<Waiting> = unsent.take(room).cloned().collect();
            unsent.into_iter().for_each(|event| self.hand(event));
        }
    }

    fn hand(&mut self, event: Waiting) {
        self.cursor = event.number;
        let handed = Handed { status: event.status, occurred_at: event.occurred_at, dropped: false };
        self.handed.insert(event.number, handed);
        let _ = self.to_uplink.send(event);
    }

    fn publish(&self) {
        let Pending { events, done, dropped, refused, .. } = &self.pending;
        let depth = (self.figures.depth + events.len() as u64).saturating_sub(done.len() as u64);
        let oldest = self.handed.values().next().map(|handed| handed.occurred_at);
        let refusal = self.refusal.as_ref().map(|reason| format!("the disk refuses events: {reason}"));
        let damage = || self.aside.as_ref().map(|aside| format!("the outbox was damaged; what it was is in {aside}"));
        let now = OutboxStatus {
            depth,
            oldest: oldest.or_else(|| events.first().map(|event| event.occurred_at)),
            bytes: self.figures.bytes,
            cap: self.limits.cap,
            unwritten: events.len() as u64,
            dropped: self.figures.dropped.saturating_add_signed(*dropped),
            refused: self.figures.refused + refused,
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
        self.store.as_ref()
    }
}

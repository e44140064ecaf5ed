//! The durable outbox: events between the controller and the queue, and what the call core has to remember over a restart.
//!
//! Promises:
//! - An event is on disk, synced, before the uplink gets it, and leaves the disk only after the queue has accepted it. All
//!   events that wait when a commit begins share its sync.
//! - The call core's records of a moment are in the same transaction as the events of that moment.
//! - Events leave in the order in which they came. Memory does not grow with the backlog: at most [`WINDOW`] events are in
//!   the uplink's hands, and the rest is read from disk when there is room.
//! - When the cap is reached, the oldest event of the lowest rank goes first: the oldest update, then the oldest `ringing`, then the oldest
//!   `connected`, then the oldest `disconnected`. That is the order in which events lose their worth. Each is counted.
//! - While the disk refuses (full, read-only, broken), what is on it still goes out if it can be read, and leaves it as soon as
//!   that can be written down. New events wait in memory up to [`MEMORY_CAP`], go out behind it, and are written as soon as the
//!   disk takes them. Only in that time can a crash lose an event; the status says so. It holds from the start on: only a folder
//!   that is not there or somebody else's keeps the outbox from being opened.
//! - While the disk hangs in a write, what happens meanwhile waits in memory up to about [`MEMORY_CAP`]; beyond it events are given up
//!   in the same order, and counted.
//! - What of the records waits in that time is bounded as well: [`pending::RECORDS`] changes, or one for each call that runs or
//!   that the disk remembers. Beyond it, what is known of ended calls is given up; the shared table has it too.
//! - A damaged file is set aside under another name, and what can still be read of it goes on.
//!
//! Not promised: that nothing is sent twice. An event whose acceptance was not written down before a crash is sent again
//! under the same id, and the cloud drops the copy.

mod event;
mod file;
mod handing;
mod inflow;
mod pending;
mod shadow;
mod status;
mod store;
mod tables;
mod task;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;

use anyhow::Context;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use shared::event::CallEvent;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::error;

use crate::calls::{Changes, Records};
use crate::host::disk;
use file::{DataFile, Medium};
use inflow::Inflow;
use store::StoreLimits;
use task::{OutboxTask, Put};
use writer::{OpenedWriter, OutboxWriter};

pub use event::{OutboxEvent, Settled, WINDOW};
pub use pending::MEMORY_CAP;
pub use status::OutboxStatus;

const LOCK: &str = "lock";

/// Hands events to the outbox and takes back what became of them.
#[derive(Clone, Debug)]
pub struct Outbox {
    tasks: mpsc::UnboundedSender<OutboxTask>,
    inflow: Inflow,
    status: watch::Receiver<OutboxStatus>,
}

/// An outbox that was opened, and what it holds.
#[derive(Debug)]
pub struct Opened {
    pub outbox: Outbox,
    /// The events for the uplink, in order.
    pub events: mpsc::UnboundedReceiver<OutboxEvent>,
    /// What the call core knew.
    pub records: Records,
    /// The same, if the disk lets it be read only later.
    pub late: mpsc::UnboundedReceiver<Records>,
}

impl Outbox {
    /// Opens the outbox in this folder, or begins one. `cap` is how many bytes its events may take.
    pub fn open(folder: &Path, cap: u64) -> anyhow::Result<Opened> {
        Self::open_on(folder, cap, own_thread)
    }

    /// The same where the caller decides who does the work. What waits for the disk ends with it when it is dropped.
    pub fn open_on(
        folder: &Path,
        cap: u64,
        run: impl FnOnce(BoxFuture<'static, ()>) -> io::Result<()>,
    ) -> anyhow::Result<Opened> {
        let lock = lock(folder)?;
        Self::begin(DataFile::new(folder), StoreLimits::with_cap(cap), lock, run)
            .with_context(|| format!("`agent.state_dir`: the outbox in {} cannot be opened", folder.display()))
    }

    /// `lock` is kept as long as the outbox works.
    fn begin<M: Medium>(
        medium: M,
        limits: StoreLimits,
        lock: impl Send + 'static,
        run: impl FnOnce(BoxFuture<'static, ()>) -> io::Result<()>,
    ) -> anyhow::Result<Opened> {
        let (to_uplink, events) = mpsc::unbounded_channel();
        let (tasks, queue) = mpsc::unbounded_channel();
        let OpenedWriter { writer, records, late, status } = OutboxWriter::open(medium, limits, queue, to_uplink)?;
        let inflow = writer.inflow();
        let work = async move {
            writer.run().await;
            drop(lock);
        };
        run(Box::pin(work)).context("nobody does the work of the outbox")?;
        Ok(Opened { outbox: Self { tasks, inflow, status }, events, records, late })
    }

    /// Takes over what has happened at one moment: events, and the records that belong to them.
    pub fn put(&self, events: &[CallEvent], mut changes: Changes, now: Timestamp) {
        let mut events = events.iter().map(OutboxEvent::new).collect();
        let bytes = self.inflow.admit(&mut events, &mut changes);
        self.tell(OutboxTask::Put(Put { events, changes, now, bytes }));
    }

    /// The uplink has done with these events.
    pub fn settle(&self, settled: Vec<(u64, Settled)>) {
        self.tell(OutboxTask::Settle(settled));
    }

    /// Waits until everything that was told before is on disk, or the disk has refused it.
    pub async fn flushed(&self) {
        let (reply, done) = oneshot::channel();
        self.tell(OutboxTask::Flush(reply));
        let _ = done.await;
    }

    /// Waits until the outbox's thread takes what it is told. It does not while it writes, and never again if the disk hangs.
    pub async fn answers(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.tell(OutboxTask::Probe(reply));
        answer.await.is_ok()
    }

    /// Returns when nobody takes anything any more, because the outbox's thread has ended.
    pub async fn ended(&self) {
        self.tasks.closed().await;
    }

    /// Waits until no event is left of those that were put before.
    pub async fn emptied(&self) {
        self.flushed().await;
        let _ = self.status.clone().wait_for(|status| status.depth == 0).await;
    }

    pub fn status(&self) -> watch::Receiver<OutboxStatus> {
        self.status.clone()
    }

    fn tell(&self, task: OutboxTask) {
        if self.tasks.send(task).is_err() {
            error!("The outbox has ended and takes nothing more");
        }
    }
}

/// Syncing takes as long as the disk takes, and nothing else may wait for it. The thread ends with the last [`Outbox`].
fn own_thread(work: BoxFuture<'static, ()>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name("outbox".to_owned()).spawn(move || runtime.block_on(work)).map(drop)
}

/// Two agents in one folder would take each other's events. The lock goes with the process, however that ends.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(LOCK);
    // A disk that refuses may have no room for its name; then the folder itself serves as well.
    let file = File::options().create(true).append(true).open(&path).or_else(|error| match error {
        error if disk::refuses(&error) => File::open(&path).or_else(|_| File::open(folder)),
        error => Err(error),
    });
    let file = file.with_context(|| format!("`agent.state_dir`: cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "`agent.state_dir`: {} is in use by another agent; give each agent a folder of its own",
            folder.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("`agent.state_dir`: cannot lock {}", path.display()))
        }
    }
}

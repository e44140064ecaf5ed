//! How many batches of a mapping there may be at a time: a few at first, more while all of them are busy, and fewer again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Batches at a time when a queue becomes busy.
const FIRST: usize = 5;
/// As long as all of them are busy, so many more are added at a time: 300 a minute.
const MORE: usize = 5;
const SCALES_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Batches {
    /// Each poll has one of them, and then the invocation that it leads to.
    permits: Arc<Semaphore>,
    size: AtomicUsize,
    most: usize,
    /// Invocations.
    busy: AtomicUsize,
}

impl Batches {
    pub(crate) fn new(most: usize) -> Self {
        let size = FIRST.min(most);
        let (permits, size) = (Arc::new(Semaphore::new(size)), AtomicUsize::new(size));
        Self { permits, size, most, busy: AtomicUsize::new(0) }
    }

    /// Waits for a place for one more.
    pub(crate) async fn one(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.permits.clone().acquire_owned().await
    }

    /// Waits until there are none, and lets nobody begin another one.
    pub(crate) async fn all(&self) {
        let all = u32::try_from(self.size.load(Ordering::SeqCst)).unwrap_or(u32::MAX);
        // The permits go in the order in which they are asked for, so no poller gets one any more.
        if let Ok(permits) = self.permits.acquire_many(all).await {
            permits.forget();
        }
    }

    /// An invocation, for as long as this lives.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::SeqCst);
        Busy(&self.busy)
    }

    async fn scale(&self) {
        loop {
            sleep(SCALES_EVERY).await;
            let (size, busy) = (self.size.load(Ordering::SeqCst), self.busy.load(Ordering::SeqCst));
            if busy >= size {
                let more = MORE.min(self.most - size);
                self.permits.add_permits(more);
                self.size.fetch_add(more, Ordering::SeqCst);
            } else if size > FIRST && busy + 2 * MORE < size {
                let fewer = self.permits.forget_permits(MORE.min(size - FIRST));
                self.size.fetch_sub(fewer, Ordering::SeqCst);
            }
        }
    }
}

pub(crate) struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The task that scales; it ends with its owner.
#[derive(Debug)]
pub(crate) struct Scaling(JoinHandle<()>);

impl Scaling {
    pub(crate) fn of(batches: &Arc<Batches>) -> Self {
        let batches = batches.clone();
        Self(tokio::spawn(async move { batches.scale().await }))
    }
}

impl Drop for Scaling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

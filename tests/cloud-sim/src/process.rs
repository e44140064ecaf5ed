//! Somebody who asks the cloud, and who can be killed between any two requests.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::cloud::Cloud;
use crate::counts::FaultKind;

/// When a process dies, by the number of its request; the first one is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillPoint {
    /// Before it sends the request.
    Before(u64),
    /// After the request was carried out, and before it sees the answer.
    After(u64),
}

/// A process as the cloud sees it: a name in the log, and a number of requests. Clones are the same process.
#[derive(Clone, Debug)]
pub struct Process(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    cloud: Cloud,
    requests: AtomicU64,
    kill_at: Mutex<Option<KillPoint>>,
    dead: AtomicBool,
    died: Notify,
    /// How many pieces of its work run under [`Process::run`].
    runs: AtomicUsize,
}

/// The process died before its work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed;

impl std::fmt::Display for Killed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the process was killed")
    }
}

impl std::error::Error for Killed {}

/// Counts a piece of work for as long as it runs, however it ends.
struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn new(runs: &'a AtomicUsize) -> Self {
        runs.fetch_add(1, Ordering::SeqCst);
        Self(runs)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Cloud {
    /// Somebody who asks the cloud and can be killed: an agent, an environment of a function, a test.
    pub fn process(&self, name: impl Into<String>) -> Process {
        Process::new(self.clone(), name.into())
    }
}

impl Process {
    fn new(cloud: Cloud, name: String) -> Self {
        Self(Arc::new(Inner {
            name,
            cloud,
            requests: AtomicU64::new(0),
            kill_at: Mutex::default(),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            runs: AtomicUsize::new(0),
        }))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn cloud(&self) -> &Cloud {
        &self.0.cloud
    }

    /// How many requests it has sent.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::SeqCst)
    }

    pub fn kill_at(&self, point: KillPoint) {
        *self.0.kill_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(point);
    }

    pub fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::SeqCst)
    }

    /// Its requests fail from now on, and what it runs ends where it waits.
    pub fn kill(&self) {
        if !self.0.dead.swap(true, Ordering::SeqCst) {
            self.0.cloud.engine().counts.fault(FaultKind::Kill);
            self.0.died.notify_waiters();
        }
    }

    /// Runs the work of the process, until it is done or the process is killed.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Killed> {
        let mut died = std::pin::pin!(self.0.died.notified());
        died.as_mut().enable();
        if self.is_dead() {
            return Err(Killed);
        }
        let _running = Running::new(&self.0.runs);
        tokio::select! {
            biased;
            () = died => Err(Killed),
            done = work => Ok(done),
        }
    }

    /// Where a request of a dead process ends: work under [`Process::run`] does not even see that it failed.
    pub(crate) async fn dies(&self) {
        if self.0.runs.load(Ordering::SeqCst) > 0 {
            std::future::pending::<()>().await;
        }
    }

    /// A request is about to be sent. Says whether the process still lives to see the answer.
    pub(crate) fn sends(&self) -> Result<bool, Killed> {
        if self.is_dead() {
            return Err(Killed);
        }
        let number = self.0.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let point = *self.0.kill_at.lock().unwrap_or_else(PoisonError::into_inner);
        match point {
            Some(KillPoint::Before(n)) if number >= n => {
                self.kill();
                Err(Killed)
            }
            Some(KillPoint::After(n)) => Ok(number < n),
            _ => Ok(true),
        }
    }
}

//! The workers of the agent, each a task of its own, and whether all of them are at work.
//!
//! A worker that ends early, by a return or by a panic, ends the agent with its reason, and the service manager starts it anew: a
//! process in which a part is missing would lose what that part has to do, and say that it is ready. A worker that blocks its
//! thread, or does not answer what it is asked, is a problem that the status tells, and the service manager's watchdog ends it.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::poll_fn;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::error;

/// A worker that has been silent for longer hangs. While the controller dials a PBX that is silent, it answers after 20 seconds
/// only.
pub const HANGS_AFTER: Duration = Duration::from_secs(30);

/// What the status tells of the workers. Clones tell of the same ones.
#[derive(Clone, Debug, Default)]
pub struct Workers(Arc<Mutex<BTreeMap<&'static str, WorkerState>>>);

#[derive(Debug, Default)]
struct WorkerState {
    /// Since when it has been at something without letting others run.
    polled_since: Option<Instant>,
    /// Since when it has owed an answer.
    asked_at: Option<Instant>,
    ended: Option<String>,
}

impl WorkerState {
    fn problem(&self, name: &str) -> Option<String> {
        if let Some(reason) = &self.ended {
            return Some(reason.clone());
        }
        let since = self.polled_since.into_iter().chain(self.asked_at).min()?;
        let silent = since.elapsed();
        (silent > HANGS_AFTER).then(|| format!("the {name} has not answered for {} s", silent.as_secs()))
    }
}

impl Workers {
    /// Why not all of them are at work, if so.
    pub fn problem(&self) -> Option<String> {
        self.states().iter().find_map(|(name, state)| state.problem(name))
    }

    /// Waits for the answer of a worker. Until it comes, the worker owes it.
    pub async fn ask<T>(&self, name: &'static str, answer: impl Future<Output = T>) -> T {
        self.change(name, |state| state.asked_at = state.asked_at.or_else(|| Some(Instant::now())));
        let answer = answer.await;
        self.change(name, |state| state.asked_at = None);
        answer
    }

    fn change(&self, name: &'static str, change: impl FnOnce(&mut WorkerState)) {
        change(self.states().entry(name).or_default());
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<&'static str, WorkerState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how long each step of the work takes.
    async fn watch<T>(&self, name: &'static str, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        poll_fn(|context| {
            self.change(name, |state| state.polled_since = Some(Instant::now()));
            let step = work.as_mut().poll(context);
            if step.is_pending() {
                self.change(name, |state| state.polled_since = None);
            }
            step
        })
        .await
    }
}

/// A worker whose partner is gone may see that before the partner's own end is told, and ends as well.
const CAUSES_COME_WITHIN: Duration = Duration::from_millis(100);

/// Why a worker has ended early.
#[derive(Debug)]
struct EarlyEnd {
    reason: anyhow::Error,
    /// It has returned without an error, which may be the consequence of another end.
    by_itself: bool,
}

/// Runs the workers and hears of the first one that ends early.
#[derive(Debug)]
pub struct Supervisor {
    workers: Workers,
    end: mpsc::UnboundedSender<EarlyEnd>,
    ends: mpsc::UnboundedReceiver<EarlyEnd>,
}

/// A worker that runs. Dropping this ends it.
pub type RunningWorker = AbortOnDropHandle<()>;

impl Supervisor {
    pub fn new(workers: Workers) -> Self {
        let (end, ends) = mpsc::unbounded_channel();
        Self { workers, end, ends }
    }

    /// Runs a worker that has to work until it is told to stop. An error counts whenever it comes.
    pub fn spawn<E: Into<anyhow::Error>>(
        &self,
        name: &'static str,
        stop: &CancellationToken,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> RunningWorker {
        let (stop, work) = (stop.clone(), Box::pin(work));
        self.start(name, async move {
            match work.await {
                Ok(()) if stop.is_cancelled() => Ok(()),
                Ok(()) => Err(EarlyEnd { reason: anyhow::anyhow!("the {name} has ended by itself"), by_itself: true }),
                Err(error) => {
                    Err(EarlyEnd { reason: error.into().context(format!("the {name} failed")), by_itself: false })
                }
            }
        })
    }

    /// Runs a worker that ends when another one has ended that it works for.
    pub fn spawn_servant(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> RunningWorker {
        self.start(name, Box::pin(work).map(Ok))
    }

    /// The work lies behind a pointer: each future around it has room for it twice, which made 200 kB of one of 25.
    fn start(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<(), EarlyEnd>> + Send + 'static,
    ) -> RunningWorker {
        let (workers, end) = (self.workers.clone(), self.end.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let ended = AssertUnwindSafe(workers.watch(name, work)).catch_unwind().await;
            let ended =
                ended.unwrap_or_else(|panic| Err(EarlyEnd { reason: panicked(name, &*panic), by_itself: false }));
            workers.change(name, |state| {
                *state = WorkerState {
                    ended: ended.as_ref().err().map(|end| format!("{:#}", end.reason)),
                    ..WorkerState::default()
                };
            });
            if let Err(early) = ended {
                error!("Stopping: {:#}", early.reason);
                let _ = end.send(early);
            }
        }))
    }

    /// Waits for the first worker that ends early, and returns its reason.
    pub async fn early_end(&mut self) -> anyhow::Error {
        let Some(first) = self.ends.recv().await else {
            return std::future::pending().await; // This holds a sender itself.
        };
        if first.by_itself {
            sleep(CAUSES_COME_WITHIN).await;
            while let Ok(end) = self.ends.try_recv() {
                if !end.by_itself {
                    return end.reason;
                }
            }
        }
        first.reason
    }

    /// The reason of a worker that has ended early, if one has.
    pub fn ended(&mut self) -> Option<anyhow::Error> {
        self.ends.try_recv().ok().map(|end| end.reason)
    }
}

/// The message of a panic. Its place is in the log already.
pub fn panicked(name: &str, panic: &(dyn std::any::Any + Send)) -> anyhow::Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    anyhow::anyhow!("the {name} panicked: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::task::Poll;

    use tokio::sync::oneshot;
    use tokio::time::advance;

    use super::*;

    fn supervisor() -> (Supervisor, Workers, CancellationToken) {
        let workers = Workers::default();
        (Supervisor::new(workers.clone()), workers, CancellationToken::new())
    }

    #[tokio::test]
    async fn worker_that_ends_early_is_told_with_its_reason() {
        type Work = std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;
        let cases: [(Work, &str); 3] = [
            (Box::pin(async { panic!("a bug in line {}", 7) }), "the heart panicked: a bug in line 7"),
            (Box::pin(async { Ok(()) }), "the heart has ended by itself"),
            (Box::pin(async { Err(io::Error::other("no room")) }), "the heart failed: no room"),
        ];
        for (work, reason) in cases {
            let (mut supervisor, workers, stop) = supervisor();
            let _heart = supervisor.spawn("heart", &stop, work);
            assert_eq!(format!("{:#}", supervisor.early_end().await), reason);
            assert_eq!(workers.problem().as_deref(), Some(reason));
        }
    }

    #[tokio::test]
    async fn worker_that_was_told_to_stop_may_end_but_not_fail() {
        let (mut supervisor, workers, stop) = supervisor();
        stop.cancel();
        supervisor.spawn("heart", &stop, async { Ok::<_, io::Error>(()) }).await.expect("no panic");
        supervisor.spawn_servant("liver", async {}).await.expect("no panic");
        assert!(supervisor.ended().is_none() && workers.problem().is_none());
        supervisor.spawn("heart", &stop, async { Err(io::Error::other("no room")) }).await.expect("no panic");
        assert!(supervisor.ended().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn worker_that_owes_an_answer_hangs() {
        let (_, workers, _) = supervisor();
        let (reply, answer) = oneshot::channel();
        let asked = tokio::spawn({
            let workers = workers.clone();
            async move { workers.ask("heart", answer).await }
        });
        tokio::task::yield_now().await;
        advance(HANGS_AFTER).await;
        assert_eq!(workers.problem(), None);
        advance(Duration::from_secs(1)).await;
        assert_eq!(workers.problem().as_deref(), Some("the heart has not answered for 31 s"));
        reply.send(()).expect("somebody waits");
        asked.await.expect("no panic").expect("an answer");
        assert_eq!(workers.problem(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn worker_that_keeps_its_thread_hangs() {
        let (supervisor, workers, stop) = supervisor();
        let (seen, looked) = (Arc::new(Mutex::new(None)), workers.clone());
        let mut is_second = false;
        let see = seen.clone();
        let step = poll_fn(move |context| {
            if std::mem::replace(&mut is_second, true) {
                *see.lock().expect("no panic") = looked.problem();
                return Poll::Ready(Ok::<_, io::Error>(()));
            }
            // As if the first step had begun long ago.
            looked.change("heart", |state| state.asked_at = Some(Instant::now() - HANGS_AFTER * 2));
            context.waker().wake_by_ref();
            Poll::Pending
        });
        supervisor.spawn("heart", &stop, step).await.expect("no panic");
        assert!(seen.lock().expect("no panic").is_some());
    }
}

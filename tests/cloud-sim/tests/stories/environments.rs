//! The environments of a Lambda function: each with a context of its own, one invocation at a time, and each may die.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloud_sim::{Cloud, KillPoint, Killed, Process};
use jiff::Timestamp;

use crate::machine::Chance;
use crate::output;

/// Requests after which an environment has certainly died, if it is one that dies.
const LATEST_DEATH: u64 = 60;

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Running,
    Returned,
    /// The environment died under it.
    Killed,
    /// It ran into the function's time-out, which is the function's own fault.
    TimedOut,
}

/// One invocation, for who wants to know later how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Invocation(Arc<Mutex<End>>);

impl Invocation {
    fn begin() -> Self {
        Self(Arc::new(Mutex::new(End::Running)))
    }

    pub(crate) fn end(&self) -> End {
        *lock(&self.0)
    }
}

/// The present invocation of an environment.
#[derive(Clone, Debug)]
pub(crate) struct Present(Arc<Mutex<Invocation>>);

impl Present {
    pub(crate) fn get(&self) -> Invocation {
        lock(&self.0).clone()
    }
}

struct Environment<C> {
    process: Process,
    context: Arc<C>,
    present: Present,
    generation: usize,
}

/// A function and its idle environments.
pub(crate) struct Function<C> {
    cloud: Cloud,
    name: String,
    make: Mutex<Arc<Make<C>>>,
    chance: Chance,
    /// How many of the environments die at one of their requests.
    deaths: Mutex<f64>,
    /// Every environment dies at once.
    is_down: AtomicBool,
    idle: Mutex<Vec<Environment<C>>>,
    made: AtomicUsize,
    /// How often it was deployed anew. Environments of an earlier time are not used again.
    generation: AtomicUsize,
}

type Make<C> = dyn Fn(&Process, &Present) -> C + Send + Sync;

impl<C> fmt::Debug for Function<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({})", self.name)
    }
}

impl<C: Send + Sync + 'static> Function<C> {
    pub(crate) fn new(
        cloud: &Cloud,
        name: &str,
        chance: &Chance,
        make: impl Fn(&Process, &Present) -> C + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            cloud: cloud.clone(),
            name: name.to_owned(),
            make: Mutex::new(Arc::new(make)),
            chance: chance.clone(),
            deaths: Mutex::new(0.0),
            is_down: AtomicBool::new(false),
            idle: Mutex::default(),
            made: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
        })
    }

    /// From now on so many of the new environments die before or after one of their requests. Those that there are go away.
    pub(crate) fn let_die(&self, deaths: f64) {
        *lock(&self.deaths) = deaths;
        lock(&self.idle).clear();
    }

    /// From now on environments are made like this. Those at work end what they do.
    pub(crate) fn deploy(&self, make: impl Fn(&Process, &Present) -> C + Send + Sync + 'static) {
        *lock(&self.make) = Arc::new(make);
        lock(&self.idle).clear();
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on no environment gets anything done, or each does again.
    pub(crate) fn break_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
        lock(&self.idle).clear();
    }

    /// Invokes the function in an idle environment, or in a new one. Whoever drops this kills the environment.
    pub(crate) async fn invoke<F: Future>(
        &self,
        deadline: Timestamp,
        work: impl FnOnce(Arc<C>) -> F,
    ) -> Result<F::Output, Killed> {
        let idle = lock(&self.idle).pop();
        let environment = idle.unwrap_or_else(|| self.environment());
        if self.is_down.load(Ordering::Relaxed) {
            environment.process.kill();
        }
        let invocation = Invocation::begin();
        *lock(&environment.present.0) = invocation.clone();
        let (process, context) = (environment.process.clone(), environment.context.clone());
        let mut busy = Busy { environment: Some(environment), invocation, deadline };
        let done = output::of(&self.name, process.run(work(context))).await?;
        let present = self.generation.load(Ordering::Relaxed);
        lock(&self.idle).extend(busy.returned().filter(|environment| environment.generation == present));
        Ok(done)
    }

    fn environment(&self) -> Environment<C> {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let process = self.cloud.process(format!("{}-{number}", self.name));
        if self.chance.happens(*lock(&self.deaths)) {
            let request = self.chance.number(1, LATEST_DEATH);
            let before = self.chance.happens(0.5);
            process.kill_at(if before { KillPoint::Before(request) } else { KillPoint::After(request) });
        }
        let present = Present(Arc::new(Mutex::new(Invocation::begin())));
        let make = lock(&self.make).clone();
        let context = Arc::new(make(&process, &present));
        Environment { process, context, present, generation: self.generation.load(Ordering::Relaxed) }
    }
}

/// An environment at work. Dropped before it has returned, it dies.
struct Busy<C> {
    environment: Option<Environment<C>>,
    invocation: Invocation,
    deadline: Timestamp,
}

impl<C> Busy<C> {
    fn returned(&mut self) -> Option<Environment<C>> {
        *lock(&self.invocation.0) = End::Returned;
        self.environment.take()
    }
}

impl<C> Drop for Busy<C> {
    fn drop(&mut self) {
        let Some(environment) = &self.environment else { return };
        let is_late = environment.process.cloud().now() >= self.deadline;
        *lock(&self.invocation.0) = if is_late { End::TimedOut } else { End::Killed };
        environment.process.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

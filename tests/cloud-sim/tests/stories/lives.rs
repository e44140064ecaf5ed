//! The lives of an agent: it is killed at a request, and started anew by a service manager or by a person. What it keeps on disk outlives
//! it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloud_sim::{Cloud, KillPoint, Process};
use tokio::time::sleep;

use crate::machine::Chance;

/// How long a service manager, or a person, takes to start it anew. In the longest of these the queue forgets what it has seen.
const RESTARTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(400));
/// Requests after which an agent has certainly died, if it is one that dies.
const LATEST_DEATH: u64 = 40;

/// Clones are of the same agent.
#[derive(Clone, Debug)]
pub(crate) struct Lives(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cloud: Cloud,
    name: String,
    chance: Chance,
    state_dir: Folder,
    /// How many of its lives end at one of its requests.
    deaths: Mutex<f64>,
    restarts: Mutex<(Duration, Duration)>,
    present: Mutex<Option<Process>>,
}

impl Lives {
    pub(crate) fn new(cloud: &Cloud, name: &str, chance: &Chance) -> Self {
        Self(Arc::new(Inner {
            cloud: cloud.clone(),
            name: name.to_owned(),
            chance: chance.clone(),
            state_dir: Folder::new(),
            deaths: Mutex::new(0.0),
            restarts: Mutex::new(RESTARTS),
            present: Mutex::default(),
        }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn state_dir(&self) -> &Path {
        &self.0.state_dir.0
    }

    /// How many of its lives from now on end at one of its requests.
    pub(crate) fn let_die(&self, deaths: f64) {
        *self.0.deaths.lock().unwrap_or_else(PoisonError::into_inner) = deaths;
    }

    /// Ends its present life.
    pub(crate) fn kill(&self) {
        if let Some(process) = &*self.0.present.lock().unwrap_or_else(PoisonError::into_inner) {
            process.kill();
        }
    }

    /// How long it takes from now on until it is started anew.
    pub(crate) fn restart_within(&self, shortest: Duration, longest: Duration) {
        *self.0.restarts.lock().unwrap_or_else(PoisonError::into_inner) = (shortest, longest);
    }

    /// One life after the other. A life ends by its death only.
    pub(crate) async fn live<F: Future<Output = ()>>(&self, life: impl Fn(Process) -> F) {
        let Inner { cloud, name, chance, deaths, restarts, present, .. } = &*self.0;
        for number in 1_u64.. {
            let process = cloud.process(format!("{name}-{number}"));
            if chance.happens(*deaths.lock().unwrap_or_else(PoisonError::into_inner)) {
                let request = chance.number(1, LATEST_DEATH);
                let before = chance.happens(0.5);
                process.kill_at(if before { KillPoint::Before(request) } else { KillPoint::After(request) });
            }
            *present.lock().unwrap_or_else(PoisonError::into_inner) = Some(process.clone());
            let _ = process.run(life(process.clone())).await;
            let (shortest, longest) = *restarts.lock().unwrap_or_else(PoisonError::into_inner);
            sleep(chance.between(shortest, longest)).await;
        }
    }
}

/// A folder of its own, as long as this lives.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("easyconnect-story-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

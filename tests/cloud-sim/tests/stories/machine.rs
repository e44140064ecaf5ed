//! What a function stands on in a story: the simulator's time, its requests, and randomness that a seed decides.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use cloud_sim::{Cloud, Process};
use easyconnect_agent::config::AwsLocation;
use easyconnect_agent::host::sdk;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use shared::aws::{self, Platform};
use shared::clock::{BootTime, Machine};
use shared::config::Vars;
use shared::random::Random;

use crate::template::ENDPOINT;

/// How long a machine has been up when a story begins.
const UPTIME: Duration = Duration::from_secs(3600);

/// Numbers the clients that are made, over all stories of this program.
static MADE: AtomicU64 = AtomicU64::new(0);

/// All that a story leaves to chance beside the cloud's faults. Clones go on with the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    pub(crate) fn happens(&self, probability: f64) -> bool {
        probability > 0.0 && self.with(|rng| rng.random_bool(probability.min(1.0)))
    }

    pub(crate) fn between(&self, low: Duration, high: Duration) -> Duration {
        if low >= high {
            return low;
        }
        Duration::from_millis(self.number(low.as_millis() as u64, high.as_millis() as u64))
    }

    /// Both bounds included.
    pub(crate) fn number(&self, low: u64, high: u64) -> u64 {
        self.with(|rng| rng.random_range(low..=high))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn random(&self) -> Random {
        let chance = self.clone();
        Random::new(move |bytes| chance.with(|rng| rng.fill_bytes(bytes)))
    }
}

/// How far the wall clock of a machine is ahead of the cloud's, until somebody sets it. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct WallClock(Arc<Mutex<SignedDuration>>);

impl WallClock {
    pub(crate) fn ahead_by(ahead: SignedDuration) -> Self {
        Self(Arc::new(Mutex::new(ahead)))
    }

    pub(crate) fn set(&self, ahead: SignedDuration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ahead;
    }

    fn ahead(&self) -> SignedDuration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A machine whose clocks are the cloud's.
#[derive(Debug)]
struct OnTime {
    cloud: Cloud,
    started: Timestamp,
    wall: WallClock,
}

impl Machine for OnTime {
    fn wall(&self) -> Timestamp {
        self.cloud.now() + self.wall.ahead()
    }

    fn boot(&self) -> BootTime {
        let up = self.cloud.now().duration_since(self.started);
        BootTime::after(UPTIME + Duration::try_from(up).unwrap_or_default())
    }
}

pub(crate) fn platform(process: &Process, chance: &Chance) -> Platform {
    platform_with(process, chance, WallClock::default())
}

/// The same where the wall clock may be wrong.
pub(crate) fn platform_with(process: &Process, chance: &Chance, wall: WallClock) -> Platform {
    let cloud = process.cloud().clone();
    Platform {
        machine: Arc::new(OnTime { started: cloud.now(), cloud, wall }),
        sleep: SharedAsyncSleep::new(TokioSleep::new()),
        http_client: process.http_client(),
        credentials: SharedCredentialsProvider::new(Credentials::new("story", "story", None, None, "story")),
        random: chance.random(),
    }
}

/// The configuration of an agent's requests to AWS.
pub(crate) async fn agent_config(platform: &Platform) -> SdkConfig {
    let location =
        AwsLocation { region: Some(region()), endpoint_url: Some(ENDPOINT.to_owned()), ..AwsLocation::default() };
    aws::on_platform(&sdk::config(location).await, platform)
}

/// The SDK has one budget of retries for each region of a program. Environments and agents are programs of their own.
fn region() -> String {
    format!("sim-{}", MADE.fetch_add(1, Ordering::Relaxed))
}

/// The variables of a function's environment.
#[derive(Clone, Debug)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    pub(crate) fn new(mut variables: BTreeMap<String, String>) -> Self {
        variables.insert("AWS_ENDPOINT_URL".to_owned(), ENDPOINT.to_owned());
        variables.insert("AWS_REGION".to_owned(), region());
        Self(variables)
    }
}

impl Vars for Variables {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }
}

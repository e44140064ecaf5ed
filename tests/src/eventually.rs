//! Waiting for a state instead of for luck.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Generous, because it only matters when something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until the state is there, and says what was missing if it never comes.
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually_within(PATIENCE, what, look).await
}

pub async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(missing) if Instant::now() >= deadline => panic!("not within {patience:?}: {what}; {missing}"),
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}

//! What the steps of a check share: their time limit, and the remedy for a clock that is wrong.

use std::time::Duration;

use anyhow::Context;
use tokio::time::timeout;

/// What mends a clock, whatever shows that it is wrong.
pub(super) const CLOCK_FIX: &str = "let this machine keep its clock with NTP, for example: timedatectl set-ntp true";

const WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn within<T>(step: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    timeout(WITHIN, step).await.with_context(|| format!("no answer within {} s", WITHIN.as_secs()))?
}

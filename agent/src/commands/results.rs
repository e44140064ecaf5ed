//! Writes how claimed commands ended.

use std::time::Duration;

use shared::clock::CloudClock;
use shared::command::Command;
use shared::random::Random;
use shared::tables::{Exchange, Finish, TableError};
use shared::time::from_millis;
use tokio::time::sleep;
use tracing::info;

use crate::host::backoff::Backoff;
use crate::host::statistics::Statistics;

/// Somebody waits for the result; over all of them about 20 seconds pass.
const ATTEMPTS: u32 = 9;

/// Where results are written, and counted.
#[derive(Clone, Debug)]
pub struct Results {
    pub exchange: Exchange,
    pub clock: CloudClock,
    pub random: Random,
    pub statistics: Statistics,
}

impl Results {
    /// Writes down how a claimed command ended.
    pub async fn finish(&self, command: &Command, token: &str, end: &Finish) -> Result<(), TableError> {
        let mut backoff = Backoff::quick(self.random.clone());
        let mut attempts = 1;
        let written = loop {
            match self.exchange.finish(command.command_id, token, end, self.clock.now()).await {
                Ok(written) => break written,
                Err(error) if attempts == ATTEMPTS => return Err(error),
                Err(_) => attempts += 1,
            }
            sleep(backoff.pause()).await;
        };
        let (state, code) = match end {
            Finish::Expired => ("expired", None),
            Finish::Done(Ok(_)) => ("succeeded", None),
            Finish::Done(Err(refusal)) => ("failed", Some(refusal.code.as_str())),
        };
        let age = self.clock.now().duration_since(from_millis(command.created_at));
        let age_ms = age.as_millis();
        self.statistics.command_ended(command.operation.name(), state, Duration::try_from(age).unwrap_or_default());
        info!(
            command.id = %command.command_id,
            operation = command.operation.name(),
            state,
            code,
            age_ms,
            written,
            "Command ended"
        );
        Ok(())
    }
}

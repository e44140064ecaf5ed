//! Reads the configuration and the secrets again when the agent is told to (SIGHUP), and changes what runs.
//!
//! A reading is used as a whole or not at all. One that cannot be used leaves everything as it was, and the log and the agent's status
//! say why. What only a restart changes is named there, too. The PBX session goes on unless it depends on what has changed.

mod changes;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use aws_config::SdkConfig;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::commands::request::{ControllerRequest, PbxSettings};
use crate::config::{Config, ConfigError};
use crate::host::reloadable::ReloadableCredentials;
use crate::host::telemetry::LogLevel;
use crate::host::{credentials, sdk, systemd};
use crate::pbx::link::{Dialer, Network};

use changes::Reading;

/// A program that hands out credentials may hang.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(10);

/// What a reload needs of the process.
pub struct ReloadSource {
    pub file: PathBuf,
    /// When to reload.
    pub requests: BoxStream<'static, ()>,
    pub log_level: LogLevel,
}

impl fmt::Debug for ReloadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadSource").field("file", &self.file).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub struct Reloader {
    source: ReloadSource,
    credentials: ReloadableCredentials,
    network: Arc<dyn Network>,
    /// What runs.
    reading: Reading,
    controller: mpsc::Sender<ControllerRequest>,
    /// What is wrong with the latest reading.
    problem: watch::Sender<Option<String>>,
}

impl Reloader {
    pub fn new(
        source: ReloadSource,
        credentials: ReloadableCredentials,
        config: Config,
        network: Arc<dyn Network>,
        controller: mpsc::Sender<ControllerRequest>,
        problem: watch::Sender<Option<String>>,
    ) -> Result<Self, ConfigError> {
        Ok(Self { source, credentials, network, reading: Reading::of(config)?, controller, problem })
    }

    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                requested = self.source.requests.next() => {
                    if requested.is_none() {
                        return stop.cancelled().await;
                    }
                }
            }
            systemd::reloading();
            let problem = match self.reload().await {
                Ok(restarting) if restarting.is_empty() => None,
                Ok(restarting) => {
                    let keys = restarting.join("`, `");
                    warn!("A changed configuration takes a restart of the agent: `{keys}`");
                    Some(format!("a restart is needed for the changed `{keys}`"))
                }
                Err(reason) => {
                    error!("The configuration is not used, and the one before goes on: {reason:#}");
                    Some(format!("the configuration that was read last is not used: {reason:#}"))
                }
            };
            self.problem.send_replace(problem);
            systemd::ready();
        }
    }

    /// The keys that take a restart.
    async fn reload(&mut self) -> anyhow::Result<Vec<&'static str>> {
        let config = Config::load(&self.source.file)?;
        let outdated = config.outdated_credentials().to_vec();
        let new = Reading::of(config)?;
        let sdk = credentials_of(&new.config).await?;
        let dialers = Dialer::all(&self.network, &new.config.pbx)?;

        let (renewing, mut restarting) = (self.reading.renewing(&new), self.reading.restarting(&new));
        restarting.extend(outdated);
        if renewing.is_empty() {
            info!("The configuration was read again; the PBX session goes on");
        } else {
            info!("The configuration was read again; the PBX session is renewed for `{}`", renewing.join("`, `"));
        }
        self.source.log_level.set(&new.config.log);
        self.credentials.use_those_of(&sdk);
        let settings = PbxSettings {
            dialers,
            monitor: new.config.pbx.monitor.clone(),
            dtmf_recv: new.config.pbx.dtmf_recv,
            renew: !renewing.is_empty(),
        };
        self.reading = self.reading.with(new);
        // A controller that is gone has ended the agent.
        let _ = self.controller.send(ControllerRequest::Reconfigure(Box::new(settings))).await;
        Ok(restarting)
    }
}

/// Where the credentials are now. They are asked for once, so that those that work are not given up for none.
async fn credentials_of(config: &Config) -> anyhow::Result<SdkConfig> {
    let sdk = sdk::config(config.aws.location()?).await;
    let asked = timeout(CREDENTIALS_WITHIN, credentials::credentials(&sdk, &config.aws)).await;
    match asked.context("the AWS credentials cannot be had in time")?? {
        Ok(_) => Ok(sdk),
        Err(error) => bail!("the AWS credentials cannot be had: {}", credentials::explain(&error)),
    }
}

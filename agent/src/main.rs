//! `easyconnect-agent`: holds the WebSocket to the PBX, pushes call events to the cloud and takes commands from it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use futures_util::{StreamExt, stream};
use tokio::signal::unix::{SignalKind, signal};

use easyconnect_agent::agent::Agent;
use easyconnect_agent::check;
use easyconnect_agent::config::{Config, ConfigError};
use easyconnect_agent::controller::FatalError;
use easyconnect_agent::host::credentials::AwsSetupError;
use easyconnect_agent::host::health::{self, metrics};
use easyconnect_agent::host::telemetry::{self, LogLevel};
use easyconnect_agent::pbx::tls;
use easyconnect_agent::reload::ReloadSource;

/// The configuration cannot be used (EX_USAGE of sysexits.h).
const EXIT_BAD_CONFIG: u8 = 64;
/// The configuration lacks something that only shows later: AWS's region or credentials, or what the PBX has to be asked for
/// (EX_CONFIG).
const EXIT_INCOMPLETE_CONFIG: u8 = 78;

/// Connects an innovaphone PBX to EasyConnect.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs the agent until SIGTERM. SIGHUP makes it read its configuration again.
    Run(File),
    /// Tries every hop to the PBX and to AWS, and says what is broken and what mends it. Disturbs nobody. Exits 0 if
    /// everything works, 1 if not, 64 if the configuration cannot be used.
    Check {
        #[command(flatten)]
        file: File,
        /// One JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Tells how the running agent is doing. Exits 0 if it is ready, 1 if not, 3 if none is running.
    Status {
        #[command(flatten)]
        file: File,
        /// JSON instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Shows the latest call events of the running agent.
    Events {
        #[command(flatten)]
        file: File,
        /// Goes on with the events that come.
        #[arg(long)]
        tail: bool,
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct File {
    /// The configuration file.
    #[arg(long, default_value = "/etc/easyconnect-agent/agent.toml")]
    config: PathBuf,
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(File { config }) => run(&config),
        Verb::Check { file, json } => answer(async { Ok(check::run(&file.config, json).await) }),
        Verb::Status { file, json } => answer(async { health::status(&Config::state_dir(&file.config)?, json).await }),
        Verb::Events { file, tail, json } => {
            answer(async { health::events(&Config::state_dir(&file.config)?, tail, json).await })
        }
    }
}

fn run(file: &Path) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(error) => return complain(EXIT_BAD_CONFIG, "invalid configuration", &error.into()),
    };
    let log_level = telemetry::init(&config.log);
    metrics::install();
    match serve(config, file, log_level) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<FatalError>() || error.is::<AwsSetupError>() => {
            complain(EXIT_INCOMPLETE_CONFIG, "incomplete configuration", &error)
        }
        Err(error) => complain(1, "failed", &error),
    }
}

/// Reads the configuration and what it names, so that nothing begins with one that cannot be used.
fn load(file: &Path) -> Result<Config, ConfigError> {
    let config = Config::load(file)?;
    tls::client_config(&config.pbx)?;
    config.create_state_dir()?;
    Ok(config)
}

/// Does what an administrator asked for at the command line.
#[tokio::main(flavor = "current_thread")]
async fn answer(work: impl Future<Output = anyhow::Result<u8>>) -> ExitCode {
    match work.await {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.is::<ConfigError>() => complain(EXIT_BAD_CONFIG, "invalid configuration", &error),
        Err(error) => complain(1, "failed", &error),
    }
}

#[tokio::main(worker_threads = 2)]
async fn serve(config: Config, file: &Path, log_level: LogLevel) -> anyhow::Result<()> {
    // From the beginning on, because this signal ends a process that does not take it.
    let hangups =
        stream::unfold(signal(SignalKind::hangup())?, async |mut hangup| Some((hangup.recv().await?, hangup)));
    let reload = ReloadSource { file: file.to_owned(), requests: hangups.boxed(), log_level };
    let agent = Agent::build(config, reload).await?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    agent
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
}

#[expect(clippy::print_stderr, reason = "a person at a terminal, or the journal, reads why the agent ended")]
fn complain(code: u8, what: &str, error: &anyhow::Error) -> ExitCode {
    eprintln!("easyconnect-agent: {what}: {error:#}");
    ExitCode::from(code)
}

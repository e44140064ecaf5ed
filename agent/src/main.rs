//! `easyconnect-agent`: holds the WebSocket to the PBX, pushes call events to the cloud and takes commands from it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use easyconnect_agent::agent::Agent;
use easyconnect_agent::config::Config;
use easyconnect_agent::desk::Fatal;
use easyconnect_agent::telemetry;

/// The configuration cannot be used (EX_USAGE of sysexits.h).
const EXIT_BAD_CONFIG: u8 = 64;
/// The configuration lacks something that only shows at the PBX (EX_CONFIG).
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
    /// Runs the agent until SIGTERM.
    Run {
        /// The configuration file.
        #[arg(long, default_value = "/etc/easyconnect-agent/agent.toml")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let Verb::Run { config } = Cli::parse().verb;
    let config = match Config::load(&config) {
        Ok(config) => config,
        Err(error) => return complain(EXIT_BAD_CONFIG, "invalid configuration", &error.into()),
    };
    telemetry::init(&config.log);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Fatal>() => complain(EXIT_INCOMPLETE_CONFIG, "incomplete configuration", &error),
        Err(error) => complain(1, "failed", &error),
    }
}

#[tokio::main(worker_threads = 2)]
async fn run(config: Config) -> anyhow::Result<()> {
    let agent = Agent::build(config).await?;
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

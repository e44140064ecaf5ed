//! The agent's log: text for people, JSON for machines. At the default level it holds no number and no name of a person.

use std::io::IsTerminal;

use shared::telemetry::filter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat};

/// The level of the log, which may change while the agent runs. The default one belongs to no log.
#[derive(Clone, Debug, Default)]
pub struct LogLevel(Option<Handle<Targets, Registry>>);

impl LogLevel {
    pub fn set(&self, log: &LogConfig) {
        // Only a log that has ended refuses it.
        let _ = self.0.as_ref().map(|handle| handle.reload(level(log)));
    }
}

/// The SDK repeats at length, with every request, what the agent says once about missing credentials.
fn level(log: &LogConfig) -> Targets {
    filter(&format!("aws_config=error,{}", log.level))
}

/// Starts logging to standard error. `RUST_LOG`, where it is set, goes before the configured level.
pub fn init(log: &LogConfig) -> LogLevel {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let (filter, handle) = reload::Layer::new(level(log));
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Text => registry.with(lines.with_target(false).with_ansi(std::io::stderr().is_terminal())).init(),
        LogFormat::Json => {
            registry.with(lines.json().flatten_event(true).with_current_span(false).with_ansi(false)).init();
        }
    }
    LogLevel(Some(handle))
}

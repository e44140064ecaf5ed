//! The agent's log: text for people, JSON for machines. At the default level it holds no number and no name of a person.

use std::io::IsTerminal;

use shared::telemetry::filter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat};

/// Starts logging to standard error. `RUST_LOG`, where it is set, goes before the configured level.
pub fn init(log: &LogConfig) {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // The SDK repeats at length, with every request, what the agent says once about missing credentials.
    let filter = filter(&format!("aws_config=error,{}", log.level));
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Text => registry.with(lines.with_target(false).with_ansi(std::io::stderr().is_terminal())).init(),
        LogFormat::Json => {
            registry.with(lines.json().flatten_event(true).with_current_span(false).with_ansi(false)).init();
        }
    }
}

//! Structured logs for the functions: one JSON object per line, filtered by `RUST_LOG`.

use tracing_subscriber::EnvFilter;

/// Starts logging to standard output, where Lambda collects it. Levels come from `RUST_LOG`, `info` by default.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_ansi(false)
        .with_env_filter(filter)
        .init();
}

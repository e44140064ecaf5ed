//! Structured logs for the functions: one JSON object per line, filtered by `RUST_LOG`.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging to standard output, where Lambda collects it. Levels come from `RUST_LOG`, `info` by default.
pub fn init() {
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_ansi(false);
    tracing_subscriber::registry().with(lines).with(filter("info")).init();
}

/// What `RUST_LOG` lets through, or else `default`: levels, and levels by module as in `info,shared=debug`. The richer
/// filter language of the ecosystem would bring a regular-expression engine into every function.
pub fn filter(default: &str) -> Targets {
    let read = |text: &str| text.parse::<Targets>().ok();
    let variable = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let fallback = || Targets::new().with_default(LevelFilter::INFO);
    variable.as_deref().and_then(read).or_else(|| read(default)).unwrap_or_else(fallback)
}

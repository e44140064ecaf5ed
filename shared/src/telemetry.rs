//! Structured logs for the functions: one JSON object per line, filtered by `RUST_LOG`.

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging to standard output, where Lambda collects it. Levels come from `RUST_LOG`, `info` by default.
pub fn init() {
    lines(std::io::stdout).init();
}

/// The same to somewhere else, for a simulation that counts what the functions write.
pub fn lines<W>(writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_ansi(false);
    tracing_subscriber::registry().with(lines.with_writer(writer)).with(filter("info"))
}

/// What `RUST_LOG` lets through, or else `default`: levels, and levels by module as in `info,shared=debug`. The richer
/// filter language of the ecosystem would bring a regular-expression engine into every function.
///
/// Crates of others never write more than `info`: below that they write whole requests, with API keys and numbers in them.
pub fn filter(default: &str) -> Targets {
    let read = |text: &str| text.parse::<Targets>().ok();
    let variable = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let fallback = || Targets::new().with_default(LevelFilter::INFO);
    pinned(&variable.as_deref().and_then(read).or_else(|| read(default)).unwrap_or_else(fallback))
}

/// The crates whose every level is free of secrets.
const OWN: [&str; 5] = ["api", "deliver", "easyconnect_agent", "fanout", "shared"];

fn pinned(wanted: &Targets) -> Targets {
    let level = wanted.default_level().unwrap_or(LevelFilter::OFF);
    let is_own = |target: &str| OWN.contains(&target.split("::").next().unwrap_or_default());
    let limited = |(target, level): (&str, LevelFilter)| {
        (target.to_owned(), if is_own(target) { level } else { level.min(LevelFilter::INFO) })
    };
    Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_targets(OWN.map(|target| (target, level)))
        .with_targets(wanted.iter().map(limited))
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter as Filter;

    use super::*;

    #[test]
    fn no_level_makes_crates_of_others_write_requests() {
        for text in ["trace", "debug,hyper=trace", "lambda_http=trace,info", "aws_smithy_runtime=debug"] {
            let filter = pinned(&text.parse().expect("a filter"));
            for target in ["lambda_http", "hyper::proto", "aws_smithy_runtime", "lambda_runtime::layers"] {
                assert!(!filter.would_enable(target, &tracing::Level::DEBUG), "{text} {target}");
            }
        }
        let filter = pinned(&"trace".parse().expect("a filter"));
        assert!(filter.would_enable("api::commands", &tracing::Level::TRACE));
        assert!(filter.would_enable("hyper", &tracing::Level::INFO));
        let filter = pinned(&"warn,shared=debug".parse().expect("a filter"));
        assert!(filter.would_enable("shared::queue", &tracing::Level::DEBUG));
        assert!(
            !filter.would_enable("api", &tracing::Level::INFO) && !filter.would_enable("hyper", &tracing::Level::INFO)
        );
        assert_eq!(pinned(&"off".parse().expect("a filter")).default_level(), Some(Filter::OFF));
    }
}

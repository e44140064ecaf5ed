//! What the functions write to their logs: counted for whose invocation it is, and not shown.

use std::cell::RefCell;
use std::io;

use cloud_sim::Cloud;
use serde_json::Value as Json;
use shared::{metrics, telemetry};
use tracing::Metadata;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing_subscriber::fmt::MakeWriter;

const TRACE: &str = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=1:a87bd80c:0";

tokio::task_local! {
    static FUNCTION: String;
}

thread_local! {
    static LISTENING: RefCell<Option<Listening>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Listening {
    cloud: Cloud,
    /// Who was the last to write, for lines of tasks that a function has spawned.
    last: String,
    /// The names of the figures that went to CloudWatch.
    figures: Vec<String>,
}

/// Nobody reads the functions' logs, but there is a reader. While there has never been one, the SDK draws random numbers for the log of
/// another library, and a seed would tell another story.
pub(crate) fn ignore() {
    // Only the first time is needed.
    let _ = tracing::subscriber::set_global_default(NoSubscriber::default());
}

/// While this lives, what the functions write on this thread is counted.
#[derive(Debug)]
pub(crate) struct Listener(#[expect(dead_code, reason = "it ends the listening")] DefaultGuard);

impl Listener {
    pub(crate) fn new(cloud: &Cloud) -> Self {
        LISTENING.set(Some(Listening { cloud: cloud.clone(), last: String::new(), figures: Vec::new() }));
        Self(tracing::subscriber::set_default(telemetry::lines(Log)))
    }

    /// The names of the figures that went to CloudWatch, each once.
    pub(crate) fn figures(&self) -> Vec<String> {
        LISTENING.with_borrow(|listening| listening.as_ref().map(|it| it.figures.clone()).unwrap_or_default())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        LISTENING.set(None);
    }
}

/// Runs an invocation so that what it writes is known to be its. Lambda itself writes nothing: the template has it log warnings only.
pub(crate) async fn of<F: Future>(function: &str, invocation: F) -> F::Output {
    metrics::listen(figures);
    let request = "8f507cfc-2b1e-4697-b07a-ac58fc914c95";
    let span = tracing::info_span!("Lambda runtime invoke", requestId = request, xrayTraceId = TRACE);
    FUNCTION.scope(function.to_owned(), tracing::Instrument::instrument(invocation, span)).await
}

fn figures(line: &str) {
    count(None, line.len() + 1);
    let line: Json = serde_json::from_str(line).unwrap_or_default();
    let named = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array();
    let names = named.into_iter().flatten().filter_map(|metric| metric["Name"].as_str());
    LISTENING.with_borrow_mut(|listening| {
        let Some(listening) = listening else { return };
        for name in names {
            if !listening.figures.iter().any(|known| known == name) {
                listening.figures.push(name.to_owned());
            }
        }
    });
}

fn count(function: Option<&str>, bytes: usize) {
    LISTENING.with_borrow_mut(|listening| {
        let Some(listening) = listening else { return };
        let present = FUNCTION.try_with(String::clone).ok();
        if let Some(function) = function.map(str::to_owned).or(present) {
            listening.last = function;
        }
        listening.cloud.count_log_line(&listening.last, bytes);
    });
}

/// The log of the functions.
#[derive(Debug)]
struct Log;

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(None)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        let crate_name = metadata.target().split("::").next().unwrap_or_default();
        Line(["api", "deliver", "fanout"].into_iter().find(|name| *name == crate_name))
    }
}

/// A line of this function, if its crate has written it.
#[derive(Debug)]
struct Line(Option<&'static str>);

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        count(self.0, bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Figures for CloudWatch, written as log lines in its embedded metric format. It costs no request and no library.
//!
//! CloudWatch charges for each figure by the month, so only those are figures that somebody would draw or be alarmed by. What explains
//! them stands in the same line, where a query of the log finds it.

use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

const NAMESPACE: &str = "EasyConnect";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Milliseconds,
}

impl Unit {
    fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

/// Who gets the lines instead of standard output: nobody, unless it is a simulation.
static LISTENER: OnceLock<fn(&str)> = OnceLock::new();

/// From now on this gets every line of the program. Only the first one who asks for them does.
pub fn listen(listener: fn(&str)) {
    let _ = LISTENER.set(listener);
}

/// The figures of one piece of work. What has no unit is a detail, and no figure.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Vec<(&'static str, Option<Unit>, Vec<f64>)>);

impl Metrics {
    pub fn count(&mut self, name: &'static str, n: usize) {
        if n > 0 {
            self.add(name, Some(Unit::Count), n as f64);
        }
    }

    /// How many there are now, also when there are none: an alarm tells that from nobody having counted.
    pub fn level(&mut self, name: &'static str, n: usize) {
        self.add(name, Some(Unit::Count), n as f64);
    }

    /// How long something has lasted. Nothing that lasts is no figure.
    pub fn lasting(&mut self, name: &'static str, milliseconds: i64) {
        if milliseconds > 0 {
            self.add(name, Some(Unit::Milliseconds), milliseconds as f64);
        }
    }

    /// How long something took; a time that is not known is left out.
    pub fn span(&mut self, name: &'static str, from: Option<Timestamp>, to: Timestamp) {
        if let Some(from) = from {
            self.add(name, Some(Unit::Milliseconds), millis(from, to));
        }
    }

    /// The same as a detail.
    pub fn detail(&mut self, name: &'static str, from: Option<Timestamp>, to: Timestamp) {
        if let Some(from) = from {
            self.add(name, None, millis(from, to));
        }
    }

    fn add(&mut self, name: &'static str, unit: Option<Unit>, value: f64) {
        match self.0.iter_mut().find(|(known, ..)| *known == name) {
            Some((.., values)) => values.push(value),
            None => self.0.push((name, unit, vec![value])),
        }
    }

    /// The line, if there is anything to tell. CloudWatch finds it in the function's log.
    pub fn line(&self, stack: &str, now: Timestamp) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let figures = self.0.iter().filter_map(|(name, unit, _)| Some((name, (*unit)?)));
        let metrics: Vec<Value> = figures.map(|(name, unit)| json!({"Name": name, "Unit": unit.as_str()})).collect();
        let mut line = Map::from_iter([
            (
                "_aws".to_owned(),
                json!({
                    "Timestamp": now.as_millisecond(),
                    "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [["Stack"]], "Metrics": metrics}],
                }),
            ),
            ("Stack".to_owned(), stack.into()),
        ]);
        for (name, _, values) in &self.0 {
            line.insert((*name).to_owned(), json!(values));
        }
        Some(Value::Object(line).to_string())
    }

    /// Writes the line where Lambda collects logs.
    #[expect(clippy::print_stdout, reason = "CloudWatch reads figures from lines that are nothing but this JSON")]
    pub fn emit(&self, stack: &str, now: Timestamp) {
        match (self.line(stack, now), LISTENER.get()) {
            (None, _) => {}
            (Some(line), Some(listener)) => listener(&line),
            (Some(line), None) => println!("{line}"),
        }
    }
}

fn millis(from: Timestamp, to: Timestamp) -> f64 {
    (to.as_millisecond() - from.as_millisecond()).max(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_millis;

    #[test]
    fn figures_become_one_line() {
        let mut metrics = Metrics::default();
        assert_eq!(metrics.line("stack", from_millis(7)), None);
        metrics.count("Delivered", 0);
        metrics.count("Delivered", 2);
        metrics.span("LatencyTotal", Some(from_millis(1_000)), from_millis(1_250));
        metrics.span("LatencyTotal", None, from_millis(1_250));
        metrics.span("LatencyTotal", Some(from_millis(1_000)), from_millis(1_020));
        metrics.detail("LatencyReceiver", Some(from_millis(1_000)), from_millis(1_007));
        metrics.level("AgentsOnline", 0);
        metrics.lasting("OutboxAge", 0);
        insta::assert_snapshot!(metrics.line("stack", from_millis(1_700_000_000_000)).expect("a line"));
    }
}

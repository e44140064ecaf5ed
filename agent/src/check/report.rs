//! What a check has found: one line per hop for people, or one JSON object for programs.

use std::io::{self, Write};
use std::time::Instant;

use serde::Serialize;

/// How a hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It works, but somebody should know something.
    Warning,
    Broken,
    /// It cannot be tried while another one is broken.
    Skipped,
}

impl State {
    fn mark(self) -> char {
        match self {
            Self::Ok => '✓',
            Self::Warning => '!',
            Self::Broken => '✗',
            Self::Skipped => '–',
        }
    }
}

#[derive(Debug, Serialize)]
struct Hop {
    hop: &'static str,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
}

/// A hop that is being tried.
#[derive(Debug)]
#[must_use]
pub(super) struct OpenHop {
    hop: &'static str,
    begun: Instant,
}

impl OpenHop {
    pub(super) fn name(&self) -> &'static str {
        self.hop
    }

    fn ended(self, state: State, detail: String, fix: Option<String>) -> Hop {
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Hop { hop: self.hop, state, detail, fix, ms: Some(ms) }
    }
}

#[derive(Debug)]
pub(super) struct CheckReport {
    json: bool,
    hops: Vec<Hop>,
}

impl CheckReport {
    pub(super) fn new(json: bool) -> Self {
        Self { json, hops: Vec::new() }
    }

    /// Starts the clock of a hop. Its name is what the documentation finds it by.
    pub(super) fn begin(&self, hop: &'static str) -> OpenHop {
        OpenHop { hop, begun: Instant::now() }
    }

    pub(super) fn good(&mut self, trial: OpenHop, detail: impl Into<String>) {
        self.add(trial.ended(State::Ok, detail.into(), None));
    }

    pub(super) fn warning(&mut self, trial: OpenHop, detail: impl Into<String>, fix: impl Into<String>) {
        self.add(trial.ended(State::Warning, detail.into(), Some(fix.into())));
    }

    pub(super) fn broken(&mut self, trial: OpenHop, detail: impl Into<String>, fix: impl Into<String>) {
        self.add(trial.ended(State::Broken, detail.into(), Some(fix.into())));
    }

    /// Marks a hop that needs the broken one before it.
    pub(super) fn skip(&mut self, hop: &'static str) {
        let broken = self.hops.iter().rev().find(|hop| hop.state == State::Broken);
        let detail = broken.map_or_else(String::new, |hop| format!("needs {}", hop.hop));
        self.add(Hop { hop, state: State::Skipped, detail, fix: None, ms: None });
    }

    /// Marks those of these hops that nobody has come to.
    pub(super) fn skip_rest(&mut self, hops: &[&'static str]) {
        for hop in hops {
            if self.hops.iter().all(|known| known.hop != *hop) {
                self.skip(hop);
            }
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.hops.iter().any(|hop| hop.state == State::Broken)
    }

    /// Prints what is not printed yet.
    pub(super) fn end(self) {
        #[derive(Serialize)]
        struct Whole<'a> {
            ok: bool,
            version: &'static str,
            hops: &'a [Hop],
        }
        let whole = Whole { ok: !self.is_broken(), version: env!("CARGO_PKG_VERSION"), hops: &self.hops };
        if self.json {
            print(&format!("{}\n", serde_json::to_string_pretty(&whole).unwrap_or_default()));
        } else {
            let count = |state| self.hops.iter().filter(|hop| hop.state == state).count();
            print(&match (count(State::Broken), count(State::Warning)) {
                (0, 0) => "Everything works.\n".to_owned(),
                (0, warnings) => format!("Everything works; {warnings} to look at.\n"),
                (broken, _) => format!("{broken} broken.\n"),
            });
        }
    }

    /// A person sees each hop as soon as it is known.
    fn add(&mut self, hop: Hop) {
        if !self.json {
            let time = hop.ms.map_or_else(String::new, |ms| format!("{ms} ms"));
            let mut line = format!("{} {:<16} {:>8}  {}\n", hop.state.mark(), hop.hop, time, hop.detail);
            if let Some(fix) = &hop.fix {
                line.push_str(&format!("{:29}fix: {fix}\n", ""));
            }
            print(&line);
        }
        self.hops.push(hop);
    }
}

/// The reader may have ended, for example `head`; the exit code still tells.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_behind_a_broken_one_name_it() {
        let mut report = CheckReport::new(true);
        let (dns, tcp) = (report.begin("dns"), report.begin("tcp"));
        report.good(dns, "found");
        report.warning(tcp, "slow", "faster");
        assert!(!report.is_broken());
        let tls = report.begin("tls");
        report.broken(tls, "expired", "renew it");
        report.skip_rest(&["dns", "tcp", "tls", "login", "api"]);
        assert!(report.is_broken());
        let skipped: Vec<_> = report.hops[3..].iter().map(|hop| (hop.hop, hop.state, &*hop.detail, hop.ms)).collect();
        assert_eq!(skipped, ["login", "api"].map(|hop| (hop, State::Skipped, "needs tls", None)));
    }
}

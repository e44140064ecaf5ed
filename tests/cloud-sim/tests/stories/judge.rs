//! The judgement, when everything is quiet: what each receiver is owed, what is recorded, and what was set aside.

use std::fmt;

use axum::http::Method;
use serde_json::Value as Json;
use shared::event::Status;
use shared::ids::CallId;

use crate::poller::whole_feed;
use crate::receivers::{Repeats, event_of};
use crate::stack::Stack;

/// What is to be known of a story beside its violations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Deliveries that became stale before they could be made.
    pub(crate) expired: u64,
    pub(crate) repeats: Repeats,
    pub(crate) commands: Commands,
}

/// What came of the commands of a story.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Commands {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) expired: u64,
    /// Nobody can say what came of them.
    pub(crate) unknown: u64,
    /// Refused before they were written.
    pub(crate) refused: u64,
    /// Reads that were answered.
    pub(crate) reads: u64,
    /// The greatest age of a command when its frame reached the PBX, in milliseconds.
    pub(crate) latest: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, other: Self) {
        self.expired += other.expired;
        let (sum, more) = (&mut self.repeats, other.repeats);
        sum.unanswered += more.unanswered;
        sum.killed += more.killed;
        sum.survived += more.survived;
        sum.timed_out += more.timed_out;
        sum.running += more.running;
        sum.logged += more.logged;
        let (sum, more) = (&mut self.commands, other.commands);
        sum.succeeded += more.succeeded;
        sum.failed += more.failed;
        sum.expired += more.expired;
        sum.unknown += more.unknown;
        sum.refused += more.refused;
        sum.reads += more.reads;
        sum.latest = sum.latest.max(more.latest);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.commands != Commands::default() {
            return self.commands.fmt(f);
        }
        write!(f, "{} deliveries expired; {}", self.expired, self.repeats)
    }
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { succeeded, failed, expired, unknown, refused, reads, latest } = self;
        write!(
            f,
            "commands: {succeeded} succeeded, {failed} failed, {expired} expired, {unknown} unknown, {refused} refused, {reads} reads; \
             the latest frame {latest} ms after its command"
        )
    }
}

impl Stack {
    /// Settles, and writes into the ledger what is to be judged. Whatever is missing there is lost.
    pub(crate) async fn judge(mut self, calls: &[CallId]) -> Summary {
        self.settle().await;
        let mut expired = 0;
        for (host, webhook) in self.receivers.all() {
            expired += self.account(&host, &webhook).await;
        }
        self.read_records(calls).await;
        Summary { expired, ..self.conclude() }
    }

    /// Nothing may have been set aside.
    pub(crate) fn conclude(&self) -> Summary {
        for (name, _) in self.template.queues() {
            if name.contains("-dlq") {
                // What a later version has written waits there for it.
                for body in self.cloud.bodies(&name).into_iter().filter(|body| !body.starts_with(r#"{"v":2,"#)) {
                    self.ledger.wrong(format!("in {name}: {body}"));
                }
            }
        }
        if let Ok(path) = std::env::var("STORY_LOG") {
            let log: Vec<String> = self.cloud.log().iter().map(ToString::to_string).collect();
            std::fs::write(path, log.join("\n")).expect("the log can be written");
        }
        Summary { repeats: self.receivers.repeats(), ..Summary::default() }
    }

    /// Whose deliveries became stale before they could be made, as their log says.
    async fn account(&self, host: &str, webhook: &str) -> u64 {
        let (mut cursor, mut expired) = (String::new(), 0);
        loop {
            let page = self.api.get(&format!("/webhooks/{webhook}/deliveries?limit=200{cursor}")).await;
            for log in page["deliveries"].as_array().expect("deliveries") {
                let number = status_of(&log["about"]);
                if let (Some(call), Some(number), true) = (log["CallId"].as_str(), number, log["state"] == "expired") {
                    self.ledger.accounted(&format!("{host} {call}"), number, "expired");
                    expired += 1;
                }
            }
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return expired,
            }
        }
    }

    /// Every event once under its call, and once in the feed.
    async fn read_records(&self, calls: &[CallId]) {
        for call in calls {
            let (status, found) = self.api.insist(Method::GET, &format!("/rcc/calls/{call}/events"), None).await;
            let events = found["events"].as_array().filter(|_| status == 200);
            for event in events.into_iter().flatten() {
                let (call, number) = event_of(event).expect("an event");
                self.ledger.accepted(&format!("record {call}"), number);
            }
        }
        for event in whole_feed(&self.api).await {
            let (call, number) = event_of(&event).expect("an event");
            self.ledger.accepted(&format!("feed {call}"), number);
        }
    }
}

fn status_of(about: &Json) -> Option<u64> {
    let status: Status = serde_json::from_value(about.clone()).ok()?;
    Some(status.sequence().into())
}

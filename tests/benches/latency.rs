//! From what happens at the PBX to the webhook's arrival at its receiver, and where the time goes.

use std::time::Duration;

use easyconnect_tests::inbox::Request;
use easyconnect_tests::{Agent, Inbox, Pbx, Stack, eventually_within};
use jiff::Timestamp;
use shared::webhook::{Format, Settings};
use tokio::time::{MissedTickBehavior, interval};

use crate::report::{Report, percentile};

const CALLS: usize = 200;
/// Ten calls a second.
const PACE: Duration = Duration::from_millis(100);
/// What one call tells: that it rings, and that it has ended.
const EVENTS_PER_CALL: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// The moments of a webhook as the extended format tells them, in their order, and what lies between each and the next one.
const MOMENTS: [&str; 4] = ["occurredAt", "queuedAt", "fannedOutAt", "sentAt"];
const STAGES: [&str; 4] = ["agent", "queue, then fanout", "queue, then deliver", "receiver"];

pub(crate) async fn measure(report: &Report) {
    let (stack, pbx, inbox) = tokio::join!(Stack::start(), Pbx::start(), Inbox::start());
    stack.register(Settings { format: Format::Extended, ..Settings::new(inbox.url("/hook")) }).await;
    let _agent = Agent::start(&stack, &pbx, "bench").await;
    // The first call meets cold functions.
    call(&pbx, 0).await;
    until(&inbox, EVENTS_PER_CALL).await;
    inbox.forget();

    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 1..=CALLS {
        pace.tick().await;
        call(&pbx, n).await;
    }
    until(&inbox, CALLS * EVENTS_PER_CALL).await;

    let spans: Vec<[i64; 5]> = inbox.received().iter().map(spans).collect();
    report.plain("PBX event to webhook, 10 calls a second", "p50 / p95 / p99");
    for (n, stage) in STAGES.iter().chain(&["in all"]).enumerate() {
        let mut sorted: Vec<i64> = spans.iter().map(|spans| spans[n]).collect();
        sorted.sort_unstable();
        let [p50, p95, p99] = [50, 95, 99].map(|share| percentile(&sorted, share));
        report.plain(&format!("  {stage}"), &format!("{p50} / {p95} / {p99} ms"));
    }
    report.note(
        "both waits in queues are the local cloud's: its mappings look for messages one batch after the other, within 100 ms of \
         their coming",
    );
}

/// Somebody calls, the phone rings, and the caller gives up.
async fn call(pbx: &Pbx, n: usize) {
    let (caller, callee) = (format!("+324725{n:05}"), ["42", "43", "50"][n % 3]);
    pbx.call(&caller, callee);
    pbx.until_leg(callee, "alerting").await;
    pbx.hang_up(&caller);
}

async fn until(inbox: &Inbox, events: usize) {
    eventually_within(PATIENCE, "the webhooks have come", async || match inbox.count() {
        came if came == events => Ok(()),
        came => Err(format!("{came} of {events}")),
    })
    .await;
}

/// How long each stage took, and all of them, in milliseconds.
fn spans(request: &Request) -> [i64; 5] {
    let event = request.event();
    let moment = |name: &&str| -> Timestamp {
        event[*name].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {name} in {event}"))
    };
    let [occurred, queued, fanned_out, sent] = MOMENTS.each_ref().map(moment);
    let came = request.received_at;
    let span = |from: Timestamp, to: Timestamp| to.as_millisecond() - from.as_millisecond();
    [span(occurred, queued), span(queued, fanned_out), span(fanned_out, sent), span(sent, came), span(occurred, came)]
}

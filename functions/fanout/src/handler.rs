//! One batch: read, fan out step by step, record, and say what goes back.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use aws_lambda_events::sqs::SqsBatchResponse;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Deserialize;
use shared::ids::CallId;
use shared::metrics::Metrics;
use shared::queue::{FifoMessage, FifoRecord, Outgoing, Queue, Taken, chunks};
use shared::tables::{RecordedCall, StateTable, TableError};
use shared::webhook::Webhook;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::context::Context;
use crate::plan::{Batch, deliveries};
use crate::record::record;

/// Requests to the deliveries queue at a time.
const SENDS_AT_ONCE: usize = 8;
/// Calls that are looked up at a time.
const READS_AT_ONCE: usize = 16;
/// The events queue's own: twice the function's time.
const VISIBILITY: Duration = Duration::from_secs(20);

/// What the function is invoked with: a batch of the events queue.
#[derive(Debug, Deserialize)]
pub struct Invocation {
    #[serde(rename = "Records")]
    records: Vec<FifoMessage>,
}

/// Never fails as a whole: what could not be done goes back record by record.
pub async fn handle(context: &Context, invocation: Invocation) -> SqsBatchResponse {
    let (started, now) = (Instant::now(), context.now());
    let mut batch = Batch::read(&invocation.records);
    leave_others(context, &mut batch, now).await;
    let mut tally = Tally::default();
    if let Err(error) = fan_out(context, &mut batch, now, &mut tally).await {
        error!(cause = %error, "A batch cannot be fanned out now");
    }

    let back = batch.going_back(now, || context.random.jitter());
    if let Err(error) = context.events.set_visibility(back.visibility()).await {
        warn!(cause = %error, "Records go back after the queue's own time-out");
    }
    info!(
        records = batch.len(),
        deliveries = tally.deliveries,
        recorded = tally.recorded,
        copies = tally.copies,
        superseded = tally.superseded,
        set_aside = tally.set_aside,
        returned = back.ids().len(),
        duration_ms = started.elapsed().as_millis() as u64,
        "Batch fanned out"
    );
    tally.metrics(back.ids().len()).emit(&context.stack, now);
    let mut response = SqsBatchResponse::default();
    response.set_failures(back.ids());
    response
}

/// Leaves to others what they have received while the batch waited for this function.
async fn leave_others(context: &Context, batch: &mut Batch<'_>, now: Timestamp) {
    let ours = context.events.renew(&batch.records(), VISIBILITY, now).await.unwrap_or_else(|error| {
        warn!(cause = %error, "Nobody knows whose the records are; they come again");
        vec![false; batch.len()]
    });
    let left: Vec<usize> = (0..batch.len()).filter(|at| !ours[*at]).collect();
    if !left.is_empty() {
        warn!(records = left.len(), "Records are left to another receiver");
    }
    batch.leave(left);
}

/// What a batch came to, for its log line.
#[derive(Debug, Default)]
struct Tally {
    deliveries: usize,
    recorded: usize,
    copies: usize,
    superseded: usize,
    set_aside: usize,
    unreadable_webhooks: usize,
}

impl Tally {
    fn metrics(&self, returned: usize) -> Metrics {
        let mut metrics = Metrics::default();
        metrics.count("Events", self.recorded);
        metrics.count("Deliveries", self.deliveries);
        metrics.count("EventsReturned", returned);
        metrics.count("EventsSetAside", self.set_aside);
        metrics.count("WebhooksUnreadable", self.unreadable_webhooks);
        metrics
    }
}

async fn fan_out(
    context: &Context,
    batch: &mut Batch<'_>,
    now: Timestamp,
    tally: &mut Tally,
) -> Result<(), TableError> {
    let calls = batch.calls();
    let webhooks = if calls.is_empty() {
        Default::default()
    } else {
        let updated = batch.calls_with_updates();
        let recorded = recorded(&context.state, &calls, &updated);
        let (recorded, webhooks) = futures_util::try_join!(recorded, context.webhooks())?;
        let repeats = batch.find_repeats(&recorded);
        (tally.copies, tally.superseded) = (repeats.copies, repeats.superseded);
        tally.unreadable_webhooks = webhooks.unreadable;
        webhooks
    };
    loop {
        let step = batch.next_step();
        if step.is_empty() {
            break;
        }
        take_step(context, batch, &step, &webhooks.readable, now, tally).await;
    }
    tally.recorded = record(&context.state, batch).await;
    Ok(())
}

/// What is recorded for each call; what was told last only of calls with an update in the batch.
async fn recorded(
    state: &StateTable,
    calls: &[CallId],
    updated: &HashSet<CallId>,
) -> Result<HashMap<CallId, RecordedCall>, TableError> {
    let read = async |call: CallId| Ok((call, state.recorded(call, updated.contains(&call)).await?));
    stream::iter(calls.iter().copied()).map(read).buffer_unordered(READS_AT_ONCE).try_collect().await
}

/// Sends the deliveries of events that do not depend on each other, and sets aside what cannot be read.
async fn take_step(
    context: &Context,
    batch: &mut Batch<'_>,
    step: &[usize],
    webhooks: &[Webhook],
    now: Timestamp,
    tally: &mut Tally,
) {
    let mut messages: Vec<Outgoing> = Vec::new();
    let mut owners: Vec<usize> = Vec::new();
    let mut failed: Vec<usize> = Vec::new();
    for &at in step {
        let entry = batch.entry(at);
        match &entry.message {
            Ok(message) => {
                messages.extend(deliveries(message, entry.record.sent_at, webhooks, now));
                owners.resize(messages.len(), at);
            }
            Err(reason) => {
                let message_id = &entry.record.id;
                error!(cause = %reason, message.id = message_id, "A message that cannot be read is set aside");
                if set_aside(&context.events_dlq, entry.record, entry.body).await {
                    tally.set_aside += 1;
                } else {
                    failed.push(at);
                }
            }
        }
    }
    let accepted = send(&context.deliveries, &messages).await;
    tally.deliveries += accepted.iter().filter(|accepted| **accepted).count();
    failed.extend(owners.iter().zip(&accepted).filter(|(_, accepted)| !**accepted).map(|(at, _)| *at));
    for &at in step.iter().filter(|at| !failed.contains(at)) {
        if batch.entry(at).message.is_ok() { batch.fanned_out(at) } else { batch.done(at) }
    }
    for at in failed {
        batch.fail(at);
    }
}

/// Sends messages of which no two are of one group, and returns in their order which were accepted.
async fn send(queue: &Queue, messages: &[Outgoing]) -> Vec<bool> {
    let send_chunk = async |chunk: Range<usize>| {
        let size = chunk.len();
        match queue.send_fifo(&messages[chunk]).await {
            Ok(taken) => taken.iter().map(Taken::is_yes).collect(),
            Err(error) => {
                warn!(cause = %error, deliveries = size, "Deliveries were not accepted");
                vec![false; size]
            }
        }
    };
    let answers: Vec<Vec<bool>> =
        stream::iter(chunks(messages)).map(send_chunk).buffered(SENDS_AT_ONCE).collect().await;
    answers.concat()
}

/// Moves a message that cannot be read to the dead-letter queue; returns whether it is there.
async fn set_aside(dlq: &Queue, record: &FifoRecord, body: &str) -> bool {
    match dlq.send_fifo(&[record.set_aside(body)]).await {
        Ok(taken) => taken.iter().all(Taken::is_yes),
        Err(error) => {
            error!(cause = %error, message.id = record.id, "The dead-letter queue did not take a message");
            false
        }
    }
}

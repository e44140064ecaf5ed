//! A batch of the queue: what was received is read at once, and each record goes its way.

use std::time::Duration;

use aws_lambda_events::sqs::SqsBatchResponse;
use jiff::Timestamp;
use shared::delivery::Message;
use shared::envelope::{self, EnvelopeError};
use shared::queue::{FifoMessage, FifoRecord, Queue, Taken};
use shared::tables::{Receivers, TableError};
use tracing::{error, warn};

use crate::attempt::fits;
use crate::batch::{self, Ending};
use crate::context::Context;
use crate::record::{Job, deliver, wanted};
use crate::{notices, tick, worker};

/// The queues' own: at least a function's time.
const VISIBILITY: Duration = Duration::from_secs(30);

/// Never fails as a whole. `clock` tells the time whenever it is asked.
pub(crate) async fn handle(
    context: &Context,
    messages: Vec<FifoMessage>,
    deadline: Timestamp,
    clock: impl Fn() -> Timestamp,
) -> SqsBatchResponse {
    let (records, bodies): (Vec<FifoRecord>, Vec<String>) =
        messages.into_iter().map(|message| (message.record, message.body)).unzip();
    let opened: Vec<Result<Message, EnvelopeError>> = bodies.iter().map(|body| envelope::open(body)).collect();
    let is_call = opened.iter().any(|message| matches!(message, Ok(Message::LaneCall(_))));
    let queue = if is_call { &context.lanes } else { &context.deliveries };
    let ours = ours(queue, &records, clock()).await;
    let read = read(context, &records, &opened).await;
    let read_at = clock();
    let (all, bodies, opened, ours, read, clock) = (&records, &bodies, &opened, &ours, &read, &clock);
    let taken = |at: usize| async move {
        if !ours[at] {
            return Ending::Left;
        }
        // A record that would outlast the function goes back untouched, for the next one to begin with.
        if !fits(context, deadline, clock()) {
            return Ending::Back(Duration::ZERO);
        }
        let record = &all[at];
        match &opened[at] {
            Ok(Message::Delivery(delivery)) => {
                let view = match read {
                    Ok(read) => read.of(&delivery.log_key()).map_err(ToString::to_string),
                    Err(error) => Err(error.to_string()),
                };
                // What stands behind another one has to know what became of that: if it was parked, this one is not sent.
                let is_first = all.iter().position(|other| other.group == record.group) == Some(at);
                let read_at = if is_first { read_at } else { Timestamp::MIN };
                match view {
                    Ok(view) => deliver(context, Job { record, delivery, deadline }, view, read_at, clock).await,
                    Err(cause) => {
                        error!(cause, delivery.id = %delivery.id(), "A delivery's state cannot be read");
                        Ending::Back(context.pause(record, clock()))
                    }
                }
            }
            Ok(Message::LaneCall(call)) => worker::work(context, call.lane, record, deadline, clock).await,
            // What was parked before there were lanes is sent by the worker.
            Ok(Message::Drain(drain)) if context.try_to_call(drain.drain).await => Ending::Acknowledged,
            Ok(Message::Drain(_)) => Ending::Back(context.pause(record, clock())),
            Err(reason) => {
                error!(cause = %reason, message.id = record.id, "A message that cannot be read is set aside");
                set_aside(context, record, &bodies[at], clock()).await
            }
        }
    };
    let after_panic = |record: &FifoRecord| context.pause(record, clock());
    let delete = |receipts: Vec<String>| async move {
        if let Err(error) = queue.delete_all(&receipts).await {
            warn!(cause = %error, "Finished records are deleted with the batch only");
        }
    };
    let back = batch::deal(&records, taken, after_panic, delete).await;
    if let Err(error) = queue.set_visibility(back.visibility()).await {
        warn!(cause = %error, "Records go back after the queue's own time-out");
    }
    context.emit(clock());
    let mut response = SqsBatchResponse::default();
    response.set_failures(back.ids());
    response
}

/// Which records nobody else has received while they waited for this function.
async fn ours(queue: &Queue, records: &[FifoRecord], now: Timestamp) -> Vec<bool> {
    let records: Vec<&FifoRecord> = records.iter().collect();
    let ours = queue.renew(&records, VISIBILITY, now).await.unwrap_or_else(|error| {
        warn!(cause = %error, "Nobody knows whose the records are; they come again");
        vec![false; records.len()]
    });
    let left = ours.iter().filter(|ours| !**ours).count();
    if left > 0 {
        warn!(records = left, "Records are left to another receiver");
    }
    ours
}

/// What all deliveries of a batch need to know, in one read after they were received.
async fn read(
    context: &Context,
    records: &[FifoRecord],
    opened: &[Result<Message, EnvelopeError>],
) -> Result<Receivers, TableError> {
    let deliveries = records.iter().zip(opened).filter_map(|(record, message)| match message {
        Ok(Message::Delivery(delivery)) => Some(wanted(record, delivery)),
        _ => None,
    });
    context.state.receivers(&deliveries.collect::<Vec<_>>()).await
}

/// What is done every minute, by the clock and not by a message. Agents first: that none is there concerns every call.
pub(crate) async fn every_minute(context: &Context, now: Timestamp) {
    if let Err(error) = notices::watch_agents(context, now).await {
        error!(cause = %error, "Agents cannot be watched now");
    }
    if let Err(error) = tick::look_after_webhooks(context, now).await {
        error!(cause = %error, "Webhooks cannot be looked after now");
    }
    if let Err(error) = tick::close_hours(context, now).await {
        error!(cause = %error, "The counters of calls cannot be moved now");
    }
    context.emit(now);
}

/// Moves a message that cannot be read to the dead-letter queue.
async fn set_aside(context: &Context, record: &FifoRecord, body: &str, now: Timestamp) -> Ending {
    match context.deliveries_dlq.send_fifo(&[record.set_aside(body)]).await {
        Ok(taken) if taken.iter().all(Taken::is_yes) => return Ending::Acknowledged,
        Ok(_) => error!(message.id = record.id, "The dead-letter queue refused a message"),
        Err(error) => error!(cause = %error, message.id = record.id, "The dead-letter queue did not take a message"),
    }
    Ending::Back(context.pause(record, now))
}

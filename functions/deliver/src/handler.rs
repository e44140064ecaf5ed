//! One batch, record by record: read, decide, send, write the log, and say what goes back.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::{SignedDuration, Timestamp};
use rand::random_range;
use shared::delivery::{Delivery, DeliveryLog};
use shared::envelope;
use shared::queue::{FifoRecord, GoingBack, Taken};
use shared::subscription::Subscription;
use tracing::{error, info, warn};

use crate::client::Outcome;
use crate::context::Context;
use crate::log;
use crate::prepared::Prepared;
use crate::verdict::{Start, Verdict, start, verdict, wait};

/// What a record needs of the function's time beside the request itself.
const READ_AND_WRITE: SignedDuration = SignedDuration::from_secs(2);

/// What is to become of a record in the queue.
enum Fate {
    Acknowledged,
    Back(Duration),
}

/// Never fails as a whole. `clock` tells the time whenever it is asked.
pub(crate) async fn handle(
    context: &Context,
    event: SqsEvent,
    deadline: Timestamp,
    clock: impl Fn() -> Timestamp,
) -> SqsBatchResponse {
    let needed =
        SignedDuration::try_from(context.limits.total).unwrap_or(SignedDuration::MAX).saturating_add(READ_AND_WRITE);
    let mut back = GoingBack::default();
    for (n, message) in event.records.into_iter().enumerate() {
        let record = FifoRecord::new(message.message_id, message.receipt_handle, &message.attributes);
        // A record that would outlast the function goes back untouched, for the next one to begin with.
        let in_time = n == 0 || deadline.duration_since(clock()) >= needed;
        if back.holds(&record.group) || !in_time {
            back.push(&record, Duration::ZERO);
            continue;
        }
        if let Fate::Back(delay) = take(context, &record, message.body.as_deref().unwrap_or_default(), &clock).await {
            back.push(&record, delay);
        }
    }
    if let Err(error) = context.deliveries.set_visibility(back.visibility()).await {
        warn!(cause = %error, "Records go back after the queue's own time-out");
    }
    let mut response = SqsBatchResponse::default();
    response.set_failures(back.ids());
    response
}

async fn take(context: &Context, record: &FifoRecord, body: &str, clock: impl Fn() -> Timestamp) -> Fate {
    let delivery: Delivery = match envelope::open(body) {
        Ok(delivery) => delivery,
        Err(reason) => {
            error!(cause = %reason, message.id = record.id, "A message that cannot be read is set aside");
            return set_aside(context, record, body, clock()).await;
        }
    };
    let now = clock();
    let expires_at = context.freshness.expires_at(&delivery.event);
    let view = match context.state.receiver_view(&delivery.log_key()).await {
        Ok(view) => view,
        Err(error) => {
            error!(cause = %error, delivery.id = %delivery.id(), "A delivery's state cannot be read");
            return Fate::Back(pause(record, expires_at, now));
        }
    };
    match start(&delivery, &view, expires_at, now) {
        Start::Skip => {
            info!(delivery.id = %delivery.id(), round = delivery.round, "A delivery that is over is skipped");
            Fate::Acknowledged
        }
        Start::Close(state) => {
            let log = log::closed(&delivery, view.log, state, now);
            let status = delivery.event.status().as_str();
            info!(
                delivery.id = %log.delivery_id,
                subscription.id = %delivery.subscription_id,
                attempts = log.attempt_count,
                state = state.as_str(),
                "Delivery of `{status}` ends unsent"
            );
            finish(context, record, &delivery, &log, expires_at).await
        }
        Start::Send(subscription) => {
            let outcome = attempt(context, &delivery, subscription, now).await;
            let now = clock();
            let verdict = verdict(&outcome, record.waited(now), left(expires_at, now), random_range(-1.0..=1.0));
            let host = host(subscription);
            let log = log::attempted(&delivery, view.log, &outcome, verdict, now);
            report(&delivery, &log, &outcome, verdict, &host);
            match (finish(context, record, &delivery, &log, expires_at).await, verdict) {
                (_, Verdict::Again(wait)) => Fate::Back(wait),
                (fate, _) => fate,
            }
        }
    }
}

async fn attempt(context: &Context, delivery: &Delivery, subscription: &Subscription, now: Timestamp) -> Outcome {
    match Prepared::new(delivery, subscription, &context.boundary, now) {
        Ok(prepared) => prepared.send(&context.webhooks, now).await,
        Err(failure) => Outcome { at: now, took: Duration::ZERO, result: Err(failure) },
    }
}

/// Writes the log item. Without it the record is not finished, even if the receiver has the event: a repeat with the same
/// `webhook-id` is better than a log that does not know of it.
async fn finish(
    context: &Context,
    record: &FifoRecord,
    delivery: &Delivery,
    log: &DeliveryLog,
    expires_at: Timestamp,
) -> Fate {
    match context.state.put_delivery_log(&delivery.log_key(), log).await {
        Ok(()) => Fate::Acknowledged,
        Err(error) => {
            error!(cause = %error, delivery.id = %log.delivery_id, "A delivery's log was not written");
            Fate::Back(pause(record, expires_at, log.updated_at))
        }
    }
}

/// Moves a message that cannot be read to the dead-letter queue.
async fn set_aside(context: &Context, record: &FifoRecord, body: &str, now: Timestamp) -> Fate {
    match context.deliveries_dlq.send_fifo(&[record.set_aside(body)]).await {
        Ok(taken) if taken.iter().all(Taken::is_yes) => return Fate::Acknowledged,
        Ok(_) => error!(message.id = record.id, "The dead-letter queue refused a message"),
        Err(error) => error!(cause = %error, message.id = record.id, "The dead-letter queue did not take a message"),
    }
    Fate::Back(pause(record, Timestamp::MAX, now))
}

/// The wait after a failure of ours, in the same steps as after one of the receiver's.
fn pause(record: &FifoRecord, expires_at: Timestamp, now: Timestamp) -> Duration {
    // What is stale already still has to be logged as such, in no hurry.
    let left = Some(left(expires_at, now)).filter(|left| !left.is_zero()).unwrap_or(Duration::MAX);
    wait(record.waited(now), left, None, random_range(-1.0..=1.0))
}

fn left(expires_at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(expires_at.duration_since(now)).unwrap_or_default()
}

/// The one line of an attempt. The rest of the URL may hold a receiver's secret.
fn report(delivery: &Delivery, log: &DeliveryLog, outcome: &Outcome, verdict: Verdict, host: &str) {
    let status = delivery.event.status().as_str();
    info!(
        delivery.id = %log.delivery_id,
        subscription.id = %delivery.subscription_id,
        call.id = %log.call_id,
        attempt = log.attempt_count,
        http.status = outcome.status(),
        duration_ms = outcome.took.as_millis() as u64,
        state = log.state.as_str(),
        wait_s = verdict.wait().map(|wait| wait.as_secs()),
        "Delivery of `{status}` to `{host}`: {}",
        outcome.in_words()
    );
}

fn host(subscription: &Subscription) -> String {
    let url = url::Url::parse(&subscription.url).ok();
    url.as_ref().and_then(|url| url.host_str()).unwrap_or("?").to_owned()
}

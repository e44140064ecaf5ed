//! One record of a batch: read, decide, send, write the log, and say what becomes of it.

use std::time::Duration;

use aws_lambda_events::sqs::SqsBatchResponse;
use jiff::{SignedDuration, Timestamp};
use shared::delivery::{Delivery, DeliveryLog, DeliveryState, Message};
use shared::envelope;
use shared::queue::{FifoMessage, FifoRecord, Taken};
use shared::tables::{Change, Parking, TableError};
use shared::webhook::{Webhook, WebhookState};
use tracing::{error, info, warn};

use crate::batch::{self, Ending};
use crate::context::Context;
use crate::prepared::Prepared;
use crate::receiver::Outcome;
use crate::verdict::{LONGEST_WAIT, Moment, Start, Verdict, start, verdict, wait};
use crate::{log, notices, recovery};

/// What a record needs of the function's time beside the request itself.
const READ_AND_WRITE: SignedDuration = SignedDuration::from_secs(2);

/// What one more write of a log needs, all its attempts together.
const LOG_WRITE: SignedDuration = SignedDuration::from_millis(3_500);

/// The deliveries queue's own: twice the function's time.
const VISIBILITY: Duration = Duration::from_secs(30);

/// For surely so long the queue recognises a copy. Milliseconds.
const COPIES_ARE_RECOGNISED: i64 = 4 * 60 * 1000;

/// Never fails as a whole. `clock` tells the time whenever it is asked.
pub(crate) async fn handle(
    context: &Context,
    messages: Vec<FifoMessage>,
    deadline: Timestamp,
    clock: impl Fn() -> Timestamp,
) -> SqsBatchResponse {
    let (records, bodies): (Vec<FifoRecord>, Vec<String>) =
        messages.into_iter().map(|message| (message.record, message.body)).unzip();
    let ours = ours(context, &records, clock()).await;
    let (all, bodies, ours, clock) = (&records, &bodies, &ours, &clock);
    let taken = |at: usize| async move {
        if !ours[at] {
            return Ending::Left;
        }
        // A record that would outlast the function goes back untouched, for the next one to begin with.
        if !fits(context, deadline, clock()) {
            return Ending::Back(Duration::ZERO);
        }
        take(context, &all[at], &bodies[at], deadline, clock).await
    };
    let after_panic = |record: &FifoRecord| pause(context, record, Timestamp::MAX, clock());
    let delete = |receipts: Vec<String>| async move {
        if let Err(error) = context.deliveries.delete_all(&receipts).await {
            warn!(cause = %error, "Finished records are deleted with the batch only");
        }
    };
    let back = batch::deal(&records, taken, after_panic, delete).await;
    if let Err(error) = context.deliveries.set_visibility(back.visibility()).await {
        warn!(cause = %error, "Records go back after the queue's own time-out");
    }
    context.emit(clock());
    let mut response = SqsBatchResponse::default();
    response.set_failures(back.ids());
    response
}

/// Which records nobody else has received while they waited for this function.
async fn ours(context: &Context, records: &[FifoRecord], now: Timestamp) -> Vec<bool> {
    let records: Vec<&FifoRecord> = records.iter().collect();
    let ours = context.deliveries.renew(&records, VISIBILITY, now).await.unwrap_or_else(|error| {
        warn!(cause = %error, "Nobody knows whose the records are; they come again");
        vec![false; records.len()]
    });
    let left = ours.iter().filter(|ours| !**ours).count();
    if left > 0 {
        warn!(records = left, "Records are left to another receiver");
    }
    ours
}

/// What is done every minute, by the clock and not by a message.
pub(crate) async fn tick(context: &Context, now: Timestamp) {
    if let Err(error) = recovery::look_after(context, now).await {
        error!(cause = %error, "Webhooks cannot be looked after now");
    }
    if let Err(error) = notices::watch_agents(context, now).await {
        error!(cause = %error, "Agents cannot be watched now");
    }
}

async fn take(
    context: &Context,
    record: &FifoRecord,
    body: &str,
    deadline: Timestamp,
    clock: impl Fn() -> Timestamp,
) -> Ending {
    match envelope::open(body) {
        Ok(Message::Delivery(delivery)) => deliver(context, record, &delivery, deadline, clock).await,
        Ok(Message::Drain(drain)) => match recovery::drain(context, &drain, &clock).await {
            Ok(None) => Ending::Acknowledged,
            Ok(Some(wait)) => Ending::Back(wait),
            Err(error) => {
                error!(cause = %error, webhook.id = %drain.drain, "Parked deliveries cannot be sent now");
                Ending::Back(pause(context, record, Timestamp::MAX, clock()))
            }
        },
        Err(reason) => {
            error!(cause = %reason, message.id = record.id, "A message that cannot be read is set aside");
            set_aside(context, record, body, clock()).await
        }
    }
}

async fn deliver(
    context: &Context,
    record: &FifoRecord,
    delivery: &Delivery,
    deadline: Timestamp,
    clock: impl Fn() -> Timestamp,
) -> Ending {
    let now = clock();
    let expires_at = context.freshness.expires_at(delivery);
    let job = Job { record, delivery, expires_at, deadline };
    let view = match context.state.receiver_view(&delivery.log_key(), may_be_repeat(record, delivery)).await {
        Ok(view) => view,
        Err(error) => {
            error!(cause = %error, delivery.id = %delivery.id(), "A delivery's state cannot be read");
            return Ending::Back(pause(context, record, expires_at, now));
        }
    };
    match start(delivery, &view, expires_at, now) {
        Start::Skip => {
            info!(delivery.id = %delivery.id(), round = delivery.round, "A delivery that is over is skipped");
            Ending::Acknowledged
        }
        Start::Close(state) => {
            let log = delivery.closed(view.log, state, now);
            unsent(delivery, &log);
            context.count(state);
            finish(context, &job, &log).await
        }
        Start::Park => {
            let log = delivery.closed(view.log, DeliveryState::Parked, now);
            unsent(delivery, &log);
            park(context, &job, &log).await
        }
        // To read has taken long. What may not end before the function does is not begun.
        Start::Send(_) if !fits(context, deadline, clock()) => Ending::Back(Duration::ZERO),
        Start::Send(webhook) => send(context, &job, webhook, view.log.clone(), clock).await,
    }
}

/// Whether something may have happened to a delivery before, so that its log has to be read. The queue recognises a copy for five
/// minutes; a later one can only come from an event that `fanout` took up again after so long, which it does while it cannot record.
fn may_be_repeat(record: &FifoRecord, delivery: &Delivery) -> bool {
    let held_up = delivery.queued_at.zip(delivery.fanned_out_at).map(|(queued, fanned_out)| fanned_out - queued);
    record.receives != 1 || delivery.round > 0 || held_up.is_none_or(|millis| millis >= COPIES_ARE_RECOGNISED)
}

/// A delivery on its way.
struct Job<'a> {
    record: &'a FifoRecord,
    delivery: &'a Delivery,
    /// When it is worth nothing any more.
    expires_at: Timestamp,
    /// When the function ends.
    deadline: Timestamp,
}

/// Whether a request and what belongs to it end before the function does.
fn fits(context: &Context, deadline: Timestamp, now: Timestamp) -> bool {
    let request = SignedDuration::try_from(context.limits.total).unwrap_or(SignedDuration::MAX);
    deadline.duration_since(now) >= request.saturating_add(READ_AND_WRITE)
}

async fn send(
    context: &Context,
    job: &Job<'_>,
    webhook: &Webhook,
    before: Option<DeliveryLog>,
    clock: impl Fn() -> Timestamp,
) -> Ending {
    let Job { record, delivery, expires_at, .. } = *job;
    let outcome = attempt(context, delivery, webhook, clock()).await;
    let now = clock();
    let health = &webhook.health;
    let since_success =
        health.last_success_at.map(|at| Duration::from_millis((now.as_millisecond() - at).max(0) as u64));
    let moment = Moment {
        waited: record.waited(now),
        planned: planned(context, record, now),
        fast_lane: context.fast_lane,
        left: left(expires_at, now),
        since_success,
        state: health.state,
        trial: delivery.trial,
    };
    let verdict = verdict(&outcome, &moment);
    let log = log::attempted(delivery, before, &outcome, verdict, now);
    report(delivery, &log, &outcome, verdict, &host(webhook));
    context.measure(delivery, &outcome, verdict, now);
    // What concerns the receiver as a whole is written first: a delivery may only be parked when the webhook is failing.
    let about_receiver = match verdict {
        Verdict::Fail => fail(context, webhook, &outcome.in_words(), now).await,
        Verdict::Cancelled => switch_off(context, webhook, &outcome.in_words(), now).await,
        _ => Ok(()),
    };
    if let Err(error) = about_receiver {
        error!(cause = %error, webhook.id = %webhook.id, "The state of a webhook was not written");
        return Ending::Back(pause(context, record, expires_at, now));
    }
    match verdict {
        Verdict::Park | Verdict::Fail => park(context, job, &log).await,
        Verdict::Delivered => {
            keep_log(context, job, &log, &clock).await;
            succeeded(context, webhook, since_success, now).await;
            Ending::Acknowledged
        }
        Verdict::Again(wait) => match finish(context, job, &log).await {
            Ending::Acknowledged => Ending::Back(wait),
            back => back,
        },
        _ => finish(context, job, &log).await,
    }
}

/// The receiver has accepted nothing for as long as a delivery may be tried: from here on its deliveries are parked.
async fn fail(context: &Context, webhook: &Webhook, why: &str, now: Timestamp) -> Result<(), TableError> {
    let id = webhook.id;
    let reason = format!("nothing was accepted for {} s; the last attempt {why}", context.fast_lane.as_secs());
    if let Some(failing) = context.state.change_state(id, &Change::Fail { reason: &reason }, now).await? {
        warn!(webhook.id = %id, "A webhook is failing: {reason}");
        notices::try_to_tell(context, &failing).await;
    }
    Ok(())
}

/// The receiver wants no more.
async fn switch_off(context: &Context, webhook: &Webhook, reason: &str, now: Timestamp) -> Result<(), TableError> {
    let change = Change::SwitchOff { reason };
    if let Some(off) = context.state.change_state(webhook.id, &change, now).await? {
        warn!(webhook.id = %webhook.id, "A webhook is switched off: {reason}");
        notices::try_to_tell(context, &off).await;
    }
    Ok(())
}

/// What a success changes beyond its delivery. That it is written matters little: the next success writes it again.
async fn succeeded(context: &Context, webhook: &Webhook, since_success: Option<Duration>, now: Timestamp) {
    let (id, health) = (webhook.id, &webhook.health);
    let recovered = match health.refusing_since {
        _ if health.state == WebhookState::Failing => recovery::begin_drain(context, id, now).await,
        Some(since) => recovery::accepts_again(context, id, since, now).await,
        None => Ok(()),
    };
    if let Err(error) = recovered {
        warn!(cause = %error, webhook.id = %id, "What follows from a webhook's recovery is not done yet");
    }
    // Whether the receiver accepts is judged by this span. To note each success would cost as much as the log.
    let often_enough = context.fast_lane / 4;
    if since_success.is_none_or(|since| since >= often_enough)
        && let Err(error) = context.state.note_success(id, now).await
    {
        warn!(cause = %error, webhook.id = %id, "A success was not noted");
    }
}

/// Parks a delivery, unless the webhook's state has changed meanwhile; then it comes back to be judged anew.
async fn park(context: &Context, job: &Job<'_>, log: &DeliveryLog) -> Ending {
    match context.state.park(job.delivery, log).await {
        Ok(Parking::Done) => {
            context.count(DeliveryState::Parked);
            Ending::Acknowledged
        }
        Ok(Parking::NotNow) => Ending::Back(Duration::ZERO),
        Err(error) => {
            error!(cause = %error, delivery.id = %log.delivery_id, "A delivery was not parked");
            Ending::Back(pause(context, job.record, job.expires_at, log.updated_at))
        }
    }
}

fn unsent(delivery: &Delivery, log: &DeliveryLog) {
    info!(
        delivery.id = %log.delivery_id,
        webhook.id = %delivery.webhook_id,
        attempts = log.attempt_count,
        state = log.state.as_str(),
        "Delivery of `{}` is not sent",
        log.about
    );
}

async fn attempt(context: &Context, delivery: &Delivery, webhook: &Webhook, now: Timestamp) -> Outcome {
    match Prepared::new(delivery, webhook, &context.boundary, now) {
        Ok(prepared) => prepared.send(context.transport.as_ref(), now).await,
        Err(failure) => Outcome { at: now, took: Duration::ZERO, result: Err(failure) },
    }
}

/// Writes the log item. Without it the record is not finished.
async fn finish(context: &Context, job: &Job<'_>, log: &DeliveryLog) -> Ending {
    match context.state.put_delivery_log(&job.delivery.log_key(), log).await {
        Ok(()) => Ending::Acknowledged,
        Err(error) => {
            error!(cause = %error, delivery.id = %log.delivery_id, "A delivery's log was not written");
            Ending::Back(pause(context, job.record, job.expires_at, log.updated_at))
        }
    }
}

/// Writes the log item of what the receiver has accepted, again and again for as long as the function runs. The record is finished even
/// if that is in vain: a log that lacks an event is better than a receiver that has it twice.
async fn keep_log(context: &Context, job: &Job<'_>, log: &DeliveryLog, clock: impl Fn() -> Timestamp) {
    while let Err(error) = context.state.put_delivery_log(&job.delivery.log_key(), log).await {
        if job.deadline.duration_since(clock()) < LOG_WRITE {
            error!(cause = %error, delivery.id = %log.delivery_id, "An accepted delivery has no log");
            context.metrics().count("LogsLost", 1);
            return;
        }
    }
}

/// Moves a message that cannot be read to the dead-letter queue.
async fn set_aside(context: &Context, record: &FifoRecord, body: &str, now: Timestamp) -> Ending {
    match context.deliveries_dlq.send_fifo(&[record.set_aside(body)]).await {
        Ok(taken) if taken.iter().all(Taken::is_yes) => return Ending::Acknowledged,
        Ok(_) => error!(message.id = record.id, "The dead-letter queue refused a message"),
        Err(error) => error!(cause = %error, message.id = record.id, "The dead-letter queue did not take a message"),
    }
    Ending::Back(pause(context, record, Timestamp::MAX, now))
}

/// The wait after a failure of ours, in the same steps as after one of the receiver's.
fn pause(context: &Context, record: &FifoRecord, expires_at: Timestamp, now: Timestamp) -> Duration {
    // What is stale already still has to be logged as such, in no hurry.
    let left = Some(left(expires_at, now)).filter(|left| !left.is_zero()).unwrap_or(Duration::MAX);
    wait(planned(context, record, now), left, None)
}

fn planned(context: &Context, record: &FifoRecord, now: Timestamp) -> Duration {
    record.backoff(now, LONGEST_WAIT, context.random.jitter())
}

fn left(expires_at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(expires_at.duration_since(now)).unwrap_or_default()
}

/// The one line of an attempt. The rest of the URL may hold a receiver's secret.
fn report(delivery: &Delivery, log: &DeliveryLog, outcome: &Outcome, verdict: Verdict, host: &str) {
    info!(
        delivery.id = %log.delivery_id,
        webhook.id = %delivery.webhook_id,
        call.id = log.call_id.map(tracing::field::display),
        attempt = log.attempt_count,
        http.status = outcome.status(),
        duration_ms = outcome.took.as_millis() as u64,
        state = log.state.as_str(),
        wait_s = verdict.wait().map(|wait| wait.as_secs()),
        "Delivery of `{}` to `{host}`: {}",
        log.about,
        outcome.in_words()
    );
}

fn host(webhook: &Webhook) -> String {
    let url = url::Url::parse(&webhook.settings.url).ok();
    url.as_ref().and_then(|url| url.host_str()).unwrap_or("?").to_owned()
}

//! A delivery in the lane that webhooks share: decide, send, write the log, and say what becomes of its record.

use std::pin::pin;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::delivery::{Delivery, DeliveryLog, DeliveryState};
use shared::queue::FifoRecord;
use shared::tables::{ReceiverView, TableError, Wanted};
use shared::webhook::{Lookout, Webhook};
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use crate::attempt::{attempt, fits};
use crate::batch::Ending;
use crate::context::Context;
use crate::lane::{self, way};
use crate::log::{self, Consequence, tried_for};
use crate::lookout::FIRST_PROBE;
use crate::protocol::{Parked, parked};
use crate::receiver::Outcome;
use crate::slow::SLOW;
use crate::verdict::{Moment, Start, Verdict, start, verdict};

/// What was read longer ago is read again before anything is sent by it.
const READ_AGAIN: SignedDuration = SignedDuration::from_secs(1);
/// For surely so long the queue recognises a copy. Milliseconds.
const COPIES_ARE_RECOGNISED: i64 = 4 * 60 * 1000;
/// For as long as a lane settles.
const UNTIL_SETTLED: Duration = Duration::from_secs(1);
const SLOWLY: &str = "answers slowly";
/// A success is noted this often, for people. Milliseconds.
const NOTE_SUCCESS: i64 = 5 * 60 * 1000;

/// A delivery, its record in the queue, and when the function ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    pub(crate) record: &'a FifoRecord,
    pub(crate) delivery: &'a Delivery,
    pub(crate) deadline: Timestamp,
}

/// What has to be read of a delivery. Its log item only where something may have happened to it before. The queue recognises a copy for
/// five minutes; a later one can only come from an event that `fanout` took up again after so long, which it does while it cannot
/// record.
pub(crate) fn wanted(record: &FifoRecord, delivery: &Delivery) -> Wanted {
    let held_up = delivery.queued_at.zip(delivery.fanned_out_at).map(|(queued, fanned_out)| fanned_out - queued);
    let may_be_repeat =
        record.receives != 1 || delivery.round > 0 || held_up.is_none_or(|millis| millis >= COPIES_ARE_RECOGNISED);
    Wanted { at: delivery.log_key(), with_log: may_be_repeat }
}

/// `view` was read at `read_at`.
pub(crate) async fn deliver(
    context: &Context,
    job: Job<'_>,
    mut view: ReceiverView,
    read_at: Timestamp,
    clock: impl Fn() -> Timestamp,
) -> Ending {
    let Job { record, delivery, deadline } = job;
    if clock().duration_since(read_at) > READ_AGAIN {
        // The records before it have taken long, and its owner may have changed his mind.
        match read(context, &wanted(record, delivery)).await {
            Some(now) => view = now,
            None => return Ending::Back(context.pause(record, clock())),
        }
    }
    let now = clock();
    match start(delivery, &view, context.freshness.expires_at(delivery), now) {
        Start::Skip => {
            info!(delivery.id = %delivery.id(), round = delivery.round, "A delivery that is over is skipped");
            Ending::Acknowledged
        }
        Start::Close(state) => {
            let log = delivery.closed(view.log, state, now);
            log::report_unsent(delivery, &log);
            context.count(state);
            finish(context, job, &log).await
        }
        Start::Park => park(context, job, &delivery.closed(view.log, DeliveryState::Parked, now)).await,
        Start::Wait => Ending::Back(UNTIL_SETTLED),
        // Only one who sends all of a webhook's deliveries can count them.
        Start::Send(webhook) if webhook.keeps_its_lane() && delivery.trial.is_none() => {
            let lookout = Lookout { next_look_at: Some(now.as_millisecond()), ..Lookout::default() };
            if let Err(error) = lane::take(context, webhook.id, "has a limit of requests", &lookout, now).await {
                error!(cause = %error, webhook.id = %webhook.id, "A webhook was not given its own lane");
                return Ending::Back(context.pause(record, now));
            }
            park(context, job, &delivery.closed(view.log.clone(), DeliveryState::Parked, now)).await
        }
        // To read has taken long. What may not end before the function does is not begun.
        Start::Send(_) if !fits(context, deadline, now) => Ending::Back(Duration::ZERO),
        Start::Send(webhook) => send(context, job, webhook, view.log.clone(), clock).await,
    }
}

async fn read(context: &Context, wanted: &Wanted) -> Option<ReceiverView> {
    let read = context.state.receivers(std::slice::from_ref(wanted)).await;
    let view = match &read {
        Ok(read) => read.of(&wanted.at),
        Err(error) => Err(error),
    };
    view.inspect_err(
        |error| error!(cause = %error, webhook.id = %wanted.at.webhook_id, "A delivery's state cannot be read"),
    )
    .ok()
}

async fn send(
    context: &Context,
    job: Job<'_>,
    webhook: &Webhook,
    before: Option<DeliveryLog>,
    clock: impl Fn() -> Timestamp,
) -> Ending {
    let Job { record, delivery, deadline } = job;
    let id = webhook.id;
    let (outcome, is_slow) = watched(context, webhook, delivery, &clock).await;
    let now = clock();
    let tried_for = tried_for(delivery, before.as_ref(), now);
    let moment = Moment {
        tried_for: Duration::from_millis(tried_for.into()),
        fast_lane: context.fast_lane,
        left: context.freshness.left(delivery, now),
        is_slow,
        trial: delivery.trial,
        jitter: context.random.jitter(),
    };
    let verdict = verdict(&outcome, &moment);
    let consequence = Consequence { state: verdict.state(), tried_for, wait: verdict.wait() };
    let log = log::attempted(delivery, before, &outcome, consequence, now);
    log::report(delivery, &log, &outcome, consequence, webhook);
    context.measure(delivery, &outcome, log.state, now);
    let done = match verdict {
        Verdict::Delivered => {
            log::keep(context, delivery, &log, deadline, &clock).await;
            note_success(context, webhook, now).await;
            if is_slow {
                let lookout = lookout(now, None);
                if let Err(error) = lane::take(context, id, SLOWLY, &lookout, now).await {
                    // The next slow answers do it.
                    warn!(cause = %error, webhook.id = %id, "A slow webhook was not given its own lane");
                }
            }
            return Ending::Acknowledged;
        }
        Verdict::Again(wait) => {
            return match finish(context, job, &log).await {
                Ending::Acknowledged => Ending::Back(wait),
                back => back,
            };
        }
        // What concerns the receiver as a whole is written first.
        Verdict::Unwanted => lane::switch_off(context, id, &outcome.in_words(), now).await,
        Verdict::OwnLane | Verdict::Late => {
            let reason = if is_slow { SLOWLY.to_owned() } else { outcome.in_words() };
            lane::take(context, id, &reason, &lookout(now, Some((&outcome, tried_for))), now).await
        }
        Verdict::Failed => Ok(()),
    };
    if let Err(error) = done {
        error!(cause = %error, webhook.id = %id, "The state of a webhook was not written");
        return Ending::Back(context.pause(record, now));
    }
    if verdict == Verdict::OwnLane { park(context, job, &log).await } else { finish(context, job, &log).await }
}

/// An attempt, and whether the webhook is slow. A slow answer counts while it is still awaited: what comes until the attempt ends
/// holds no other environment.
async fn watched(
    context: &Context,
    webhook: &Webhook,
    delivery: &Delivery,
    clock: impl Fn() -> Timestamp,
) -> (Outcome, bool) {
    let mut attempt = pin!(attempt(context, delivery, webhook, clock()));
    let note = |took_long| delivery.trial.is_none() && context.slowness.note(webhook.id, took_long);
    if let Ok(outcome) = timeout(SLOW, &mut attempt).await {
        return (outcome, note(false));
    }
    let is_slow = note(true);
    if is_slow && let Err(error) = lane::take(context, webhook.id, SLOWLY, &lookout(clock(), None), clock()).await {
        // The end of the attempt does it.
        warn!(cause = %error, webhook.id = %webhook.id, "A slow webhook was not given its own lane");
    }
    (attempt.await, is_slow)
}

/// What the worker of a new lane begins with: the webhook has refused for so long, or was only slow.
fn lookout(now: Timestamp, refused: Option<(&Outcome, u32)>) -> Lookout {
    let now = now.as_millisecond();
    let begin = Lookout { next_look_at: Some(now), slow_at: Some(now), ..Lookout::default() };
    let Some((outcome, refused_for)) = refused else { return begin };
    let wait = FIRST_PROBE.max(outcome.retry_after().unwrap_or_default());
    let next_attempt_at = Some(now + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    Lookout { next_attempt_at, refused_at: Some(now), refusals: 1, refused_for, ..begin }
}

async fn note_success(context: &Context, webhook: &Webhook, now: Timestamp) {
    let last = webhook.health.last_success_at;
    if last.is_none_or(|at| now.as_millisecond() - at >= NOTE_SUCCESS)
        && let Err(error) = context.state.note_success(webhook.id, now).await
    {
        warn!(cause = %error, webhook.id = %webhook.id, "A success was not noted");
    }
}

/// Parks a delivery for the worker of its webhook's own lane, or has it received again where the lane is another one by then.
async fn park(context: &Context, job: Job<'_>, log: &DeliveryLog) -> Ending {
    match try_to_park(context, job, log).await {
        Ok(ending) => ending,
        Err(error) => {
            error!(cause = %error, delivery.id = %log.delivery_id, "A delivery was not parked");
            Ending::Back(context.pause(job.record, log.updated_at))
        }
    }
}

async fn try_to_park(context: &Context, job: Job<'_>, log: &DeliveryLog) -> Result<Ending, TableError> {
    let delivery = job.delivery;
    if !context.state.put_parked_log(&delivery.log_key(), log).await? {
        return Ok(Ending::Acknowledged); // The worker was quicker with a copy of it.
    }
    let holder = context.random.uuid().simple().to_string();
    context.state.park(delivery, &holder).await?;
    let next = match context.state.webhook(delivery.webhook_id).await? {
        Some(webhook) => parked(way(&webhook)),
        None => Parked::TakeOut,
    };
    match next {
        Parked::TakeOut => {
            context.state.take_out(delivery, &holder).await?;
            return Ok(Ending::Back(UNTIL_SETTLED));
        }
        Parked::Call if !context.try_to_call(delivery.webhook_id).await => {
            return Ok(Ending::Back(context.pause(job.record, log.updated_at)));
        }
        Parked::Call | Parked::Done => {}
    }
    // The log of deliveries says so, and the batch's figures do.
    debug!(delivery.id = %log.delivery_id, webhook.id = %delivery.webhook_id, "Delivery of `{}` is parked", log.about);
    context.count(DeliveryState::Parked);
    Ok(Ending::Acknowledged)
}

/// Writes the log item. Without it the record is not finished.
async fn finish(context: &Context, job: Job<'_>, log: &DeliveryLog) -> Ending {
    match context.logbook.write(job.delivery, log).await {
        Ok(()) => Ending::Acknowledged,
        Err(error) => {
            error!(cause = %error, delivery.id = %log.delivery_id, "A delivery's log was not written");
            Ending::Back(context.pause(job.record, log.updated_at))
        }
    }
}

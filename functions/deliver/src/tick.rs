//! What is done about webhooks every minute, and about the counters of calls every hour. To webhooks it only sends messages: what takes
//! time is the workers' business.

use std::ops::Range;

use jiff::Timestamp;
use shared::delivery::LaneCall;
use shared::queue::{Outgoing, Taken, chunks};
use shared::webhook::{Lane, Webhook};
use tracing::{info, warn};

use crate::cloud_error::CloudError;
use crate::context::Context;
use crate::lane::stays;
use crate::{figures, notices};

/// A worker that has not looked for so much longer than it meant to is called again. Milliseconds.
const LATE: i64 = 60 * 1000;
/// A worker is called once in this time at most, because its calls wait for each other. Seconds.
const CALL_EVERY: i64 = 5 * 60;
/// The minutes of an hour in which counters are looked for that can be moved. What is left over is found an hour later.
const HOURS_CLOSE_IN: Range<i64> = 6..12;

pub(crate) async fn look_after_webhooks(context: &Context, now: Timestamp) -> Result<(), CloudError> {
    let webhooks = context.state.webhooks().await?;
    figures::of_webhooks(&mut context.metrics(), &webhooks, now);
    let lanes: Vec<Outgoing> =
        webhooks.iter().filter(|webhook| has_to_be_called(webhook, now)).map(|webhook| call(webhook, now)).collect();
    for chunk in chunks(&lanes) {
        if !context.lanes.send_fifo(&lanes[chunk]).await?.iter().all(Taken::is_yes) {
            warn!("The workers of lanes are not called yet");
        }
    }
    if !lanes.is_empty() {
        info!(lanes = lanes.len(), "Workers of lanes are called");
    }
    for webhook in &webhooks {
        if let Err(error) = notices::look_at(context, webhook, now).await {
            warn!(cause = %error, webhook.id = %webhook.id, "Others are not told of a webhook yet");
        }
    }
    Ok(())
}

/// Moves the counters of calls out of the head of the feed, so that it stays small.
pub(crate) async fn close_hours(context: &Context, now: Timestamp) -> Result<(), CloudError> {
    if HOURS_CLOSE_IN.contains(&(now.as_second().rem_euclid(3_600) / 60)) {
        context.state.move_closed_hours().await?;
    }
    Ok(())
}

fn call(webhook: &Webhook, now: Timestamp) -> Outgoing {
    LaneCall { lane: webhook.id }.message(&format!("tick#{}", now.as_second() / CALL_EVERY))
}

/// Whether a worker should have come and did not, or rests in a lane that may be shared again.
fn has_to_be_called(webhook: &Webhook, now: Timestamp) -> bool {
    let lookout = &webhook.health.lookout;
    match (webhook.lane(), lookout.next_look_at) {
        (Lane::Shared, _) => false,
        (_, Some(at)) => now.as_millisecond() - at >= LATE,
        (Lane::Own, None) => !stays(webhook, lookout, now),
        (Lane::Settling, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use shared::time::from_millis;
    use shared::webhook::{Method, WebhookState};

    use super::*;
    use crate::sample;

    #[test]
    fn a_worker_is_called_that_should_have_come_or_may_go() {
        let minutes = |n: i64| n * 60_000;
        let check = |called: bool, change: &dyn Fn(&mut Webhook)| {
            let mut webhook = sample::webhook("https://example.com", Method::Post);
            change(&mut webhook);
            assert_eq!(has_to_be_called(&webhook, from_millis(minutes(10))), called, "{:?}", webhook.health);
        };
        check(false, &|_| {});
        check(true, &|webhook| webhook.health.lane = Some(Lane::Own));
        check(false, &|webhook| webhook.health.state = WebhookState::Failing);
        for (at, called) in [(minutes(8), true), (minutes(9), true), (minutes(9) + 1, false), (minutes(15), false)] {
            check(called, &|webhook| {
                (webhook.health.lane, webhook.health.lookout.next_look_at) = (Some(Lane::Own), Some(at));
            });
        }
        check(false, &|webhook| (webhook.health.lane, webhook.health.paused_at) = (Some(Lane::Own), Some(1)));
        check(false, &|webhook| (webhook.health.lane, webhook.health.lookout.refusals) = (Some(Lane::Own), 1));
        check(false, &|webhook| {
            (webhook.health.lane, webhook.health.lookout.slow_at) = (Some(Lane::Own), Some(minutes(9) + 1));
        });
    }
}

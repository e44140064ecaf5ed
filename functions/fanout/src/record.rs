//! Records what was fanned out: in one transaction if possible, else event by event.

use std::time::Duration;

use shared::event::CallEvent;
use shared::tables::{Recorded, TableError};
use tracing::{error, warn};

use crate::context::Context;
use crate::plan::Batch;

/// Events of one transaction: two items each beside the counter, and DynamoDB takes a hundred.
const AT_ONCE: usize = 49;
/// Other environments move the feed counter too; each of these tries sees one of them succeed.
const TRIES: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Records the batch's events and settles their records. Returns how many of them are recorded now.
pub(crate) async fn record(context: &Context, batch: &mut Batch) -> usize {
    let mut recorded = 0;
    for chunk in batch.to_record().chunks(AT_ONCE) {
        // A failure in an earlier chunk may have reached into this one.
        let still: Vec<usize> = batch.to_record().into_iter().filter(|at| chunk.contains(at)).collect();
        recorded += record_chunk(context, batch, &still).await;
    }
    recorded
}

async fn record_chunk(context: &Context, batch: &mut Batch, chunk: &[usize]) -> usize {
    let events: Vec<&CallEvent> = batch.events(chunk).map(|(_, event)| event).collect();
    match append(context, &events).await {
        Ok(Appended::Yes) => {
            chunk.iter().for_each(|at| batch.done(*at));
            chunk.len()
        }
        Ok(Appended::Refused) => record_singly(context, batch, chunk).await,
        Ok(Appended::Crowded) => {
            warn!(events = chunk.len(), "The feed counter moved too often");
            chunk.iter().for_each(|at| batch.fail(*at));
            0
        }
        Err(error) => {
            error!(cause = %error, events = chunk.len(), "Events were not recorded");
            chunk.iter().for_each(|at| batch.fail(*at));
            0
        }
    }
}

/// One of the events stands in the way of all, usually because another environment has recorded it meanwhile.
async fn record_singly(context: &Context, batch: &mut Batch, chunk: &[usize]) -> usize {
    let mut recorded = 0;
    for at in chunk {
        // Only what still waits: an earlier event of the call may have failed.
        let waiting = batch.to_record();
        let Some((at, event)) = batch.events(&waiting).find(|(waiting, _)| waiting == at) else { continue };
        match record_one(context, event).await {
            Ok(true) => {
                recorded += 1;
                batch.done(at);
            }
            Ok(false) => {
                warn!(event.id = %event.event_id, "An event was not recorded");
                batch.fail(at);
            }
            Err(error) => {
                error!(cause = %error, event.id = %event.event_id, "An event was not recorded");
                batch.fail(at);
            }
        }
    }
    recorded
}

/// Whether the event is recorded now, by this call or by somebody else.
async fn record_one(context: &Context, event: &CallEvent) -> Result<bool, TableError> {
    if is_recorded(context, event).await? {
        return Ok(true);
    }
    match append(context, &[event]).await? {
        Appended::Yes => Ok(true),
        Appended::Crowded => Ok(false),
        Appended::Refused => is_recorded(context, event).await,
    }
}

async fn is_recorded(context: &Context, event: &CallEvent) -> Result<bool, TableError> {
    let recorded = context.state.recorded_sequences(&[event.call_id()]).await?;
    Ok(recorded.get(&event.call_id()).is_some_and(|highest| *highest >= event.sequence()))
}

enum Appended {
    Yes,
    Refused,
    /// The counter was never still for long enough.
    Crowded,
}

/// One transaction, tried again while only the feed counter stands in its way.
async fn append(context: &Context, events: &[&CallEvent]) -> Result<Appended, TableError> {
    if events.is_empty() {
        return Ok(Appended::Yes);
    }
    for attempt in 0..TRIES {
        let length = context.state.feed_length().await?;
        match context.state.record(events, length).await? {
            Recorded::All => return Ok(Appended::Yes),
            Recorded::Refused => return Ok(Appended::Refused),
            Recorded::FeedMoved => tokio::time::sleep(pause(attempt, context.random.part())).await,
        }
    }
    Ok(Appended::Crowded)
}

/// A random part (0 to 1) of a span that doubles, so that those who met once do not meet again.
fn pause(attempt: u32, part: f64) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << attempt.min(16)).min(LONGEST_PAUSE).mul_f64(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_short() {
        assert_eq!(pause(0, 1.0), FIRST_PAUSE);
        assert_eq!(pause(1, 1.0), FIRST_PAUSE * 2);
        assert_eq!(pause(u32::MAX, 1.0), LONGEST_PAUSE);
        assert_eq!(pause(9, 0.0), Duration::ZERO);
        let all: Duration = (0..TRIES).map(|attempt| pause(attempt, 1.0)).sum();
        assert!(all < Duration::from_secs(3), "the function itself has 10 s");
    }
}

//! Records what was fanned out: the numbers of the whole batch are reserved at once, then each call goes its way.
//!
//! What is recorded and in which order is said in [`shared::feed`].

use futures_util::{StreamExt, stream};
use shared::event::Status;
use shared::event::message::EventMessage;
use shared::feed::Writer;
use shared::tables::{EndedCall, StateTable, TableError};
use tracing::error;

use crate::plan::Batch;

/// Calls that are recorded at a time.
const CALLS_AT_ONCE: usize = 16;

/// Records the batch's events and settles their records. Returns how many of them are recorded now that were not before.
pub(crate) async fn record(state: &StateTable, batch: &mut Batch<'_>) -> usize {
    let calls: Vec<(Vec<usize>, Writer)> = batch
        .to_record_by_call()
        .into_iter()
        .map(|call| {
            let writer = Writer::new(call.iter().map(|at| batch.entry(*at).number).collect());
            (call, writer)
        })
        .collect();
    let ended = ended(batch);
    let calls = match with_numbers(state, calls, &ended).await {
        Ok(calls) => calls,
        Err(error) => {
            let waiting = batch.to_record();
            error!(cause = %error, events = waiting.len(), "Events were not recorded");
            waiting.into_iter().for_each(|at| batch.fail(at));
            return 0;
        }
    };

    let results: Vec<(Vec<usize>, usize, Result<(), TableError>)> = stream::iter(calls)
        .map(async |(call, mut writer)| {
            let events: Vec<&EventMessage<'_>> =
                call.iter().filter_map(|at| batch.entry(*at).message.as_deref().ok()).collect();
            let settled = state.settle(&mut writer, &events).await;
            (call, writer.settled(), settled)
        })
        .buffer_unordered(CALLS_AT_ONCE)
        .collect()
        .await;

    let mut recorded = 0;
    for (call, settled, _) in &results {
        for at in &call[..*settled] {
            recorded += usize::from(batch.entry(*at).number.is_none());
            batch.done(*at);
        }
    }
    for (call, settled, result) in results {
        if let Err(error) = result {
            let at = call[settled];
            error!(cause = %error, message.id = batch.entry(at).record.id, "An event was not recorded");
            batch.fail(at);
        }
    }
    recorded
}

/// The calls that end with this batch. What was recorded before was counted then.
fn ended<'a>(batch: &'a Batch<'_>) -> Vec<EndedCall<'a>> {
    let new = batch.to_record().into_iter().map(|at| batch.entry(at)).filter(|entry| entry.number.is_none());
    let events = new.filter_map(|entry| Some(&entry.message.as_deref().ok()?.event));
    let ends = events.filter(|event| event.status() == Status::Disconnected);
    ends.map(|event| EndedCall { at: event.occurred_at, pbx: event.pbx_id.as_ref(), missed: event.is_missed() })
        .collect()
}

/// Reserves what all calls need by one request, which also counts the calls that ended.
async fn with_numbers(
    state: &StateTable,
    mut calls: Vec<(Vec<usize>, Writer)>,
    ended: &[EndedCall<'_>],
) -> Result<Vec<(Vec<usize>, Writer)>, TableError> {
    let wanted = calls.iter().map(|(_, writer)| writer.numbers_wanted()).sum();
    if wanted > 0 {
        let mut first = state.reserve(wanted, ended).await?;
        for (_, writer) in &mut calls {
            let end = first + writer.numbers_wanted();
            writer.give(first..end);
            first = end;
        }
    }
    Ok(calls)
}

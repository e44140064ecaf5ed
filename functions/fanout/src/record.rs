//! Records what was fanned out: the numbers of the whole batch are reserved at once, then each call goes its way.
//!
//! What is recorded and in which order is said in [`shared::feed`].

use futures_util::{StreamExt, stream};
use shared::event::message::EventMessage;
use shared::feed::Writer;
use shared::tables::{StateTable, TableError};
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
    let calls = match with_numbers(state, calls).await {
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

/// Reserves what all calls need by one request.
async fn with_numbers(
    state: &StateTable,
    mut calls: Vec<(Vec<usize>, Writer)>,
) -> Result<Vec<(Vec<usize>, Writer)>, TableError> {
    let wanted = calls.iter().map(|(_, writer)| writer.numbers_wanted()).sum();
    if wanted > 0 {
        let mut first = state.reserve(wanted).await?;
        for (_, writer) in &mut calls {
            let end = first + writer.numbers_wanted();
            writer.give(first..end);
            first = end;
        }
    }
    Ok(calls)
}

//! `deliver` brings one event to one webhook and keeps the log of it.
//!
//! The only part that speaks HTTP to strangers, so it trusts neither their addresses nor their answers. It decides nothing
//! about who is to receive what; that was `fanout`'s business.

mod attempt;
mod batch;
mod boundary;
mod client;
mod cloud_error;
mod context;
mod expiry;
mod failure;
mod figures;
mod freshness;
mod handler;
mod lane;
mod log;
mod logbook;
mod lookout;
mod notices;
mod prepared;
mod protocol;
mod receiver;
mod record;
mod slow;
mod tick;
mod tried;
mod verdict;
mod worker;

#[cfg(test)]
mod sample;

use aws_lambda_events::sqs::SqsBatchResponse;
use jiff::Timestamp;
use serde::Deserialize;
use shared::queue::FifoMessage;

pub use context::Context;
pub use failure::Failure;
pub use receiver::{Answer, Answering, Content, Limits, Request, Transport};

/// Why the function is called: a batch of the queue has records, the clock's call has none.
#[derive(Debug, Deserialize)]
pub struct Invocation {
    #[serde(rename = "Records")]
    records: Option<Vec<FifoMessage>>,
}

/// Deals with a batch, or with what is done every minute. Never fails as a whole; nothing is begun that cannot end before the
/// deadline.
pub async fn handle(context: &Context, invocation: Invocation, deadline: Timestamp) -> SqsBatchResponse {
    // Boxed, because these futures are nested so deeply that as parts of the one that waits for them they are too much for the compiler.
    match invocation.records {
        Some(records) => Box::pin(handler::handle(context, records, deadline, || context.now())).await,
        None => {
            Box::pin(handler::every_minute(context, context.now())).await;
            SqsBatchResponse::default()
        }
    }
}

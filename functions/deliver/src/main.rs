//! `deliver` brings one event to one webhook and keeps the log of it.
//!
//! The only part that speaks HTTP to strangers, so it trusts neither their addresses nor their answers. It decides nothing
//! about who is to receive what; that was `fanout`'s business.

mod boundary;
mod client;
mod cloud_error;
mod context;
mod expiry;
mod failure;
mod handler;
mod log;
mod notices;
mod prepared;
mod query;
mod recovery;
mod verdict;

#[cfg(test)]
mod sample;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsMessage};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use shared::config::Env;
use shared::telemetry;
use shared::time::from_millis;

use context::Context;

/// Why the function is called: a batch of the queue has records, the clock's call has none.
#[derive(Deserialize)]
struct Call {
    #[serde(rename = "Records")]
    records: Option<Vec<SqsMessage>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let context = Context::from_vars(&Env)?;
    let handle = async |event: LambdaEvent<Call>| {
        let deadline = from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        let Some(records) = event.payload.records else {
            handler::tick(&context, Timestamp::now()).await;
            return Ok::<_, Error>(SqsBatchResponse::default());
        };
        Ok(handler::handle(&context, records, deadline, Timestamp::now).await)
    };
    lambda_runtime::run(service_fn(handle)).await
}

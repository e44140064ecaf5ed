//! `deliver` brings one event to one webhook and keeps the log of it.
//!
//! The only part that speaks HTTP to strangers, so it trusts neither their addresses nor their answers. It decides nothing
//! about who is to receive what; that was `fanout`'s business.

mod boundary;
mod client;
mod context;
mod failure;
mod handler;
mod log;
mod notices;
mod prepared;
mod recovery;
mod verdict;

#[cfg(test)]
mod sample;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use shared::config::Env;
use shared::telemetry;
use shared::time::from_millis;

use context::Context;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let context = Context::from_vars(&Env)?;
    // A batch of the queue has records; the clock's call has none.
    let handle = async |event: LambdaEvent<Value>| {
        let deadline = from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        if event.payload.get("Records").is_some() {
            let batch: SqsEvent = serde_json::from_value(event.payload)?;
            return Ok::<_, Error>(handler::handle(&context, batch, deadline, Timestamp::now).await);
        }
        handler::tick(&context, Timestamp::now()).await;
        Ok(SqsBatchResponse::default())
    };
    lambda_runtime::run(service_fn(handle)).await
}

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
mod prepared;
mod verdict;

#[cfg(test)]
mod sample;

use aws_lambda_events::sqs::SqsEvent;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::config::Env;
use shared::telemetry;
use shared::time::from_millis;

use context::Context;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let context = Context::from_vars(&Env)?;
    let handle = async |event: LambdaEvent<SqsEvent>| {
        let deadline = from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        Ok::<_, Error>(handler::handle(&context, event.payload, deadline, Timestamp::now).await)
    };
    lambda_runtime::run(service_fn(handle)).await
}

//! `fanout` turns each call event into one delivery per subscription, then records the event.
//!
//! It decides nothing about receivers: what becomes of a delivery is `deliver`'s business. Any part of a batch may be
//! repeated at any time; ids that are derived, the queue's de-duplication and the table's conditions absorb the copies.

mod context;
mod handler;
mod plan;
mod record;

use aws_lambda_events::sqs::SqsEvent;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::config::Env;
use shared::telemetry;

use context::Context;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let context = Context::from_vars(&Env)?;
    let handle = async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(handler::handle(&context, event.payload, Timestamp::now()).await)
    };
    lambda_runtime::run(service_fn(handle)).await
}

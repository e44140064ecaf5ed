//! The Lambda function: a context for the life of the environment, and a call at a time.

use deliver::{Context, Invocation};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::config::Env;
use shared::telemetry;
use shared::time::from_millis;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let context: &'static Context = Box::leak(Box::new(Context::from_vars(&Env)?));
    let handle = async |event: LambdaEvent<Invocation>| {
        let deadline = from_millis(i64::try_from(event.context.deadline).unwrap_or(i64::MAX));
        Ok::<_, Error>(deliver::handle(context, event.payload, deadline).await)
    };
    tokio::spawn(lambda_runtime::run(service_fn(handle))).await?
}

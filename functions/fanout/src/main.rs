//! The Lambda function: a context for the life of the environment, and a batch at a time.

use fanout::{Context, Invocation};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use shared::config::Env;
use shared::telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let context: &'static Context = Box::leak(Box::new(Context::from_vars(&Env)?));
    let handle = async |event: LambdaEvent<Invocation>| Ok::<_, Error>(fanout::handle(context, event.payload).await);
    tokio::spawn(lambda_runtime::run(service_fn(handle))).await?
}

//! The floor of a cold start: a function that builds the same SDK clients as the product's and does nothing with them.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use shared::aws::{self, Platform};
use shared::clock::CloudClock;
use shared::config::Env;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = aws::function_config(&Env, &Platform::default());
    let clock = CloudClock::new();
    let clients = (aws::sqs(&config, &clock), aws::dynamodb(&config, &clock));
    lambda_runtime::run(service_fn(async |_: LambdaEvent<Value>| {
        std::hint::black_box(&clients);
        Ok::<_, Error>(Value::Null)
    }))
    .await
}

//! The Lambda function: a router for the life of the environment, and a request at a time.

use std::process::ExitCode;

use api::Context;
use shared::config::Env;
use shared::telemetry;
use tower::util::MapRequest;
use tracing::error;

/// `EX_CONFIG` of sysexits.h.
const BAD_CONFIGURATION: u8 = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::init();
    let context = match Context::from_vars(&Env) {
        Ok(context) => context,
        Err(err) => {
            error!("Invalid configuration: {:#}", anyhow::Error::from(err));
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    match lambda_http::run(MapRequest::new(api::router(context), api::whole)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            error!("The runtime ended: {err}");
            ExitCode::FAILURE
        }
    }
}

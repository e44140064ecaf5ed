//! The REST API: call control for apps that speak plain HTTP.
//!
//! Stateless; what it knows is in the tables. It never speaks to the PBX: it writes a command, rings for an agent, waits a
//! bounded time and tells what came of it. It never logs a key, a query string or a phone number.

mod answers;
mod auth;
mod body;
mod commands;
mod context;
mod deliveries;
mod dialling;
mod errors;
mod fields;
mod gateway;
mod given;
mod limits;
mod observe;
mod operations;
mod place;
mod request;
mod routes;
mod sample;
mod swagger;
#[cfg(test)]
mod tests;
mod trail;
mod webhooks;

use std::process::ExitCode;

use shared::config::Env;
use shared::telemetry;
use tower::util::MapRequest;
use tracing::error;

use crate::context::Context;

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
    match lambda_http::run(MapRequest::new(routes::router(context), gateway::whole)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            error!("The runtime ended: {err}");
            ExitCode::FAILURE
        }
    }
}

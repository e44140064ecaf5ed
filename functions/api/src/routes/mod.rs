//! The routes. Handlers only name what they need; validation, commands and answers have their own modules.

mod rcc;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use shared::codes::Code;

use crate::context::Context;
use crate::errors::ApiError;
use crate::observe::observe;

type Ctx = State<Arc<Context>>;

pub(crate) fn router(context: Context) -> Router {
    Router::new()
        .route("/rcc/makecall", post(rcc::make_call))
        .route("/rcc/answer", post(rcc::answer))
        .route("/rcc/disconnect", post(rcc::disconnect))
        .route("/rcc/transfer", post(rcc::transfer))
        .route("/rcc/users", get(rcc::users))
        .route("/rcc/calls", get(rcc::calls))
        .route("/rcc/calls/{CallId}", get(rcc::call))
        .route("/rcc/commands/{CommandId}", get(rcc::command))
        .route("/status", get(status::status))
        .method_not_allowed_fallback(async || ApiError::new(Code::MethodNotAllowed))
        .fallback(async || ApiError::new(Code::NotFound))
        .layer(from_fn(observe))
        .with_state(Arc::new(context))
}

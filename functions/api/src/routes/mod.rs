//! The routes. Handlers only name what they need; validation, commands and answers have their own modules.

pub(crate) mod apikeys;
mod audit;
mod deliveries;
mod events;
mod pages;
mod rcc;
mod stats;
mod status;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::from_fn;
use axum::routing::{get, patch, post};
use shared::codes::Code;
use tower::util::MapRequest;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::context::Context;
use crate::errors::ApiError;
use crate::observe::observe;
use crate::{console, gateway, swagger};

/// Browsers ask again after this time, and shorten it to their own limits.
const PREFLIGHT_IS_GOOD_FOR: Duration = Duration::from_secs(3_600);

pub fn router(context: Context) -> Router {
    let cors = cors(&context.cors_origins);
    let router = Router::new()
        .route("/rcc/makecall", post(rcc::make_call))
        .route("/rcc/answer", post(rcc::answer))
        .route("/rcc/disconnect", post(rcc::disconnect))
        .route("/rcc/hold", post(rcc::hold))
        .route("/rcc/retrieve", post(rcc::retrieve))
        .route("/rcc/transfer", post(rcc::transfer))
        .route("/rcc/redirect", post(rcc::redirect))
        .route("/rcc/park", post(rcc::park))
        .route("/rcc/pickup", post(rcc::pick_up))
        .route("/rcc/dtmf", post(rcc::dtmf))
        .route("/rcc/connect", post(rcc::connect))
        .route("/rcc/uui", post(rcc::user_info))
        .route("/rcc/info", post(rcc::info))
        .route("/rcc/remotecontrol", post(rcc::control_phone))
        .route("/rcc/mediatransfer", post(rcc::transfer_media))
        .route("/rcc/users", get(rcc::users))
        .route("/rcc/users/{extension}", get(rcc::user))
        // The gateway decodes the slash of `node%2Fextension`.
        .route("/rcc/users/{node}/{extension}", get(rcc::user))
        .route("/rcc/calls", get(rcc::calls))
        .route("/rcc/calls/{callId}", get(rcc::call))
        .route("/rcc/calls/{callId}/events", get(rcc::call_events))
        .route("/rcc/commands/{commandId}", get(rcc::command))
        .route("/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/webhooks/{webhookId}", get(webhooks::show).put(webhooks::change).delete(webhooks::delete))
        .route("/webhooks/{webhookId}/test", post(webhooks::test))
        .route("/webhooks/{webhookId}/pause", post(webhooks::pause))
        .route("/webhooks/{webhookId}/resume", post(webhooks::resume))
        .route("/webhooks/{webhookId}/purge", post(webhooks::purge))
        .route("/webhooks/{webhookId}/secret", post(webhooks::rotate))
        .route("/webhooks/{webhookId}/deliveries", get(deliveries::list))
        .route("/webhooks/{webhookId}/replay", post(deliveries::replay_since))
        .route("/deliveries/{deliveryId}", get(deliveries::show))
        .route("/deliveries/{deliveryId}/replay", post(deliveries::replay))
        .route("/events", get(events::list))
        .route("/events/sample", get(events::sample))
        .route("/apikeys", get(apikeys::list).post(apikeys::create))
        .route("/apikeys/self", get(apikeys::own))
        .route("/apikeys/{apiKeyId}", patch(apikeys::change).delete(apikeys::delete))
        .route("/audit", get(audit::audit))
        .route("/status", get(status::status))
        .route("/stats", get(stats::stats))
        .merge(swagger::routes(context.public_url.as_deref()))
        .merge(console::routes(&swagger::base_path(context.public_url.as_deref()), &context.console_frame_ancestors))
        .method_not_allowed_fallback(async || ApiError::new(Code::MethodNotAllowed))
        .fallback(async || ApiError::new(Code::NotFound))
        .layer(from_fn(observe))
        .with_state(Arc::new(context));
    let router = match cors {
        Some(cors) => router.layer(cors),
        None => router,
    };
    // Around the routes, because they are chosen before any layer of theirs.
    Router::new().fallback_service(MapRequest::new(router, without_slash))
}

/// Tools put a slash behind addresses, or leave one there when they join them. The page of Swagger UI needs its own, because its
/// files are named relative to it.
fn without_slash(request: Request) -> Request {
    let uri = request.uri();
    let path = uri.path().trim_end_matches('/');
    if path.len() == uri.path().len() || path.is_empty() || [swagger::FOLDER, console::FOLDER].contains(&path) {
        return request;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{path}{query}");
    gateway::with_target(request, &target)
}

/// Lets web pages of these origins call the API. Without origins no header is sent, and browsers refuse.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let allowed = match origins {
        [] => return None,
        origins if origins.iter().any(|origin| origin == "*") => AllowOrigin::any(),
        origins => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let headers =
        [AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("x-api-key"), HeaderName::from_static("idempotency-key")];
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers(headers)
            .expose_headers([LOCATION, RETRY_AFTER])
            .max_age(PREFLIGHT_IS_GOOD_FOR),
    )
}

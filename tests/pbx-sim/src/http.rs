//! The control API's HTTP face. What the requests do is in `control`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::Refused;
use crate::control;
use crate::hub::Hub;

#[derive(Deserialize)]
struct LogQuery {
    mt: Option<String>,
}

pub(crate) fn router(hub: Arc<Hub>, pem: String) -> Router {
    let certificate = move || async move { ([(header::CONTENT_TYPE, "application/x-pem-file")], pem) };
    Router::new()
        .route("/", get(|| async { answer(Ok(control::index())) }))
        .route("/state", get(|State(hub): State<Arc<Hub>>| async move { answer(Ok(control::state(&hub))) }))
        .route("/log", get(log).delete(clear_log))
        .route("/quirks", get(quirks).post(post_quirks).delete(reset_quirks))
        .route("/cert.pem", get(certificate))
        .route("/{command}", post(command))
        .fallback(|| async { answer(Err(Refused::unknown("path", "no such path; GET / lists them"))) })
        .method_not_allowed_fallback(|| async {
            let refused = json!({"code": "method_not_allowed", "message": "GET / lists the paths and methods"});
            (StatusCode::METHOD_NOT_ALLOWED, axum::Json(refused))
        })
        .with_state(hub)
}

fn answer(result: Result<Value, Refused>) -> Response {
    match result {
        Ok(value) => axum::Json(value).into_response(),
        Err(refused) => {
            let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_REQUEST);
            (status, axum::Json(json!({"code": refused.code, "message": refused.message}))).into_response()
        }
    }
}

fn parse(body: &Bytes) -> Result<Value, Refused> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    serde_json::from_slice(body).map_err(|err| Refused::bad("body", &format!("is not JSON: {err}")))
}

async fn command(State(hub): State<Arc<Hub>>, Path(command): Path<String>, body: Bytes) -> Response {
    answer(parse(&body).and_then(|body| control::post(&hub, &format!("/{command}"), body)))
}

async fn log(State(hub): State<Arc<Hub>>, Query(query): Query<LogQuery>) -> Response {
    let wanted = |entry: &&Value| query.mt.as_deref().is_none_or(|mt| entry["mt"] == mt);
    answer(Ok(hub.run(|inner, _| inner.log.iter().filter(wanted).cloned().collect())))
}

async fn clear_log(State(hub): State<Arc<Hub>>) -> Response {
    hub.run(|inner, _| inner.log.clear());
    answer(Ok(json!({})))
}

async fn quirks(State(hub): State<Arc<Hub>>) -> Response {
    answer(Ok(control::quirks_table(&hub)))
}

async fn post_quirks(State(hub): State<Arc<Hub>>, body: Bytes) -> Response {
    answer(parse(&body).and_then(|body| control::post(&hub, "/quirks", body)))
}

async fn reset_quirks(State(hub): State<Arc<Hub>>) -> Response {
    answer(Ok(control::plain(&hub)))
}

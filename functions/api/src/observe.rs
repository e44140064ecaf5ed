//! Around every request: one log line, the header that all answers share, and the net under a panic.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use shared::codes::Code;
use shared::command::Command;
use tokio::time::Instant;
use tracing::info;

use crate::answers;
use crate::errors::ApiError;

/// What becomes known while a request is handled, for its log line and for a panic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    key: OnceLock<String>,
    command: OnceLock<Command>,
}

impl Notes {
    pub(crate) fn key(&self, short_id: &str) {
        self.0.key.get_or_init(|| short_id.to_owned());
    }

    /// From here on the command may reach the PBX.
    pub(crate) fn command(&self, command: &Command) {
        self.0.command.get_or_init(|| command.clone());
    }
}

pub(crate) async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let notes = Notes::default();
    request.extensions_mut().insert(notes.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = handled.unwrap_or_else(|_| after_panic(&notes));
    // Only what is the same for everybody says otherwise.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));

    let route = route.as_ref().map_or("(none)", MatchedPath::as_str);
    let status = response.status().as_u16();
    info!(
        http.method = %method,
        http.route = route,
        http.status = status,
        code = response.extensions().get::<Code>().map(|code| code.as_str()),
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        key.id = notes.0.key.get(),
        command.id = notes.0.command.get().map(|command| tracing::field::display(command.command_id)),
        "{method} {route}: {status}"
    );
    response
}

/// A 5xx invites a repeat, so it is only given while no command can have reached the PBX.
fn after_panic(notes: &Notes) -> Response {
    match notes.0.command.get() {
        None => ApiError::new(Code::Internal).into_response(),
        Some(command) => answers::unknown(command).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use shared::operation::Operation;

    use super::*;
    use crate::tests::command;

    #[test]
    fn a_panic_is_a_500_only_before_the_command() {
        let notes = Notes::default();
        assert_eq!(after_panic(&notes).status(), StatusCode::INTERNAL_SERVER_ERROR);
        notes.command(&command(Operation::GetUser { extension: "42".to_owned() }));
        assert_eq!(after_panic(&notes).status(), StatusCode::ACCEPTED);
    }
}

//! The one error object of the API: `{code, message, retryable, hint, commandId, retryAfter}`, flat and always complete.
//!
//! The seconds to wait are in the body, too, because low-code tools cannot read headers.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::codes::Code;
use shared::command::Refusal;
use shared::ids::CommandId;
use tokio::time::timeout;
use tracing::warn;

/// How long one step before the answer may take. All steps and the longest wait stay below the function's 29 s, because a
/// time-out of the function is a 5xx that low-code platforms repeat.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) retryable: bool,
    /// What helps here; the code's own hint when there is none.
    pub(crate) hint: Option<String>,
    pub(crate) command_id: Option<CommandId>,
    /// Seconds until a repeat can succeed.
    pub(crate) retry_after: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    code: Code,
    message: &'a str,
    retryable: bool,
    hint: &'a str,
    command_id: Option<CommandId>,
    retry_after: Option<i64>,
}

impl ApiError {
    pub(crate) fn new(code: Code) -> Self {
        Self::with_message(code, code.meaning().message)
    }

    pub(crate) fn with_message(code: Code, message: impl Into<String>) -> Self {
        let meaning = code.meaning();
        let status = StatusCode::from_u16(meaning.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            status,
            code,
            message: message.into(),
            retryable: meaning.retryable,
            hint: None,
            command_id: None,
            retry_after: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::with_message(Code::InvalidRequest, message)
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Why a command failed. It may have reached the PBX, so the status is never a 5xx, whatever code the agent found.
    pub(crate) fn refused(refusal: &Refusal, command_id: CommandId) -> Self {
        let mut error = match &refusal.detail {
            Some(detail) => Self::with_message(refusal.code, detail),
            None => Self::new(refusal.code),
        };
        if error.status.is_server_error() {
            error.status = StatusCode::UNPROCESSABLE_ENTITY;
        }
        error.of(command_id)
    }

    pub(crate) fn of(self, command_id: CommandId) -> Self {
        Self { command_id: Some(command_id), ..self }
    }

    pub(crate) fn after(self, seconds: i64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The same for a request that only reads. There a 503 is the plain truth and a repeat is harmless, while an acting
    /// command gets a 409, because a phone that rings on the platform's later repeat is worse than an error.
    pub(crate) fn for_read(self) -> Self {
        match self.code {
            Code::AgentOffline | Code::PbxOffline | Code::AgentNoAnswer | Code::Unavailable => {
                Self { status: StatusCode::SERVICE_UNAVAILABLE, retryable: true, ..self }
            }
            _ => self,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Body {
            code: self.code,
            message: &self.message,
            retryable: self.retryable,
            hint: self.hint.as_deref().unwrap_or(self.code.meaning().hint),
            command_id: self.command_id,
            retry_after: self.retry_after,
        };
        let mut response = json(self.status, &body);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self.code);
        response
    }
}

pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(text) => (status, [(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(err) => {
            warn!("An answer cannot be written as JSON: {err}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Waits for a table or a queue, but not for ever. The cause goes to the log, the caller only learns that it did not work.
pub(crate) async fn in_time<T, E>(step: impl Future<Output = Result<T, E>>) -> Result<T, ApiError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match timeout(PATIENCE, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(err)) => {
            warn!("A step failed: {:#}", anyhow::Error::from(err));
            Err(ApiError::new(Code::Unavailable))
        }
        Err(_) => {
            warn!("A step took longer than {PATIENCE:?}");
            Err(ApiError::new(Code::Unavailable))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reads_answer_with_a_503() {
        let acting = ApiError::new(Code::AgentOffline);
        assert_eq!((acting.status.as_u16(), acting.retryable), (409, false));
        let reading = acting.for_read();
        assert_eq!((reading.status.as_u16(), reading.retryable), (503, true));
        assert_eq!(ApiError::new(Code::CallNotFound).for_read().status.as_u16(), 404);
    }

    #[test]
    fn what_an_agent_reports_is_never_a_server_error() {
        for code in Code::ALL {
            let error = ApiError::refused(&Refusal::new(*code), CommandId::random());
            assert!(error.status.is_client_error(), "{}", code.as_str());
        }
        let error = ApiError::refused(&Refusal::with_detail(Code::UserBusy, "43 is busy."), CommandId::random());
        assert_eq!(error.message, "43 is busy.");
    }
}

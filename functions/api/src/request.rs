//! A request taken apart. Extraction judges nothing but the key's form, so that a wrong key is reported before a wrong body.

use std::str::FromStr;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use shared::apikey::KeyHash;
use tokio::time::Instant;

use crate::auth;
use crate::errors::ApiError;
use crate::observe::Notes;
use crate::validate::Fields;

const MAX_BODY: usize = 64 * 1024;
const MAX_WAIT: u64 = 25;
const DEFAULT_WAIT: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) key: KeyHash,
    pub(crate) notes: Notes,
    /// The waiting counts from here, so that slow tables do not make the answer later than was asked for.
    pub(crate) started: Instant,
    path: Vec<(String, String)>,
    params: Vec<(String, String)>,
    headers: HeaderMap,
    /// `None` when it is too long, or ended early.
    body: Option<Bytes>,
}

impl<S: Send + Sync> FromRequest<S> for Incoming {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let notes = parts.extensions.get::<Notes>().cloned().unwrap_or_default();
        let params = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| ApiError::invalid("The query string cannot be read."))?
            .0;
        let key = auth::key_in(&params, &parts.headers)?;
        notes.key(key.short_id());
        let path = RawPathParams::from_request_parts(&mut parts, state)
            .await
            .map_err(|_| ApiError::invalid("The path is not valid UTF-8."))?
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let body = to_bytes(body, MAX_BODY).await.ok();
        Ok(Self { key, notes, started, path, params, headers: parts.headers, body })
    }
}

impl Incoming {
    /// An id that stands in the path.
    pub(crate) fn path_id<T: FromStr>(&self, name: &'static str) -> Result<T, ApiError> {
        let value = self.path.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        value
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| ApiError::invalid(format!("`{name}` in the path must be a UUID, as an answer gave it.")))
    }

    /// Refuses parameters that the operation does not take, and those that stand twice.
    pub(crate) fn only_params(&self, known: &[&str]) -> Result<(), ApiError> {
        for (n, (name, _)) in self.params.iter().enumerate().filter(|(_, (name, _))| name != "apikey") {
            if !known.contains(&name.as_str()) {
                let known: Vec<String> = ["apikey"].iter().chain(known).map(|known| format!("`{known}`")).collect();
                return Err(ApiError::invalid(format!(
                    "Query parameter `{name}` is unknown; this operation takes {}.",
                    known.join(", ")
                )));
            }
            if self.params[..n].iter().any(|(earlier, _)| earlier == name) {
                return Err(ApiError::invalid(format!("Query parameter `{name}` stands twice.")));
            }
        }
        Ok(())
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// How long the answer may be waited for.
    pub(crate) fn wait(&self) -> Result<Duration, ApiError> {
        match self.param("wait") {
            None => Ok(DEFAULT_WAIT),
            Some(text) => match text.parse() {
                Ok(seconds @ 0..=MAX_WAIT) => Ok(Duration::from_secs(seconds)),
                _ => Err(ApiError::invalid(format!(
                    "Query parameter `wait` takes whole seconds from 0 to {MAX_WAIT}; without it the wait is {} s.",
                    DEFAULT_WAIT.as_secs()
                ))),
            },
        }
    }

    /// The JSON object in the body, which may have these fields and no others.
    pub(crate) fn fields(&self, known: &'static [&'static str]) -> Result<Fields, ApiError> {
        let content_type = self.headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !(media_type.is_empty() || media_type == "application/json" || media_type.ends_with("+json")) {
            return Err(ApiError::invalid("Header `Content-Type` must be `application/json`."));
        }
        let Some(body) = &self.body else {
            return Err(ApiError::invalid(format!("The body could not be read, or has more than {MAX_BODY} bytes.")));
        };
        Fields::parse(body, known)
    }
}

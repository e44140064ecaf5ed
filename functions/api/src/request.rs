//! A request taken apart. Extraction judges nothing but the key's form, so that a wrong key is reported before a wrong body.

use std::str::FromStr;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;
use shared::apikey::KeyHash;
use tokio::time::Instant;

use crate::auth;
use crate::errors::{ApiError, json};
use crate::fields::Fields;
use crate::observe::Notes;
use crate::swagger;

const MAX_BODY: usize = 64 * 1024;
const MAX_WAIT: u64 = 25;
const DEFAULT_WAIT: Duration = Duration::from_secs(8);
const LONGEST_PAGE: u16 = 200;
/// A cursor may hold a long name of a user, of which each letter takes up to four bytes, written in base64.
pub(crate) const LONGEST_CURSOR: usize = 512;
const LONGEST_IDEMPOTENCY_KEY: usize = 255;

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
    pub(crate) fn path(&self, name: &str) -> Option<&str> {
        self.path.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// An id that stands in the path.
    pub(crate) fn path_id<T: FromStr>(&self, name: &'static str) -> Result<T, ApiError> {
        self.path(name)
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

    /// Where the asker reaches the API, for addresses in answers.
    pub(crate) fn base_url(&self, public_url: Option<&str>) -> Option<String> {
        swagger::base_url(public_url, &self.headers)
    }

    /// The answer after something was deleted. Some tools can only read JSON and take an empty answer for a failure.
    pub(crate) fn deleted(&self) -> Response {
        let accepts = self.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let wants_json = accepts.flat_map(|value| value.split(',')).any(|range| {
            range.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case("application/json"))
        });
        if wants_json { json(StatusCode::OK, &json!({})) } else { StatusCode::NO_CONTENT.into_response() }
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

    /// A whole number within bounds.
    pub(crate) fn whole(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.param(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => {
                Err(ApiError::invalid(format!("Query parameter `{name}` takes a whole number from {least} to {most}.")))
            }
        }
    }

    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let read = |text: &str| {
            text.trim().parse().map_err(|_| {
                let takes = "takes a time in ISO 8601 with its zone, such as 2027-01-31T00:00:00Z";
                ApiError::invalid(format!("Query parameter `{name}` {takes}."))
            })
        };
        self.param(name).map(read).transpose()
    }

    /// How many entries of a list are asked for.
    pub(crate) fn limit(&self, default: u16) -> Result<u16, ApiError> {
        match self.param("limit").map(str::parse) {
            None => Ok(default),
            Some(Ok(limit @ 1..=LONGEST_PAGE)) => Ok(limit),
            Some(_) => Err(ApiError::invalid(format!(
                "Query parameter `limit` takes a whole number from 1 to {LONGEST_PAGE}."
            ))),
        }
    }

    /// Where the page before ended.
    pub(crate) fn cursor(&self) -> Result<Option<&str>, ApiError> {
        match self.param("cursor") {
            Some(cursor) if !(1..=LONGEST_CURSOR).contains(&cursor.len()) => {
                Err(ApiError::invalid("Query parameter `cursor` takes the `nextCursor` of the page before."))
            }
            cursor => Ok(cursor),
        }
    }

    /// The name under which a repeat of this request is recognised: header, query parameter or field, which have to agree.
    pub(crate) fn idempotency_key(&self, fields: &Fields) -> Result<Option<String>, ApiError> {
        let header = self.headers.get_all("idempotency-key").iter().map(|value| {
            let printable = value.to_str().ok().filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            let text = printable.ok_or_else(|| ApiError::invalid("Header `Idempotency-Key` takes printable ASCII."))?;
            Ok(("Header `Idempotency-Key`", text.to_owned()))
        });
        let param = self.param("requestId").map(|text| Ok(("Query parameter `requestId`", text.to_owned())));
        let field = fields
            .optional("requestId", |fields, name| fields.text(name, LONGEST_IDEMPOTENCY_KEY))
            .transpose()
            .map(|text| Ok(("Field `requestId`", text?)));
        let mut found: Option<(&str, String)> = None;
        for given in header.chain(param).chain(field) {
            let (place, text) = given?;
            if !(1..=LONGEST_IDEMPOTENCY_KEY).contains(&text.chars().count()) {
                return Err(ApiError::invalid(format!("{place} takes 1 to {LONGEST_IDEMPOTENCY_KEY} characters.")));
            }
            match &found {
                Some((first, other)) if *other != text => {
                    return Err(ApiError::invalid(format!("{first} and {place} differ; give one, or the same one.")));
                }
                _ => found = found.or(Some((place, text))),
            }
        }
        Ok(found.map(|(_, text)| text))
    }

    /// The JSON object in the body, which may have these fields and no others.
    pub(crate) fn fields(&self, known: &[&str]) -> Result<Fields, ApiError> {
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

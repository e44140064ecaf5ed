//! A request taken apart. Extraction judges nothing but the key's form, so that a wrong key is reported before a wrong body.

use std::str::FromStr;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;
use shared::apikey::KeyHash;
use tokio::time::Instant;
use url::form_urlencoded;

use crate::errors::{ApiError, json};
use crate::fields::Fields;
use crate::given::Given;
use crate::observe::Notes;
use crate::{auth, body, swagger};

const MAX_BODY: usize = 64 * 1024;
const MAX_WAIT: u32 = 25;
const DEFAULT_WAIT: Duration = Duration::from_secs(8);
const LONGEST_PAGE: u16 = 200;
/// A cursor may hold a long name of a user, of which each letter takes up to four bytes, written in base64.
/// A list of several PBXs goes on at each of them.
pub(crate) const LONGEST_CURSOR: usize = 2048;
const LONGEST_IDEMPOTENCY_KEY: usize = 255;

#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) key: KeyHash,
    pub(crate) notes: Notes,
    /// The waiting counts from here, so that slow tables do not make the answer later than was asked for.
    pub(crate) started: Instant,
    path: Vec<(String, String)>,
    query: Fields,
    /// Why the query has no parameters. It is told after the key is known to be valid.
    unreadable_query: Option<ApiError>,
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
        let query = parts.uri.query().unwrap_or_default();
        let params: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let key = auth::key_in(&params, &parts.headers)?;
        let (query, unreadable_query) = match Fields::query(query) {
            Ok(query) => (query, None),
            Err(error) => (Fields::none(), Some(error)),
        };
        notes.key(key.short_id());
        let path = RawPathParams::from_request_parts(&mut parts, state)
            .await
            .map_err(|_| ApiError::invalid("The path is not valid UTF-8."))?
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let body = to_bytes(body, MAX_BODY).await.ok();
        Ok(Self { key, notes, started, path, query, unreadable_query, headers: parts.headers, body })
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

    /// Refuses parameters that the operation does not take.
    pub(crate) fn only_params(&self, known: &[&str]) -> Result<(), ApiError> {
        self.unreadable_query.clone().map_or(Ok(()), Err)?;
        self.query.require_known(known)
    }

    /// The query parameters, which have the same readers as the fields of a body.
    pub(crate) fn query(&self) -> &Fields {
        &self.query
    }

    /// The text of a query parameter that is given.
    pub(crate) fn param<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, ApiError> {
        self.query.given(name).map(Given::parameter).transpose()
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
        Ok(self.whole("wait", 0, MAX_WAIT)?.map_or(DEFAULT_WAIT, Duration::from_secs))
    }

    /// A whole number within bounds.
    pub(crate) fn whole(&self, name: &str, least: u32, most: u32) -> Result<Option<u64>, ApiError> {
        let number = self.query.optional(name, |query, name| query.integer(name, least.into(), most.into()))?;
        Ok(number.map(i64::unsigned_abs))
    }

    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        self.query.optional(name, Fields::time)
    }

    /// How many entries of a list are asked for.
    pub(crate) fn limit(&self, default: u16) -> Result<u16, ApiError> {
        Ok(self.whole("limit", 1, LONGEST_PAGE.into())?.map_or(default, |limit| limit as u16))
    }

    /// Where the page before ended.
    pub(crate) fn cursor(&self) -> Result<Option<&str>, ApiError> {
        match self.param("cursor")? {
            Some(cursor) if cursor.len() > LONGEST_CURSOR => {
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
        let param =
            self.param("requestId").transpose().map(|text| Ok(("Query parameter `requestId`", text?.to_owned())));
        let field = fields
            .optional("requestId", |fields, name| fields.text(name, LONGEST_IDEMPOTENCY_KEY))
            .transpose()
            .map(|text| Ok(("Field `requestId`", text?)));
        let mut found: Option<(&str, String)> = None;
        for given in header.chain(param).chain(field) {
            let (source, text) = given?;
            if text.trim().is_empty() {
                continue; // Tools send what was left empty.
            }
            if !(1..=LONGEST_IDEMPOTENCY_KEY).contains(&text.chars().count()) {
                return Err(ApiError::invalid(format!("{source} takes 1 to {LONGEST_IDEMPOTENCY_KEY} characters.")));
            }
            match &found {
                Some((first, other)) if *other != text => {
                    return Err(ApiError::invalid(format!("{first} and {source} differ; give one, or the same one.")));
                }
                _ => found = found.or(Some((source, text))),
            }
        }
        Ok(found.map(|(_, text)| text))
    }

    /// The fields in the body, which may be these and no others. What the body is decides how it is read; its media type does
    /// only where forms and JSON can be taken for each other.
    pub(crate) fn fields(&self, known: &[&str]) -> Result<Fields, ApiError> {
        let content_type = self.headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_form = media_type == "application/x-www-form-urlencoded";
        let is_json = ["", "application/json", "text/json", "text/plain"].contains(&media_type.as_str());
        if !(is_form || is_json || media_type.ends_with("+json")) {
            return Err(ApiError::invalid(
                "Header `Content-Type` must be `application/json` or `application/x-www-form-urlencoded`.",
            ));
        }
        let Some(body) = &self.body else {
            return Err(ApiError::invalid(format!("The body could not be read, or has more than {MAX_BODY} bytes.")));
        };
        let text = body::text(body)?;
        // `curl -d` says that JSON is a form, unless it is told otherwise.
        if is_form && !text.is_empty() && !text.starts_with('{') {
            Fields::form(text, known)
        } else {
            Fields::json(text, known)
        }
    }
}

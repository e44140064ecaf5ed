//! API keys: made here, shown once, and deleted.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use shared::apikey::{ApiKey, ID_HEX, KeyHash, REQUESTS_PER_MINUTE, Scope, key_of};
use shared::codes::Code;
use shared::destination::{Pattern, Rules};
use shared::time::{from_millis, iso_millis};

use super::Ctx;
use crate::auth;
use crate::context::Context;
use crate::errors::{ApiError, in_time, json};
use crate::fields::Fields;
use crate::given::{Given, extension};
use crate::request::Incoming;

const LONGEST_NAME: usize = 64;
const MOST_EXTENSIONS: usize = 200;
const MOST_PATTERNS: usize = 50;
const LONGEST_PATTERN: usize = 64;
const MOST_CALLS_PER_HOUR: i64 = 100_000;
const MOST_REQUESTS_PER_MINUTE: i64 = 6_000;
/// One in use, and one to replace it.
const KEYS_OF_A_NAME: usize = 2;

/// A key as its administrator sees it. The key itself is shown to who made it, and to nobody ever after.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    name: &'a str,
    scopes: &'a [Scope],
    extensions: Option<&'a BTreeSet<String>>,
    allow: &'a [Pattern],
    deny: &'a [Pattern],
    calls_per_hour: Option<u32>,
    requests_per_minute: u32,
    created_at: Option<String>,
    last_used_at: Option<String>,
    expires_at: Option<String>,
    bootstrap: bool,
}

impl<'a> Shown<'a> {
    fn of(key: &'a ApiKey, text: Option<&'a str>) -> Self {
        let iso = |millis: i64| iso_millis(from_millis(millis));
        Self {
            id: &key.id,
            key: text,
            name: &key.name,
            scopes: &key.scopes,
            extensions: key.extensions.as_ref(),
            allow: &key.destinations.allow,
            deny: &key.destinations.deny,
            calls_per_hour: key.calls_per_hour,
            requests_per_minute: key.requests_per_minute,
            created_at: Some(key.created_at).filter(|at| *at > 0).map(iso),
            last_used_at: key.last_used_at.map(iso),
            expires_at: key.expires_at.map(|seconds| iso(seconds * 1000)),
            bootstrap: key.created_at == 0,
        }
    }
}

pub(crate) async fn create(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let wanted = read(&request, Timestamp::now());
    administrate(&context, &request).await?;
    let wanted = wanted?;
    let now = Timestamp::now();
    let living = in_time(context.state.api_keys(now)).await?;
    if living.iter().filter(|key| key.name == wanted.name).count() >= KEYS_OF_A_NAME {
        return Err(ApiError::new(Code::TooManyKeys));
    }
    let text = key_of(rand::random());
    let hash = KeyHash::of(&text).map_err(|_| ApiError::new(Code::Internal))?;
    let key = ApiKey { id: hash.id(), created_at: now.as_millisecond(), ..wanted };
    in_time(context.state.put_api_key(&hash, &key)).await?;
    let mut response = json(StatusCode::CREATED, &Shown::of(&key, Some(&text)));
    let base = request.base_url(context.public_url.as_deref()).unwrap_or_default();
    if let Ok(location) = HeaderValue::from_str(&format!("{base}/apikeys/{}", key.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

pub(crate) async fn list(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    listed(&context, &request).await.map_err(ApiError::for_read)
}

async fn listed(context: &Context, request: &Incoming) -> Result<Response, ApiError> {
    administrate(context, request).await?;
    let keys: Vec<ApiKey> =
        context.keys.bootstrap_keys().chain(in_time(context.state.api_keys(Timestamp::now())).await?).collect();
    let keys: Vec<Shown<'_>> = keys.iter().map(|key| Shown::of(key, None)).collect();
    Ok(json(StatusCode::OK, &json!({"keys": keys})))
}

pub(crate) async fn delete(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    administrate(&context, &request).await?;
    let id = request.path("ApiKeyId").unwrap_or_default();
    let deletable = id.len() == ID_HEX && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if deletable && in_time(context.state.delete_api_key(id)).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if context.keys.bootstrap_keys().any(|key| key.id == id) {
        let message = "This key is named in the deployment's parameter AdminKeyHashes; remove it there.";
        return Err(ApiError::with_message(Code::ApiKeyNotFound, message));
    }
    Err(ApiError::new(Code::ApiKeyNotFound))
}

async fn administrate(context: &Context, request: &Incoming) -> Result<(), ApiError> {
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Admin])?;
    request.only_params(&[])
}

/// The key that a request describes, not yet named.
fn read(request: &Incoming, now: Timestamp) -> Result<ApiKey, ApiError> {
    let fields = request.fields(&[
        "name",
        "scopes",
        "extensions",
        "expiresAt",
        "allow",
        "deny",
        "callsPerHour",
        "requestsPerMinute",
    ])?;
    let known = Scope::ALL.map(|scope| (scope.as_str(), scope));
    let mut scopes = fields.list("scopes", known.len(), |entry| entry.choice(&known))?;
    if scopes.is_empty() {
        return Err(ApiError::invalid("Field `scopes` is empty or missing; a key needs at least one scope."));
    }
    scopes.sort_by_key(|scope| Scope::ALL.iter().position(|known| known == scope));
    scopes.dedup();
    let pattern = |entry: Given<'_>| -> Result<Pattern, ApiError> {
        let text = entry.text(LONGEST_PATTERN)?;
        text.trim().parse().map_err(|malformed| entry.place.refuse(format_args!("has `{text}`; {malformed}.")))
    };
    let expires_at = fields.optional("expiresAt", Fields::time)?;
    if expires_at.is_some_and(|at| at.as_second() <= now.as_second()) {
        return Err(ApiError::invalid("Field `expiresAt` is in the past; the key would never work."));
    }
    // An empty list is nobody, and no list is everybody; tools write the empty list as empty text, too.
    fields.refuse_blank("extensions", "leave it out for a key without such a list")?;
    let extensions = if fields.has("extensions") {
        let extensions = fields.list("extensions", MOST_EXTENSIONS, extension)?;
        Some(extensions.into_iter().collect())
    } else {
        None
    };
    let calls_per_hour =
        fields.optional("callsPerHour", |fields, name| fields.integer(name, 0, MOST_CALLS_PER_HOUR))?;
    let requests_per_minute =
        fields.optional("requestsPerMinute", |fields, name| fields.integer(name, 1, MOST_REQUESTS_PER_MINUTE))?;
    Ok(ApiKey {
        extensions,
        destinations: Rules {
            allow: fields.list("allow", MOST_PATTERNS, pattern)?,
            deny: fields.list("deny", MOST_PATTERNS, pattern)?,
        },
        calls_per_hour: calls_per_hour.map(|calls| calls as u32),
        requests_per_minute: requests_per_minute.map_or(REQUESTS_PER_MINUTE, |requests| requests as u32),
        expires_at: expires_at.map(Timestamp::as_second),
        ..ApiKey::new(String::new(), fields.text("name", LONGEST_NAME)?, scopes)
    })
}

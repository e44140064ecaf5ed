//! API keys: made here, shown once, changed and deleted.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use shared::apikey::{ApiKey, ID_HEX, KeyHash, Scope, key_of};
use shared::codes::Code;
use shared::destination::{Pattern, Rules};
use shared::time::{from_millis, iso_millis};

use crate::context::{Context, Ctx};
use crate::errors::{ApiError, in_time, json};
use crate::fields::Fields;
use crate::given::{Given, extension};
use crate::request::Incoming;
use crate::trail::{self, Subject};
use crate::{auth, directory};

const LONGEST_NAME: usize = 64;
const MOST_EXTENSIONS: usize = 200;
const MOST_PATTERNS: usize = 50;
const LONGEST_PATTERN: usize = 64;
const MOST_CALLS_PER_HOUR: i64 = 100_000;
const MOST_REQUESTS_PER_MINUTE: i64 = 6_000;
pub(crate) const FIELDS: [&str; 10] = [
    "name",
    "scopes",
    "extensions",
    "allow",
    "deny",
    "callerNumbers",
    "callsPerHour",
    "requestsPerMinute",
    "expiresAt",
    "disabled",
];
/// One in use, and one to replace it.
const KEYS_OF_A_NAME: usize = 2;

/// A key as its administrator sees it. The key itself is shown to who made it, and to nobody ever after.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiKeyView<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    name: &'a str,
    scopes: &'a [Scope],
    extensions: Option<&'a BTreeSet<String>>,
    allow: &'a [Pattern],
    deny: &'a [Pattern],
    caller_numbers: &'a [Pattern],
    calls_per_hour: Option<u32>,
    requests_per_minute: u32,
    created_at: Option<String>,
    last_used_at: Option<String>,
    expires_at: Option<String>,
    disabled: bool,
    bootstrap: bool,
}

impl<'a> ApiKeyView<'a> {
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
            caller_numbers: &key.caller_numbers,
            calls_per_hour: key.calls_per_hour,
            requests_per_minute: key.requests_per_minute,
            created_at: Some(key.created_at).filter(|at| *at > 0).map(iso),
            last_used_at: key.last_used_at.map(iso),
            expires_at: key.expires_at.map(|seconds| iso(seconds * 1000)),
            disabled: key.disabled,
            bootstrap: key.created_at == 0,
        }
    }
}

/// The key that asks. It needs no scope, so that a page can show what the key may do.
pub(crate) async fn own(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let key = context.admit(&request.key).await?;
    request.only_params(&[])?;
    Ok(json(StatusCode::OK, &ApiKeyView::of(&key, None)))
}

pub(crate) async fn create(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let now = context.now();
    let wanted = request.fields(&FIELDS).and_then(|fields| {
        // An empty list is nobody, and no list is everybody; tools write the empty list as empty text, too.
        fields.refuse_blank("extensions", "leave it out for a key without such a list")?;
        let fresh = ApiKey::new(String::new(), fields.text("name", LONGEST_NAME)?, Vec::new());
        let key = described(&fields, fresh, now)?;
        if key.scopes.is_empty() {
            return Err(ApiError::invalid("Field `scopes` is empty or missing; a key needs at least one scope."));
        }
        Ok((key, fields.names()))
    });
    let by = administrate(&context, &request).await?;
    let (wanted, fields) = wanted?;
    require_free_name(&context, &wanted.name, "", now).await?;
    if let Some(list) = &wanted.extensions {
        directory::require_unambiguous(&context, list).await?;
    }
    let text = key_of(context.random.bytes());
    let hash = KeyHash::of(&text).map_err(|_| ApiError::new(Code::Internal))?;
    let key = ApiKey { id: hash.id(), created_at: now.as_millisecond(), ..wanted };
    let subject = Subject::Key { id: &key.id, name: &key.name };
    trail::record(&context, &by, "CreateApiKey", subject, fields, now).await?;
    in_time(context.state.put_api_key(&hash, &key)).await?;
    let mut response = json(StatusCode::CREATED, &ApiKeyView::of(&key, Some(&text)));
    let base = request.base_url(context.public_url.as_deref()).unwrap_or_default();
    if let Ok(location) = HeaderValue::from_str(&format!("{base}/apikeys/{}", key.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Changes what a request names and leaves the rest. Nothing that is empty changes anything, because form-based tools send every
/// field that they know, and a limit must not be lifted by accident. Scopes can only be taken away.
pub(crate) async fn change(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let fields = request.fields(&FIELDS);
    let by = administrate(&context, &request).await?;
    let (fields, now) = (fields?, context.now());
    if fields.names().is_empty() {
        return Err(ApiError::invalid("The body names nothing to change."));
    }
    let id = key_id(&context, &request)?;
    let (hash, known) = find(&context, id, now).await?;
    let changed = described(&fields, known.clone(), now)?;
    if let Some(scope) = changed.scopes.iter().find(|scope| !known.scopes.contains(scope)) {
        let message =
            format!("Field `scopes` has `{}`, which the key lacks; scopes can only be taken away.", scope.as_str());
        return Err(ApiError::invalid(message));
    }
    if let Some(list) = changed.extensions.as_ref().filter(|_| changed.extensions != known.extensions) {
        directory::require_unambiguous(&context, list).await?;
    }
    if changed.name != known.name {
        require_free_name(&context, &changed.name, id, now).await?;
    }
    let changed_at = now.as_millisecond().max(known.changed_at.unwrap_or(0) + 1);
    let changed = ApiKey { changed_at: Some(changed_at), ..changed };
    let subject = Subject::Key { id, name: &changed.name };
    trail::record(&context, &by, "ChangeApiKey", subject, fields.names(), now).await?;
    if in_time(context.state.change_api_key(&hash, &known, &changed)).await? {
        return Ok(json(StatusCode::OK, &ApiKeyView::of(&changed, None)));
    }
    let message = "Somebody else changed or deleted the key at the same time; look at it and try again.";
    Err(ApiError::with_message(Code::Unavailable, message))
}

async fn require_free_name(context: &Context, name: &str, id: &str, now: Timestamp) -> Result<(), ApiError> {
    let living = in_time(context.state.api_keys(now)).await?;
    if living.iter().filter(|key| key.name == name && key.id != id).count() >= KEYS_OF_A_NAME {
        return Err(ApiError::new(Code::TooManyKeys));
    }
    Ok(())
}

pub(crate) async fn list(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    listed(&context, &request).await.map_err(ApiError::for_read)
}

async fn listed(context: &Context, request: &Incoming) -> Result<Response, ApiError> {
    administrate(context, request).await?;
    let keys: Vec<ApiKey> =
        context.keys.bootstrap_keys().chain(in_time(context.state.api_keys(context.now())).await?).collect();
    let keys: Vec<ApiKeyView<'_>> = keys.iter().map(|key| ApiKeyView::of(key, None)).collect();
    Ok(json(StatusCode::OK, &json!({"keys": keys})))
}

pub(crate) async fn delete(State(context): Ctx, request: Incoming) -> Result<Response, ApiError> {
    let by = administrate(&context, &request).await?;
    let id = key_id(&context, &request)?;
    let now = context.now();
    let (hash, key) = find(&context, id, now).await?;
    let subject = Subject::Key { id, name: &key.name };
    trail::record(&context, &by, "DeleteApiKey", subject, Vec::new(), now).await?;
    in_time(context.state.delete_api_key(&hash)).await?;
    Ok(request.deleted())
}

async fn administrate(context: &Context, request: &Incoming) -> Result<ApiKey, ApiError> {
    let key = context.admit(&request.key).await?;
    auth::require(&key, &[Scope::Admin])?;
    request.only_params(&[])?;
    Ok(key)
}

async fn find(context: &Context, id: &str, now: Timestamp) -> Result<(KeyHash, ApiKey), ApiError> {
    in_time(context.state.api_key_named(id, now)).await?.ok_or_else(|| ApiError::new(Code::ApiKeyNotFound))
}

/// The id in the path, if it can be one of a key in the table.
fn key_id<'a>(context: &Context, request: &'a Incoming) -> Result<&'a str, ApiError> {
    let id = request.path("apiKeyId").unwrap_or_default();
    if context.keys.bootstrap_keys().any(|key| key.id == id) {
        let message = "This key is named in the deployment's parameter AdminKeyHashes; change it there.";
        return Err(ApiError::with_message(Code::ApiKeyNotFound, message));
    }
    let is_one = id.len() == ID_HEX && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_one { Ok(id) } else { Err(ApiError::new(Code::ApiKeyNotFound)) }
}

/// A key with what a request says of it.
fn described(fields: &Fields, mut key: ApiKey, now: Timestamp) -> Result<ApiKey, ApiError> {
    let is_new = key.id.is_empty();
    if fields.has("name") {
        key.name = fields.text("name", LONGEST_NAME)?;
    }
    if fields.has("scopes") {
        key.scopes = scopes(fields)?;
    }
    // For a new key an empty list means that it may act for nobody. Of one that exists, nothing that is empty changes anything.
    if fields.has_entries("extensions") || (is_new && fields.has("extensions")) {
        let extensions = fields.list("extensions", MOST_EXTENSIONS, extension)?;
        key.extensions = Some(extensions.into_iter().collect());
    }
    let patterns = |name: &str, known: Vec<Pattern>| {
        if fields.has_entries(name) { fields.list(name, MOST_PATTERNS, pattern) } else { Ok(known) }
    };
    let Rules { allow, deny } = key.destinations;
    key.destinations = Rules { allow: patterns("allow", allow)?, deny: patterns("deny", deny)? };
    key.caller_numbers = patterns("callerNumbers", key.caller_numbers)?;
    if fields.has("callsPerHour") {
        key.calls_per_hour = Some(fields.integer("callsPerHour", 0, MOST_CALLS_PER_HOUR)? as u32);
    }
    if fields.has("requestsPerMinute") {
        key.requests_per_minute = fields.integer("requestsPerMinute", 1, MOST_REQUESTS_PER_MINUTE)? as u32;
    }
    if let Some(at) = fields.optional("expiresAt", Fields::time)? {
        if at.as_second() <= now.as_second() {
            return Err(ApiError::invalid("Field `expiresAt` is in the past; the key would never work."));
        }
        key.expires_at = Some(at.as_second());
    }
    key.disabled = fields.flag("disabled", key.disabled)?;
    if key.scopes.contains(&Scope::Admin) && key.is_limited() {
        return Err(ApiError::invalid(
            "Field `scopes` has `admin`, which does not go with `extensions`, `allow`, `deny` or `callsPerHour`: \
             the key could make itself another one without these limits.",
        ));
    }
    Ok(key)
}

fn scopes(fields: &Fields) -> Result<Vec<Scope>, ApiError> {
    let known = Scope::ALL.map(|scope| (scope.as_str(), scope));
    let mut scopes = fields.list("scopes", known.len(), |entry| entry.choice(&known))?;
    scopes.sort_by_key(|scope| Scope::ALL.iter().position(|known| known == scope));
    scopes.dedup();
    if scopes.is_empty() {
        return Err(ApiError::invalid("Field `scopes` is empty; a key needs at least one scope."));
    }
    Ok(scopes)
}

fn pattern(entry: Given<'_>) -> Result<Pattern, ApiError> {
    let text = entry.text(LONGEST_PATTERN)?;
    text.trim().parse().map_err(|malformed| entry.place.refuse(format_args!("has `{text}`; {malformed}.")))
}

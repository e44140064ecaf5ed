//! Who asks: the key in the request, the hash in the table, and what the key may do.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jiff::Timestamp;
use shared::apikey::{ApiKey, KeyHash, Scope};
use shared::codes::Code;
use shared::tables::StateTable;

use crate::errors::{ApiError, in_time};

/// A revoked key works at most this much longer.
const CACHE_MILLIS: i64 = 4_000;
/// The use of a key is written down at most this often.
const NOTE_USE_MILLIS: i64 = 10 * 60 * 1_000;

/// The hash of a key that the operator named at deployment.
#[derive(Debug)]
pub(crate) struct BootstrapHash(KeyHash);

#[derive(Debug, thiserror::Error)]
#[error("a key hash is 64 lower-case hexadecimal digits")]
pub(crate) struct MalformedHash;

impl FromStr for BootstrapHash {
    type Err = MalformedHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        KeyHash::stored(text).map(Self).ok_or(MalformedHash)
    }
}

/// The key that a request carries: in the query, in `X-API-Key` or as bearer token. Several are fine when they agree.
pub(crate) fn key_in(params: &[(String, String)], headers: &HeaderMap) -> Result<KeyHash, ApiError> {
    let query = params.iter().filter(|(name, _)| name == "apikey").map(|(_, value)| ("`apikey`", value.as_str()));
    let header = headers.get_all("x-api-key").iter().map(|value| ("`X-API-Key`", value.to_str().unwrap_or("?")));
    let bearer = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(("`Authorization`", token))
    });
    let mut found: Option<(&str, &str)> = None;
    let given = query.chain(header).chain(bearer).map(|(source, key)| (source, key.trim()));
    for (source, key) in given.filter(|(_, key)| !key.is_empty()) {
        match found {
            Some((first, other)) if other != key => {
                return Err(ApiError::invalid(format!(
                    "{first} and {source} carry different API keys; give one key, or the same one."
                )));
            }
            _ => found = found.or(Some((source, key))),
        }
    }
    let (_, key) = found.ok_or_else(|| ApiError::new(Code::MissingKey))?;
    KeyHash::of(key).map_err(|malformed| {
        ApiError::with_message(Code::InvalidKey, format!("The API key is not complete: {malformed}."))
    })
}

/// Refuses a key that has none of the scopes.
pub(crate) fn require(key: &ApiKey, one_of: &[Scope]) -> Result<(), ApiError> {
    if one_of.iter().any(|scope| key.may(*scope)) {
        return Ok(());
    }
    let names: Vec<String> = one_of.iter().map(|scope| format!("`{}`", scope.as_str())).collect();
    Err(ApiError::with_message(Code::MissingScope, format!("The API key lacks the scope {}.", names.join(" or "))))
}

/// The keys that are known: the operator's first ones and those in the table.
#[derive(Debug)]
pub(crate) struct Keys {
    bootstrap: Vec<BootstrapHash>,
    table: StateTable,
    /// Keys found in the table and when; filled by `check`, emptied by age. Misses are not kept, so that a new key works
    /// at once and strangers cannot fill the memory.
    recent: Mutex<HashMap<KeyHash, (ApiKey, Timestamp)>>,
}

impl Keys {
    pub(crate) fn new(bootstrap: Vec<BootstrapHash>, table: StateTable) -> Self {
        Self { bootstrap, table, recent: Mutex::default() }
    }

    pub(crate) async fn check(&self, hash: &KeyHash, now: Timestamp) -> Result<ApiKey, ApiError> {
        if let Some(key) = self.known(hash, now) {
            return Ok(key);
        }
        let key = in_time(self.table.api_key(hash, now)).await?.ok_or_else(|| ApiError::new(Code::InvalidKey))?;
        if key.disabled {
            return Err(ApiError::new(Code::KeyDisabled)); // Not kept, so that it works as soon as it is enabled.
        }
        self.remember(hash.clone(), key.clone(), now);
        if key.last_used_at.is_none_or(|at| now.as_millisecond() - at > NOTE_USE_MILLIS) {
            // Whether it was noted is nothing that the caller has to know.
            let _ = in_time(self.table.touch_api_key(hash, now)).await;
        }
        Ok(key)
    }

    /// The operator's first keys, as the list of keys shows them.
    pub(crate) fn bootstrap_keys(&self) -> impl Iterator<Item = ApiKey> {
        self.bootstrap.iter().map(|stored| ApiKey::bootstrap(&stored.0))
    }

    fn known(&self, hash: &KeyHash, now: Timestamp) -> Option<ApiKey> {
        // Compares with every hash, so that the time tells nothing.
        let bootstrap = self.bootstrap.iter().fold(false, |found, stored| found | hash.matches(stored.0.as_str()));
        if bootstrap {
            return Some(ApiKey::bootstrap(hash));
        }
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, read_at) = recent.get(hash)?;
        (key.is_alive(now) && is_recent(*read_at, now)).then(|| key.clone())
    }

    fn remember(&self, hash: KeyHash, key: ApiKey, read_at: Timestamp) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, (_, at)| is_recent(*at, read_at));
        recent.insert(hash, (key, read_at));
    }
}

/// By the wall clock, because the others may stand still while the function is frozen.
fn is_recent(read_at: Timestamp, now: Timestamp) -> bool {
    (0..=CACHE_MILLIS).contains(&(now.as_millisecond() - read_at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use shared::time::from_millis;

    use super::*;
    use crate::tests::{KEY, OTHER_KEY, context};

    fn check(query: &[&str], headers: &[(&'static str, &str)], expected: Result<&str, &str>) {
        let params: Vec<_> = query.iter().map(|key| ("apikey".to_owned(), (*key).to_owned())).collect();
        let headers = headers.iter().map(|(name, value)| {
            (name.parse().expect("a name"), HeaderValue::from_str(value).expect("a header value"))
        });
        let found = key_in(&params, &headers.collect());
        let expected = expected.map(|key| KeyHash::of(key).expect("a key")).map_err(str::to_owned);
        assert_eq!(found.map_err(|error| error.message), expected);
    }

    #[test]
    fn a_key_may_stand_in_three_places() {
        let bearer = format!("bearer {KEY}");
        check(&[KEY], &[], Ok(KEY));
        check(&[], &[("x-api-key", KEY)], Ok(KEY));
        check(&[], &[("authorization", &bearer)], Ok(KEY));
        check(&[KEY], &[("x-api-key", &format!(" {KEY}")), ("authorization", &bearer)], Ok(KEY));
        check(&[""], &[("authorization", &bearer)], Ok(KEY));
        check(&[], &[], Err("No API key was given."));
        check(&[""], &[("authorization", "Basic eDp5")], Err("No API key was given."));
        check(
            &[OTHER_KEY],
            &[("authorization", &bearer)],
            Err("`apikey` and `Authorization` carry different API keys; give one key, or the same one."),
        );
        check(
            &[&KEY[..70]],
            &[],
            Err("The API key is not complete: an API key is `ec_` and 72 hexadecimal digits with a valid checksum."),
        );
    }

    #[test]
    fn a_missing_scope_is_named() {
        let key = ApiKey::new("k".to_owned(), "app".to_owned(), vec![Scope::Webhooks]);
        assert_eq!(require(&key, &[Scope::Webhooks]), Ok(()));
        let error = require(&key, &[Scope::CallsRead, Scope::CallsWrite]).expect_err("refused");
        assert_eq!(error.message, "The API key lacks the scope `calls:read` or `calls:write`.");
    }

    #[test]
    fn bootstrap_hashes_are_checked_at_start() {
        assert!("ab".repeat(32).parse::<BootstrapHash>().is_ok());
        assert!("AB".repeat(32).parse::<BootstrapHash>().is_err());
        assert!("ab".repeat(31).parse::<BootstrapHash>().is_err());
    }

    #[tokio::test]
    async fn keys_are_remembered_for_four_seconds_and_never_beyond_their_end() {
        let keys = context().keys;
        let (known, other) = (KeyHash::of(KEY).expect("a key"), KeyHash::of(OTHER_KEY).expect("a key"));
        assert_eq!(keys.known(&known, from_millis(0)).map(|key| key.scopes.len()), Some(4));
        assert_eq!(keys.known(&other, from_millis(0)), None);

        let endless = ApiKey::new("k".to_owned(), "app".to_owned(), Vec::new());
        let key = ApiKey { expires_at: Some(13), ..endless.clone() };
        keys.remember(other.clone(), key, from_millis(10_000));
        assert!(keys.known(&other, from_millis(12_999)).is_some());
        assert_eq!(keys.known(&other, from_millis(13_000)), None);
        assert_eq!(keys.known(&other, from_millis(9_999)), None);

        keys.remember(other.clone(), endless, from_millis(10_000));
        assert!(keys.known(&other, from_millis(14_000)).is_some());
        assert_eq!(keys.known(&other, from_millis(14_001)), None);
    }
}

//! API keys: `ec_`, 32 random bytes in hex, and the CRC-32 of that hex text.
//!
//! The checksum lets a secret scanner, and the person who pasted half a key, see at once what is wrong. Only the SHA-256 of
//! a key is ever stored.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::destination::{Pattern, Rules};

const PREFIX: &str = "ec_";
const RANDOM_HEX: usize = 64;
const CHECKSUM_HEX: usize = 8;
/// Digits of a key's hash that are its public id.
pub const ID_HEX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an API key is `ec_` and 72 hexadecimal digits with a valid checksum")]
pub struct MalformedKey;

/// The SHA-256 of a well-formed key, in lower-case hex.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyHash(String);

/// The key that is made of 32 random bytes.
pub fn key_of(random: [u8; RANDOM_HEX / 2]) -> String {
    let random = hex::encode(random);
    format!("{PREFIX}{random}{:08x}", crc32fast::hash(random.as_bytes()))
}

impl KeyHash {
    pub fn of(key: &str) -> Result<Self, MalformedKey> {
        let body = key.strip_prefix(PREFIX).ok_or(MalformedKey)?;
        if body.len() != RANDOM_HEX + CHECKSUM_HEX || !body.is_ascii() {
            return Err(MalformedKey);
        }
        let (random, checksum) = body.split_at(RANDOM_HEX);
        if format!("{:08x}", crc32fast::hash(random.as_bytes())) != checksum {
            return Err(MalformedKey);
        }
        Ok(Self(hex::encode(Sha256::digest(key.as_bytes()))))
    }

    /// A hash as it was stored: 64 lower-case hexadecimal digits.
    pub fn stored(text: &str) -> Option<Self> {
        let valid = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the same time wherever the two differ.
    pub fn matches(&self, stored: &str) -> bool {
        self.0.as_bytes().ct_eq(stored.as_bytes()).into()
    }

    /// The public id of the key: enough to name it, not enough to find it.
    pub fn id(&self) -> String {
        self.0[..ID_HEX].to_owned()
    }

    /// Enough to tell keys apart in logs and audits, not enough to be one.
    pub fn short_id(&self) -> &str {
        &self.0[..12]
    }
}

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyHash({}…)", self.short_id())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    #[serde(rename = "calls:read")]
    CallsRead,
    #[serde(rename = "calls:write")]
    CallsWrite,
    #[serde(rename = "webhooks")]
    Webhooks,
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    pub const ALL: [Self; 4] = [Self::CallsRead, Self::CallsWrite, Self::Webhooks, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallsRead => "calls:read",
            Self::CallsWrite => "calls:write",
            Self::Webhooks => "webhooks",
            Self::Admin => "admin",
        }
    }
}

/// Requests a minute that a key may send unless it says otherwise: well above what a low-code platform sends for one
/// connection, and low enough to stop a flow that has run wild.
pub const REQUESTS_PER_MINUTE: u32 = 3_000;

/// A stored key: who it is and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    pub id: String,
    /// The app that uses the key. Two keys may share it, so that one can replace the other without a gap.
    #[serde(default)]
    pub name: String,
    pub scopes: Vec<Scope>,
    /// Only these extensions and their calls exist for the key; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<BTreeSet<String>>,
    #[serde(default)]
    pub destinations: Rules,
    /// Numbers that may be shown to called parties, beside the extensions that the key may act for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caller_numbers: Vec<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_per_hour: Option<u32>,
    #[serde(default = "requests_per_minute")]
    pub requests_per_minute: u32,
    /// Milliseconds.
    #[serde(default)]
    pub created_at: i64,
    /// Milliseconds; a change is made only to the key as it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<i64>,
    /// Does nothing until it is enabled again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// Milliseconds; written now and then, not with every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<i64>,
    /// Unix seconds; also the table's TTL attribute, which deletes late, so that readers check it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

fn requests_per_minute() -> u32 {
    REQUESTS_PER_MINUTE
}

impl ApiKey {
    pub fn new(id: String, name: String, scopes: Vec<Scope>) -> Self {
        Self {
            id,
            name,
            scopes,
            extensions: None,
            destinations: Rules::default(),
            caller_numbers: Vec::new(),
            calls_per_hour: None,
            requests_per_minute: REQUESTS_PER_MINUTE,
            created_at: 0,
            changed_at: None,
            disabled: false,
            last_used_at: None,
            expires_at: None,
        }
    }

    /// A key named by its hash in the operator's deployment parameters, meant to create the real ones.
    pub fn bootstrap(hash: &KeyHash) -> Self {
        Self::new(format!("bootstrap-{}", hash.short_id()), "bootstrap".to_owned(), Scope::ALL.to_vec())
    }

    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| at > now.as_second())
    }

    /// Whether it is kept from something that a key without limits may do. The rate of its requests protects the service and
    /// is no such limit.
    pub fn is_limited(&self) -> bool {
        self.extensions.is_some() || !self.destinations.is_empty() || self.calls_per_hour.is_some()
    }

    /// A key with limits does not administer, whatever its scopes say: it could make itself a key without them.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) && !(scope == Scope::Admin && self.is_limited())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked_before_they_are_hashed() {
        let random = "0123456789abcdef".repeat(4);
        let key = key_of(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef");
        assert!(key.starts_with(&format!("ec_{random}")));
        let hash = KeyHash::of(&key).expect("a key");
        insta::assert_snapshot!(format!("{key}\n{}", hash.as_str()));
        assert!(hash.matches(hash.as_str()));
        assert!(!hash.matches("00"));
        assert_eq!(KeyHash::of(&key[..key.len() - 1]), Err(MalformedKey));
        assert_eq!(KeyHash::of(&key.replace("ec_0", "ec_1")), Err(MalformedKey));
        assert_eq!(KeyHash::of("ec_é"), Err(MalformedKey));
        assert!(!format!("{hash:?}").contains(hash.as_str()));
    }
}

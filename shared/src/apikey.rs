//! API keys: `ec_`, 32 random bytes in hex, and the CRC-32 of that hex text.
//!
//! The checksum lets a secret scanner, and the person who pasted half a key, see at once what is wrong. Only the SHA-256 of
//! a key is ever stored.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "ec_";
const RANDOM_HEX: usize = 64;
const CHECKSUM_HEX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an API key is `ec_` and 72 hexadecimal digits with a valid checksum")]
pub struct MalformedKey;

/// The SHA-256 of a well-formed key, in lower-case hex.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyHash(String);

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

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the same time wherever the two differ.
    pub fn matches(&self, stored: &str) -> bool {
        self.0.as_bytes().ct_eq(stored.as_bytes()).into()
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

/// A stored key: who it is and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    pub id: String,
    pub scopes: Vec<Scope>,
    /// Unix seconds; also the table's TTL attribute, which deletes late, so that readers check it themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

impl ApiKey {
    /// A key named by its hash in the operator's deployment parameters, meant to create the real ones.
    pub fn bootstrap(hash: &KeyHash) -> Self {
        Self { id: format!("bootstrap-{}", hash.short_id()), scopes: Scope::ALL.to_vec(), expires_at: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked_before_they_are_hashed() {
        let random = "0123456789abcdef".repeat(4);
        let key = format!("ec_{random}{:08x}", crc32fast::hash(random.as_bytes()));
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

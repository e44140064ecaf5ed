//! The fingerprint by which one certificate is trusted.

use serde::Deserialize;

/// A SHA-256 fingerprint, with or without colons.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CertificateFingerprint(pub [u8; 32]);

impl TryFrom<String> for CertificateFingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.replace(':', "").to_lowercase(), &mut bytes)
            .map_err(|_| "a SHA-256 fingerprint has 64 hexadecimal digits".to_owned())?;
        Ok(Self(bytes))
    }
}

//! The handshake signature of a pinned certificate that the TLS library itself cannot use: one of X.509 version 1, or with an RSA key
//! of 1024 bits, as old boxes have made for themselves.
//!
//! Whoever pins a certificate has chosen its key, so version and size are no reason to refuse it. That the PBX has the key is proved
//! all the same. TLS 1.3 with a short RSA key stays refused: nothing here verifies its kind of signature for less than 2048 bits.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA384, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION};
use x509_parser::prelude::FromDer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

/// Signatures of this kind are verified for RSA keys below 2048 bits, too.
pub(super) fn is_for_short_keys(scheme: SignatureScheme) -> bool {
    matches!(scheme, SignatureScheme::RSA_PKCS1_SHA256 | SignatureScheme::RSA_PKCS1_SHA512)
}

/// Whether the key of this certificate has signed the message.
pub(super) fn has_signed(
    certificate: &CertificateDer<'_>,
    version: Version,
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let key = parsed.public_key();
    let kind = &key.algorithm.algorithm;
    let algorithm: Option<&dyn VerificationAlgorithm> = if *kind == OID_PKCS1_RSAENCRYPTION {
        match (scheme, version) {
            (SignatureScheme::RSA_PKCS1_SHA256, Version::Tls12) => {
                Some(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY)
            }
            (SignatureScheme::RSA_PKCS1_SHA384, Version::Tls12) => Some(&RSA_PKCS1_2048_8192_SHA384),
            (SignatureScheme::RSA_PKCS1_SHA512, Version::Tls12) => {
                Some(&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY)
            }
            (SignatureScheme::RSA_PSS_SHA256, _) => Some(&RSA_PSS_2048_8192_SHA256),
            (SignatureScheme::RSA_PSS_SHA384, _) => Some(&RSA_PSS_2048_8192_SHA384),
            (SignatureScheme::RSA_PSS_SHA512, _) => Some(&RSA_PSS_2048_8192_SHA512),
            _ => None,
        }
    } else if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        match scheme {
            SignatureScheme::ECDSA_NISTP256_SHA256 => Some(&ECDSA_P256_SHA256_ASN1),
            SignatureScheme::ECDSA_NISTP384_SHA384 => Some(&ECDSA_P384_SHA384_ASN1),
            _ => None,
        }
    } else {
        None
    };
    let key = &key.subject_public_key.data;
    algorithm.is_some_and(|algorithm| UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// Version 1, RSA with 1024 bits.
    const CERTIFICATE: &str = "MIIB0DCCATkCFDCaWWBiAE5xE4VBT8noTBGTCmmqMA0GCSqGSIb3DQEBCwUAMCYxJDAiBgNVBAMMG0lQNjAxMC0wOS0wMC05MC0z\
        My0wMC0wMC0wMDAgFw0yNjExMjgyMDU1NDZaGA8yMTI2MTEwNDIwNTU0NlowJjEkMCIGA1UEAwwbSVA2MDEwLTA5LTAwLTkwLTMz\
        LTAwLTAwLTAwMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQD4CHwqTIeHB2LBwK1HfG13IAsHOtjCinok+sQQHCNgv0CnDeKY\
        4udzd2kwZOXmTzXC9pm4cImGXUddtwWkmpexctWI9sZ9NtJHyir0g8Ypa+2fLj5ZdfzwdkQxckiuVqDsn2a1B4+jJFahnDziFJLq\
        2HOhw1SaEhIER/Qpw0t9bQIDAQABMA0GCSqGSIb3DQEBCwUAA4GBAFzg+K5eL3gbeivO+pXmIPyBHTTpLLMcaAKrRe4qQUiu8yUt\
        HRNCpe+0LmdDcsj+grz1rP0nqWWiOwkbbabcYWQAuciTpFwIUXR1FuFLwLWNxh80Unomdpc1A+Gevahr8/xowc9QrzrHZDBlETmi\
        +kwn3L1IfIwxyIwkvnQ8V7EW";
    /// Of the text `handshake`, RSA PKCS #1 with SHA-256.
    const SIGNATURE: &str = "0XqmusMj2yu1fznakF0yYqqu966uKcMpchdHebpqLCN+Si0RJQhiI6uNM2HLTUcIg44LISylALWkrD/P1IHLvOvnxX+3Bdv2tW5U\
        8T8N2jpNS2P6FkoJDpuqlpSAcKkO0jwxQfIJLTJK2qIH9rXd9Vvidr2r+Cf/8ibPDpkxJVI=";

    #[test]
    fn old_certificate_proves_itself_by_its_key() {
        let certificate = CertificateDer::from(STANDARD.decode(CERTIFICATE).expect("base64"));
        let signature = STANDARD.decode(SIGNATURE).expect("base64");
        let scheme = SignatureScheme::RSA_PKCS1_SHA256;
        let check = |version, scheme, message: &[u8], signature: &[u8]| {
            has_signed(&certificate, version, scheme, message, signature)
        };
        assert!(check(Version::Tls12, scheme, b"handshake", &signature));
        assert!(!check(Version::Tls12, scheme, b"another", &signature));
        assert!(!check(Version::Tls12, scheme, b"handshake", &signature[1..]));
        assert!(!check(Version::Tls12, SignatureScheme::RSA_PKCS1_SHA512, b"handshake", &signature));
        assert!(!check(Version::Tls12, SignatureScheme::ECDSA_NISTP256_SHA256, b"handshake", &signature));
        assert!(!check(Version::Tls13, scheme, b"handshake", &signature), "TLS 1.3 does not know this kind");
        assert!(!has_signed(&CertificateDer::from(vec![0x30]), Version::Tls12, scheme, b"handshake", &signature));
    }
}

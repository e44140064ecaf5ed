//! Which certificate of the PBX is trusted: one issued by the system's authorities or by those of a file, or one by its
//! fingerprint. For `check`, also why a certificate of the PBX or of AWS is not trusted.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::pinned::{self, Version};
use crate::config::{CertificateFingerprint, ConfigError, PbxConfig};

/// Trusts the certificate of `pbx.fingerprint`, or those issued by an authority of `pbx.ca_file`, or else those that this system
/// trusts.
pub fn client_config(pbx: &PbxConfig) -> Result<Arc<ClientConfig>, ConfigError> {
    let config = match (&pbx.fingerprint, &pbx.ca_file) {
        (Some(fingerprint), _) => trusting(Trust::Pinned(fingerprint.clone())),
        (None, Some(file)) => authorities_of(file).and_then(Trust::issued_by).and_then(trusting),
        (None, None) => system_config(),
    };
    config.map_err(|error| ConfigError::Invalid { key: "pbx.ca_file", reason: format!("{error:#}") })
}

/// Trusts the authorities of this system.
pub fn system_config() -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ensure!(!roots.is_empty(), "this system has no certificate authorities; install ca-certificates");
    trusting(Trust::issued_by(roots)?)
}

fn authorities_of(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let read = || format!("cannot read `pbx.ca_file` {}", file.display());
    for certificate in CertificateDer::pem_file_iter(file).with_context(read)? {
        roots.add(certificate.with_context(read)?).with_context(read)?;
    }
    ensure!(!roots.is_empty(), "`pbx.ca_file` {} holds no certificate", file.display());
    Ok(roots)
}

fn trusting(trust: Trust) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier { trust, algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The SHA-256 fingerprint of a certificate, as `pbx.fingerprint` takes it.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let pairs: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// Why a certificate is not trusted. Its texts are about the PBX's, and say what an administrator can do about that.
#[derive(Clone, Debug)]
pub struct Untrusted {
    pub reason: CertificateError,
    pub fingerprint: String,
    /// The issuer that it names.
    pub issuer: String,
}

impl Untrusted {
    /// The refusal that made a handshake fail, if that is why it failed.
    pub fn of(error: &std::io::Error) -> Option<&Self> {
        match error.get_ref()?.downcast_ref::<Error>()? {
            Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => other.downcast_ref(),
            _ => None,
        }
    }

    pub fn fix(&self) -> &'static str {
        match self.reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "renew the certificate on the PBX, or pin this one by setting `pbx.fingerprint`, which disregards its dates"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "set this machine's clock, or pin the certificate by setting `pbx.fingerprint`, which disregards its dates"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "use a name of the certificate in `pbx.url`, or pin the certificate by setting `pbx.fingerprint`"
            }
            CertificateError::ApplicationVerificationFailure => {
                "if the PBX has a new certificate, compare this fingerprint with the one that the PBX shows, and set \
                 `pbx.fingerprint` to it"
            }
            _ => {
                "set `pbx.ca_file` to the certificate of the authority that issued it; or compare the fingerprint with the one \
                 that the PBX shows, and set `pbx.fingerprint` to it"
            }
        }
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, fingerprint, .. } = self;
        match reason {
            CertificateError::UnknownIssuer => write!(f, "nobody who is trusted has issued the PBX's certificate")?,
            CertificateError::ApplicationVerificationFailure => {
                write!(f, "the PBX's certificate is not the one of `pbx.fingerprint`")?;
            }
            reason => write!(f, "the PBX's certificate is refused: {reason}")?,
        }
        write!(f, "; its SHA-256 fingerprint is {fingerprint}")
    }
}

impl std::error::Error for Untrusted {}

#[derive(Debug)]
enum Trust {
    Issued(Arc<WebPkiServerVerifier>),
    /// Exactly one certificate, whatever its name, issuer and dates say; its key must still prove itself.
    Pinned(CertificateFingerprint),
}

impl Trust {
    fn issued_by(roots: RootCertStore) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        Ok(Self::Issued(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?))
    }
}

/// Says of a certificate that it refuses which one it was: the handshake leaves no other way to see it.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// A certificate that is pinned may be one that the library cannot use.
    fn or_by_pinned_key(
        &self,
        verified: Result<HandshakeSignatureValid, Error>,
        version: Version,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verified.or_else(|error| match &self.trust {
            Trust::Pinned(_) if pinned::has_signed(cert, version, dss.scheme, message, dss.signature()) => {
                Ok(HandshakeSignatureValid::assertion())
            }
            _ => Err(error),
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = match &self.trust {
            Trust::Issued(issued) => {
                issued.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            Trust::Pinned(fingerprint) if Sha256::digest(end_entity)[..] == fingerprint.0 => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::Pinned(_) => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        };
        verified.map_err(|error| match error {
            Error::InvalidCertificate(reason) => {
                let issuer = X509Certificate::from_der(end_entity).map(|(_, parsed)| parsed.issuer().to_string());
                let issuer = issuer.unwrap_or_else(|_| "an unknown issuer".to_owned());
                let untrusted = Untrusted { reason, fingerprint: fingerprint(end_entity), issuer };
                Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(untrusted))))
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.or_by_pinned_key(
            verify_tls12_signature(message, cert, dss, &self.algorithms),
            Version::Tls12,
            message,
            cert,
            dss,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.or_by_pinned_key(
            verify_tls13_signature(message, cert, dss, &self.algorithms),
            Version::Tls13,
            message,
            cert,
            dss,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.algorithms.supported_schemes();
        if matches!(self.trust, Trust::Pinned(_)) {
            // The only kind in which a short RSA key can be verified is preferred. TLS 1.3 has no use for it.
            schemes.sort_by_key(|scheme| !pinned::is_for_short_keys(*scheme));
        }
        schemes
    }
}

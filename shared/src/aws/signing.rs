//! Signs the requests of a function (Signature Version 4) with a key that holds for a day.
//!
//! The SDK derives that key for each request, and takes apart requests of every kind there is: half of what a request cost. All requests
//! of a function are a POST without a query, and their bodies are in memory. Hashes are ring's, which are quick also on processors
//! without instructions for them.
//!
//! The agent does not use this: the SDK's own signer also makes up for a clock that is wrong.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_credential_types::Credentials;
use aws_runtime::auth::sigv4;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::{
    AuthScheme, AuthSchemeEndpointConfig, AuthSchemeId, AuthSchemeOption, AuthSchemeOptionsFuture, Sign,
};
use aws_smithy_runtime_api::client::identity::{Identity, SharedIdentityResolver};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::{GetIdentityResolver, RuntimeComponents};
use aws_smithy_types::config_bag::ConfigBag;
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::hmac::{HMAC_SHA256, Key, Tag, sign};

/// Whoever prefers this has requests signed by [`DaySigner`], and else by the SDK.
pub(super) const BY_DAY: AuthSchemeId = AuthSchemeId::new("sigv4-by-day");
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The ways in which operations can be signed.
#[derive(Debug)]
pub(super) struct BothWays;

impl BothWays {
    fn options<'a>() -> AuthSchemeOptionsFuture<'a> {
        AuthSchemeOptionsFuture::ready(Ok([sigv4::SCHEME_ID, BY_DAY].map(AuthSchemeOption::from).into()))
    }
}

impl aws_sdk_dynamodb::config::auth::ResolveAuthScheme for BothWays {
    fn resolve_auth_scheme<'a>(
        &'a self,
        _: &'a aws_sdk_dynamodb::config::auth::Params,
        _: &'a ConfigBag,
        _: &'a RuntimeComponents,
    ) -> AuthSchemeOptionsFuture<'a> {
        Self::options()
    }
}

impl aws_sdk_sqs::config::auth::ResolveAuthScheme for BothWays {
    fn resolve_auth_scheme<'a>(
        &'a self,
        _: &'a aws_sdk_sqs::config::auth::Params,
        _: &'a ConfigBag,
        _: &'a RuntimeComponents,
    ) -> AuthSchemeOptionsFuture<'a> {
        Self::options()
    }
}

/// Knows the key of the day.
#[derive(Debug, Default)]
pub(super) struct DaySigner {
    key: Mutex<Option<DayKey>>,
}

/// A key, and what it follows from. A signer is one service's, in one region.
struct DayKey {
    secret: String,
    date: String,
    key: Key,
}

impl fmt::Debug for DayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DayKey")
    }
}

impl AuthScheme for DaySigner {
    fn scheme_id(&self) -> AuthSchemeId {
        BY_DAY
    }

    fn identity_resolver(&self, resolvers: &dyn GetIdentityResolver) -> Option<SharedIdentityResolver> {
        resolvers.identity_resolver(sigv4::SCHEME_ID)
    }

    fn signer(&self) -> &dyn Sign {
        self
    }
}

impl Sign for DaySigner {
    fn sign_http_request(
        &self,
        request: &mut HttpRequest,
        identity: &Identity,
        _: AuthSchemeEndpointConfig<'_>,
        components: &RuntimeComponents,
        bag: &ConfigBag,
    ) -> Result<(), BoxError> {
        let by = identity.data::<Credentials>().ok_or("only credentials can sign")?;
        let region = bag.load::<SigningRegion>().ok_or("no region to sign for")?;
        let service = bag.load::<SigningName>().ok_or("no service to sign for")?;
        let now = components.time_source().ok_or("no clock to sign by")?.now();
        self.sign(request, by, region.as_ref(), service.as_ref(), Timestamp::try_from(now)?)
    }
}

impl DaySigner {
    fn sign(
        &self,
        request: &mut HttpRequest,
        by: &Credentials,
        region: &str,
        service: &str,
        now: Timestamp,
    ) -> Result<(), BoxError> {
        let (host, path) = host_and_path(request.uri()).ok_or("a request that cannot be signed")?;
        let (host, path, method) = (host.to_owned(), path.to_owned(), request.method().to_owned());
        let body = sha256(request.body().bytes().ok_or("a body that is not in memory")?);
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = &time[..8];

        let headers = request.headers_mut();
        headers.try_insert("host", host)?;
        headers.try_insert("x-amz-date", time.clone())?;
        if let Some(token) = by.session_token() {
            headers.try_insert("x-amz-security-token", token.to_owned())?;
        }
        let has_to_be_signed = |name: &str| ["content-type", "host"].contains(&name) || name.starts_with("x-amz-");
        let mut signed: Vec<(&str, &str)> = headers.iter().filter(|(name, _)| has_to_be_signed(name)).collect();
        signed.sort_unstable();
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = signed.iter().flat_map(|(name, value)| [name, ":", value, "\n"]).collect();

        let canonical = format!("{method}\n{path}\n\n{lines}\n{names}\n{body}");
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let text = format!("{ALGORITHM}\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let signature = hex::encode(self.sign_text(by.secret_access_key(), date, region, service, &text));
        let by = by.access_key_id();
        let authorization =
            format!("{ALGORITHM} Credential={by}/{scope}, SignedHeaders={names}, Signature={signature}");
        headers.try_insert("authorization", authorization)?;
        Ok(())
    }

    fn sign_text(&self, secret: &str, date: &str, region: &str, service: &str, text: &str) -> Tag {
        let mut known = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |known: &&mut DayKey| known.date == date && known.secret == secret;
        let today = match known.as_mut().filter(fits) {
            Some(today) => today,
            None => {
                let key = key_of_day(secret, date, region, service);
                known.insert(DayKey { secret: secret.to_owned(), date: date.to_owned(), key })
            }
        };
        sign(&today.key, text.as_bytes())
    }
}

fn key_of_day(secret: &str, date: &str, region: &str, service: &str) -> Key {
    let key = |bytes: &[u8]| Key::new(HMAC_SHA256, bytes);
    let texts = [date, region, service, "aws4_request"];
    texts
        .iter()
        .fold(key(format!("AWS4{secret}").as_bytes()), |so_far, text| key(sign(&so_far, text.as_bytes()).as_ref()))
}

/// Host and path of a URI without a query.
fn host_and_path(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://").filter(|(_, rest)| !rest.contains('?'))?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let usual_port = if scheme == "https" { ":443" } else { ":80" };
    Some((host.strip_suffix(usual_port).unwrap_or(host), if path.is_empty() { "/" } else { path }))
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use aws_sigv4::http_request::{self, SignableBody, SignableRequest, SigningSettings};
    use aws_sigv4::sign::v4::SigningParams;
    use aws_smithy_types::body::SdkBody;
    use proptest::prelude::*;

    use super::*;

    fn request(uri: &str, target: &str, body: &str) -> HttpRequest {
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").expect("a method");
        request.set_uri(uri.to_owned()).expect("a URI");
        request.headers_mut().insert("content-type", "application/x-amz-json-1.0");
        request.headers_mut().insert("x-amz-target", target.to_owned());
        request
    }

    fn signature_of_the_sdk(request: &HttpRequest, by: &Credentials, region: &str, at: Timestamp) -> String {
        let identity = by.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("dynamodb")
            .time(UNIX_EPOCH + Duration::from_secs(at.as_second().unsigned_abs()))
            .settings(SigningSettings::default())
            .build()
            .expect("all is there")
            .into();
        let body = SignableBody::Bytes(request.body().bytes().expect("a body"));
        let signable = SignableRequest::new(request.method(), request.uri(), request.headers().iter(), body);
        let signed = http_request::sign(signable.expect("a request"), &params);
        signed.expect("a signature").signature().to_owned()
    }

    proptest! {
        #[test]
        fn signatures_are_those_of_the_sdk(
            requests in prop::collection::vec(("[A-Za-z0-9_.]{1,40}", any::<String>(), 0..200_000i64), 1..4),
            uri in "https?://[a-z0-9.-]{1,20}[a-z](:[1-9][0-9]{1,3})?/?",
            region in "[a-z]{2}-[a-z]{4,9}-[1-9]",
            secrets in prop::array::uniform2("[A-Za-z0-9/+]{40}"),
            token in prop::option::of("[A-Za-z0-9/+=]{1,400}"),
        ) {
            let signer = DaySigner::default();
            // In between it has another key, of another day or of somebody else.
            for (n, (target, body, seconds)) in requests.into_iter().enumerate() {
                let by = Credentials::new("AKIDEXAMPLE", secrets[n % 2].clone(), token.clone(), None, "test");
                let at = Timestamp::from_second(1_795_863_608 + seconds).expect("a time");
                let mut request = request(&uri, &target, &body);
                let expected = signature_of_the_sdk(&request, &by, &region, at);
                signer.sign(&mut request, &by, &region, "dynamodb", at).expect("it is signed");
                let authorization = request.headers().get("authorization").expect("it is there");
                prop_assert!(authorization.ends_with(&format!("Signature={expected}")), "{authorization} {expected}");
            }
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let signer = DaySigner::default();
        signer.sign_text("secret", "20261129", "eu-central-1", "sqs", "text");
        assert_eq!(format!("{:?}", signer.key.lock().expect("no panic")), "Some(DayKey)");
    }

    #[test]
    fn a_query_is_not_signed() {
        assert_eq!(
            host_and_path("https://sqs.eu-central-1.amazonaws.com"),
            Some(("sqs.eu-central-1.amazonaws.com", "/"))
        );
        assert_eq!(host_and_path("http://127.0.0.1:4566/base/"), Some(("127.0.0.1:4566", "/base/")));
        assert_eq!(host_and_path("https://host:443/"), Some(("host", "/")));
        assert_eq!(host_and_path("https://host/?Action=SendMessage"), None);
    }
}

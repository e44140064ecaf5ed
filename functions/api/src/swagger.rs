//! The API's own page: Swagger UI, and the description in the four forms that tools import.
//!
//! No key is needed: what is served is the same for everybody, but for the address in it. Nothing comes from elsewhere, and the
//! page may talk to nobody else, because the browser keeps the API key that is typed into it.

use axum::Router;
use axum::extract::RawPathParams;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use shared::codes::Code;

use crate::assets::File;
use crate::errors::ApiError;

/// What stands in the files where the address of the stack belongs. A test of the description keeps it there.
const SERVER: &str = "https://easyconnect.example.com";
const SWAGGER_2_SERVER: &str =
    "  \"host\": \"easyconnect.example.com\",\n  \"basePath\": \"/\",\n  \"schemes\": [\n    \"https\"\n  ],\n";

/// Where the page is, with a slash behind it or not.
pub(crate) const FOLDER: &str = "/swagger";
const PAGE: &str = "index.html";
/// The addresses of these files change with their content, see `build.rs`.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=3600");
/// Scripts and requests only here. React sets styles one by one, which no policy forbids, but Swagger UI's icons and its
/// highlighter have style attributes and pictures in `data:` URLs.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'self'; form-action 'none'; frame-ancestors 'none'",
);

include!(concat!(env!("OUT_DIR"), "/swagger.rs"));

/// The routes `/swagger` and `/swagger/…`, to be merged into the router. `public_url` is the operator's parameter
/// `PublicUrl`, if there is one.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(public_url: Option<&str>) -> Router<S> {
    let public = public_url.and_then(Base::parse);
    let folder = format!("{}/swagger/", public.as_ref().map_or("", |base| &base.path));
    let base = move |headers: &HeaderMap| public.clone().or_else(|| Base::asked(headers));
    Router::new()
        // No redirect, because some gateways drop the slash at the end, and then it would lead to itself.
        .route(FOLDER, get(async move || page(Some(&folder))))
        .route("/swagger/", get(async || page(None)))
        .route(
            "/swagger/{file}",
            get(async move |path: RawPathParams, headers: HeaderMap| {
                let name = path.iter().next().map(|(_, name)| name).unwrap_or_default();
                serve(name, &headers, base(&headers))
            }),
        )
}

/// Base URL of the API without a slash at its end, as the operator has set it or as the asker must have used it.
pub(crate) fn base_url(public_url: Option<&str>, headers: &HeaderMap) -> Option<String> {
    public_url.and_then(Base::parse).or_else(|| Base::asked(headers)).map(|base| base.to_string())
}

/// The path in `PublicUrl`, with a slash in front and none at the end, or empty.
pub(crate) fn base_path(public_url: Option<&str>) -> String {
    public_url.and_then(Base::parse).map(|base| base.path).unwrap_or_default()
}

/// The page itself. Its addresses are relative, so that it works behind any proxy.
fn page(folder: Option<&str>) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == PAGE) else {
        return ApiError::new(Code::NotFound).into_response();
    };
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        // Links in descriptions lead to other sites, which need not know where the reader comes from.
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (file.kind(), headers, file.page(folder)).into_response()
}

/// What the page consists of, and the descriptions.
fn serve(name: &str, headers: &HeaderMap, base: Option<Base>) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name && name != PAGE) else {
        return ApiError::new(Code::NotFound).into_response();
    };
    let mut response = if is_description(name) {
        description(&file.text(), base).into_response()
    } else {
        ([(CACHE_CONTROL, CACHED)], file.body(headers)).into_response()
    };
    for (name, value) in file.kind() {
        response.headers_mut().insert(name, value);
    }
    response
}

fn is_description(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".json")
}

/// The API description with the address of this stack in it.
fn description(text: &str, base: Option<Base>) -> String {
    let Some(base) = base else { return text.to_owned() };
    let Base { scheme, host, path } = &base;
    let path = if path.is_empty() { "/" } else { path };
    let server =
        format!("  \"host\": \"{host}\",\n  \"basePath\": \"{path}\",\n  \"schemes\": [\n    \"{scheme}\"\n  ],\n");
    text.replace(SWAGGER_2_SERVER, &server).replace(SERVER, &base.to_string())
}

/// Where the API is, in parts that can be written into the files without quoting.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    scheme: &'static str,
    host: String,
    /// Empty, or with a slash in front and none at the end.
    path: String,
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.host, self.path)
    }
}

impl Base {
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        Self::checked(known_scheme(scheme)?, host, path.trim_end_matches('/'))
    }

    /// As the request shows it. Its host may be anything, so what does not look like one is not repeated.
    fn asked(headers: &HeaderMap) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok();
        let host = text(HOST)?;
        let forwarded = text(HeaderName::from_static("x-forwarded-proto")).and_then(known_scheme);
        let scheme = forwarded.unwrap_or(if is_loopback(host) { "http" } else { "https" });
        Self::checked(scheme, host, "")
    }

    fn checked(scheme: &'static str, host: &str, path: &str) -> Option<Self> {
        let consists_of =
            |text: &str, marks: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c));
        let valid = !host.is_empty() && consists_of(host, ".-:[]") && consists_of(path, "/.-_~");
        valid.then(|| Self { scheme, host: host.to_owned(), path: path.to_owned() })
    }
}

fn known_scheme(text: &str) -> Option<&'static str> {
    ["https", "http"].into_iter().find(|scheme| scheme.eq_ignore_ascii_case(text.trim()))
}

/// Only there is plain HTTP more likely than TLS.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::body::{Body, to_bytes};
    use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
    use axum::http::{Request, StatusCode};
    use flate2::read::GzDecoder;
    use tower::ServiceExt;

    use super::*;

    async fn get(public_url: Option<&str>, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = routes::<()>(public_url).oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, to_bytes(body, usize::MAX).await.expect("a body").to_vec())
    }

    async fn text(public_url: Option<&str>, path: &str, headers: &[(&str, &str)]) -> String {
        let (status, _, body) = get(public_url, path, headers).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        String::from_utf8(body).expect("text")
    }

    #[tokio::test]
    async fn the_page_and_everything_that_it_names_is_here() {
        let page = text(None, "/swagger/", &[]).await;
        for leftover in ["{version}", "<!--", "<base", "//"] {
            assert!(!page.contains(leftover), "{page}");
        }
        let named: Vec<&str> = page
            .split('"')
            .filter(|value| value.contains("?v=") || value.ends_with(".json") || value.ends_with(".yaml"))
            .collect();
        assert!(named.len() >= 8, "{named:?}");
        for name in named {
            let (status, headers, body) = get(None, &format!("/swagger/{name}"), &[]).await;
            assert_eq!((status, body.is_empty()), (StatusCode::OK, false), "{name}");
            let kinds: Vec<_> = headers.get_all(CONTENT_TYPE).iter().collect();
            assert!(kinds.len() == 1 && kinds[0] != "text/plain; charset=utf-8", "{name}: {kinds:?}");
            assert_eq!(headers.get(CACHE_CONTROL).is_some(), name.contains("?v="), "{name}");
            assert!(!String::from_utf8_lossy(&body).contains("sourceMappingURL"), "{name}");
        }
        let (_, headers, _) = get(None, "/swagger/", &[]).await;
        assert!(headers[CONTENT_SECURITY_POLICY].to_str().expect("text").contains("script-src 'self';"));
        assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8");
        for name in ["swagger-ui.js", "..%2fapi.yaml", "index.html"] {
            assert_eq!(get(None, &format!("/swagger/{name}"), &[]).await.0, StatusCode::NOT_FOUND, "{name}");
        }
    }

    #[tokio::test]
    async fn every_way_to_the_page_leads_there() {
        let without_slash = async |public_url| text(public_url, "/swagger", &[]).await;
        assert!(without_slash(None).await.contains("<base href=\"/swagger/\">"));
        assert!(without_slash(Some("https://a.test/pbx/")).await.contains("<base href=\"/pbx/swagger/\">"));
    }

    #[tokio::test]
    async fn compressed_for_those_who_can_read_it() {
        let path = "/swagger/swagger-ui-bundle.js";
        let (_, headers, packed) = get(None, path, &[("accept-encoding", "br, gzip;q=0.8")]).await;
        assert_eq!(headers[CONTENT_ENCODING], "gzip");
        let (_, headers, plain) = get(None, path, &[("accept-encoding", "br, gzip;q=0")]).await;
        assert!(!headers.contains_key(CONTENT_ENCODING));
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).expect("gzip");
        assert!(unpacked == plain && plain.len() > 2 * packed.len());
        let all: usize = FILES.iter().map(|file| file.gzip.len()).sum();
        assert!(all < 600_000, "{all} bytes");
    }

    #[tokio::test]
    async fn descriptions_name_the_stack_that_serves_them() {
        let yaml = text(Some("https://pbx.test/base/"), "/swagger/api.yaml", &[("host", "other.test")]).await;
        assert!(yaml.contains("  - url: https://pbx.test/base\n"), "{}", &yaml[..2_000]);
        let json = text(None, "/swagger/api.json", &[("host", "a1.execute-api.eu-west-1.amazonaws.com")]).await;
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["servers"][0]["url"], "https://a1.execute-api.eu-west-1.amazonaws.com");
        let makers = text(Some("https://pbx.test/base/"), "/swagger/makers.json", &[]).await;
        assert!(makers.len() < 41_000 && !makers.contains("easyconnect.example.com"), "{} bytes", makers.len());
        let makers: serde_json::Value = serde_json::from_str(&makers).expect("JSON");
        assert_eq!(makers["servers"][0]["url"], "https://pbx.test/base");
        assert_eq!(makers["paths"]["/rcc/makecall"]["post"]["operationId"], "MakeCall");
        assert!(makers["paths"]["/apikeys"].is_null(), "that is for administrators");
        let swagger = async |public_url, headers| -> [serde_json::Value; 3] {
            let swagger = text(public_url, "/swagger/v2.json", headers).await;
            assert!(!swagger.contains("easyconnect.example.com"));
            let swagger: serde_json::Value = serde_json::from_str(&swagger).expect("JSON");
            ["host", "basePath", "schemes"].map(|key| swagger[key].clone())
        };
        let expected = |host: &str, path: &str, scheme: &str| [host.into(), path.into(), serde_json::json!([scheme])];
        assert_eq!(swagger(None, &[("host", "127.0.0.1:8080")]).await, expected("127.0.0.1:8080", "/", "http"));
        assert_eq!(swagger(Some("http://a.test/b"), &[]).await, expected("a.test", "/b", "http"));
    }

    #[test]
    fn the_address_is_the_one_that_was_asked() {
        let check = |public_url: Option<&str>, host: &str, proto: Option<&str>, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).expect("a header"));
            if let Some(proto) = proto {
                headers.insert("x-forwarded-proto", HeaderValue::from_str(proto).expect("a header"));
            }
            assert_eq!(base_url(public_url, &headers).as_deref(), expected, "{host}");
        };
        check(None, "api.test", None, Some("https://api.test"));
        check(None, "api.test", Some("http"), Some("http://api.test"));
        check(None, "api.test", Some("gopher"), Some("https://api.test"));
        for host in ["localhost:3000", "x.execute-api.localhost", "127.0.0.1", "127.8.9.1:80", "[::1]:3000"] {
            check(None, host, None, Some(&format!("http://{host}")));
            check(None, host, Some("https"), Some(&format!("https://{host}")));
        }
        check(Some("https://pbx.test/"), "api.test", None, Some("https://pbx.test"));
        check(Some("pbx.test"), "api.test", None, Some("https://api.test"));
        for host in ["a.test\"},{\"", "a.test\nx: y", "a test", "<b>", ""] {
            if HeaderValue::from_str(host).is_ok() {
                check(None, host, None, None);
            }
        }
    }
}

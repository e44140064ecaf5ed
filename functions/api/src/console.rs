//! The console: a page for administrators and makers that uses the public API alone.
//!
//! No key is needed to get it: what is served is the same for everybody. Nothing comes from elsewhere, and the page may talk to nobody
//! else, because it holds the API key that is typed into it. A browser asks for each file anew and gets it again only if it has changed, so
//! that modules of two versions never meet.

use axum::Router;
use axum::extract::RawPathParams;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, REFERRER_POLICY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use shared::codes::Code;

use crate::assets::File;
use crate::errors::ApiError;

/// Where the console is, with a slash behind it or not.
pub(crate) const FOLDER: &str = "/console";
const PAGE: &str = "index.html";
/// What myApps asks for when the URL of an App object is `…/console/index`: it adds `.htm` for the page and `.png` for the icon.
const PAGE_IN_MYAPPS: &str = "index.htm";

include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// What the page may do. Only these origins may show it in a frame.
#[derive(Clone, Debug)]
struct Policy(HeaderValue);

impl Policy {
    fn new(frame_ancestors: &[String]) -> Self {
        let ancestors = if frame_ancestors.is_empty() { "'none'".to_owned() } else { frame_ancestors.join(" ") };
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'self'; \
             form-action 'none'; frame-ancestors {ancestors}"
        );
        Self(HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'")))
    }

    fn headers(&self) -> [(HeaderName, HeaderValue); 3] {
        [
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (CONTENT_SECURITY_POLICY, self.0.clone()),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ]
    }
}

/// The routes `/`, `/console` and `/console/…`, to be merged into the router. `base_path` is that of the operator's parameter `PublicUrl`.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(base_path: &str, frame_ancestors: &[String]) -> Router<S> {
    let policy = Policy::new(frame_ancestors);
    let folder = format!("{base_path}{FOLDER}/");
    // Relative, because nobody knows the address behind a proxy that was not named.
    let start = if base_path.is_empty() { "console/".to_owned() } else { folder.clone() };
    let (bare, whole) = (policy.clone(), policy.clone());
    Router::new()
        .route("/", get(async move || Redirect::temporary(&start)))
        // No redirect, because some gateways drop the slash at the end, and then it would lead to itself.
        .route(FOLDER, get(async move |headers: HeaderMap| page(&headers, &bare, Some(&folder))))
        .route("/console/", get(async move |headers: HeaderMap| page(&headers, &whole, None)))
        .route(
            "/console/{file}",
            get(async move |path: RawPathParams, headers: HeaderMap| {
                let name = path.iter().next().map(|(_, name)| name).unwrap_or_default();
                serve(name, &headers, &policy)
            }),
        )
}

/// The page itself. Its addresses are relative.
fn page(asked: &HeaderMap, policy: &Policy, folder: Option<&str>) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == PAGE) else {
        return ApiError::new(Code::NotFound).into_response();
    };
    match folder {
        None => serve(PAGE, asked, policy),
        Some(folder) => (policy.headers(), file.kind(), file.page(Some(folder))).into_response(),
    }
}

fn serve(name: &str, asked: &HeaderMap, policy: &Policy) -> Response {
    let name = if name == PAGE_IN_MYAPPS { PAGE } else { name };
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return ApiError::new(Code::NotFound).into_response();
    };
    let tag = format!("\"{}\"", file.version);
    let has_it =
        asked.get_all(IF_NONE_MATCH).iter().any(|known| known.to_str().is_ok_and(|known| known.contains(&tag)));
    let tag = [(ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits"))];
    if has_it {
        return (StatusCode::NOT_MODIFIED, policy.headers(), tag).into_response();
    }
    (policy.headers(), tag, file.kind(), file.body(asked)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use axum::http::header::{CONTENT_TYPE, LOCATION};
    use tower::ServiceExt;

    use super::*;

    async fn get(path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = routes::<()>("", &["https://pbx.test".to_owned()]).oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body");
        (parts.status, parts.headers, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn the_page_and_everything_that_it_names_is_here() {
        assert_eq!(get("/", &[]).await.1[LOCATION], "console/");
        assert!(get("/console", &[]).await.2.contains("<base href=\"/console/\">"));
        let (status, headers, page) = get("/console/", &[]).await;
        assert_eq!(
            (status, &headers[CONTENT_TYPE]),
            (StatusCode::OK, &HeaderValue::from_static("text/html; charset=utf-8"))
        );
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(
            policy.contains("script-src 'self';") && policy.ends_with("frame-ancestors https://pbx.test"),
            "{policy}"
        );
        assert!(!page.contains("<script>") && !page.contains("style="), "nothing inline");
        // What the page names, and what its modules import.
        let mut named: Vec<String> = vec![PAGE.to_owned()];
        let mut seen = 0;
        while let Some(name) = named.get(seen).cloned() {
            let (status, _, text) = get(&format!("/console/{name}"), &[]).await;
            assert_eq!(status, StatusCode::OK, "{name}");
            assert!(!text.contains("https://") || name.ends_with(".js"), "{name} names another site");
            let is_file = |word: &&str| [".js", ".css", ".svg", ".png"].iter().any(|end| word.ends_with(end));
            for other in text.split('"').filter(is_file) {
                let other = other.trim_start_matches("./").to_owned();
                if !named.contains(&other) {
                    named.push(other);
                }
            }
            seen += 1;
        }
        assert_eq!(named.len(), FILES.len(), "a file that nothing names: {named:?}");
        assert_eq!(get("/console/index.htm?lang=de&scheme=dark", &[]).await.2, page, "as an App object's page");
        for name in ["nothing.js", "..%2findex.html"] {
            assert_eq!(get(&format!("/console/{name}"), &[]).await.0, StatusCode::NOT_FOUND, "{name}");
        }
    }

    #[tokio::test]
    async fn what_a_browser_has_is_not_sent_again() {
        let (_, headers, _) = get("/console/app.js", &[]).await;
        let tag = headers[ETAG].to_str().expect("text").to_owned();
        let (status, _, body) = get("/console/app.js", &[("if-none-match", &tag)]).await;
        assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(get("/console/app.js", &[("if-none-match", "\"other\"")]).await.0, StatusCode::OK);
    }

    #[test]
    fn it_is_small() {
        let all: usize = FILES.iter().map(|file| file.gzip.len()).sum();
        assert!(all < 120_000, "{all} bytes");
    }
}

//! What the gateway does to a request on its way here, undone.

use lambda_http::RequestExt;
use lambda_http::http::uri::PathAndQuery;
use lambda_http::http::{Request, Uri};
use url::form_urlencoded;

/// The gateway hands the path over decoded. The runtime reads it as a URL: a `#` or `?` in it, such as in the extension `*21#`, would be
/// taken for the end of the path, and the query string behind it for lost; `\` would be another `/`, dots would lead to another path, and
/// spaces and control characters would be dropped.
pub fn whole<B>(request: Request<B>) -> Request<B> {
    let path = request.raw_http_path();
    let has_dots = path.split('/').any(|part| matches!(part, "." | ".."));
    if !has_dots && !path.contains(is_lost) {
        return request;
    }
    let encoded = |c: char| if is_lost(c) { format!("%{:02X}", u32::from(c)) } else { c.to_string() };
    let path: String = path.chars().map(encoded).collect();
    let params = request.query_string_parameters_ref().into_iter().flat_map(|params| params.iter());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let whole = if query.is_empty() { path } else { format!("{path}?{query}") };
    with_target(request, &whole)
}

fn is_lost(c: char) -> bool {
    c.is_ascii_control() || matches!(c, ' ' | '#' | '?' | '\\')
}

/// The request with another path and query.
pub(crate) fn with_target<B>(mut request: Request<B>, target: &str) -> Request<B> {
    if let Ok(path_and_query) = target.parse::<PathAndQuery>() {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(path_and_query);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

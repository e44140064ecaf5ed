//! What the gateway does to a request on its way here, undone.

use lambda_http::RequestExt;
use lambda_http::http::uri::PathAndQuery;
use lambda_http::http::{Request, Uri};
use url::form_urlencoded;

/// The gateway hands the path over decoded. A `#` or `?` in it, such as in the extension `*21#`, would be taken for the end of
/// the path, and the query string behind it for lost.
pub fn whole<B>(request: Request<B>) -> Request<B> {
    let path = request.raw_http_path();
    if !path.contains(['#', '?']) {
        return request;
    }
    let path = path.replace('#', "%23").replace('?', "%3F");
    let params = request.query_string_parameters_ref().into_iter().flat_map(|params| params.iter());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let whole = if query.is_empty() { path } else { format!("{path}?{query}") };
    with_target(request, &whole)
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

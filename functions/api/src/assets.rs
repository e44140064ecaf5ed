//! Files of pages, as `build.rs` has packed them: each compressed once, so that an answer costs nothing but its transfer.

use std::io::Read;

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use tracing::error;

pub(crate) struct File {
    pub(crate) name: &'static str,
    /// Changes with the content.
    pub(crate) version: &'static str,
    pub(crate) gzip: &'static [u8],
}

impl File {
    /// Its content, compressed for those who can read that.
    pub(crate) fn body(&self, headers: &HeaderMap) -> Response {
        let varies = [(VARY, HeaderValue::from_static("accept-encoding"))];
        if accepts_gzip(headers) {
            (varies, [(CONTENT_ENCODING, "gzip")], self.gzip).into_response()
        } else {
            (varies, self.unpack()).into_response()
        }
    }

    /// What it is, and that nobody need guess.
    pub(crate) fn kind(&self) -> [(HeaderName, HeaderValue); 2] {
        [
            (CONTENT_TYPE, HeaderValue::from_static(content_type(self.name))),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ]
    }

    fn unpack(&self) -> Vec<u8> {
        let mut content = Vec::new();
        if let Err(err) = GzDecoder::new(self.gzip).read_to_end(&mut content) {
            error!("File {} of a page cannot be unpacked: {err}", self.name);
        }
        content
    }

    /// Its text as a page. Where the slash is missing at the end of the page's own address, it has to be told in which folder the
    /// addresses are that it names.
    pub(crate) fn page(&self, folder: Option<&str>) -> String {
        let base = folder.map(|folder| format!("<base href=\"{folder}\">")).unwrap_or_default();
        self.text().replace("<!-- base -->", &base)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.unpack()).unwrap_or_default()
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "yaml" => "application/yaml; charset=utf-8",
        "json" => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

/// Whether the asker takes gzip; `q=0` is how a client says that it does not.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts
            .filter_map(|part| part.strip_prefix("q="))
            .any(|weight| weight.parse().is_ok_and(|weight: f32| weight == 0.0));
        (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wish_for_gzip_is_one() {
        let wants = |text: &'static str| {
            accepts_gzip(&[(ACCEPT_ENCODING, HeaderValue::from_static(text))].into_iter().collect())
        };
        for text in ["gzip", "deflate, GZIP;q=1", "*", "gzip; q=0.1"] {
            assert!(wants(text), "{text}");
        }
        for text in ["", "br", "gzip;q=0", "gzip; q=0.000", "identity"] {
            assert!(!wants(text), "{text}");
        }
    }
}

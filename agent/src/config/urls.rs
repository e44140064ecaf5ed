//! Where the PBX is: one address, or several of which the first that works is taken.

use serde::Deserialize;
use url::Url;

/// At least one.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct PbxUrls(Vec<Url>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "is a URL or a list of URLs")]
enum OneOrMany {
    One(Url),
    Many(Vec<Url>),
}

impl From<OneOrMany> for PbxUrls {
    fn from(value: OneOrMany) -> Self {
        match value {
            OneOrMany::One(url) => Self(vec![url]),
            OneOrMany::Many(urls) => Self(urls),
        }
    }
}

impl PbxUrls {
    /// In the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = &Url> {
        self.0.iter()
    }

    pub(super) fn are_valid(&self) -> bool {
        let is_valid = |url: &Url| matches!(url.scheme(), "ws" | "wss") && url.host_str().is_some();
        !self.0.is_empty() && self.0.iter().all(is_valid)
    }
}

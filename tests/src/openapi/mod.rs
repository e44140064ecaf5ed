//! The API description: `functions/api/openapi/api.yaml` is written by hand, everything else about it lives here.
//!
//! - [`derive`] makes the other files of it: the same as JSON, the part for makers of flows, and Swagger 2.0 in the dialect of
//!   Power Platform connectors.
//! - [`Contract`] checks what the API answers against it; the harness does so with every answer.
//! - The tests hold it to the rules of the platforms that import it, to the router, and to the types that it describes.

mod contract;
mod document;
mod makers;
mod swagger2;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::Context;

pub use contract::{Contract, Seen};
pub use document::Node;

use crate::paths;

/// A file that is made of the hand-written one.
#[derive(Debug)]
pub struct Derived {
    pub path: PathBuf,
    pub text: String,
}

/// The file that is written by hand.
pub fn source() -> anyhow::Result<Node> {
    let path = folder().join("api.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Node::from_yaml(&text).with_context(|| format!("{} cannot be used", path.display()))
}

/// The files that are made of it, as they have to be.
pub fn derive() -> anyhow::Result<[Derived; 3]> {
    let openapi = source()?;
    let makers = makers::from_openapi(&openapi).context("the part for makers cannot be made")?;
    let swagger = swagger2::from_openapi(&openapi).context("the description does not fit into Swagger 2.0")?;
    Ok([
        Derived { path: folder().join("api.json"), text: openapi.to_json() },
        Derived { path: folder().join("makers.json"), text: makers.to_short_json() },
        Derived { path: folder().join("v2.json"), text: swagger.to_json() },
    ])
}

fn folder() -> PathBuf {
    paths::repository().join("functions/api/openapi")
}

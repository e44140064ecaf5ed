//! Where the build leaves what the tests run.

use std::path::{Path, PathBuf};

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository exists")
}

/// The folder into which `make build` puts the programs.
pub fn programs() -> PathBuf {
    repository().join("target/lambda")
}

/// A program as `make build` makes it.
pub fn binary(name: &str) -> PathBuf {
    let path = programs().join(name).join("bootstrap");
    assert!(path.is_file(), "{} is missing: run `make build` first", path.display());
    path
}

/// The same program with the names of its functions; none if it was not built.
pub fn binary_with_symbols(name: &str) -> Option<PathBuf> {
    Some(repository().join("target/symbols").join(name)).filter(|path| path.is_file())
}

/// The Python with the tools of the local stack.
pub fn python() -> PathBuf {
    let path = repository().join(".venv/bin/python");
    assert!(path.is_file(), "{} is missing: run `make build` first", path.display());
    path
}

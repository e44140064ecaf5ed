//! Why a configuration cannot be used, and the files with secrets that it names.

use std::path::Path;

use shared::webhook::Secret;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Unreadable(String),
    #[error("`{key}`: {reason}")]
    Invalid { key: &'static str, reason: String },
}

/// The only line of a file that holds a secret.
pub(super) fn secret_of(file: &Path, key: &'static str) -> Result<Secret, ConfigError> {
    let invalid = |reason| Err(ConfigError::Invalid { key, reason });
    match std::fs::read_to_string(file) {
        Ok(text) if !text.trim().is_empty() => Ok(Secret::new(text.trim())),
        Ok(_) => invalid(format!("`{}` is empty", file.display())),
        Err(error) => invalid(format!("cannot read `{}`: {error}", file.display())),
    }
}

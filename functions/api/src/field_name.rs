//! Where a value stands in a request, for messages that name it.

use std::fmt;

use crate::errors::ApiError;

/// Text of the asker in messages.
const LONGEST_SHOWN: usize = 64;

/// What kind of text a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Json,
    Form,
    Query,
    Path,
}

/// Where a value stands, as messages name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldName<'a> {
    pub(crate) source: Source,
    pub(crate) name: &'a str,
}

impl<'a> FieldName<'a> {
    pub(crate) fn new(source: Source, name: &'a str) -> Self {
        Self { source, name }
    }

    pub(crate) fn refuse(self, what: impl fmt::Display) -> ApiError {
        ApiError::invalid(format!("{self} {what}"))
    }
}

impl fmt::Display for FieldName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = shown(self.name);
        match self.source {
            Source::Json | Source::Form => write!(f, "Field `{name}`"),
            Source::Query => write!(f, "Query parameter `{name}`"),
            Source::Path => write!(f, "`{name}` in the path"),
        }
    }
}

/// Text of the asker as a message shows it.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(LONGEST_SHOWN).collect()
}

//! How telephone numbers are read: extensions, destinations, number prefixes and keys to press.

use std::borrow::Cow;

use serde_json::Value;
use shared::address::{Address, is_extension};
use shared::number::{DialString, plain};

use super::Given;
use crate::errors::ApiError;
use crate::field_name::Source;

/// As long as the longest number.
const MAX_EXTENSION: usize = 32;
/// Longer than the name of any node or object that people type.
const MAX_NAME: usize = 64;

impl<'a> Given<'a> {
    /// Text, or the whole number that low-code tools make of an extension.
    fn number(self) -> Result<Cow<'a, str>, ApiError> {
        let number = self.written("text with a number, such as \"42\"");
        // A dash in text separates, but a number that is negative is none to call.
        match self.value {
            Value::Number(_) => number.and_then(|text| {
                if text.starts_with('-') {
                    Err(self.wrong_kind("text with a number, such as \"42\""))
                } else {
                    Ok(text)
                }
            }),
            _ => number,
        }
    }

    /// Whom people mean: an extension, or one with its node, a name or a guid.
    pub(crate) fn extension(self) -> Result<String, ApiError> {
        let text = plain(&self.number()?);
        let text = text.trim();
        if text.is_empty() {
            return Err(self.place.refuse("is empty; it takes the extension of a user or queue."));
        }
        let is_text = |text: &str| !text.is_empty() && text.len() <= MAX_NAME && text.chars().all(is_of_name);
        let is_taken = match Address::read(text) {
            Address::Extension(extension) => extension.len() <= MAX_EXTENSION,
            Address::InNode { node, extension } => {
                is_text(node) && is_extension(extension) && extension.len() <= MAX_EXTENSION
            }
            Address::Name(name) => is_text(name) && name.chars().any(char::is_alphabetic),
            Address::Guid(_) => true,
        };
        if is_taken {
            return Ok(text.to_owned());
        }
        Err(self.place.refuse(format_args!(
            "must be the extension of a user or queue (up to {MAX_EXTENSION} digits, `*` and `#`), `node/extension`, a name or a guid."
        )))
    }

    pub(crate) fn destination(self) -> Result<String, ApiError> {
        let text = self.number()?;
        if self.has_lost_plus(&text) {
            return Err(self.place.refuse("begins with a space, which may have been a plus; write a plus as `%2B`."));
        }
        match DialString::parse(&text) {
            Ok(number) => Ok(number.as_str().to_owned()),
            Err(error) => Err(self.place.refuse(format_args!("{error}."))),
        }
    }

    /// How numbers begin: digits without separators, or whatever else the PBX may show.
    pub(crate) fn number_prefix(self, longest: usize) -> Result<String, ApiError> {
        let text = self.text(longest)?;
        // Other than a number to call, a prefix with a space in front makes no sense.
        let lead = if self.has_lost_plus(&text) { "+" } else { "" };
        let text = format!("{lead}{}", plain(&text).trim());
        let digits: String = text.chars().filter(|character| !" -./()".contains(*character)).collect();
        let is_number =
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || b"+*#".contains(&byte));
        Ok(if is_number { digits } else { text })
    }

    /// Whether a plus may have become a space because it was not escaped.
    fn has_lost_plus(self, text: &str) -> bool {
        matches!(self.place.source, Source::Form | Source::Query)
            && text.strip_prefix(' ').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// Keys of a telephone, as many as can be pressed at once.
    pub(crate) fn digits(self, letters: bool) -> Result<String, ApiError> {
        let text = plain(&self.number()?);
        let text = text.trim();
        let valid = |c: char| c.is_ascii_digit() || "*#".contains(c) || (letters && ('A'..='D').contains(&c));
        if (1..=MAX_EXTENSION).contains(&text.len()) && text.chars().all(valid) {
            return Ok(text.to_owned());
        }
        let keys = if letters { "digits, `*`, `#` and `A` to `D`" } else { "digits, `*` and `#`" };
        Err(self.place.refuse(format_args!("takes 1 to {MAX_EXTENSION} {keys}.")))
    }
}

/// What names of users and nodes consist of.
fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || " .-_@/".contains(character)
}

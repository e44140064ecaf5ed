//! Telephone numbers as people type them, and as the PBX wants them dialled.

mod typed;

use serde::{Deserialize, Serialize};

pub use typed::plain;

/// What the PBX asks to be dialled in front of numbers, as `UserInitializeResult` reports it (trunk prefix included).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DialPrefixes {
    #[serde(default)]
    pub international: String,
    #[serde(default)]
    pub national: String,
    #[serde(default)]
    pub subscriber: String,
    #[serde(default)]
    pub area: String,
    #[serde(default)]
    pub country: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    #[error("is empty")]
    Empty,
    #[error("contains {}; use digits, `*`, `#`, an optional leading `+` and the separators space - . / ( )", typed::shown(*.0))]
    Character(char),
    #[error("has a parameter, such as `;ext=`, which cannot be dialled along; give the number alone")]
    Parameter,
    #[error("has `+` in the middle; it may only lead")]
    MisplacedPlus,
    #[error("has more than 32 digits")]
    TooLong,
}

/// A number without its separators: an optional `+`, then digits, `*` and `#`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialString(String);

impl DialString {
    /// Accepts what people type and paste. `+32 (0)472` loses the `(0)`, which is only dialled inside the country.
    pub fn parse(typed: &str) -> Result<Self, NumberError> {
        let plain = typed::number_in(typed);
        let cleaned = if plain.starts_with('+') { plain.replace("(0)", "") } else { plain };
        let mut text = String::with_capacity(cleaned.len());
        for character in cleaned.chars() {
            match character {
                '0'..='9' | '*' | '#' => text.push(character),
                '+' if text.is_empty() => text.push('+'),
                '+' => return Err(NumberError::MisplacedPlus),
                ' ' | '-' | '.' | '/' | '(' | ')' => {}
                ';' => return Err(NumberError::Parameter),
                other => return Err(NumberError::Character(other)),
            }
        }
        match text.trim_start_matches('+').len() {
            0 => Err(NumberError::Empty),
            33.. => Err(NumberError::TooLong),
            _ => Ok(Self(text)),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What to dial on this PBX. A number with `+` needs the PBX's international prefix; `None` when it has told none.
    pub fn to_dial(&self, prefixes: &DialPrefixes) -> Option<String> {
        match self.0.strip_prefix('+') {
            None => Some(self.0.clone()),
            Some(_) if prefixes.international.is_empty() => None,
            Some(digits) => Some(format!("{}{digits}", prefixes.international)),
        }
    }

    /// The number in international form, as the PBX's prefixes make it one; `None` for extensions, service codes, and what
    /// the PBX has told no prefix for.
    pub fn to_e164(&self, prefixes: &DialPrefixes) -> Option<String> {
        let international = match self.0.strip_prefix('+') {
            Some(digits) => digits.to_owned(),
            None => {
                let DialPrefixes { international, national, subscriber, area, country } = prefixes;
                let mut ways = [
                    (international, Some(String::new())),
                    (national, (!country.is_empty()).then(|| country.clone())),
                    (subscriber, (!country.is_empty()).then(|| format!("{country}{area}"))),
                ];
                // The longest prefix is meant: `000` also begins with `00` and `0`.
                ways.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
                let fitting =
                    ways.into_iter().find(|(prefix, _)| !prefix.is_empty() && self.0.starts_with(prefix.as_str()));
                let (prefix, lead) = fitting?;
                format!("{}{}", lead?, &self.0[prefix.len()..])
            }
        };
        let complete = international.len() > 2 && international.bytes().all(|byte| byte.is_ascii_digit());
        complete.then(|| format!("+{international}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, dialled: Result<&str, NumberError>) {
        let prefixes = DialPrefixes { international: "000".to_owned(), ..DialPrefixes::default() };
        let result = DialString::parse(typed).map(|number| number.to_dial(&prefixes).expect("a prefix"));
        assert_eq!(result, dialled.map(str::to_owned), "{typed}");
    }

    #[test]
    fn numbers_as_people_type_them() {
        check("+32 472 59 16 87", Ok("00032472591687"));
        check("+32 (0)472/59.16.87", Ok("00032472591687"));
        check(" 50 ", Ok("50"));
        check("0472-591687", Ok("0472591687"));
        check("*21*43#", Ok("*21*43#"));
        check("+32\u{202f}472\u{2009}59\u{2013}16\u{2011}87", Ok("00032472591687"));
        check("", Err(NumberError::Empty));
        check("+", Err(NumberError::Empty));
        check("32+472", Err(NumberError::MisplacedPlus));
        check("Thomas", Err(NumberError::Character('T')));
        check("+32 472 59 16 87\u{202c}", Ok("00032472591687"));
        check("tel:+3222222222;ext=42", Err(NumberError::Parameter));
        check("tel:42;phone-context=example.com", Err(NumberError::Parameter));
        check(&"1".repeat(33), Err(NumberError::TooLong));
    }

    #[test]
    fn a_refused_character_is_named() {
        let told = DialString::parse("4\u{7}2").expect_err("refused").to_string();
        assert!(told.starts_with("contains `U+0007`; use digits"), "{told}");
    }

    #[test]
    fn a_plus_needs_the_prefix_of_the_pbx() {
        let number = DialString::parse("+32472591687").expect("a number");
        assert_eq!(number.to_dial(&DialPrefixes::default()), None);
    }
}

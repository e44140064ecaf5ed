//! Telephone numbers as people type them. What they mean on a PBX is for [`crate::numbering`] to say.

pub(crate) mod country;
mod typed;

pub use typed::plain;

use self::country::keeps_zero;

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
    /// Accepts what people type and paste. `+32 (0)472` loses the `(0)`, which is only dialled inside the country; in `+39 (0)6` it
    /// is a digit like any other.
    pub fn parse(typed: &str) -> Result<Self, NumberError> {
        let plain = typed::number_in(typed);
        let cleaned = match plain.split_once("(0)") {
            Some((code, rest)) if plain.starts_with('+') && !keeps_zero(&digits_of(code)) => format!("{code}{rest}"),
            _ => plain,
        };
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
}

fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, number: Result<&str, NumberError>) {
        let result = DialString::parse(typed).map(|number| number.as_str().to_owned());
        assert_eq!(result, number.map(str::to_owned), "{typed}");
    }

    #[test]
    fn numbers_as_people_type_them() {
        check("+32 472 59 16 87", Ok("+32472591687"));
        check("+32 (0)472/59.16.87", Ok("+32472591687"));
        check("+39 (0)6 698 12345", Ok("+390669812345"));
        check(" 50 ", Ok("50"));
        check("0472-591687", Ok("0472591687"));
        check("*21*43#", Ok("*21*43#"));
        check("+32\u{202f}472\u{2009}59\u{2013}16\u{2011}87", Ok("+32472591687"));
        check("", Err(NumberError::Empty));
        check("+", Err(NumberError::Empty));
        check("32+472", Err(NumberError::MisplacedPlus));
        check("Thomas", Err(NumberError::Character('T')));
        check("+32 472 59 16 87\u{202c}", Ok("+32472591687"));
        check("tel:+3222222222;ext=42", Err(NumberError::Parameter));
        check("tel:42;phone-context=example.com", Err(NumberError::Parameter));
        check(&"1".repeat(33), Err(NumberError::TooLong));
    }

    #[test]
    fn a_refused_character_is_named() {
        let told = DialString::parse("4\u{7}2").expect_err("refused").to_string();
        assert!(told.starts_with("contains `U+0007`; use digits"), "{told}");
    }
}

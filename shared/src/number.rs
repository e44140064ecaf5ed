//! Telephone numbers as people type them. What they mean on a PBX is for [`crate::numbering`] to say.

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    #[error("is empty")]
    Empty,
    #[error("contains `{0}`; use digits, `*`, `#`, an optional leading `+` and the separators space - . / ( )")]
    Character(char),
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
        let trimmed = typed.trim();
        let international = trimmed.starts_with('+');
        let cleaned = if international { trimmed.replace("(0)", "") } else { trimmed.to_owned() };
        let mut text = String::with_capacity(cleaned.len());
        for character in cleaned.chars() {
            match character {
                '0'..='9' | '*' | '#' => text.push(character),
                '+' if text.is_empty() => text.push('+'),
                '+' => return Err(NumberError::MisplacedPlus),
                // Also the narrow and fixed spaces, hyphens and dashes that come with pasted numbers.
                ' ' | '\u{a0}' | '\u{2009}' | '\u{202f}' | '-' | '\u{2010}'..='\u{2013}' | '.' | '/' | '(' | ')' => {}
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
        check(" 50 ", Ok("50"));
        check("0472-591687", Ok("0472591687"));
        check("*21*43#", Ok("*21*43#"));
        check("+32\u{202f}472\u{2009}59\u{2013}16\u{2011}87", Ok("+32472591687"));
        check("", Err(NumberError::Empty));
        check("+", Err(NumberError::Empty));
        check("32+472", Err(NumberError::MisplacedPlus));
        check("Thomas", Err(NumberError::Character('T')));
        check(&"1".repeat(33), Err(NumberError::TooLong));
    }
}

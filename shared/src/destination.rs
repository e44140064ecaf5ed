//! Which destinations may be called: patterns over numbers in international form, against toll fraud.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::numbering::Reaches;

const LONGEST: usize = 32;

/// `+` and digits, with `*` for any digits and `?` for one, such as `+32*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pattern(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is `+` and digits, with `*` for any digits and `?` for one digit, such as `+32*`")]
pub struct MalformedPattern;

impl FromStr for Pattern {
    type Err = MalformedPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix('+').ok_or(MalformedPattern)?;
        let valid = rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'*' | b'?'));
        if valid && (1..=LONGEST).contains(&rest.len()) { Ok(Self(text.to_owned())) } else { Err(MalformedPattern) }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Whether a whole number in international form is meant.
    pub fn matches(&self, number: &str) -> bool {
        let (pattern, number) = (self.0.as_bytes(), number.as_bytes());
        let (mut at, mut n) = (0, 0);
        // Where the last `*` stands, and how much of the number it takes.
        let mut star: Option<(usize, usize)> = None;
        while n < number.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, n));
                    at += 1;
                }
                Some(wanted) if *wanted == number[n] || *wanted == b'?' => (at, n) = (at + 1, n + 1),
                _ => match &mut star {
                    Some((star_at, taken)) => {
                        *taken += 1;
                        (at, n) = (*star_at + 1, *taken);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|rest| *rest == b'*')
    }
}

/// What a key or a stack says about destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Empty = everything that is not denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Pattern>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Pattern>,
}

/// What rules say about one destination, the strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judgement {
    Allowed,
    /// It may only be dialled where it is the extension of a visible user.
    OnlyInternal,
    Denied,
}

impl Rules {
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Judges whom a dialled number reaches. What cannot be judged is refused where patterns exist, unless it is an extension.
    pub fn judge(&self, reaches: &Reaches) -> Judgement {
        if self.is_empty() {
            return Judgement::Allowed;
        }
        let Some(number) = reaches.e164() else { return Judgement::OnlyInternal };
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(number));
        match (matches(&self.deny) || !(self.allow.is_empty() || matches(&self.allow)), reaches) {
            (false, _) => Judgement::Allowed,
            (true, Reaches::ExtensionOrOutside(_)) => Judgement::OnlyInternal,
            (true, _) => Judgement::Denied,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::number::DialString;
    use crate::numbering::tests::belgium;

    fn matches(pattern: &str, number: &str) -> bool {
        pattern.parse::<Pattern>().expect("a pattern").matches(number)
    }

    #[test]
    fn patterns_match_whole_numbers() {
        assert!(matches("+32*", "+32472591687"));
        assert!(matches("+32472591687", "+32472591687"));
        assert!(matches("+3247259168?", "+32472591687"));
        assert!(matches("+*87", "+32472591687"));
        assert!(matches("+32*9*7", "+32472591687"));
        assert!(!matches("+32", "+32472591687"));
        assert!(!matches("+33*", "+32472591687"));
        assert!(!matches("+3247259168??", "+32472591687"));
        for text in ["", "+", "32*", "+32-4", "*", "++3"] {
            assert_eq!(text.parse::<Pattern>(), Err(MalformedPattern), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_prefix_with_a_star_matches_what_begins_with_it(number in "\\+[0-9]{3,15}", cut in 1usize..4) {
            let pattern = format!("{}*", &number[..cut.max(2)]);
            prop_assert!(matches(&pattern, &number));
        }
    }

    #[test]
    fn deny_wins_and_an_empty_allow_list_allows() {
        let rules = |allow: &[&str], deny: &[&str]| {
            let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a pattern")).collect();
            Rules { allow: parse(allow), deny: parse(deny) }
        };
        let judge = |rules: &Rules, to: &str| {
            let number = DialString::parse(to).expect("a number");
            rules.judge(&number.route(&belgium()).expect("a route").reaches)
        };
        assert_eq!(judge(&Rules::default(), "*21#"), Judgement::Allowed);
        let belgian = rules(&["+32*"], &["+32900*"]);
        for to in ["+32 472 59 16 87", "00472591687", "00032472591687", "05551234"] {
            assert_eq!(judge(&belgian, to), Judgement::Allowed, "{to}");
        }
        for to in ["+33 1 23456", "00033123456", "+32 900 12345", "0090012345", "+32 0900 12345", "00032090012345"] {
            assert_eq!(judge(&belgian, to), Judgement::Denied, "{to}");
        }
        for to in ["50", "*210", "0#", "0", "0112", "+32", "+32 9", "+32900*", "0004412345678901234"] {
            assert_eq!(judge(&belgian, to), Judgement::OnlyInternal, "{to}");
        }
        assert_eq!(judge(&rules(&[], &["+882*"]), "+32472591687"), Judgement::Allowed);
    }
}

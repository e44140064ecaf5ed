//! What a number means on one PBX: what is dialled there, and whom that reaches.
//!
//! [`DialString::route`] is the only place that decides either, so what is matched against patterns, written into the audit
//! trail and dialled is one number. The PBX reports what it wants in front of international, national and subscriber numbers
//! (PROTOCOL §4.3: `prefixIntl`, `prefixNtl`, `prefixSubs`, trunk prefix included). So on a PBX with `000`, `00` and `0`,
//! `0900123456` is the subscriber number 900123456 of the PBX's own area, however long it is; the national number 900123456
//! is dialled with `00`.
//!
//! A national zero behind a country code (`+32 0472…`) is written by people and tolerated by some carriers. It is neither
//! judged nor dialled: else `+320900…` would pass a pattern that forbids `+32900*` and might still be connected.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::number::DialString;
use crate::number::country::{country_code, keeps_zero};

/// Digits of an international number, as ITU-T E.164 limits them. The shortest ones in use have seven.
const E164_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

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

/// A number on one PBX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What is dialled.
    pub dialled: String,
    pub reaches: Reaches,
}

/// Whom a dialled number reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaches {
    /// This number in international form, with `+`.
    Outside(String),
    /// An extension of this number; where there is none, this number in international form. So it is on a PBX that needs no
    /// prefix for an outside line.
    ExtensionOrOutside(String),
    /// An extension or a service code, a number that is not complete, or one that the PBX has told no prefixes for.
    Unknown,
}

impl Reaches {
    /// The number in international form, if it can be an outside number.
    pub fn e164(&self) -> Option<&str> {
        match self {
            Self::Outside(number) | Self::ExtensionOrOutside(number) => Some(number),
            Self::Unknown => None,
        }
    }
}

/// The PBX has told no prefix for international numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has `+`, and the PBX has told no prefix for such numbers")]
pub struct NoInternationalPrefix;

impl DialString {
    /// What to dial on this PBX, and whom it reaches.
    pub fn route(&self, prefixes: &DialPrefixes) -> Result<Route, NoInternationalPrefix> {
        let DialPrefixes { international, national, subscriber, area, country } = prefixes;
        if let Some(digits) = self.as_str().strip_prefix('+') {
            if international.is_empty() {
                return Err(NoInternationalPrefix);
            }
            return Ok(outside(international, "", digits));
        }
        let local = format!("{country}{area}");
        let mut ways = [(international, ""), (national, country.as_str()), (subscriber, local.as_str())];
        // The longest prefix is meant: `000` also begins with `00` and `0`.
        ways.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let way = ways.into_iter().find(|(prefix, _)| !prefix.is_empty() && self.as_str().starts_with(prefix.as_str()));
        let unknown = Route { dialled: self.as_str().to_owned(), reaches: Reaches::Unknown };
        Ok(match way {
            // Without the country an area says nothing.
            Some((prefix, lead)) if prefix == international || !lead.is_empty() && !country.is_empty() => {
                outside(prefix, lead, &self.as_str()[prefix.len()..])
            }
            None if subscriber.is_empty() && !country.is_empty() && !international.is_empty() => {
                match outside("", &local, self.as_str()) {
                    Route { dialled, reaches: Reaches::Outside(number) } => {
                        Route { dialled, reaches: Reaches::ExtensionOrOutside(number) }
                    }
                    _ => unknown,
                }
            }
            _ => unknown,
        })
    }

    /// Whom the number reaches. A number with `+` is one, also where the PBX has told no prefix to dial it with.
    pub fn reaches(&self, prefixes: &DialPrefixes) -> Reaches {
        match (self.route(prefixes), self.as_str().strip_prefix('+').map(e164)) {
            (Ok(route), _) => route.reaches,
            (Err(NoInternationalPrefix), Some(Ok(number))) => Reaches::Outside(number),
            (Err(NoInternationalPrefix), _) => Reaches::Unknown,
        }
    }

    /// The number in international form, where it can be an outside number on this PBX.
    pub fn to_e164(&self, prefixes: &DialPrefixes) -> Option<String> {
        self.reaches(prefixes).e164().map(str::to_owned)
    }
}

/// The route of a number that is dialled with this prefix and whose digits follow this beginning of an international one.
fn outside(prefix: &str, lead: &str, digits: &str) -> Route {
    let whole = format!("{lead}{digits}");
    match e164(&whole) {
        Ok(number) => {
            // What was taken out of it is not dialled either.
            let dialled = number.strip_prefix('+').and_then(|number| number.strip_prefix(lead)).unwrap_or(digits);
            Route { dialled: format!("{prefix}{dialled}"), reaches: Reaches::Outside(number) }
        }
        Err(whole) => Route {
            dialled: format!("{prefix}{}", whole.strip_prefix(lead).unwrap_or(digits)),
            reaches: Reaches::Unknown,
        },
    }
}

/// An international number with its `+`, or the digits that are none.
fn e164(digits: &str) -> Result<String, Cow<'_, str>> {
    let digits = without_national_zero(digits);
    let is_one = E164_DIGITS.contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    if is_one { Ok(format!("+{digits}")) } else { Err(digits) }
}

fn without_national_zero(digits: &str) -> Cow<'_, str> {
    let code = country_code(digits);
    let number = &digits[code.len()..];
    if code.is_empty() || !number.starts_with('0') || keeps_zero(code) {
        return digits.into();
    }
    format!("{code}{}", number.trim_start_matches('0')).into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn prefixes(international: &str, national: &str, subscriber: &str, area: &str, country: &str) -> DialPrefixes {
        DialPrefixes {
            international: international.to_owned(),
            national: national.to_owned(),
            subscriber: subscriber.to_owned(),
            area: area.to_owned(),
            country: country.to_owned(),
        }
    }

    /// Brussels, with a zero for an outside line.
    pub(crate) fn belgium() -> DialPrefixes {
        prefixes("000", "00", "0", "2", "32")
    }

    #[track_caller]
    fn check(prefixes: &DialPrefixes, typed: &str, dialled: &str, reaches: Reaches) {
        let route = DialString::parse(typed).expect("a number").route(prefixes);
        assert_eq!(route, Ok(Route { dialled: dialled.to_owned(), reaches }), "{typed}");
    }

    fn to(number: &str) -> Reaches {
        Reaches::Outside(number.to_owned())
    }

    #[test]
    fn numbers_of_a_pbx_with_a_trunk_prefix() {
        let pbx = belgium();
        check(&pbx, "+32 472 59 16 87", "00032472591687", to("+32472591687"));
        check(&pbx, "00032472591687", "00032472591687", to("+32472591687"));
        check(&pbx, "00472591687", "00472591687", to("+32472591687"));
        check(&pbx, "05551234", "05551234", to("+3225551234"));
        // However long it is, it is a number of the PBX's own area.
        check(&pbx, "0900123456", "0900123456", to("+322900123456"));
        check(&pbx, "00900123456", "00900123456", to("+32900123456"));
        for extension in ["50", "*21#", "7900123456"] {
            check(&pbx, extension, extension, Reaches::Unknown);
        }
    }

    #[test]
    fn a_national_zero_is_neither_judged_nor_dialled() {
        let pbx = belgium();
        check(&pbx, "+32 0900 123456", "00032900123456", to("+32900123456"));
        check(&pbx, "00032 0900 123456", "00032900123456", to("+32900123456"));
        check(&pbx, "+3200900123456", "00032900123456", to("+32900123456"));
        check(&pbx, "+44 0 20 7946 0018", "000442079460018", to("+442079460018"));
        // Here the zero is a digit like any other.
        check(&pbx, "+39 06 698 12345", "0003906698 12345".replace(' ', "").as_str(), to("+390669812345"));
        check(&pbx, "+225 01 23 45 67 89", "0002250123456789", to("+2250123456789"));
    }

    #[test]
    fn what_is_no_international_number_cannot_be_judged() {
        let pbx = belgium();
        check(&pbx, "0", "0", Reaches::Unknown);
        check(&pbx, "0112", "0112", Reaches::Unknown);
        check(&pbx, "+322", "000322", Reaches::Unknown);
        check(&pbx, "+32472*1", "00032472*1", Reaches::Unknown);
        check(&pbx, "+3247259168712345", "0003247259168712345", Reaches::Unknown);
        check(&pbx, "000", "000", Reaches::Unknown);
        check(&pbx, "0000472591687", "0000472591687", Reaches::Unknown);
    }

    #[test]
    fn a_pbx_without_a_prefix_for_a_line_calls_extensions_first() {
        let pbx = prefixes("00", "0", "", "2", "32");
        check(&pbx, "+32472591687", "0032472591687", to("+32472591687"));
        check(&pbx, "0472591687", "0472591687", to("+32472591687"));
        check(&pbx, "5551234", "5551234", Reaches::ExtensionOrOutside("+3225551234".to_owned()));
        check(&pbx, "50", "50", Reaches::Unknown);
    }

    #[test]
    fn a_country_without_area_codes_has_no_area() {
        let pbx = prefixes("900", "9", "9", "", "45");
        check(&pbx, "9 32 12 34 56", "932123456", to("+4532123456"));
        check(&pbx, "+45 32 12 34 56", "9004532123456", to("+4532123456"));
    }

    #[test]
    fn a_pbx_that_has_told_nothing_dials_what_it_is_given() {
        let pbx = DialPrefixes::default();
        check(&pbx, "0472591687", "0472591687", Reaches::Unknown);
        let plus = DialString::parse("+32472591687").expect("a number");
        assert_eq!(plus.route(&pbx), Err(NoInternationalPrefix));
        assert_eq!(plus.to_e164(&pbx).as_deref(), Some("+32472591687"));
        // A prefix without the country says how to dial, not where to.
        let pbx = prefixes("000", "00", "0", "2", "");
        check(&pbx, "0472591687", "0472591687", Reaches::Unknown);
    }
}

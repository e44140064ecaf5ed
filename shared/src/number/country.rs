//! Country codes, and what a zero behind one means.

/// The country codes of two digits (ITU-T E.164, list of assigned codes). 1 and 7 have one, all others three.
const TWO_DIGIT_CODES: [&str; 44] = [
    "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48", "49", "51",
    "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81", "82", "84", "86", "90",
    "91", "92", "93", "94", "95", "98",
];

/// Countries whose numbers may begin with a zero that belongs to them: Italy and the Vatican, Côte d'Ivoire, Gabon,
/// the Republic of the Congo, San Marino.
const ZERO_BELONGS_TO_THE_NUMBER: [&str; 5] = ["39", "225", "241", "242", "378"];

/// The country code that an international number begins with; empty if there are not enough digits.
pub(crate) fn country_code(digits: &str) -> &str {
    let length = match digits.get(..2) {
        _ if digits.starts_with(['1', '7']) => 1,
        Some(two) if TWO_DIGIT_CODES.contains(&two) => 2,
        _ => 3,
    };
    digits.get(..length).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or_default()
}

/// Whether a zero behind this country code belongs to the number.
pub(crate) fn keeps_zero(country_code: &str) -> bool {
    ZERO_BELONGS_TO_THE_NUMBER.contains(&country_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn country_codes_have_one_to_three_digits() {
        for (digits, code) in
            [("12025550123", "1"), ("74951234567", "7"), ("32472", "32"), ("3519", "351"), ("98", "98"), ("35", "")]
        {
            assert_eq!(country_code(digits), code, "{digits}");
        }
    }
}

//! DynamoDB's numbers: up to 38 significant digits, exact, between 1E-130 and 9.99E+125.

use std::cmp::Ordering;
use std::fmt;

const DIGITS: u32 = 38;
const LARGEST_EXPONENT: i32 = 125;
const SMALLEST_EXPONENT: i32 = -130;

/// `coefficient × 10^exponent`, without trailing zeros in the coefficient, so that equal numbers are equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Number {
    coefficient: i128,
    exponent: i32,
}

/// Why a text is not a number that DynamoDB stores, in its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberError {
    NotANumber,
    TooManyDigits,
    TooLarge,
    TooSmall,
}

impl fmt::Display for NumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "A value provided cannot be converted into a number",
            Self::TooManyDigits => "Attempting to store more than 38 significant digits in a Number",
            Self::TooLarge => {
                "Number overflow. Attempting to store a number with magnitude larger than supported range"
            }
            Self::TooSmall => {
                "Number underflow. Attempting to store a number with magnitude smaller than supported range"
            }
        })
    }
}

impl Number {
    pub(crate) fn parse(text: &str) -> Result<Self, NumberError> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse().map_err(|_| NumberError::NotANumber)?),
            None => (text, 0_i32),
        };
        let (negative, mantissa) = match mantissa.as_bytes().first() {
            Some(b'-') => (true, &mantissa[1..]),
            Some(b'+') => (false, &mantissa[1..]),
            _ => (false, mantissa),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(NumberError::NotANumber);
        }
        let exponent = exponent.saturating_sub(i32::try_from(fraction.len()).unwrap_or(i32::MAX));
        let significant = digits.trim_start_matches('0');
        let trimmed = significant.trim_end_matches('0');
        if trimmed.is_empty() {
            return Ok(Self { coefficient: 0, exponent: 0 });
        }
        if trimmed.len() > DIGITS as usize {
            return Err(NumberError::TooManyDigits);
        }
        let zeros = i32::try_from(significant.len() - trimmed.len()).unwrap_or(i32::MAX);
        let coefficient: i128 = trimmed.parse().map_err(|_| NumberError::NotANumber)?;
        Self {
            coefficient: if negative { -coefficient } else { coefficient },
            exponent: exponent.saturating_add(zeros),
        }
        .in_range()
    }

    fn in_range(self) -> Result<Self, NumberError> {
        let magnitude = self.exponent.saturating_add(self.digits() as i32 - 1);
        match magnitude {
            _ if self.coefficient == 0 => Ok(self),
            LARGEST_EXPONENT.. if magnitude > LARGEST_EXPONENT => Err(NumberError::TooLarge),
            _ if magnitude < SMALLEST_EXPONENT => Err(NumberError::TooSmall),
            _ => Ok(self),
        }
    }

    fn digits(self) -> u32 {
        self.coefficient.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1)
    }

    fn normalised(mut coefficient: i128, mut exponent: i32) -> Result<Self, NumberError> {
        if coefficient == 0 {
            return Ok(Self { coefficient: 0, exponent: 0 });
        }
        while coefficient % 10 == 0 {
            coefficient /= 10;
            exponent += 1;
        }
        let sum = Self { coefficient, exponent };
        if sum.digits() > DIGITS { Err(NumberError::TooManyDigits) } else { sum.in_range() }
    }

    pub(crate) fn add(self, other: Self) -> Result<Self, NumberError> {
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        if high.coefficient == 0 {
            return Ok(low);
        }
        let shift = u32::try_from(high.exponent - low.exponent).unwrap_or(u32::MAX);
        let aligned = 10_i128.checked_pow(shift).and_then(|power| high.coefficient.checked_mul(power));
        let sum = aligned.and_then(|aligned| aligned.checked_add(low.coefficient));
        Self::normalised(sum.ok_or(NumberError::TooManyDigits)?, low.exponent)
    }

    pub(crate) fn subtract(self, other: Self) -> Result<Self, NumberError> {
        self.add(Self { coefficient: -other.coefficient, ..other })
    }

    /// About what AWS says: a byte for two significant digits, one more, and one for the sign.
    pub(crate) fn size(self) -> usize {
        if self.coefficient == 0 {
            return 1;
        }
        self.digits().div_ceil(2) as usize + 1 + usize::from(self.coefficient < 0)
    }

    /// The whole number, as which a time to live is read; none if it is not one.
    pub(crate) fn as_i64(self) -> Option<i64> {
        let power = 10_i128.checked_pow(u32::try_from(self.exponent).ok()?)?;
        i64::try_from(self.coefficient.checked_mul(power)?).ok()
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        // A u64 has at most 20 digits.
        Self::normalised(i128::from(value), 0).unwrap_or(Self { coefficient: 0, exponent: 0 })
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = self.coefficient.signum().cmp(&other.coefficient.signum());
        if sign != Ordering::Equal || self.coefficient == 0 {
            return sign;
        }
        let magnitude = |number: &Self| number.exponent + number.digits() as i32;
        // Both coefficients as if they had all digits.
        let full = |number: &Self| number.coefficient.unsigned_abs() * 10_u128.pow(DIGITS - number.digits());
        let absolute = magnitude(self).cmp(&magnitude(other)).then_with(|| full(self).cmp(&full(other)));
        if self.coefficient < 0 { absolute.reverse() } else { absolute }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digits, sign) = (self.coefficient.unsigned_abs().to_string(), if self.coefficient < 0 { "-" } else { "" });
        let point = digits.len() as i32 + self.exponent;
        match usize::try_from(point) {
            Ok(point) if point >= digits.len() => write!(f, "{sign}{digits:0<point$}"),
            Ok(point) if point > 0 => write!(f, "{sign}{}.{}", &digits[..point], &digits[point..]),
            _ => write!(f, "{sign}0.{:0>width$}", digits, width = self.exponent.unsigned_abs() as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).expect(text)
    }

    #[test]
    fn the_same_number_is_the_same_value() {
        for (a, b) in [("1", "1.0"), ("100", "1e2"), ("-0", "0"), ("0.10", "1E-1"), ("+7", "007")] {
            assert_eq!(number(a), number(b), "{a} = {b}");
        }
        for text in ["0", "1", "-12", "1700000000000", "0.001", "-3.14", "99999999999999999999999999999999999999"] {
            assert_eq!(number(text).to_string(), text);
        }
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        let ordered = ["-1e10", "-2", "-1.5", "0", "1e-100", "0.5", "9", "10", "10.01", "1e38", "1e125"];
        for pair in ordered.windows(2) {
            assert!(number(pair[0]) < number(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn sums_are_exact_or_refused() {
        assert_eq!(number("0.1").add(number("0.2")), Ok(number("0.3")));
        assert_eq!(number("5").subtract(number("7")), Ok(number("-2")));
        assert_eq!(number("1e40").add(number("1")), Err(NumberError::TooManyDigits));
        assert_eq!(number("0").add(number("1e-100")), Ok(number("1e-100")));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(Number::parse("1e126"), Err(NumberError::TooLarge));
        assert_eq!(Number::parse("1e-131"), Err(NumberError::TooSmall));
        assert_eq!(Number::parse(&"1".repeat(39)), Err(NumberError::TooManyDigits));
        for text in ["", "-", "x", "1x", "1e", ".", "NaN"] {
            assert_eq!(Number::parse(text), Err(NumberError::NotANumber), "{text}");
        }
    }
}

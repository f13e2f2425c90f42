//! Exact decimal numbers, for numerical policies.
//!
//! Flux compares `float64` values, so that 17-digit timestamps a few milliseconds apart are equal to it. Here every
//! digit counts. The texts that are accepted are those of Go's `strconv.ParseFloat`, without the ones that no
//! decimal can hold: infinities, not-a-number, and hexadecimal mantissas.

use std::cmp::Ordering;

/// A finite decimal number of any precision.
///
/// The value is `0.d₁d₂…dₙ × 10^exponent`, negative or not. The digits start and end with a non-zero one, so each
/// value has one form; zero has no digits, no sign and exponent 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    exponent: i64,
    digits: Box<str>,
}

/// Why a text is not a decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// It is no number.
    #[error("it is not a decimal number")]
    Syntax,
    /// An infinity or not-a-number, which Go's `ParseFloat` accepts but cannot order sensibly.
    #[error("infinities and NaN have no place in an order")]
    NotFinite,
    /// A hexadecimal number, which Go's `ParseFloat` accepts with a `p` exponent.
    #[error("hexadecimal numbers are not supported")]
    Hexadecimal,
    /// Go's `ParseFloat` refuses it: it is beyond the range of a `float64`.
    #[error("value out of range (beyond 1.8e308)")]
    OutOfRange,
}

impl Decimal {
    /// Reads `[+-]digits[.digits][e[+-]digits]`, with at least one digit before the exponent and `_` allowed between
    /// two digits, as `strconv.ParseFloat` does.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let (negative, unsigned) = split_sign(text);
        refuse_special(unsigned, unsigned.len() < text.len())?;
        let unsigned = without_underscores(unsigned).ok_or(DecimalError::Syntax)?;
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent).ok_or(DecimalError::Syntax)?),
            None => (unsigned.as_str(), 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return Err(DecimalError::Syntax);
        }
        let number = Self::normalised(negative, whole, fraction, exponent);
        if number.exceeds_float64() { Err(DecimalError::OutOfRange) } else { Ok(number) }
    }

    fn normalised(negative: bool, whole: &str, fraction: &str, exponent: i64) -> Self {
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        let leading_zeros = all.len() - significant.len();
        let digits = significant.trim_end_matches('0');
        if digits.is_empty() {
            return Self { negative: false, exponent: 0, digits: "".into() };
        }
        // Saturation keeps absurd exponents comparable.
        let signed = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        let exponent = exponent.saturating_add(signed(whole.len())).saturating_sub(signed(leading_zeros));
        Self { negative, exponent, digits: digits.into() }
    }

    /// Whether Go would round the value to infinity, which `ParseFloat` reports as an error.
    fn exceeds_float64(&self) -> bool {
        match self.exponent.cmp(&309) {
            Ordering::Less => false,
            Ordering::Greater => true,
            // The float serves to find the range alone: both languages round to nearest even.
            Ordering::Equal => format!("0.{}e309", self.digits).parse::<f64>().is_ok_and(f64::is_infinite),
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        // Without leading and trailing zeros, digits after the point compare as text.
        let magnitude = || (self.exponent, &self.digits).cmp(&(other.exponent, &other.digits));
        sign(self)
            .cmp(&sign(other))
            .then_with(|| if self.negative { magnitude().reverse() } else { magnitude() })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Names what `ParseFloat` accepts and a decimal cannot hold; a signed `nan` is no number in Go either.
fn refuse_special(unsigned: &str, signed: bool) -> Result<(), DecimalError> {
    let lower = unsigned.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "infinity" => Err(DecimalError::NotFinite),
        "nan" if !signed => Err(DecimalError::NotFinite),
        _ if lower.starts_with("0x") => Err(DecimalError::Hexadecimal),
        _ => Ok(()),
    }
}

/// Go's rule (`strconv.underscoreOK`): an underscore stands between two digits.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit_at = |index: Option<usize>| index.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_digit);
    let misplaced = bytes
        .iter()
        .enumerate()
        .any(|(i, byte)| *byte == b'_' && !(digit_at(i.checked_sub(1)) && digit_at(Some(i + 1))));
    if misplaced { None } else { Some(text.replace('_', "")) }
}

fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return None;
    }
    let magnitude = digits.bytes().try_fold(0_i64, |value, byte| {
        byte.is_ascii_digit().then(|| value.saturating_mul(10).saturating_add(i64::from(byte - b'0')))
    })?;
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_digit_counts() {
        let ascending = [
            "-1e300",
            "-2",
            "-1.5",
            "-1",
            "-0.1",
            "0",
            "1e-99999999999999999999",
            "1e-400",
            "1e-5",
            "0.1",
            "0.11",
            "1",
            "1.0000000000000000000000001",
            "2",
            "10",
            "99",
            "20250101120000001",
            "20250101120000002",
            "1e300",
        ];
        for (i, left) in ascending.iter().enumerate() {
            for (j, right) in ascending.iter().enumerate() {
                assert_eq!(number(left).cmp(&number(right)), i.cmp(&j), "{left} against {right}");
            }
        }
    }

    #[test]
    fn spellings_of_one_value_are_equal() {
        for (left, right) in [
            ("1", "01"),
            ("1", "+1.0"),
            ("1", "10e-1"),
            ("100", "1e2"),
            ("0", "-0"),
            ("0", "0e99999999999999999999"),
            ("0", ".0"),
            ("5", "5."),
            ("0.5", ".5"),
            ("1000", "1_000"),
            ("12", "0.00012E5"),
        ] {
            assert_eq!(number(left), number(right), "{left} and {right}");
        }
    }

    #[test]
    fn texts_are_refused_by_cause() {
        for text in [
            "", "+", "-", ".", "e5", "1e", "1e+", "1..2", "1 ", "v1", "_1", "1_", "1__0", "1_.5", "1e5.0",
            "+nan", "0b1", "٣",
        ] {
            assert_eq!(Decimal::parse(text), Err(DecimalError::Syntax), "{text}");
        }
        for text in ["inf", "+Inf", "-INFINITY", "NaN"] {
            assert_eq!(Decimal::parse(text), Err(DecimalError::NotFinite), "{text}");
        }
        for text in ["0x1p4", "-0X1P4", "0x10"] {
            assert_eq!(Decimal::parse(text), Err(DecimalError::Hexadecimal), "{text}");
        }
        for text in ["1e999", "-1e309", "1.7976931348623159e308", "1e99999999999999999999"] {
            assert_eq!(Decimal::parse(text), Err(DecimalError::OutOfRange), "{text}");
        }
        assert!(Decimal::parse("1.7976931348623157e308").is_ok());
    }
}

//! Durations as Flux writes them. Owns the grammar and the sum; it never chooses a default.
//!
//! Grammar: `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$` (fluxcd/pkg, `metav1.Duration` fields); timeouts have no hours.

use std::time::Duration;

/// Go's `time.Duration` is a signed 64-bit count of nanoseconds: about 292 years.
const MAX_NANOSECONDS: u128 = i64::MAX as u128;
/// Digits beyond this are either beyond [`MAX_NANOSECONDS`] or below a nanosecond.
const MAX_DIGITS: usize = 20;

/// Whether hours are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Units {
    /// `ms`, `s`, `m`, `h`: intervals.
    WithHours,
    /// `ms`, `s`, `m`: timeouts.
    UpToMinutes,
}

/// Parses a duration of more than zero.
pub(super) fn parse(text: &str, units: Units) -> Result<Duration, InvalidDuration> {
    let shape = || InvalidDuration::Shape(super::fields::shown(text), units);
    if text.is_empty() {
        return Err(shape());
    }
    let mut total: u128 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (nanoseconds, after) = term(rest, units).ok_or_else(shape)?;
        total = total.saturating_add(nanoseconds);
        rest = after;
    }
    match total {
        0 => Err(InvalidDuration::Zero),
        1..=MAX_NANOSECONDS => {
            u64::try_from(total).map(Duration::from_nanos).map_err(|_| InvalidDuration::TooLong)
        }
        _ => Err(InvalidDuration::TooLong),
    }
}

/// One number with its unit, in nanoseconds, and what follows it.
fn term(text: &str, units: Units) -> Option<(u128, &str)> {
    let (whole, rest) = digits(text)?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest)?,
        None => ("", rest),
    };
    let (unit, rest) = unit(rest, units)?;
    if whole.trim_start_matches('0').len() > MAX_DIGITS {
        return Some((u128::MAX, rest));
    }
    let whole: u128 = whole.parse().ok()?;
    let mut nanoseconds = whole.saturating_mul(unit);
    let mut scale = unit;
    for digit in fraction.bytes().take(MAX_DIGITS) {
        scale /= 10;
        nanoseconds = nanoseconds.saturating_add(scale * u128::from(digit - b'0'));
    }
    Some((nanoseconds, rest))
}

fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn unit(text: &str, units: Units) -> Option<(u128, &str)> {
    const MILLISECOND: u128 = 1_000_000;
    const SECOND: u128 = 1_000 * MILLISECOND;
    if let Some(rest) = text.strip_prefix("ms") {
        Some((MILLISECOND, rest))
    } else if let Some(rest) = text.strip_prefix('s') {
        Some((SECOND, rest))
    } else if let Some(rest) = text.strip_prefix('m') {
        Some((60 * SECOND, rest))
    } else if units == Units::WithHours {
        text.strip_prefix('h').map(|rest| (3_600 * SECOND, rest))
    } else {
        None
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidDuration {
    /// Not the grammar.
    #[error("`{0}` is not a duration: write a number with a unit ({units}), for example `{example}`",
        units = if *.1 == Units::WithHours { "ms, s, m, h" } else { "ms, s, m; hours are not allowed here" },
        example = if *.1 == Units::WithHours { "1h30m" } else { "90s" })]
    Shape(String, Units),
    /// Nothing.
    #[error("must be more than zero")]
    Zero,
    /// More than Go can hold.
    #[error("is too long: at most 2562047h (292 years)")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sum_their_terms() {
        for (text, milliseconds) in [
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("90s", 90_000),
            ("250ms", 250),
            ("0.25s", 250),
            ("1m1m", 120_000),
            ("0h1s", 1_000),
            ("00001s", 1_000),
        ] {
            assert_eq!(parse(text, Units::WithHours), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in ["", "5", "m", "5 m", "-5m", "+5m", "5d", "1us", "1.s", ".5s", "1h ", "5M", "1ns", "٥m"]
        {
            assert!(matches!(parse(text, Units::WithHours), Err(InvalidDuration::Shape(..))), "{text}");
        }
        assert!(matches!(parse("1h", Units::UpToMinutes), Err(InvalidDuration::Shape(..))));
        assert_eq!(parse("0s", Units::WithHours), Err(InvalidDuration::Zero));
        assert_eq!(parse("0.0000000001s", Units::WithHours), Err(InvalidDuration::Zero));
        assert_eq!(parse("2562048h", Units::WithHours), Err(InvalidDuration::TooLong));
        assert_eq!(parse(&format!("{}s", "9".repeat(500)), Units::WithHours), Err(InvalidDuration::TooLong));
    }
}

//! What a plain scalar means. Owns the typing rules alone; it never looks at a field's name.
//!
//! Rules: YAML 1.2.2 core schema (section 10.3.2), widened by the YAML 1.1 forms that Kubernetes' own YAML reader
//! types (`0o17`, `0b1`, `1_000`), so that a text which `kubectl apply` would read as a number is never taken for a
//! string here. The 1.1 booleans (`yes`, `on`, …) are told apart because the two versions disagree about them.

/// The type of a plain (unquoted, untagged) scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A boolean in YAML 1.1 and a string in YAML 1.2: `yes`, `no`, `on`, `off`.
    Disputed,
    /// An integer or a float.
    Number,
    /// Anything else.
    Text,
}

/// Types a plain scalar.
pub(super) fn classify(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
        "true" | "True" | "TRUE" => Plain::Bool(true),
        "false" | "False" | "FALSE" => Plain::Bool(false),
        "yes" | "Yes" | "YES" | "no" | "No" | "NO" | "on" | "On" | "ON" | "off" | "Off" | "OFF" => {
            Plain::Disputed
        }
        _ if is_number(text) => Plain::Number,
        _ => Plain::Text,
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let radix_digits = |prefix: &str, radix: u32| {
        unsigned.strip_prefix(prefix).is_some_and(|digits| {
            digits.chars().any(|c| c != '_') && digits.chars().all(|c| c == '_' || c.is_digit(radix))
        })
    };
    radix_digits("0x", 16) || radix_digits("0o", 8) || radix_digits("0b", 2) || is_decimal(unsigned)
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, with underscores between digits.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let some_digits = |part: &str| digits(part) && part.bytes().any(|b| b.is_ascii_digit());
    let mantissa_ok = mantissa.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && match mantissa.split_once('.') {
            Some(("", fraction)) => some_digits(fraction),
            Some((whole, fraction)) => some_digits(whole) && digits(fraction),
            None => some_digits(mantissa),
        };
    mantissa_ok && exponent.is_none_or(|e| some_digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_typed_as_kubernetes_types_them() {
        for (text, expected) in [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("null", Plain::Null),
            ("nUll", Plain::Text),
            ("true", Plain::Bool(true)),
            ("FALSE", Plain::Bool(false)),
            ("yes", Plain::Disputed),
            ("Off", Plain::Disputed),
            ("y", Plain::Text),
            ("1", Plain::Number),
            ("-1.10", Plain::Number),
            ("1.", Plain::Number),
            (".5", Plain::Number),
            ("+.inf", Plain::Number),
            (".nan", Plain::Number),
            ("1e3", Plain::Number),
            ("1_000", Plain::Number),
            ("0x1F", Plain::Number),
            ("0o17", Plain::Number),
            ("0b10", Plain::Number),
            ("0755", Plain::Number),
            ("1.2.3", Plain::Text),
            ("1.x", Plain::Text),
            ("_1", Plain::Text),
            (".", Plain::Text),
            ("e3", Plain::Text),
            ("1e", Plain::Text),
            ("0x", Plain::Text),
            ("0xg", Plain::Text),
            ("5m", Plain::Text),
            ("2026-11-23", Plain::Text),
            ("é", Plain::Text),
        ] {
            assert_eq!(classify(text), expected, "{text:?}");
        }
    }
}

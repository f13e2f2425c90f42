//! How a text is written as a YAML scalar on one line, in the style that is there.

use granit_parser::{ScalarStyle, Tag};

/// Tags of the `tag:yaml.org,2002:` repository that leave a scalar text.
const TEXT_TAG: &str = "str";
const YAML_TAGS: &str = "tag:yaml.org,2002:";

/// The styles that fit on one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Single,
    Double,
}

impl Style {
    /// Block scalars have none.
    pub(crate) fn of(style: ScalarStyle) -> Option<Self> {
        match style {
            ScalarStyle::Plain => Some(Style::Plain),
            ScalarStyle::SingleQuoted => Some(Style::Single),
            ScalarStyle::DoubleQuoted => Some(Style::Double),
            ScalarStyle::Literal | ScalarStyle::Folded => None,
        }
    }
}

/// What surrounds the scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Between `[` and `]` or `{` and `}`.
    pub(crate) in_flow: bool,
    /// An explicit tag precedes it, which fixes its type.
    pub(crate) tagged: bool,
}

/// The tag, as written, if it says that the scalar is not text: `!!float`, but not `!!str`, `!` or an application's own.
pub(crate) fn other_type(tag: Option<&Tag>) -> Option<String> {
    let tag = tag.filter(|tag| tag.suffix_in_namespace(YAML_TAGS).is_some_and(|name| name != TEXT_TAG));
    tag.map(Tag::original)
}

/// Whether plain style would leave `text` a string; see [`write()`].
pub(crate) fn is_text(text: &str, tagged: bool) -> bool {
    tagged || is_string(text)
}

/// Writes `text` in `style`. A plain scalar gets double quotes only where plain style would change its type or
/// meaning. Fails with the first character that a scalar on one line cannot hold as it is.
pub(crate) fn write(text: &str, style: Style, around: Surroundings) -> Result<String, char> {
    if let Some(bad) = text.chars().find(|&c| !is_writable(c)) {
        return Err(bad);
    }
    Ok(match style {
        Style::Single => format!("'{}'", text.replace('\'', "''")),
        Style::Plain if is_plain(text, around.in_flow) && (around.tagged || is_string(text)) => {
            text.to_owned()
        }
        Style::Plain | Style::Double => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    })
}

/// Printable in YAML 1.1 and 1.2 without an escape, and no line break in either.
fn is_writable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Whether the syntax of plain scalars takes this text (YAML 1.2.2, section 7.3.3), on the side of caution.
fn is_plain(text: &str, in_flow: bool) -> bool {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return false };
    let second = chars.next();
    let indicator = match first {
        // These start a plain scalar where a visible character follows.
        '-' | '?' | ':' => second.is_none_or(|c| c == ' ' || is_flow_indicator(c)),
        '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' | '=' | ' ' => true,
        c => is_flow_indicator(c),
    };
    !indicator
        && !text.starts_with("---")
        && !text.starts_with("...")
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !(in_flow && text.contains(is_flow_indicator))
        && text.chars().all(|c| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric())
}

fn is_flow_indicator(c: char) -> bool {
    matches!(c, ',' | '[' | ']' | '{' | '}')
}

/// Whether a plain scalar of this text is a string both in YAML 1.1 (its type repository, as libyaml's and Go's
/// parsers read it) and in YAML 1.2 (section 10.3.2, core schema).
fn is_string(text: &str) -> bool {
    !is_word(text) && !is_number(text) && !is_timestamp(text)
}

/// Null, the booleans, and the merge and value keys.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 8] = ["null", "true", "false", "yes", "no", "on", "off", "y"];
    // All spellings are taken, also those that no schema has (`nULL`): quoting them is harmless.
    matches!(text, "" | "~" | "<<" | "=" | "n" | "N")
        || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn is_number(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    // YAML 1.1 allows `_` between digits.
    let body = body.replace('_', "").to_ascii_lowercase();
    let digits_of = |prefix: &str, radix: u32| {
        body.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    matches!(body.as_str(), ".inf" | ".nan")
        || digits_of("0x", 16)
        || digits_of("0o", 8)
        || digits_of("0b", 2)
        || is_decimal(&body)
        || is_sexagesimal(&body)
}

/// `12`, `1.20`, `.5`, `1.`, `1e3`, `1.5e-3`; any leading zeros.
fn is_decimal(body: &str) -> bool {
    let (mantissa, exponent) = match body.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (body, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent.is_none_or(|digits| !digits.is_empty() && all_digits(digits))
        && all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
}

/// YAML 1.1's base 60: `1:30`, `190:20:30.15`.
fn is_sexagesimal(body: &str) -> bool {
    let mut parts = body.split_once('.').map_or(body, |(whole, _)| whole).split(':');
    let fraction = body.split_once('.').map_or("", |(_, fraction)| fraction);
    let first = parts.next().unwrap_or_default();
    let mut rest = parts.peekable();
    !first.is_empty()
        && all_digits(first)
        && all_digits(fraction)
        && rest.peek().is_some()
        && rest
            .all(|part| matches!(part.len(), 1 | 2) && all_digits(part) && (part.len() == 1 || part < "60"))
}

/// `2024-1-5`, `2024-01-15`, and these with a time of day.
fn is_timestamp(text: &str) -> bool {
    let end = text.find(['T', 't', ' ', '\t']).unwrap_or(text.len());
    let (date, time) = text.split_at(end);
    let mut parts = date.split('-');
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let short = |part: &str| matches!(part.len(), 1 | 2) && all_digits(part);
    let is_date = year.len() == 4 && all_digits(year) && short(month) && short(day);
    is_date
        && (time.is_empty() || time[1..].trim_start().split_once(':').is_some_and(|(hour, _)| short(hour)))
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Surroundings = Surroundings { in_flow: false, tagged: false };
    const FLOW: Surroundings = Surroundings { in_flow: true, tagged: false };
    const TAGGED: Surroundings = Surroundings { in_flow: false, tagged: true };

    #[test]
    fn what_images_look_like_stays_plain() {
        let digest = format!("1.2.3@sha256:{}", "0".repeat(64));
        for text in [
            "1.2.3",
            "v1.20",
            "latest",
            "nginx:1.20",
            "ghcr.io/org/app:1.0.0@sha256:abc",
            "localhost:5000/app:1",
            "2024.01.15",
            "2024-01-15-abc",
            "20240115-1200",
            "main-1a2b3c4-1700000000",
            "1.20-alpine",
            "_1",
            "0xg",
            "1e",
            "1e3a",
            "e3",
            "127.0.0.1:5000/a",
            "nullable",
            "yes-1",
            "1:60",
            "1:2:333",
            "2024-1",
            "01-02-03",
            "a#b",
            "a:b",
            "-a",
            ":a",
            "é",
            "1.2.3e4",
            "0b2",
            "0o9",
            "12:30:45.1.2",
            "..",
            "2024-01-15T10",
            &digest,
        ] {
            assert_eq!(write(text, Style::Plain, BLOCK).unwrap(), text);
            assert_eq!(write(text, Style::Plain, FLOW).unwrap(), text);
        }
    }

    #[test]
    fn what_would_be_another_type_is_quoted() {
        for text in [
            "1.20",
            "1e3",
            "1E3",
            "1234e567",
            "1.5e-3",
            "+1",
            "-1",
            "0x1f",
            "0X1F",
            "0o17",
            "0b101",
            "017",
            "08",
            "1_000",
            ".5",
            "1.",
            "+.inf",
            ".NaN",
            "yes",
            "No",
            "ON",
            "off",
            "y",
            "N",
            "true",
            "False",
            "null",
            "Null",
            "~",
            "",
            "<<",
            "=",
            "1:30",
            "190:20:30",
            "1:30.5",
            "20240115",
            "2024-01-15",
            "2024-1-5",
            "2024-01-15T10:00:00Z",
            "2024-01-15 10:00:00",
            "2001-12-14t21:59:43.10-05:00",
            "00",
            "0",
        ] {
            assert_eq!(write(text, Style::Plain, BLOCK).unwrap(), format!("\"{text}\""), "{text}");
            // An explicit tag decides on the type, so that only syntax asks for quotes.
            let syntax = text.is_empty() || text.starts_with('=');
            assert_eq!(write(text, Style::Plain, TAGGED).unwrap() == text, !syntax, "{text}");
        }
    }

    #[test]
    fn what_plain_syntax_cannot_hold_is_quoted() {
        for text in [
            "[::1]:5000/app",
            "{a",
            "- a",
            "-",
            "?",
            ":",
            "#a",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "'a",
            "%a",
            "@a",
            "`a",
            "a: b",
            "a:",
            "a #b",
            " a",
            "a ",
            "---",
            "--- a",
            "...",
            "... a",
            ",a",
            "\u{1f600}",
        ] {
            assert_eq!(write(text, Style::Plain, BLOCK).unwrap(), format!("\"{text}\""), "{text}");
        }
        assert_eq!(write("\"a\\", Style::Plain, BLOCK).unwrap(), r#""\"a\\""#);
        for text in ["a,b", "a]", "a}b", "a[0]", "-,", "?]"] {
            assert_eq!(write(text, Style::Plain, FLOW).unwrap(), format!("\"{text}\""), "{text}");
        }
        assert_eq!(write("a,b", Style::Plain, BLOCK).unwrap(), "a,b");
    }

    #[test]
    fn quotes_are_kept_and_escaped() {
        assert_eq!(write("it's", Style::Single, BLOCK).unwrap(), "'it''s'");
        assert_eq!(write("a", Style::Single, FLOW).unwrap(), "'a'");
        assert_eq!(write(r#"a"b\c"#, Style::Double, BLOCK).unwrap(), r#""a\"b\\c""#);
    }

    #[test]
    fn control_characters_and_line_breaks_are_refused() {
        for bad in ['\n', '\r', '\t', '\0', '\u{85}', '\u{2028}', '\u{feff}'] {
            for style in [Style::Plain, Style::Single, Style::Double] {
                assert_eq!(write(&format!("a{bad}b"), style, BLOCK), Err(bad));
            }
        }
    }
}

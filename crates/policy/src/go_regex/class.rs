//! Character classes and escapes: each is written out as ranges of code points, but for Unicode's tables.

use std::fmt::Write as _;

use super::translate::{Flags, error};
use super::{GoRegexError, GoRegexErrorKind as Kind};

/// Go's `\d`, `\s`, `\w` (ASCII; `\s` is without the vertical tab) and the POSIX classes, as ranges.
const NAMED: [(&str, &str); 17] = [
    ("d", "0-9"),
    ("s", r"\t\n\x0c\r "),
    ("w", "0-9A-Za-z_"),
    ("alnum", "0-9A-Za-z"),
    ("alpha", "A-Za-z"),
    ("ascii", r"\x00-\x7f"),
    ("blank", r"\t "),
    ("cntrl", r"\x00-\x1f\x7f"),
    ("digit", "0-9"),
    ("graph", r"\x21-\x7e"),
    ("lower", "a-z"),
    ("print", r"\x20-\x7e"),
    ("punct", r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e"),
    ("space", r"\t\n\x0b\x0c\r "),
    ("upper", "A-Z"),
    ("word", "0-9A-Za-z_"),
    ("xdigit", "0-9A-Fa-f"),
];

fn named(name: &str, negated: bool) -> Option<String> {
    let (_, ranges) = NAMED.iter().find(|(known, _)| *known == name)?;
    Some(format!("[{}{ranges}]", if negated { "^" } else { "" }))
}

/// An expression that holds under `(?i)`, where that is set.
pub(super) fn folded(text: &str, flags: Flags) -> String {
    if flags.fold_case { format!("(?i:{text})") } else { text.to_owned() }
}

/// One character. A surrogate, which Go's escapes can name, is in no text.
pub(super) fn literal(code: u32, flags: Flags) -> String {
    match char::from_u32(code) {
        Some(c) if !c.is_alphabetic() => format!(r"\x{{{code:X}}}"),
        Some(_) => folded(&format!(r"\x{{{code:X}}}"), flags),
        None => NOTHING.to_owned(),
    }
}

/// A class without members.
const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

/// `\d`, `\pL` and their like at the start of the text, in or outside brackets.
pub(super) fn shorthand(text: &str) -> Result<Option<(String, &str)>, GoRegexError> {
    let Some(letter) = text.strip_prefix('\\').and_then(|rest| rest.chars().next()) else { return Ok(None) };
    match letter {
        'd' | 's' | 'w' => Ok(named(&letter.to_string(), false).map(|class| (class, &text[2..]))),
        'D' | 'S' | 'W' => {
            Ok(named(&letter.to_ascii_lowercase().to_string(), true).map(|class| (class, &text[2..])))
        }
        'p' | 'P' => unicode(text).map(Some),
        _ => Ok(None),
    }
}

/// `\pN`, `\p{Greek}`, `\p{^Greek}`, `\P{Greek}`.
fn unicode(text: &str) -> Result<(String, &str), GoRegexError> {
    let invalid = |fragment| error(Kind::InvalidCharRange, fragment);
    let body = &text[2..];
    let (name, rest) = match body.chars().next() {
        None => return Err(invalid(text)),
        Some('{') => body[1..].split_once('}').ok_or_else(|| invalid(text))?,
        Some(c) => body.split_at(c.len_utf8()),
    };
    let (caret, name) = match name.strip_prefix('^') {
        Some(name) => (true, name),
        None => (false, name),
    };
    let negated = caret != text.starts_with(r"\P");
    let table = unicode_table(name).ok_or_else(|| invalid(&text[..text.len() - rest.len()]))?;
    Ok((format!("[{}{table}]", if negated { "^" } else { "" }), rest))
}

/// Go looks a name up among `Any`, `ASCII`, `Assigned`, the general categories with their aliases, and the scripts,
/// ignoring case, `_`, `-` and spaces. The `regex` crate knows further properties, which Go does not have.
///
/// Scripts of several words (`Old_Italic`) are found here and in Go up to 1.24; Go 1.25 and 1.26 miss them, for they
/// look the name up without its `_`. No tag has such a character.
fn unicode_table(name: &str) -> Option<String> {
    let canonical: String =
        name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).map(|c| c.to_ascii_lowercase()).collect();
    // The crate also ignores a leading `is`.
    let plain = !canonical.is_empty() && canonical.bytes().all(|byte| byte.is_ascii_lowercase());
    if !plain || canonical.starts_with("is") {
        return None;
    }
    match canonical.as_str() {
        "any" => return Some(r"\x{0}-\x{10FFFF}".to_owned()),
        "ascii" => return Some(r"\x00-\x7f".to_owned()),
        // Surrogates are in no text, and the crate has no table of them.
        "cs" | "surrogate" => return Some(NOTHING.to_owned()),
        "assigned" => return Some(r"\P{Cn}".to_owned()),
        _ => {}
    }
    let known = |table: &str| regex_syntax::parse(table).is_ok();
    let category = format!(r"\p{{gc={canonical}}}");
    if known(&category) {
        return Some(category);
    }
    let script = format!(r"\p{{sc={canonical}}}");
    // Go has the scripts' names, not their four-letter codes, which the crate takes as well.
    let is_code = canonical.len() == 4 && !FOUR_LETTER_SCRIPTS.contains(&canonical.as_str());
    (!is_code && canonical != "unknown" && known(&script)).then_some(script)
}

/// Scripts whose names have four letters.
const FOUR_LETTER_SCRIPTS: [&str; 9] =
    ["ahom", "cham", "kawi", "lisu", "miao", "modi", "newa", "thai", "toto"];

/// A class in brackets at the start of the text.
pub(super) fn bracket(text: &str, flags: Flags) -> Result<(String, &str), GoRegexError> {
    let mut out = String::from("[");
    let mut rest = &text[1..];
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let prefix = out.len();
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some((class, after)) = posix(rest)? {
            out.push_str(&class);
            rest = after;
        } else if let Some((class, after)) = shorthand(rest)? {
            out.push_str(&class);
            rest = after;
        } else {
            rest = range(text, rest, &mut out)?;
        }
    }
    if out.len() == prefix {
        // Only surrogates were named: there is nothing to match, or to exclude.
        out.push_str(NOTHING);
    }
    out.push(']');
    Ok((folded(&out, flags), &rest[1..]))
}

/// `[:alnum:]`, `[:^alnum:]`; absent where the bracket is a literal.
fn posix(text: &str) -> Result<Option<(String, &str)>, GoRegexError> {
    let Some((body, rest)) = text.strip_prefix("[:").and_then(|body| body.split_once(":]")) else {
        return Ok(None);
    };
    let class = match body.strip_prefix('^') {
        Some(name) => named(name, true),
        None => named(body, false),
    };
    // One-letter names are the shorthands'.
    match class.filter(|_| body.trim_start_matches('^').len() > 1) {
        Some(class) => Ok(Some((class, rest))),
        None => Err(error(Kind::InvalidCharRange, &text[..text.len() - rest.len()])),
    }
}

/// One character or a range; gives back what follows.
fn range<'s>(class: &str, text: &'s str, out: &mut String) -> Result<&'s str, GoRegexError> {
    let (low, rest) = class_char(class, text)?;
    let (high, rest) = match rest.strip_prefix('-') {
        Some(after) if !after.is_empty() && !after.starts_with(']') => class_char(class, after)?,
        _ => (low, rest),
    };
    if high < low {
        return Err(error(Kind::InvalidCharRange, &text[..text.len() - rest.len()]));
    }
    // Surrogates are in no text, and the crate takes none as a bound.
    let low = if (0xD800..=0xDFFF).contains(&low) { 0xE000 } else { low };
    let high = if (0xD800..=0xDFFF).contains(&high) { 0xD7FF } else { high };
    if low <= high {
        write!(out, r"\x{{{low:X}}}-\x{{{high:X}}}").expect("writing to a String succeeds");
    }
    Ok(rest)
}

fn class_char<'s>(class: &str, text: &'s str) -> Result<(u32, &'s str), GoRegexError> {
    match text.chars().next() {
        None => Err(error(Kind::MissingBracket, class)),
        Some('\\') => escape(text),
        Some(c) => Ok((c as u32, &text[c.len_utf8()..])),
    }
}

/// An escaped character: C escapes, octal, hexadecimal, punctuation.
pub(super) fn escape(text: &str) -> Result<(u32, &str), GoRegexError> {
    let body = &text[1..];
    let Some(c) = body.chars().next() else { return Err(error(Kind::TrailingBackslash, "")) };
    let rest = &body[c.len_utf8()..];
    let code = match c {
        'a' => 0x07,
        'f' => 0x0C,
        'n' => 0x0A,
        'r' => 0x0D,
        't' => 0x09,
        'v' => 0x0B,
        'x' => return hexadecimal(text, rest),
        '0'..='7' => return octal(text, c, rest),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => c as u32,
        _ => return Err(error(Kind::InvalidEscape, &text[..=c.len_utf8()])),
    };
    Ok((code, rest))
}

/// Up to three octal digits. One alone, but for zero, would be a back-reference.
fn octal<'s>(text: &'s str, first: char, rest: &'s str) -> Result<(u32, &'s str), GoRegexError> {
    let more = rest.bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    if first != '0' && more == 0 {
        return Err(error(Kind::InvalidEscape, &text[..2]));
    }
    let digits = &text[1..2 + more];
    let code = digits.bytes().fold(0, |code, byte| code * 8 + u32::from(byte - b'0'));
    Ok((code, &rest[more..]))
}

/// `\xFF` or `\x{10FFFF}`.
fn hexadecimal<'s>(text: &'s str, rest: &'s str) -> Result<(u32, &'s str), GoRegexError> {
    let braced = rest.strip_prefix('{');
    let invalid = || {
        // Go names the escape up to the character at which it gives up.
        let read: usize = match braced {
            Some(body) => 2 + body.chars().take_while(char::is_ascii_hexdigit).count(),
            None => 2,
        };
        let end = rest.char_indices().nth(read).map_or(text.len(), |(index, _)| 2 + index);
        error(Kind::InvalidEscape, &text[..end])
    };
    let (digits, rest) = match braced {
        Some(body) => body.split_once('}').ok_or_else(invalid)?,
        None => rest.split_at_checked(2).ok_or_else(invalid)?,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(invalid());
    }
    // Leading zeros may be many; only the value counts.
    let significant = digits.trim_start_matches('0');
    let code = if significant.is_empty() { Some(0) } else { u32::from_str_radix(significant, 16).ok() };
    match code {
        Some(code) if code <= char::MAX as u32 => Ok((code, rest)),
        _ => Err(invalid()),
    }
}

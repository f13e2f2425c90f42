//! Constants: integers, characters and quoted strings, as Go's `strconv` reads them in base 0.

/// An integer constant. Go's templates have floating-point constants too; these are refused.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let plausible =
        digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'p' | b'i' | b'_'));
    if radix != 16 && plausible && digits.contains(['.', 'e', 'p', 'i']) {
        return Err(format!("floating-point constants are not supported: {text}"));
    }
    if digits.starts_with(['+', '-']) || misplaced_underscore(digits, radix != 10) {
        return Err(format!("bad number syntax: {text}"));
    }
    let magnitude = i128::from_str_radix(&digits.replace('_', ""), radix).ok();
    magnitude
        .and_then(|value| i64::try_from(if negative { -value } else { value }).ok())
        .ok_or_else(|| format!("bad number syntax: {text}"))
}

/// An underscore stands between two digits, or after a base prefix.
fn misplaced_underscore(digits: &str, prefixed: bool) -> bool {
    digits.ends_with('_') || digits.contains("__") || (!prefixed && digits.starts_with('_'))
}

/// A character constant's code point.
pub(super) fn character(body: &str) -> Result<i64, String> {
    let malformed = || format!("malformed character constant: '{body}'");
    // Only its own quote may be escaped in either kind of constant.
    let text = if body == r"\'" { "'".to_owned() } else { unquote(body).map_err(|_| malformed())? };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(c), None) => Ok(i64::from(u32::from(c))),
        _ => Err(malformed()),
    }
}

/// An interpreted string's value, without its quotes.
pub(super) fn unquote(body: &str) -> Result<String, String> {
    let mut out: Vec<u8> = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        rest = escape(after, &mut out).ok_or_else(|| format!("invalid escape in string \"{body}\""))?;
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).map_err(|_| format!("the string \"{body}\" is not UTF-8"))
}

/// Takes one escape sequence, after its backslash.
fn escape<'s>(text: &'s str, out: &mut Vec<u8>) -> Option<&'s str> {
    let kind = text.chars().next()?;
    let rest = &text[kind.len_utf8()..];
    let byte = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0C,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0B,
        '\\' => b'\\',
        '"' => b'"',
        'x' => return numeric(rest, 2, 16, |code| u8::try_from(code).map(|byte| out.push(byte)).ok()),
        '0'..='7' => return numeric(text, 3, 8, |code| u8::try_from(code).map(|byte| out.push(byte)).ok()),
        'u' => return numeric(rest, 4, 16, |code| char::from_u32(code).map(|c| push(out, c))),
        'U' => return numeric(rest, 8, 16, |code| char::from_u32(code).map(|c| push(out, c))),
        _ => return None,
    };
    out.push(byte);
    Some(rest)
}

fn numeric(text: &str, digits: usize, radix: u32, mut take: impl FnMut(u32) -> Option<()>) -> Option<&str> {
    let (code, rest) = text.split_at_checked(digits)?;
    if !code.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    take(u32::from_str_radix(code, radix).ok()?)?;
    Some(rest)
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

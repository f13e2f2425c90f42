//! sprig's string functions. Positions are bytes, as in Go; where Go would cut a character in two, the whole
//! character is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::print::{self, Buffer};
use super::super::value::{Key, Value};
use super::{Failure, Function, Meter, Param, Returns, int, items, text};

use Param::{Any, Int, Text};

const fn one(names: &'static [&'static str], run: super::Call) -> Function {
    Function::new(names, &[Text], Returns::Text, run)
}

const fn two(names: &'static [&'static str], returns: Returns, run: super::Call) -> Function {
    Function::new(names, &[Text, Text], returns, run)
}

const fn sized(names: &'static [&'static str], run: super::Call) -> Function {
    Function::new(names, &[Int, Text], Returns::Text, run)
}

pub(super) const FUNCTIONS: &[Function] = &[
    one(&["trim"], |_, a| Ok(Value::text(text(&a[0]).trim()))),
    one(&["upper"], |_, a| Ok(Value::text(text(&a[0]).to_uppercase()))),
    one(&["lower"], |_, a| Ok(Value::text(text(&a[0]).to_lowercase()))),
    one(&["title"], |_, a| Ok(Value::text(title(text(&a[0]))))),
    one(&["nospace"], |_, a| Ok(Value::text(text(&a[0]).split_whitespace().collect::<String>()))),
    two(&["trimAll", "trimall"], Returns::Text, |_, a| {
        Ok(Value::text(text(&a[1]).trim_matches(|c| text(&a[0]).contains(c))))
    }),
    two(&["trimPrefix"], Returns::Text, |_, a| {
        Ok(Value::text(text(&a[1]).strip_prefix(text(&a[0])).unwrap_or(text(&a[1]))))
    }),
    two(&["trimSuffix"], Returns::Text, |_, a| {
        Ok(Value::text(text(&a[1]).strip_suffix(text(&a[0])).unwrap_or(text(&a[1]))))
    }),
    two(&["contains"], Returns::Bool, |_, a| Ok(Value::Bool(text(&a[1]).contains(text(&a[0]))))),
    two(&["hasPrefix"], Returns::Bool, |_, a| Ok(Value::Bool(text(&a[1]).starts_with(text(&a[0]))))),
    two(&["hasSuffix"], Returns::Bool, |_, a| Ok(Value::Bool(text(&a[1]).ends_with(text(&a[0]))))),
    two(&["splitList"], Returns::Texts, |meter, a| {
        let parts = split(text(&a[0]), text(&a[1]));
        meter.charge(parts.len())?;
        Ok(Value::texts(parts))
    }),
    two(&["split"], Returns::TextMap, |meter, a| {
        let parts = split(text(&a[0]), text(&a[1]));
        meter.charge(parts.len())?;
        let numbered = |(index, part)| (Key::Text(format!("_{index}").into()), Value::text(part));
        Value::map(parts.into_iter().enumerate().map(numbered).collect::<BTreeMap<_, _>>(), Value::text(""))
    }),
    sized(&["trunc"], |_, a| Ok(Value::text(truncate(int(&a[0]), text(&a[1]))))),
    sized(&["abbrev"], |_, a| Ok(Value::text(abbreviate(int(&a[0]), text(&a[1]))))),
    sized(&["repeat"], |_, a| {
        let mut out = Buffer::default();
        out.repeat(text(&a[1]), count("repeat", int(&a[0]))?)?;
        Ok(out.value())
    }),
    sized(&["indent"], |_, a| indent("", int(&a[0]), text(&a[1]))),
    sized(&["nindent"], |_, a| indent("\n", int(&a[0]), text(&a[1]))),
    sized(&["wrap"], |_, a| Ok(Value::text(wrap(int(&a[0]), text(&a[1]))))),
    Function::new(&["substr"], &[Int, Int, Text], Returns::Text, |_, a| {
        substring(int(&a[0]), int(&a[1]), text(&a[2]))
    }),
    Function::new(&["replace"], &[Text, Text, Text], Returns::Text, |_, a| {
        replace(text(&a[0]), text(&a[1]), text(&a[2]))
    }),
    Function::new(&["plural"], &[Text, Text, Int], Returns::Text, |_, a| {
        Ok(a[usize::from(int(&a[2]) != 1)].clone())
    }),
    Function::new(&["quote"], &[], Returns::Text, |_, a| {
        joined(a, " ", |value| print::plain(value).map(|text| print::quote(&text)))
    })
    .with_rest(Any),
    Function::new(&["squote"], &[], Returns::Text, |_, a| {
        joined(a, " ", |value| print::plain(value).map(|text| format!("'{text}'")))
    })
    .with_rest(Any),
    Function::new(&["cat"], &[], Returns::Text, |_, a| joined(a, " ", print::plain)).with_rest(Any),
    Function::new(&["toString"], &[Any], Returns::Text, |_, a| print::plain(&a[0]).map(Value::text)),
    Function::new(&["toStrings"], &[Any], Returns::Texts, |meter, a| strings(meter, &a[0]).map(Value::texts)),
    Function::new(&["join"], &[Text, Any], Returns::Text, |_, a| match &a[1] {
        Value::List(list) => joined(&list.items, text(&a[0]), print::plain),
        other => joined(std::slice::from_ref(other), "", print::plain),
    }),
    Function::new(&["sortAlpha"], &[Any], Returns::Texts, |meter, a| {
        let mut texts = match &a[0] {
            Value::Nil => vec![Arc::from("<nil>")],
            other => strings(meter, other)?,
        };
        texts.sort_unstable();
        Ok(Value::texts(texts))
    }),
];

/// sprig's `strslice`: each element's text without what is nil; a single value is a list of one.
fn strings(meter: &mut Meter, value: &Value) -> Result<Vec<Arc<str>>, Failure> {
    let values = match value {
        Value::List(_) => items(value),
        other => std::slice::from_ref(other),
    };
    let text = |value: &Value| match value {
        Value::Text(text) => Ok(text.clone()),
        other => print::plain(other).map(Arc::from),
    };
    let texts =
        values.iter().filter(|value| **value != Value::Nil).map(text).collect::<Result<Vec<_>, _>>()?;
    meter.charge(texts.iter().map(|text| 1 + text.len() / 64).sum())?;
    Ok(texts)
}

/// The values that are not nil, each as `each` gives it, with a separator between them.
fn joined(
    values: &[Value],
    separator: &str,
    each: fn(&Value) -> Result<String, Failure>,
) -> Result<Value, Failure> {
    let mut out = Buffer::default();
    for (index, value) in values.iter().filter(|value| **value != Value::Nil).enumerate() {
        out.push(if index > 0 { separator } else { "" })?;
        out.push(&each(value)?)?;
    }
    Ok(out.value())
}

/// Go's `strings.Split`: an empty separator gives the characters.
fn split<'t>(separator: &str, text: &'t str) -> Vec<&'t str> {
    if separator.is_empty() {
        text.char_indices().map(|(start, c)| &text[start..start + c.len_utf8()]).collect()
    } else {
        text.split(separator).collect()
    }
}

/// Go's `strings.Title`: a letter is upper case after anything but a letter, a digit, `_` or, beyond ASCII, what is
/// no space.
fn title(text: &str) -> String {
    let mut after_separator = true;
    text.chars()
        .flat_map(|c| {
            let starts = std::mem::replace(&mut after_separator, separates(c));
            let upper = if starts { Some(c.to_uppercase()) } else { None };
            let same = if starts { None } else { Some(c) };
            upper.into_iter().flatten().chain(same)
        })
        .collect()
}

fn separates(c: char) -> bool {
    if c.is_ascii() { !c.is_ascii_alphanumeric() && c != '_' } else { c.is_whitespace() }
}

fn count(function: &str, value: i64) -> Result<usize, Failure> {
    usize::try_from(value).map_err(|_| Failure::new(format!("{function}: negative count {value}")))
}

fn truncate(width: i64, text: &str) -> &str {
    let size = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    if width >= 0 {
        &text[..text.floor_char_boundary(size)]
    } else if size < text.len() {
        &text[text.ceil_char_boundary(text.len() - size)..]
    } else {
        text
    }
}

fn abbreviate(width: i64, text: &str) -> String {
    match usize::try_from(width) {
        Ok(width) if width >= 4 && text.len() > width => {
            format!("{}...", &text[..text.floor_char_boundary(width - 3)])
        }
        _ => text.to_owned(),
    }
}

fn indent(prefix: &str, spaces: i64, text: &str) -> Result<Value, Failure> {
    let spaces = count("indent", spaces)?;
    let mut out = Buffer::default();
    out.push(prefix)?;
    for (index, line) in text.split('\n').enumerate() {
        out.push(if index > 0 { "\n" } else { "" })?;
        out.repeat(" ", spaces)?;
        out.push(line)?;
    }
    Ok(out.value())
}

/// Breaks lines at the last space within the width; a longer word keeps its own line. Line breaks in the text count
/// as characters, as in sprig.
fn wrap(width: i64, text: &str) -> String {
    let width = usize::try_from(width).unwrap_or(0).max(1);
    let mut out = String::with_capacity(text.len() + text.len() / width);
    let mut rest = text;
    while rest.len() > width {
        if let Some(after) = rest.strip_prefix(' ') {
            rest = after;
            continue;
        }
        let within = rest.as_bytes()[..=width].iter().rposition(|byte| *byte == b' ');
        let space =
            within.or_else(|| rest.bytes().skip(width).position(|byte| byte == b' ').map(|at| at + width));
        let Some(space) = space else { break };
        out.push_str(&rest[..space]);
        out.push('\n');
        rest = &rest[space + 1..];
    }
    out.push_str(rest);
    out
}

fn substring(start: i64, end: i64, text: &str) -> Result<Value, Failure> {
    let place = |value: i64| usize::try_from(value).ok().filter(|place| *place <= text.len());
    let (from, to) = match (place(start), place(end)) {
        (None, Some(to)) if start < 0 => (0, to),
        (Some(from), None) => (from, text.len()),
        (Some(from), Some(to)) if from <= to => (from, to),
        _ => {
            return Err(Failure::new(format!(
                "substr: {start} to {end} is out of range of a string of {} bytes",
                text.len()
            )));
        }
    };
    let from = text.ceil_char_boundary(from);
    Ok(Value::text(text.get(from..text.floor_char_boundary(to)).unwrap_or_default()))
}

fn replace(old: &str, new: &str, text: &str) -> Result<Value, Failure> {
    let mut out = Buffer::default();
    let mut start = 0;
    for (at, _) in text.match_indices(old) {
        out.push(&text[start..at])?;
        out.push(new)?;
        start = at + old.len();
    }
    out.push(&text[start..])?;
    Ok(out.value())
}

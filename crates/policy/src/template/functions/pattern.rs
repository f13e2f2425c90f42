//! sprig's regular expressions, in Go's syntax, and `semverCompare`. An invalid expression is an error, also in
//! `regexMatch`, which in sprig is then false.

use super::super::print::Buffer;
use super::super::value::Value;
use super::{Failure, Function, Meter, Param, Returns, int, text};
use crate::constraint::Constraint;
use crate::expand::Expansion;
use crate::version;

use Param::{Int, Text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(&["regexMatch", "mustRegexMatch"], &[Text, Text], Returns::Bool, |meter, a| {
        Ok(Value::Bool(meter.regex(text(&a[0]))?.is_match(text(&a[1]))))
    }),
    Function::new(&["regexFind", "mustRegexFind"], &[Text, Text], Returns::Text, |meter, a| {
        let regex = meter.regex(text(&a[0]))?;
        Ok(Value::text(regex.regex().find(text(&a[1])).map_or("", |found| found.as_str())))
    }),
    Function::new(&["regexFindAll", "mustRegexFindAll"], &[Text, Text, Int], Returns::Texts, |meter, a| {
        let regex = meter.regex(text(&a[0]))?;
        let found: Vec<&str> = regex
            .regex()
            .find_iter(text(&a[1]))
            .take(at_most(int(&a[2])))
            .map(|found| found.as_str())
            .collect();
        meter.charge(found.len())?;
        Ok(Value::texts(found))
    }),
    Function::new(
        &["regexReplaceAll", "mustRegexReplaceAll"],
        &[Text, Text, Text],
        Returns::Text,
        |meter, a| replace(meter, text(&a[0]), text(&a[1]), text(&a[2])),
    ),
    Function::new(
        &["regexReplaceAllLiteral", "mustRegexReplaceAllLiteral"],
        &[Text, Text, Text],
        Returns::Text,
        |meter, a| replace(meter, text(&a[0]), text(&a[1]), &text(&a[2]).replace('$', "$$")),
    ),
    Function::new(&["regexSplit", "mustRegexSplit"], &[Text, Text, Int], Returns::Texts, |meter, a| {
        split(meter, text(&a[0]), text(&a[1]), int(&a[2]))
    }),
    Function::new(&["regexQuoteMeta", "mustRegexQuoteMeta"], &[Text], Returns::Text, |_, a| {
        let mut out = Buffer::default();
        for c in text(&a[0]).chars() {
            out.push(if r"\.+*?()|[]{}^$".contains(c) { "\\" } else { "" })?;
            out.push(c.encode_utf8(&mut [0; 4]))?;
        }
        Ok(out.value())
    }),
    Function::new(&["semverCompare"], &[Text, Text], Returns::Bool, |_, a| {
        let constraint = Constraint::parse(text(&a[0])).map_err(|error| Failure::new(error.to_string()))?;
        let version = version::parse_loose(text(&a[1]))
            .ok_or_else(|| Failure::new(format!("semverCompare: `{}` is not a version", text(&a[1]))))?;
        Ok(Value::Bool(constraint.matches(&version)))
    }),
];

/// A negative count means all.
fn at_most(count: i64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn replace(meter: &mut Meter, pattern: &str, subject: &str, template: &str) -> Result<Value, Failure> {
    let regex = meter.regex(pattern)?;
    let expansion = Expansion::new(template, &regex);
    let mut out = Buffer::default();
    let mut start = 0;
    for found in regex.regex().find_iter(subject) {
        meter.charge(1)?;
        let mut locations = regex.locations();
        // The groups of the match that was found; the search starts where it starts.
        regex.regex().captures_read_at(&mut locations, subject, found.start());
        let mut expanded = String::new();
        expansion.append(subject, &locations, &mut expanded);
        out.push(&subject[start..found.start()])?;
        out.push(&expanded)?;
        start = found.end();
    }
    out.push(&subject[start..])?;
    Ok(out.value())
}

/// Go's `Regexp.Split`.
fn split(meter: &mut Meter, pattern: &str, subject: &str, count: i64) -> Result<Value, Failure> {
    let regex = meter.regex(pattern)?;
    let limit = at_most(count);
    if limit == 0 {
        return Ok(Value::texts(Vec::<&str>::new()));
    }
    if !pattern.is_empty() && subject.is_empty() {
        return Ok(Value::texts([""]));
    }
    let (mut parts, mut start, mut end) = (Vec::new(), 0, 0);
    for found in regex.regex().find_iter(subject).take(limit) {
        if parts.len() + 1 == limit {
            break;
        }
        end = found.start();
        // An empty match at the start of the text separates nothing.
        if found.end() != 0 {
            parts.push(&subject[start..end]);
        }
        start = found.end();
    }
    if end != subject.len() {
        parts.push(&subject[start..]);
    }
    meter.charge(parts.len())?;
    Ok(Value::texts(parts))
}

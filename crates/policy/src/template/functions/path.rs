//! sprig's slash-separated paths: Go's `path` package.

use super::super::value::Value;
use super::{Function, Param, Returns, text};

use Param::Text;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(&["base"], &[Text], Returns::Text, |_, a| Ok(Value::text(base(text(&a[0]))))),
    Function::new(&["dir"], &[Text], Returns::Text, |_, a| {
        let path = text(&a[0]);
        Ok(Value::text(clean(&path[..path.rfind('/').map_or(0, |slash| slash + 1)])))
    }),
    Function::new(&["clean"], &[Text], Returns::Text, |_, a| Ok(Value::text(clean(text(&a[0]))))),
    Function::new(&["ext"], &[Text], Returns::Text, |_, a| {
        let name = text(&a[0]).rsplit('/').next().unwrap_or_default();
        Ok(Value::text(name.rfind('.').map_or("", |dot| &name[dot..])))
    }),
    Function::new(&["isAbs"], &[Text], Returns::Bool, |_, a| Ok(Value::Bool(text(&a[0]).starts_with('/')))),
];

fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        _ if path.is_empty() => ".",
        Some("") | None => "/",
        Some(last) => last,
    }
}

/// The shortest path with the same meaning, without looking at any file.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

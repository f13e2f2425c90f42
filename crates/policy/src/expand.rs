//! Replacement templates by the rules of Go's `Regexp.Expand`: `$1`, `$name`, `${name}`, `$$`.

use std::sync::LazyLock;

use regex::{CaptureLocations, Regex};

use crate::go_regex::GoRegex;

/// A template whose references are resolved against one expression's groups.
#[derive(Debug, Clone)]
pub struct Expansion {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    /// The first of these groups that took part in the match; otherwise nothing. Groups may share a name.
    Groups(Vec<usize>),
}

impl Expansion {
    /// Resolves a template. There is no invalid one: a malformed reference is text, and an unknown group is empty.
    pub fn new(template: &str, regex: &GoRegex) -> Self {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                text.push('$');
                rest = after;
            } else if let Some((name, after)) = take_reference(after) {
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Groups(groups(name, regex.group_names())));
                rest = after;
            } else {
                text.push('$');
                rest = after;
            }
        }
        text.push_str(rest);
        parts.push(Part::Text(text));
        Self { parts }
    }

    /// Whether a reference names no group of the expression, so that it is always empty.
    pub fn has_unknown_group(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Groups(groups) if groups.is_empty()))
    }

    /// Appends the template to `out`, with the groups' texts of one match in `subject`.
    pub fn append(&self, subject: &str, match_: &CaptureLocations, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Groups(groups) => {
                    if let Some((start, end)) = groups.iter().find_map(|group| match_.get(*group)) {
                        out.push_str(&subject[start..end]);
                    }
                }
            }
        }
    }
}

/// A name as long as it goes: letters, digits and `_` of any script, as Go's `unicode` package has them.
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\A[\p{L}\p{Nd}_]+").expect("the expression is constant and a test compiles it")
});

/// A reference's name, after the `$`, and what follows it.
fn take_reference(text: &str) -> Option<(&str, &str)> {
    let (braced, body) = match text.strip_prefix('{') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let name = NAME.find(body)?.as_str();
    let rest = &body[name.len()..];
    Some((name, if braced { rest.strip_prefix('}')? } else { rest }))
}

fn groups(name: &str, names: &[Option<String>]) -> Vec<usize> {
    // A number with leading zeros, or above Go's limit of 10⁸, is a name.
    let number = match name.as_bytes() {
        [b'0', _, ..] => None,
        bytes if bytes.len() <= 9 && bytes.iter().all(u8::is_ascii_digit) => name.parse::<usize>().ok(),
        _ => None,
    };
    match number {
        Some(number) => vec![number],
        None => (0..names.len()).filter(|group| names[*group].as_deref() == Some(name)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(pattern: &str, template: &str, subject: &str) -> String {
        let regex = GoRegex::compile(pattern).unwrap();
        let mut locations = regex.locations();
        assert!(regex.captures(&mut locations, subject), "{pattern} does not match {subject}");
        let mut out = String::new();
        Expansion::new(template, &regex).append(subject, &locations, &mut out);
        out
    }

    #[test]
    fn references_follow_go() {
        let pattern = r"^(?P<branch>[a-z]+)-(?<sha>[a-f0-9]+)-(\d+)(x)?";
        for (template, wanted) in [
            ("$3", "17"),
            ("$branch", "main"),
            ("${branch}-$3", "main-17"),
            ("$0", "main-ab12-17"),
            ("$$1", "$1"),
            ("$3x", ""),
            ("${3}x", "17x"),
            ("$03", ""),
            ("$9", ""),
            ("$4", ""),
            ("$unknown", ""),
            ("a$", "a$"),
            ("$-$3", "$-17"),
            ("${3", "${3"),
            ("${}", "${}"),
            ("$3é", ""),
            ("$3€", "17€"),
            ("$1234567890", ""),
        ] {
            assert_eq!(expand(pattern, template, "main-ab12-17"), wanted, "{template}");
        }
        assert_eq!(expand("(?P<n>a)|(?P<n>b)", "[$n]", "b"), "[b]");
        assert_eq!(expand("(?P<1x>a)(?P<01>b)", "$1x$01", "ab"), "ab");
    }
}

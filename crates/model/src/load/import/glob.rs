//! Other tools' patterns for image references as patterns for image names. Owns the rule that what comes out matches
//! at least what went in: a Guard that concerns fewer images than its source would be weaker.
//!
//! Theirs match the whole reference, with tag and digest; ours match the registry and the repository. policy-controller
//! expands references (`index.docker.io/library/nginx:latest`); Kyverno takes them as they are written, so that Docker
//! Hub's short names are put beside a pattern that they may match.

use crate::guard::{ImageGlob, matches_component};
use crate::image::canonical_registry;

/// More patterns out of one are a mistake.
const MAX_GLOBS: usize = 64;
/// Stands for any text with slashes; no pattern has this character.
const ANY: char = '>';
/// How Docker Hub is written.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Whose patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `*` stays within a component, `**` crosses them.
    PolicyController,
    /// `*` crosses components (Kyverno's wildcards; gobwas/glob without separators).
    Kyverno,
}

/// The patterns for names that together match every image that `pattern` matches under some tag or digest.
///
/// # Errors
/// The pattern cannot be carried over; the text says why.
pub(super) fn globs(pattern: &str, dialect: Dialect) -> Result<Vec<ImageGlob>, String> {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_:/*.@".contains(c);
    if let Some(other) = pattern.chars().find(|c| !known(*c)) {
        return Err(format!("a pattern with `{}` cannot be carried over", other.escape_default()));
    }
    let pattern = match (pattern, dialect) {
        ("*", Dialect::PolicyController) => "index.docker.io/library/*",
        ("*/*", Dialect::PolicyController) => "index.docker.io/*/*",
        _ => pattern,
    };
    let marked = mark(pattern, dialect);
    let mut segments: Vec<String> = marked.split('/').map(str::to_owned).collect();
    if segments.len() > 1 {
        let last = segments.pop().unwrap_or_default();
        segments.push(without_tag(&last));
    } else if pattern.contains([':', '@']) {
        return Err("a pattern with a tag and without a registry cannot be carried over".to_owned());
    } else if let Some(only) = segments.first_mut() {
        *only = without_tag(only);
    }
    let mut all: Vec<Vec<String>> = vec![Vec::new()];
    for segment in &segments {
        let expanded = expand(segment);
        all = all
            .iter()
            .flat_map(|head| expanded.iter().map(move |tail| [head.as_slice(), tail].concat()))
            .collect();
        if all.len() > MAX_GLOBS {
            return Err(format!("stands for more than {MAX_GLOBS} patterns: write several"));
        }
    }
    let mut found: Vec<ImageGlob> = Vec::new();
    for components in with_short_names(all) {
        let glob = components.join("/").parse::<ImageGlob>().map_err(|error| error.to_string())?;
        if !found.contains(&glob) {
            found.push(glob);
        }
    }
    if found.is_empty() { Err("matches no image that has a registry".to_owned()) } else { Ok(found) }
}

/// Writes [`ANY`] for stars that cross slashes, and `*` for the others.
fn mark(pattern: &str, dialect: Dialect) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find('*') {
        out.push_str(&rest[..at]);
        let tail = rest[at..].trim_start_matches('*');
        let stars = rest.len() - at - tail.len();
        out.push(if stars > 1 || dialect == Dialect::Kyverno { ANY } else { '*' });
        rest = tail;
    }
    out + rest
}

/// The last segment without what can only be a tag or a digest. Where a star may stand for the separator too, what
/// follows the first star is given up.
fn without_tag(segment: &str) -> String {
    let wild = |c: char| c == '*' || c == ANY;
    let end = segment.find([':', '@']).unwrap_or(segment.len());
    let (name, rest) = segment.split_at(end);
    let Some(first) = name.find(wild) else { return name.to_owned() };
    let literal = name.rsplit(wild).next().unwrap_or_default();
    // In `app*:x`, the colon may also be the one of `app@sha256:x`.
    let in_digest = ["@sha256", "@sha512"].iter().any(|digest| digest.ends_with(literal));
    if rest.starts_with(':') && !in_digest {
        return name.to_owned();
    }
    let star = if name.contains(ANY) { ANY } else { '*' };
    format!("{}{star}", &name[..first])
}

/// The lists of components that one segment stands for.
fn expand(segment: &str) -> Vec<Vec<String>> {
    let Some((before, after)) = segment.split_once(ANY) else { return vec![vec![segment.to_owned()]] };
    let any = || "**".to_owned();
    let later = |head: &[String]| {
        let tails = expand(&format!("*{after}"));
        tails.into_iter().map(|tail| [head, &tail].concat()).collect::<Vec<_>>()
    };
    match (before, after) {
        ("", "") => vec![vec![any()]],
        ("", _) => later(&[any()]),
        (_, "") => vec![vec![format!("{before}*"), any()]],
        _ => {
            let within = expand(&format!("{before}*{after}"));
            within.into_iter().chain(later(&[format!("{before}*"), any()])).collect()
        }
    }
}

/// Adds Docker Hub's short names where a pattern may match them, and leaves out what cannot be an image's name.
fn with_short_names(lists: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for list in lists {
        let first = list[0].clone();
        if first != "**" && !first.contains(['.', ':']) && first != "localhost" {
            // Where it has no registry, Docker Hub is meant.
            all.push([&[HUB[1].to_owned()], list.as_slice()].concat());
        }
        let host = first.contains(['.', ':', '*']) || first == "localhost";
        if !host || (list.len() == 1 && first != "**") {
            continue;
        }
        // A `**` in front may stand for nothing.
        let from = usize::from(first == "**");
        let is_hub = |host: &String| {
            host != "**" && host.contains('*') && HUB.iter().any(|name| matches_component(host, name))
        };
        if list.get(from).is_some_and(is_hub) && list.len() > from + 1 {
            all.push([&[HUB[1].to_owned()], &list[from + 1..]].concat());
        }
        all.push(list);
    }
    let library = |list: &Vec<String>| {
        let on_hub = canonical_registry(&list[0]) == HUB[1];
        let path = list[1..].iter().filter(|component| *component != "**").count();
        let first = list.get(1).filter(|first| on_hub && path == 1 && *first != "**")?;
        Some(vec![HUB[1].to_owned(), "library".to_owned(), first.clone()])
    };
    let libraries: Vec<_> = all.iter().filter_map(library).collect();
    all.extend(libraries);
    all
}

#[cfg(test)]
#[path = "glob_tests.rs"]
mod tests;

//! Documents: the ones that must be there, and every relative link in any of them.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

/// What a reader expects at the root.
const NEEDED: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"];

/// Checks every Markdown file.
pub(crate) fn check(files: &[PathBuf], read: impl Fn(&Path) -> Result<String>) -> Result<Vec<String>> {
    let known: BTreeSet<&Path> = files.iter().flat_map(|file| file.ancestors()).collect();
    let mut problems: Vec<String> = NEEDED
        .iter()
        .filter(|name| !known.contains(Path::new(name)))
        .map(|name| format!("{name} is missing"))
        .collect();
    for file in files.iter().filter(|file| is_markdown(file)) {
        for (line, target) in links(&read(file)?) {
            let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
            let aimed = if path.is_empty() { Some(file.clone()) } else { resolve(file, path) };
            let found = aimed.filter(|path| known.contains(path.as_path()));
            let lost = match &found {
                None => true,
                Some(page) => {
                    is_markdown(page) && !heading.is_empty() && !headings(&read(page)?).contains(heading)
                }
            };
            if lost {
                problems.push(format!("{}:{line}: the link {target} leads nowhere", file.display()));
            }
        }
    }
    Ok(problems)
}

fn is_markdown(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "md")
}

/// The path that a link of this file means, from the repository's root; none if it leaves the repository.
fn resolve(file: &Path, link: &str) -> Option<PathBuf> {
    let mut path = file.parent()?.to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

/// Line number and target of each relative link, outside of code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // Code between backticks is every second piece.
        for piece in line.split('`').step_by(2) {
            for rest in piece.split("](").skip(1) {
                let target = rest.split([')', ' ']).next().unwrap_or_default();
                if !target.contains("://") && !target.starts_with("mailto:") && !target.is_empty() {
                    found.push((number, target.to_owned()));
                }
            }
        }
    }
    found
}

/// The anchors that a forge makes of a document's headings.
fn headings(text: &str) -> BTreeSet<String> {
    let heading =
        |line: &str| line.starts_with('#').then(|| line.trim_start_matches('#').trim().to_lowercase());
    let anchor = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    };
    prose(text)
        .filter_map(|(_, line)| heading(line))
        .map(|heading| heading.chars().filter_map(anchor).collect())
        .collect()
}

/// Numbered lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_nowhere_are_named_with_their_line() {
        let files: Vec<PathBuf> =
            NEEDED.into_iter().chain(["docs/a.md", "deploy/x.yaml"]).map(PathBuf::from).collect();
        let read = |path: &Path| -> Result<String> {
            Ok(match path.to_str() {
                Some("README.md") => {
                    "# Windlass: it's here\n[a](docs/a.md) [b](docs/b.md) [c](https://example.org) [d](deploy/)\n\
                     [e](#windlass-its-here) [f](#gone) [g](docs/a.md#part-two)\n```\n[code](gone)\n```\n`[h](gone)`\n"
                }
                Some("docs/a.md") => "## Part two\n[up](../README.md) [out](../../secret) [abs](/etc/passwd)\n",
                _ => "",
            }
            .to_owned())
        };
        assert_eq!(
            check(&files, read).unwrap(),
            [
                "README.md:2: the link docs/b.md leads nowhere",
                "README.md:3: the link #gone leads nowhere",
                "docs/a.md:2: the link ../../secret leads nowhere",
                "docs/a.md:2: the link /etc/passwd leads nowhere",
            ]
        );
    }

    #[test]
    fn a_missing_document_is_named() {
        let read = |_: &Path| -> Result<String> { Ok(String::new()) };
        let problems = check(&[PathBuf::from("README.md")], read).unwrap();
        assert!(problems.contains(&"CHANGELOG.md is missing".to_owned()), "{problems:?}");
    }
}

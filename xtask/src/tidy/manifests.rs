//! Cargo manifests: every version in the root, each with its reason, and none that nobody uses.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Packages outside the workspace, which state their versions themselves.
const OUTSIDE: [&str; 2] = ["bench", "fuzz"];

/// Checks the root manifest and every member's.
pub(crate) fn check(files: &[PathBuf], read: impl Fn(&Path) -> Result<String>) -> Result<Vec<String>> {
    let root = read(Path::new("Cargo.toml"))?;
    let mut problems = reasons(&root);
    let mut used = BTreeSet::new();
    let is_member = |file: &&PathBuf| {
        let outside = OUTSIDE.iter().any(|folder| file.starts_with(folder));
        file.ends_with("Cargo.toml") && file.components().count() > 1 && !outside
    };
    for file in files.iter().filter(is_member) {
        let (names, wrong) = member(&read(file)?);
        problems.extend(
            wrong.into_iter().map(|line| format!("{}: `{line}`: say `x.workspace = true`", file.display())),
        );
        used.extend(names);
    }
    for (name, _) in dependencies(&root, |section| section == "workspace.dependencies") {
        if !used.contains(name) {
            problems.push(format!("Cargo.toml: no crate uses {name}"));
        }
    }
    Ok(problems)
}

/// Dependencies of the root manifest that give no reason. Our own crates, by path, need none.
fn reasons(root: &str) -> Vec<String> {
    dependencies(root, |section| section == "workspace.dependencies")
        .filter(|(_, line)| !line.contains("path = ") && !line.contains(" # "))
        .map(|(name, _)| format!("Cargo.toml: {name} has no comment that says what it is for"))
        .collect()
}

/// The dependencies of a member, and the lines that state a version of their own.
fn member(manifest: &str) -> (Vec<String>, Vec<String>) {
    let (mut names, mut wrong) = (Vec::new(), Vec::new());
    for (name, line) in dependencies(manifest, |section| section.ends_with("dependencies")) {
        let inherited = line.contains(".workspace = true") || line.contains("workspace = true");
        if inherited && !line.contains("version") {
            names.push(name.to_owned());
        } else {
            wrong.push(line.to_owned());
        }
    }
    (names, wrong)
}

/// Name and line of each dependency in the sections that are wanted. Every dependency is one line.
fn dependencies<'a>(
    manifest: &'a str,
    wanted: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            inside = wanted(section.trim_end_matches(']'));
            return None;
        }
        let name = line.split(['=', '.', ' ']).next()?;
        (inside && !name.is_empty() && !name.starts_with('#')).then_some((name, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broken_rule_is_named() {
        let read = |path: &Path| -> Result<String> {
            Ok(match path.to_str() {
                Some("Cargo.toml") => {
                    "[workspace.dependencies]\nown = { path = \"own\" }\na = \"1\" # reason\nb = \"2\"\nc = \"3\" # unused\n"
                }
                _ => "[package]\nversion = \"1\"\n[dependencies]\nown.workspace = true\na = { workspace = true, features = [\"x\"] }\n[dev-dependencies]\nb = \"2\"\n# c\n",
            }
            .to_owned())
        };
        let files = [PathBuf::from("Cargo.toml"), PathBuf::from("own/Cargo.toml")];
        assert_eq!(
            check(&files, read).unwrap(),
            [
                "Cargo.toml: b has no comment that says what it is for",
                "own/Cargo.toml: `b = \"2\"`: say `x.workspace = true`",
                "Cargo.toml: no crate uses b",
                "Cargo.toml: no crate uses c",
            ]
        );
    }
}

//! House rules that no compiler checks. Every problem is reported, not only the first.

mod graph;
mod links;
mod manifests;
mod sizes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::root;
use crate::run::captured;

/// Runs every rule.
pub(crate) fn run() -> Result<()> {
    let root = root()?;
    let files = files(&root)?;
    let metadata = captured(
        Command::new("cargo").args(["metadata", "--format-version", "1", "--locked"]).current_dir(&root),
    )?;
    let metadata: Value = serde_json::from_str(&metadata).context("reading cargo's metadata")?;
    let architecture = read(&root, Path::new("ARCHITECTURE.md"))?;

    let mut problems = Vec::new();
    match graph::Floors::parse(&architecture) {
        Ok(floors) => {
            let packages = graph::Packages::read(&metadata)?;
            problems.extend(floors.check(&packages));
            problems.extend(graph::impure(&floors, &packages, |package| tree(&root, package))?);
        }
        Err(error) => problems.push(format!("ARCHITECTURE.md: {error:#}")),
    }
    let read = |path: &Path| read(&root, path);
    problems.extend(manifests::check(&files, read)?);
    problems.extend(sizes::check(&files, read)?);
    problems.extend(links::check(&files, read)?);
    if problems.is_empty() {
        return Ok(());
    }
    bail!("house rules are broken ({}):\n  {}", problems.len(), problems.join("\n  "))
}

/// The files of the repository, also those that are not committed yet, relative to its root.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = captured(Command::new("git").args(list).current_dir(root))?;
    let mut files: Vec<PathBuf> = listed.lines().map(PathBuf::from).collect();
    // A file that was deleted but not committed is still listed.
    files.retain(|file| root.join(file).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

/// The names of everything that a package is built with, one on a line.
fn tree(root: &Path, package: &str) -> Result<String> {
    let list = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--package", package];
    captured(Command::new("cargo").args(list).current_dir(root))
}

fn read(root: &Path, path: &Path) -> Result<String> {
    fs::read_to_string(root.join(path)).with_context(|| format!("reading {}", path.display()))
}

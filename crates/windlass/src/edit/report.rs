//! What the command says: on standard output what changed, on standard error what was left alone.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;
use windlass_manifest::unified;
use windlass_model::ObjectKey;

use super::EditOutput;
use super::files::Source;
use super::outcome::{FileOutcome, Outcome, Verdict};
use super::replace::replace;
use super::wanted::Wanted;
use crate::cli::print;

/// Something that was left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Diagnostic {
    pub(super) file: Option<String>,
    pub(super) line: Option<usize>,
    /// What is wrong, and what to do about it.
    pub(super) message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        let space = if self.file.is_some() { " " } else { "" };
        write!(f, "{space}{}", self.message)
    }
}

/// Everything that happened.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    files: Vec<ChangedFile>,
    outcomes: Vec<Outcome>,
    diagnostics: Vec<Diagnostic>,
    /// The policies that usable markers name.
    #[serde(skip)]
    named: BTreeSet<ObjectKey>,
}

/// A file that changes.
#[derive(Debug, Serialize)]
struct ChangedFile {
    path: String,
    diff: String,
    #[serde(skip)]
    place: PathBuf,
    #[serde(skip)]
    new: Vec<u8>,
}

impl Report {
    /// Takes what becomes of a file.
    pub(super) fn take(&mut self, source: &Source, file: FileOutcome) {
        let FileOutcome { new, outcomes, diagnostics, policies } = file;
        if let Some(new) = new.filter(|new| *new != source.bytes) {
            let path = source.shown.clone();
            let diff = unified(path.trim_start_matches('/'), &source.bytes, &new);
            self.files.push(ChangedFile { path, diff, place: source.path.clone(), new });
        }
        self.outcomes.extend(outcomes);
        self.diagnostics.extend(diagnostics);
        self.named.extend(policies);
    }

    /// Adds what was found on the way to the files, and which markers were missed.
    pub(super) fn finish(&mut self, problems: Vec<Diagnostic>, wanted: &Wanted) {
        self.diagnostics.extend(problems);
        for ObjectKey { namespace, name } in wanted.policies().filter(|policy| !self.named.contains(policy)) {
            let message = format!("no usable marker names the policy {namespace}:{name} of --set");
            self.diagnostics.push(Diagnostic { file: None, line: None, message });
        }
    }

    /// Replaces the files that change.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        for file in &self.files {
            replace(&file.place, &file.new).with_context(|| format!("{} cannot be written", file.path))?;
        }
        Ok(())
    }

    pub(super) fn changes_anything(&self) -> bool {
        !self.files.is_empty()
    }

    pub(super) fn has_diagnostics(&self) -> bool {
        !self.diagnostics.is_empty()
    }

    /// Says it: `diff` shows the difference instead of a line for each change.
    pub(super) fn print(&self, output: EditOutput, diff: bool, written: bool) -> anyhow::Result<()> {
        if output == EditOutput::Json {
            return print(&(serde_json::to_string_pretty(self)? + "\n"));
        }
        for diagnostic in &self.diagnostics {
            eprintln!("{}", printable(&diagnostic.to_string()));
        }
        if diff {
            return print(&self.files.iter().map(|file| file.diff.as_str()).collect::<String>());
        }
        let changed: Vec<&Outcome> =
            self.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Updated).collect();
        let mut text: String = changed.iter().map(|outcome| printable(&line(outcome)) + "\n").collect();
        text.push_str(&self.summary(changed.len(), written));
        print(&text)
    }

    fn summary(&self, changed: usize, written: bool) -> String {
        let right = self.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::AlreadyRight).count();
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (values, files) = (count(changed, "value"), count(self.files.len(), "file"));
        let change = match (changed, written) {
            (0, _) => "nothing to change".to_owned(),
            (_, true) => format!("{values} changed in {files}"),
            (_, false) => format!("{values} would change in {files}"),
        };
        if right == 0 {
            change + "\n"
        } else {
            format!("{change}, {} right already\n", count(right, "value"))
        }
    }
}

/// `file:line: path: from -> to`
fn line(outcome: &Outcome) -> String {
    let Outcome { file, line, path, from, to, shared_by_alias, .. } = outcome;
    let line = line.map_or_else(String::new, |line| format!("{line}:"));
    let from = from.as_deref().unwrap_or("(nothing)");
    let to = to.as_deref().unwrap_or("(removed)");
    let shared = if *shared_by_alias { " (an alias repeats it)" } else { "" };
    format!("{file}:{line} {path}: {from} -> {to}{shared}")
}

/// What a file says must not control the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

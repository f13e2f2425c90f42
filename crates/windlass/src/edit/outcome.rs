//! What becomes of one file: its new bytes, and one outcome for every place.

use std::collections::BTreeSet;

use serde::Serialize;
use windlass_manifest::{Changed, Edit, Edited, Place, Refusal, Scan};
use windlass_manifest::{apply, helm, kustomize, path, scan, scan_template};
use windlass_model::{ImageRef, ObjectKey};

use super::files::Source;
use super::report::Diagnostic;
use super::wanted::Wanted;

/// What becomes of a file.
#[derive(Debug, Default)]
pub(super) struct FileOutcome {
    /// Absent if it stays as it is.
    pub(super) new: Option<Vec<u8>>,
    pub(super) outcomes: Vec<Outcome>,
    /// Markers and files that are left alone.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What usable markers name.
    pub(super) policies: BTreeSet<ObjectKey>,
}

/// What becomes of a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    pub(super) file: String,
    /// Counted from 1; absent for a place that was not looked for beyond being right.
    pub(super) line: Option<usize>,
    /// The way from the document's root; in a template, as much of it as the line shows.
    pub(super) path: String,
    /// `namespace:name` and suffix, as the marker has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) marker: Option<String>,
    pub(super) verdict: Verdict,
    /// What the place said; absent where there was nothing.
    pub(super) from: Option<String>,
    /// What it says now; absent where it was removed, or is not to be written.
    pub(super) to: Option<String>,
    /// An alias repeats the value elsewhere.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) shared_by_alias: bool,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Updated,
    AlreadyRight,
    /// No `--set` names the marker's policy.
    UnknownPolicy,
    /// The place cannot take the value; a diagnostic says why.
    Refused,
}

/// Edits one file in memory.
pub(super) fn edit(source: &Source, wanted: &Wanted) -> FileOutcome {
    match wanted {
        Wanted::Markers(images) => {
            let scan = if source.template { scan_template(&source.bytes) } else { scan(&source.bytes) };
            let mut work =
                MarkerWork { source, scan: &scan, file: FileOutcome::default(), edits: Vec::new() };
            for problem in &scan.problems {
                work.diagnose(Some(problem.line), problem.cause.to_string());
            }
            for (index, place) in scan.places.iter().enumerate() {
                work.place(index, place, images.get(&place.marker.policy));
            }
            work.finish()
        }
        Wanted::Kustomize(changes) => {
            changes.iter().fold(FileOutcome::default(), |mut file, (name, change)| {
                let bytes = file.new.as_deref().unwrap_or(&source.bytes);
                let edited = kustomize::edit(bytes, name, change);
                file.take(source, edited, &format!("images[name={name}]"));
                file
            })
        }
        Wanted::Helm { key, image } => {
            let mut file = FileOutcome::default();
            file.take(source, helm::edit(&source.bytes, key, image), &key.to_string());
            file
        }
        Wanted::Path { path, document, text } => {
            let mut file = FileOutcome::default();
            file.take(source, path::edit(&source.bytes, document.as_ref(), path, text), &path.to_string());
            file
        }
    }
}

impl FileOutcome {
    /// Takes the result of an edit by path.
    fn take(&mut self, source: &Source, edited: Result<Edited, Refusal>, path: &str) {
        match edited {
            Err(Refusal { line, cause }) => self.diagnostics.push(Diagnostic {
                file: Some(source.shown.clone()),
                line: Some(line),
                message: cause.to_string(),
            }),
            Ok(Edited { changes, .. }) if changes.is_empty() => self.outcomes.push(Outcome {
                file: source.shown.clone(),
                line: None,
                path: path.to_owned(),
                marker: None,
                verdict: Verdict::AlreadyRight,
                from: None,
                to: None,
                shared_by_alias: false,
            }),
            Ok(Edited { changes, bytes }) => {
                self.new = Some(bytes);
                self.outcomes.extend(changes.into_iter().map(|change| changed(source, change)));
            }
        }
    }
}

fn changed(source: &Source, change: Changed) -> Outcome {
    let Changed { line, key_path, old, new, shared_by_alias } = change;
    Outcome {
        file: source.shown.clone(),
        line: Some(line),
        path: key_path,
        marker: None,
        verdict: Verdict::Updated,
        from: old,
        to: new,
        shared_by_alias,
    }
}

/// The markers of one file.
struct MarkerWork<'f> {
    source: &'f Source,
    scan: &'f Scan,
    file: FileOutcome,
    /// Each with the index of its outcome.
    edits: Vec<(usize, Edit)>,
}

impl MarkerWork<'_> {
    fn place(&mut self, index: usize, place: &Place, image: Option<&ImageRef>) {
        let policy = &place.marker.policy;
        self.file.policies.insert(policy.clone());
        let mut outcome = Outcome {
            file: self.source.shown.clone(),
            line: Some(place.line),
            path: place.key_path.clone(),
            marker: Some(format!("{}:{}{}", policy.namespace, policy.name, place.marker.part)),
            verdict: Verdict::UnknownPolicy,
            from: Some(place.value.clone()),
            to: None,
            shared_by_alias: place.shared_by_alias,
        };
        match image.map(|image| place.marker.part.render(image)) {
            None => {}
            Some(Ok(value)) if value == place.value => outcome.verdict = Verdict::AlreadyRight,
            Some(Ok(value)) => {
                outcome.verdict = Verdict::Updated;
                outcome.to = Some(value.clone());
                self.edits.push((self.file.outcomes.len(), Edit { place: index, value }));
            }
            Some(Err(_)) => {
                outcome.verdict = Verdict::Refused;
                self.diagnose(Some(place.line), "the marker takes a digest, and --set has none".to_owned());
            }
        }
        self.file.outcomes.push(outcome);
    }

    /// Writes what can be written. An edit that is refused is reported, and the others are tried without it.
    fn finish(mut self) -> FileOutcome {
        while !self.edits.is_empty() {
            let edits: Vec<Edit> = self.edits.iter().map(|(_, edit)| edit.clone()).collect();
            match apply(&self.source.bytes, self.scan, &edits) {
                Ok(new) => {
                    self.file.new = Some(new);
                    break;
                }
                Err(error) => {
                    let line_of = |edit: &Edit| self.scan.places.get(edit.place).map(|place| place.line);
                    let is_refused = |edit: &Edit| error.line().is_none() || line_of(edit) == error.line();
                    // An error in a line of no edit is of them all.
                    let any = edits.iter().any(is_refused);
                    let (refused, rest): (Vec<_>, Vec<_>) =
                        self.edits.drain(..).partition(|(_, edit)| !any || is_refused(edit));
                    self.edits = rest;
                    for (outcome, _) in refused {
                        self.file.outcomes[outcome].verdict = Verdict::Refused;
                        self.file.outcomes[outcome].to = None;
                    }
                    self.diagnose(error.line(), error.to_string());
                }
            }
        }
        self.file
    }

    fn diagnose(&mut self, line: Option<usize>, message: String) {
        self.file.diagnostics.push(Diagnostic { file: Some(self.source.shown.clone()), line, message });
    }
}

//! Revising a file in steps: each reads the document anew, makes one change, and proves it, until nothing is left to
//! change.

use crate::refusal::{Refusal, RefusalCause};
use crate::scalar::Style;
use crate::scan::{Target, text_of};
use crate::splice::{Rewrite, Set, Splice};
use crate::spot::Spot;
use crate::tree::{Document, Documents};

/// More steps than any edit needs; one that does not come to rest is refused.
const MAX_STEPS: usize = 16;

/// What an edit by path came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The file's bytes, changed or as they were.
    pub bytes: Vec<u8>,
    /// What changed, in the order in which it was done; empty where everything was right already.
    pub changes: Vec<Changed>,
}

/// One value that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The line, counted from 1: where the value is, or, if it was removed, where it was.
    pub line: usize,
    /// The way from the document's root.
    pub key_path: String,
    /// The text before; absent where there was no value.
    pub old: Option<String>,
    /// The text now; absent where the key was removed.
    pub new: Option<String>,
    /// An alias repeats the value elsewhere: the change shows in more than one place.
    pub shared_by_alias: bool,
}

/// One step.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) rewrite: Rewrite,
    pub(crate) changes: Vec<Changed>,
}

/// Applies steps until `next` has none.
pub(crate) fn revise(
    bytes: &[u8],
    next: impl Fn(&str) -> Result<Option<Revision>, Refusal>,
) -> Result<Edited, Refusal> {
    let mut text = text_of(bytes)?.to_owned();
    let mut changes = Vec::new();
    for _ in 0..MAX_STEPS {
        let Some(revision) = next(&text)? else {
            return Ok(Edited { bytes: text.into_bytes(), changes });
        };
        text = revision.rewrite.apply(&text)?;
        changes.extend(revision.changes);
    }
    Err(RefusalCause::Altered.at(changes.last().map_or(1, |change| change.line)))
}

/// The one document of a file of which Helm and kustomize read only the first; absent where the file is empty.
pub(crate) fn only_document(text: &str) -> Result<Option<Document<'_>>, Refusal> {
    let mut documents = Documents::new(text);
    let Some(first) = documents.next().transpose()? else { return Ok(None) };
    for later in documents {
        let later = later?;
        if !later.root.is_null() {
            return Err(RefusalCause::NotOneDocument.at(later.root.line));
        }
    }
    Ok(Some(first))
}

/// Gives a scalar its new text. The caller knows that it differs, or must be quoted.
pub(crate) fn set(text: &str, spot: &Spot<'_, '_>, value: &str) -> Result<Revision, Refusal> {
    let target = spot.target()?;
    let written = write(&target, value, spot.node.line)?;
    let old = spot.node.text().unwrap_or_default();
    let mut rewrite = Rewrite::default();
    if spot.node.is_empty() {
        // `key:` has no bytes for its value: it goes after the colon. An empty item of a list has no such place.
        let at = spot.pair.ok_or_else(|| spot.wrong_kind("a single value"))?.end;
        let space = if text[..at].ends_with([' ', '\t']) { "" } else { " " };
        rewrite.splices.push(Splice { span: at..at, text: format!("{space}{written}") });
        rewrite.sets.push(Set {
            span: target.span,
            style: Style::Plain,
            old: old.to_owned(),
            new: value.to_owned(),
        });
    } else {
        rewrite.set(&target, old, value, written);
    }
    let changed = Changed {
        line: spot.node.line,
        key_path: spot.path.clone(),
        old: (!spot.node.is_empty()).then(|| old.to_owned()),
        new: Some(value.to_owned()),
        shared_by_alias: spot.shared,
    };
    Ok(Revision { rewrite, changes: vec![changed] })
}

/// Gives a pair another key and another value, in the place where it is.
pub(crate) fn replace(
    text: &str,
    parent: &Spot<'_, '_>,
    spot: &Spot<'_, '_>,
    key: &str,
    value: &str,
) -> Result<Revision, Refusal> {
    let mut revision = set(text, spot, value)?;
    let Some(pair) = spot.pair else { return Ok(revision) };
    let (old, line) = (pair.key.text().unwrap_or_default(), pair.key.line);
    let target = parent.key_target(pair)?;
    let mut rewrite = Rewrite::default();
    rewrite.set(&target, old, key, write(&target, key, line)?);
    rewrite.splices.append(&mut revision.rewrite.splices);
    rewrite.sets.append(&mut revision.rewrite.sets);
    let gone = revision.changes.iter().map(|change| Changed { new: None, ..change.clone() });
    let changes = gone.chain(revision.changes.iter().map(|change| Changed {
        key_path: parent.path_of(key),
        old: None,
        ..change.clone()
    }));
    Ok(Revision { rewrite, changes: changes.collect() })
}

pub(crate) fn write(target: &Target, value: &str, line: usize) -> Result<String, Refusal> {
    if value.contains("{{") {
        return Err(RefusalCause::TemplateValue.at(line));
    }
    target.write(value).map_err(|character| RefusalCause::Unwritable { character }.at(line))
}

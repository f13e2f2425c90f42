//! Finding markers: which scalars of a file are marked, and which markers cannot be acted upon.

use std::ops::Range;

use memchr::memmem;
use windlass_model::place::{Marker, ObjectIdentifier};

use crate::outline::{self, Near};
use crate::problem::{Problem, ProblemCause};
use crate::resolve;
use crate::scalar::{self, Style, Surroundings};
use crate::screen::MARKER_KEY;
use crate::template;

/// Larger files are not parsed. A manifest must fit into etcd's 1.5 MiB per object; this leaves room for bundles.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// What [`scan`] found in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// The marked scalars, in the order of the file.
    pub places: Vec<Place>,
    /// The markers that are left alone, in the order of their lines.
    pub problems: Vec<Problem>,
    pub(crate) format: Format,
}

/// What a file is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Yaml,
    /// A Helm template, which is read line by line.
    Template,
}

/// A marked scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What the marker asks for.
    pub marker: Marker,
    /// The line of the scalar, counted from 1.
    pub line: usize,
    /// What the scalar says, without quotes and escapes.
    pub value: String,
    /// The object in which the scalar lies; for `kind: List` and for a list of objects, the item.
    pub object: ObjectIdentifier,
    /// The way from the document's root: `spec.template.spec.containers[0].image`.
    pub key_path: String,
    /// An alias repeats the scalar, or a collection around it, elsewhere: a change shows in more than one place.
    pub shared_by_alias: bool,
    pub(crate) target: Target,
}

impl Place {
    /// The bytes of the scalar, with its quotes, without anchor and tag.
    pub fn span(&self) -> Range<usize> {
        self.target.span.clone()
    }
}

/// The scalar's bytes, and what decides how a new value is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) span: Range<usize>,
    pub(crate) style: Style,
    pub(crate) in_flow: bool,
    /// An explicit tag fixes the type, so that plain text is never resolved to another one.
    pub(crate) tagged: bool,
}

impl Target {
    /// The text of a value as it is to stand here. Fails with the first character that it cannot hold.
    pub(crate) fn write(&self, value: &str) -> Result<String, char> {
        scalar::write(value, self.style, Surroundings { in_flow: self.in_flow, tagged: self.tagged })
    }
}

/// Finds the markers of a file. Never fails: what cannot be used is in [`Scan::problems`].
///
/// Where one document of a file cannot be parsed, the others are still read. Time and memory are linear in the file's
/// size, which is capped at [`MAX_FILE_BYTES`]; a file without markers costs one memory search.
pub fn scan(bytes: &[u8]) -> Scan {
    read(bytes, |text, markers| {
        resolve::resolve(text, markers, outline::read(text, &Near::around(text, markers)))
    })
}

/// Finds the markers of a file that was declared to be a Helm template, line by line: a template is not YAML before it
/// is rendered. What [`scan`] knows from the rest of the document is not known here: object and path of a place are
/// those that its line shows. A marker on a line of its own means nothing here, and a value on a line with `{{` is left
/// alone.
///
/// [`crate::apply`] takes the result like any other. Costs are those of [`scan`].
pub fn scan_template(bytes: &[u8]) -> Scan {
    let scan = read(bytes, template::resolve);
    Scan { format: Format::Template, ..scan }
}

fn read(bytes: &[u8], resolve: impl FnOnce(&str, &[usize]) -> Scan) -> Scan {
    let markers: Vec<usize> = memmem::find_iter(bytes, MARKER_KEY).collect();
    if markers.is_empty() {
        return Scan::default();
    }
    let failed = |line, cause| Scan { problems: vec![Problem { line, cause }], ..Scan::default() };
    match text_of(bytes) {
        Ok(text) => resolve(text, &markers),
        Err(Unreadable::TooLarge) => failed(1, ProblemCause::TooLarge { bytes: bytes.len() }),
        Err(Unreadable::NotUtf8 { line }) => failed(line, ProblemCause::NotUtf8),
    }
}

/// Why bytes are not read as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    TooLarge,
    NotUtf8 { line: usize },
}

pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, Unreadable> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Unreadable::TooLarge);
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + memchr::memchr_iter(b'\n', &bytes[..error.valid_up_to()]).count();
        Unreadable::NotUtf8 { line }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: &str = r#"# {"$imagepolicy": "apps:app"}"#;

    fn causes(text: &str) -> Vec<(usize, ProblemCause)> {
        scan(text.as_bytes()).problems.into_iter().map(|problem| (problem.line, problem.cause)).collect()
    }

    #[test]
    fn a_file_over_the_size_limit_is_a_problem_only_if_it_has_markers() {
        let filler = " ".repeat(MAX_FILE_BYTES);
        assert_eq!(scan(filler.as_bytes()), Scan::default());
        let text = format!("{filler}{MARKER}");
        assert_eq!(causes(&text), [(1, ProblemCause::TooLarge { bytes: text.len() })]);
    }

    #[test]
    fn a_broken_document_lists_its_markers() {
        let text = format!("a: x {MARKER}\n---\nb: [ {MARKER}\n\n{{{{ x {MARKER}\n---\nc: x {MARKER}\n");
        let found = scan(text.as_bytes());
        assert_eq!(found.places.iter().map(|place| place.line).collect::<Vec<_>>(), [1, 7]);
        let [problem] = found.problems.as_slice() else { panic!("{:?}", found.problems) };
        let ProblemCause::Unparsable { template, markers, .. } = &problem.cause else {
            panic!("{problem:?}")
        };
        assert_eq!((*template, markers.as_slice()), (true, &[3, 5][..]));
    }

    #[test]
    fn a_stream_of_broken_documents_lists_every_marker() {
        let text = format!("--- [ {MARKER}\n").repeat(500);
        let listed: usize = causes(&text)
            .iter()
            .map(
                |(_, cause)| {
                    if let ProblemCause::Unparsable { markers, .. } = cause { markers.len() } else { 0 }
                },
            )
            .sum();
        assert_eq!(listed, 500);
    }

    #[test]
    fn a_line_of_many_values_is_ambiguous() {
        let text =
            format!("a: [{}x] {MARKER}\nb: {{{}k: x}} {MARKER}\n", "x, ".repeat(999), "k, ".repeat(999));
        assert_eq!(causes(&text), [(1, ProblemCause::Ambiguous { values: 1_000 })]);
        assert_eq!(scan(text.as_bytes()).places[0].key_path, "b.k");
    }

    #[test]
    fn long_paths_are_cut() {
        let text = format!("? {}\n: {}x {MARKER}\n", "é".repeat(5_000), "- ".repeat(100));
        let path = &scan(text.as_bytes()).places[0].key_path;
        assert!(path.ends_with('…') && path.len() < 300, "{path}");
    }
}

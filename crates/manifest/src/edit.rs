//! Changing marked scalars, byte for byte, and proving that nothing else changed.

use std::collections::BTreeMap;

use crate::scan::{Format, Place, Scan};
use crate::splice::{Refused, Rewrite};
use crate::template;

/// A new value for a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The index in [`Scan::places`].
    pub place: usize,
    /// The text that the scalar is to have.
    pub value: String,
}

/// Why an edit was refused. Nothing is changed then. Only [`EditError::Stale`] is worth a repetition, with a new scan;
/// the others fail again on the same input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The edit names a place that the scan does not have.
    #[error("there is no place {place}: the scan has {places}")]
    NoSuchPlace {
        /// The index that was asked for.
        place: usize,
        /// How many there are.
        places: usize,
    },
    /// Two edits give one place different values.
    #[error("line {line}: two different values for one place")]
    Conflict {
        /// The line of the scalar, counted from 1.
        line: usize,
    },
    /// The new value has a character that a scalar on one line cannot hold.
    #[error("line {line}: the new value contains {character:?}, which cannot be written on one line")]
    Unwritable {
        /// The line of the scalar, counted from 1.
        line: usize,
        /// The character.
        character: char,
    },
    /// The new value contains `{{`, so that the next scan would take the line for a template.
    #[error("line {line}: the new value contains `{{{{`, which would make the line a template")]
    Template {
        /// The line of the scalar, counted from 1.
        line: usize,
    },
    /// The bytes are not those that were scanned.
    #[error("the file is not the one that was scanned; scan it again")]
    Stale,
    /// The changed file would not be parsed as the same file with the new values.
    #[error("line {line}: the change would alter more than the marked values; the file is left alone")]
    Altered {
        /// The first line, counted from 1, at which the changed file is parsed differently.
        line: usize,
    },
}

impl EditError {
    /// The line at fault, counted from 1, where the error is about one.
    pub fn line(&self) -> Option<usize> {
        match self {
            EditError::Conflict { line }
            | EditError::Unwritable { line, .. }
            | EditError::Template { line }
            | EditError::Altered { line } => Some(*line),
            EditError::NoSuchPlace { .. } | EditError::Stale => None,
        }
    }

    /// The error in one word, for metric labels and log fields.
    pub fn kind(&self) -> &'static str {
        match self {
            EditError::NoSuchPlace { .. } => "no-such-place",
            EditError::Conflict { .. } => "conflict",
            EditError::Unwritable { .. } => "unwritable",
            EditError::Template { .. } => "template",
            EditError::Stale => "stale",
            EditError::Altered { .. } => "altered",
        }
    }
}

/// Writes the new values into `bytes`, which must be those of `scan`.
///
/// Only the bytes of the scalars whose value differs change. Quotes stay as they are; a plain scalar gets double
/// quotes where plain style would change its type or meaning in YAML 1.1 or 1.2. Lines are neither added nor removed.
/// The result is parsed again: its events must equal those of `bytes` except for the edited values, else it is
/// refused. (A Helm template is not YAML: there, the result must have the same markers with the new values.) An edit
/// whose value is there already changes nothing.
pub fn apply(bytes: &[u8], scan: &Scan, edits: &[Edit]) -> Result<Vec<u8>, EditError> {
    let changes = collect(scan, edits)?;
    if changes.is_empty() {
        return Ok(bytes.to_vec());
    }
    let old = std::str::from_utf8(bytes).map_err(|_| EditError::Stale)?;
    let rewrite = rewrite(&changes)?;
    let new = match scan.format {
        Format::Yaml => rewrite.apply(old),
        Format::Template => template::apply(old, scan, &rewrite),
    };
    Ok(new?.into_bytes())
}

/// A place whose value changes.
struct Change<'a> {
    place: &'a Place,
    value: &'a str,
}

/// The changes, in the order of the file.
fn collect<'a>(scan: &'a Scan, edits: &'a [Edit]) -> Result<Vec<Change<'a>>, EditError> {
    let mut values: BTreeMap<usize, Change<'a>> = BTreeMap::new();
    for Edit { place: index, value } in edits {
        let place = scan
            .places
            .get(*index)
            .ok_or(EditError::NoSuchPlace { place: *index, places: scan.places.len() })?;
        // Keyed by position, so that two places of one scalar could not pass for different ones.
        let change = values.entry(place.target.span.start).or_insert(Change { place, value });
        if change.value != value {
            return Err(EditError::Conflict { line: place.line });
        }
    }
    Ok(values.into_values().filter(|change| change.value != change.place.value).collect())
}

fn rewrite(changes: &[Change<'_>]) -> Result<Rewrite, EditError> {
    let mut rewrite = Rewrite::default();
    for Change { place, value } in changes {
        let line = place.line;
        if value.contains("{{") {
            return Err(EditError::Template { line });
        }
        let written =
            place.target.write(value).map_err(|character| EditError::Unwritable { line, character })?;
        rewrite.set(&place.target, &place.value, value, written);
    }
    Ok(rewrite)
}

impl From<Refused> for EditError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Stale => EditError::Stale,
            Refused::Altered { line } => EditError::Altered { line },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::scan;

    const FILE: &str = "a: x:1 # {\"$imagepolicy\": \"ns:app\"}\nb: 'y:1' # {\"$imagepolicy\": \"ns:app\"}\n";

    fn edit(place: usize, value: &str) -> Edit {
        Edit { place, value: value.into() }
    }

    #[test]
    fn an_edit_of_a_missing_place_or_with_two_values_is_refused() {
        let found = scan(FILE.as_bytes());
        assert_eq!(
            apply(FILE.as_bytes(), &found, &[edit(2, "x:2")]),
            Err(EditError::NoSuchPlace { place: 2, places: 2 })
        );
        assert_eq!(
            apply(FILE.as_bytes(), &found, &[edit(1, "x:2"), edit(1, "x:3")]),
            Err(EditError::Conflict { line: 2 })
        );
        let twice = apply(FILE.as_bytes(), &found, &[edit(1, "x:2"), edit(1, "x:2")]).unwrap();
        assert_eq!(String::from_utf8(twice).unwrap(), FILE.replace("'y:1'", "'x:2'"));
    }

    #[test]
    fn a_value_that_is_there_already_changes_nothing() {
        let found = scan(FILE.as_bytes());
        assert_eq!(
            apply(FILE.as_bytes(), &found, &[edit(0, "x:1"), edit(1, "y:1")]).unwrap(),
            FILE.as_bytes()
        );
        assert_eq!(apply(FILE.as_bytes(), &found, &[]).unwrap(), FILE.as_bytes());
    }

    #[test]
    fn a_value_with_a_line_break_or_a_template_is_refused() {
        let found = scan(FILE.as_bytes());
        assert_eq!(
            apply(FILE.as_bytes(), &found, &[edit(0, "x\ny: z")]),
            Err(EditError::Unwritable { line: 1, character: '\n' })
        );
        assert_eq!(
            apply(FILE.as_bytes(), &found, &[edit(1, "{{ x }}")]),
            Err(EditError::Template { line: 2 })
        );
    }

    #[test]
    fn other_bytes_than_those_scanned_are_refused() {
        let found = scan(FILE.as_bytes());
        for other in [
            "",
            "a",
            &FILE.replace("x:1", "z:1"),
            &FILE.replace("a: ", "a:  "),
            &format!("é{FILE}"),
            "a: {x:1 # b\n",
        ] {
            let result = apply(other.as_bytes(), &found, &[edit(0, "x:2")]);
            assert!(
                matches!(result, Err(EditError::Stale | EditError::Altered { .. })),
                "{other}: {result:?}"
            );
        }
        assert_eq!(apply(b"\xff\xff\xff\xff\xff\xff\xff", &found, &[edit(0, "x:2")]), Err(EditError::Stale));
    }

    #[test]
    fn a_result_that_parses_differently_is_refused() {
        let found = scan(FILE.as_bytes());
        let change = rewrite(&[Change { place: &found.places[0], value: "x:2" }]).unwrap();
        let line = |new: &str| match change.verify(FILE, new) {
            Err(Refused::Altered { line }) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(change.verify(FILE, &FILE.replace("x:1", "x:2")), Ok(()));
        assert_eq!(line(&FILE.replace("x:1", "x:3")), 1);
        assert_eq!(line(&FILE.replace("x:1", "'x:2'")), 1);
        assert_eq!(line(&FILE.replace("x:1", "!!str x:2")), 1);
        assert_eq!(line(&FILE.replace("x:1", "x:2").replace("ns:app", "ns:ap")), 1);
        assert_eq!(line(&FILE.replace("x:1", "x:2").replace("y:1", "y:2")), 2);
        assert_eq!(line(&FILE.replace("x:1", "x:2").replace("'y:1'", "y:1")), 2);
        assert_eq!(line(&FILE.replace("x:1", "x:2").replace("b: 'y:1'", "b: ['y:1'")), 2);
        assert_eq!(line(&format!("{}c: 1\n", FILE.replace("x:1", "x:2"))), 3);
    }
}

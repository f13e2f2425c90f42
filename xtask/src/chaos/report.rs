//! What a trial came to: a table, sentences below it, and whatever broke a promise.

use std::fmt;

use serde_json::{Value, json};

/// One trial's result.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    title: String,
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
    violations: Vec<String>,
}

impl Outcome {
    /// A table with these columns and no rows.
    pub(crate) fn new<H: Into<String>>(
        title: impl Into<String>,
        headings: impl IntoIterator<Item = H>,
    ) -> Self {
        let headings = headings.into_iter().map(Into::into).collect();
        Self { title: title.into(), headings, ..Self::default() }
    }

    /// Adds a row: a cell for each column.
    pub(crate) fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Adds a sentence below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds a broken promise: what was seen, and how to see it again.
    pub(crate) fn violation(&mut self, violation: impl Into<String>) {
        self.violations.push(violation.into());
    }

    /// How many promises were broken.
    pub(crate) fn violations(&self) -> usize {
        self.violations.len()
    }

    /// `{"title", "headings": [text], "rows": [[text]], "notes": [text], "violations": [text]}`
    pub(crate) fn json(&self) -> Value {
        json!({
            "title": self.title, "headings": self.headings, "rows": self.rows, "notes": self.notes,
            "violations": self.violations,
        })
    }

    fn widths(&self) -> Vec<usize> {
        let lines = || std::iter::once(&self.headings).chain(&self.rows);
        let width =
            |column: usize| lines().filter_map(|line| line.get(column)).map(|c| c.chars().count()).max();
        (0..self.headings.len()).map(|column| width(column).unwrap_or_default()).collect()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let widths = self.widths();
        for line in std::iter::once(&self.headings).chain(&self.rows) {
            let cells: Vec<_> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "  {}", cells.join("  ").trim_end())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "  VIOLATION: {violation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_is_plain_to_see_in_both_forms() {
        let mut outcome = Outcome::new("matrix", ["point", "kill"]);
        outcome.row(["appended", "9 of 10"]);
        outcome.note("a note");
        outcome.violation("a commit was made twice");
        let text = outcome.to_string();
        assert_eq!(
            text,
            "matrix\n  point     kill\n  appended  9 of 10\n  a note\n  VIOLATION: a commit was made twice\n"
        );
        assert_eq!(outcome.json()["violations"][0], "a commit was made twice");
        assert_eq!(outcome.violations(), 1);
    }
}

//! Tables of figures with their targets, for people and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::figures::{Figure, Target};
use crate::machine::machine;

/// Everything that one run measured.
pub(crate) struct Report {
    quick: bool,
    machine: String,
    pub(crate) tables: Vec<Table>,
}

/// The figures of one measurement.
pub(crate) struct Table {
    title: String,
    rows: Vec<Row>,
    notes: Vec<String>,
}

struct Row {
    what: String,
    figure: Figure,
    target: Option<Target>,
}

impl Report {
    pub(crate) fn new(quick: bool) -> Self {
        Self { quick, machine: machine(), tables: Vec::new() }
    }

    /// What stands above the tables.
    pub(crate) fn heading(&self) -> String {
        let quick = if self.quick { "\n(--quick: a trial, not figures to quote)" } else { "" };
        format!("on {}{quick}", self.machine)
    }

    /// `{"machine", "quick", "tables": [{"title", "rows": [{"what", "value", "unit", "target", "met"}], "notes"}]}`;
    /// `target` and `met` are null where there is no target.
    pub(crate) fn json(&self) -> Value {
        let tables: Vec<Value> = self.tables.iter().map(Table::json).collect();
        json!({"machine": self.machine, "quick": self.quick, "tables": tables})
    }
}

impl Table {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a figure without a target: a baseline, or something to know.
    pub(crate) fn row(&mut self, what: impl Into<String>, figure: Figure) {
        self.rows.push(Row { what: what.into(), figure, target: None });
    }

    /// Adds a figure with its target.
    pub(crate) fn goal(&mut self, what: impl Into<String>, figure: Figure, target: Target) {
        self.rows.push(Row { what: what.into(), figure, target: Some(target) });
    }

    /// Adds a sentence below the figures.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({"title": self.title, "rows": rows, "notes": self.notes})
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or_default();
        for row in &self.rows {
            write!(f, "  {:<width$}  {:>12}", row.what, row.figure.text())?;
            if let Some(target) = row.target {
                let verdict = if target.is_met(row.figure) { "met" } else { "MISSED" };
                write!(f, "  target {:<11} {verdict}", target.text(row.figure.unit))?;
            }
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
    }
}

impl Row {
    fn json(&self) -> Value {
        let target = self.target.map(|target| target.text(self.figure.unit));
        let met = self.target.map(|target| target.is_met(self.figure));
        let Figure { value, unit } = self.figure;
        json!({"what": self.what, "value": value, "unit": unit.symbol(), "target": target, "met": met})
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_missed_target_is_plain_to_see_in_both_forms() {
        let mut table = Table::new("event");
        table.row("baseline", Figure::time(Duration::from_millis(50)));
        table.goal(
            "ratio",
            Figure::ratio(Duration::from_millis(60), Duration::from_millis(50)),
            Target::AtMost(1.0),
        );
        table.note("a note");
        let text = table.to_string();
        assert!(text.contains("ratio") && text.contains("1.20 ×  target ≤ 1.00 ×    MISSED"), "{text}");
        assert!(text.ends_with("  a note\n"), "{text}");
        let mut report = Report::new(true);
        report.tables.push(table);
        let row = &report.json()["tables"][0]["rows"][1];
        assert_eq!((row["met"].as_bool(), row["target"].as_str()), (Some(false), Some("≤ 1.00 ×")));
        assert!(report.heading().contains("processors") && report.heading().contains("--quick"));
    }
}

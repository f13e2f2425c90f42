//! What the demonstration prints: colours on a terminal, plain text in a pipe.

use std::io::{IsTerminal as _, Stdout, Write as _};
use std::time::Duration;

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";
const DIM: &str = "2";

/// Standard output.
pub(crate) struct Screen {
    out: Stdout,
    colour: bool,
}

impl Screen {
    /// Colours only on a terminal.
    pub(crate) fn new() -> Self {
        let out = std::io::stdout();
        Self { colour: out.is_terminal(), out }
    }

    pub(crate) fn line(&self, text: &str) {
        // Whoever stopped reading still wants the demonstration to end cleanly.
        drop(writeln!(&self.out, "{text}"));
    }

    pub(crate) fn heading(&self, text: &str) {
        self.line(&format!("\n{}", self.paint(BOLD, text)));
    }

    /// A name and what there is to know about it.
    pub(crate) fn fact(&self, name: &str, text: &str) {
        self.line(&format!("  {name:<12}{text}"));
    }

    /// Something that happened, with its time since the push.
    pub(crate) fn step(&self, since: Duration, name: &str, text: &str) {
        self.line(&format!("  {:>6} ms  {name:<12}{}", since.as_millis(), self.paint(DIM, text)));
    }

    /// A patch, indented.
    pub(crate) fn patch(&self, patch: &str) {
        self.line("");
        for line in patch.lines() {
            let painted = match line.as_bytes() {
                [b'+', b'+', ..] | [b'-', b'-', ..] => self.paint(BOLD, line),
                [b'+', ..] => self.paint(GREEN, line),
                [b'-', ..] => self.paint(RED, line),
                _ => self.paint(DIM, line),
            };
            self.line(&format!("    {painted}"));
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

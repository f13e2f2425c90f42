//! Commit message templates: the part of Go's `text/template`, and of the sprig functions, that messages are written
//! in.
//!
//! The data is that of image-automation-controller 1.2, and a Flux user's template gives the same text here. What is
//! not supported is refused by name when the template is parsed, and so are unknown functions and fields, wrong
//! numbers of arguments, and arguments whose type is known to be wrong: a bad template is found by `check`, not when
//! a commit is due. Two departures from Flux, both where it leaves the text to chance: `.Changed.Changes` comes in
//! the order of files, objects and places; and an object that occurs in two files has the changes of both in
//! `.Changed.Objects`.
//!
//! Rendering is bounded in work, in memory and in the length of the message. It reads nothing but its data.

mod check;
mod data;
mod functions;
mod lexer;
mod number;
mod parser;
mod pipeline;
mod print;
mod render;
mod syntax;
mod types;
mod value;

pub use data::{Change, CommitData};

use syntax::Program;

/// Longest template in bytes.
const MAX_SOURCE: usize = 64 * 1024;
/// Longest message, and longest text on the way to it, in bytes.
const MAX_TEXT: usize = 256 * 1024;

/// A parsed and checked template.
#[derive(Debug, Clone)]
pub struct Template {
    source: String,
    program: Program,
}

/// Why a template cannot be used, or why it gave no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct TemplateError {
    /// One-based.
    pub line: usize,
    /// One-based, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What sort of fault it is.
    pub kind: TemplateErrorKind,
}

/// Sorts of template errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateErrorKind {
    /// It is not a template.
    Syntax,
    /// It uses a function, a field, a variable or a template that does not exist, or is not supported.
    Unknown,
    /// It uses `.Updated` or `.Changed.ImageResult`, which Flux removed (condition reason `RemovedTemplateField`).
    RemovedField,
    /// A function is given the wrong number or types of arguments.
    Type,
    /// It failed on this commit's data.
    Failed,
    /// It exceeds a limit of size, depth or work.
    Limit,
}

/// An error at a place in the source, given as a byte offset.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    at: usize,
    kind: TemplateErrorKind,
    message: String,
}

impl Fault {
    fn new(at: usize, kind: TemplateErrorKind, message: impl Into<String>) -> Self {
        Self { at, kind, message: message.into() }
    }

    fn syntax(at: usize, message: impl Into<String>) -> Self {
        Self::new(at, TemplateErrorKind::Syntax, message)
    }

    fn in_source(self, source: &str) -> TemplateError {
        let before = source.get(..self.at).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        TemplateError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: self.message,
            kind: self.kind,
        }
    }
}

impl Template {
    /// Parses a template and checks every name and every call in it, also in branches that no commit may reach.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        if source.len() > MAX_SOURCE {
            let message = format!("the template is longer than {MAX_SOURCE} bytes");
            return Err(Fault::new(0, TemplateErrorKind::Limit, message).in_source(""));
        }
        let program = parser::parse(source)
            .and_then(|program| check::check(&program).map(|()| program))
            .map_err(|fault| fault.in_source(source))?;
        Ok(Self { source: source.to_owned(), program })
    }

    /// Renders the message of one commit.
    pub fn render(&self, data: &CommitData) -> Result<String, TemplateError> {
        render::render(&self.program, data).map_err(|fault| fault.in_source(&self.source))
    }
}

#[cfg(test)]
mod tests;

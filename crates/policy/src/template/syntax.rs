//! The syntax tree. Every part that can fail knows its byte offset in the source.

use std::collections::BTreeMap;

use super::functions::Function;

/// A parsed template with those that it defines.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) body: Vec<Node>,
    pub(super) templates: BTreeMap<String, Vec<Node>>,
    /// Variables that some `=` assigns to; their type may change.
    pub(super) assigned: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// A pipeline whose value is printed, unless it declares or assigns.
    Output(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template {
        at: usize,
        name: String,
        argument: Option<Pipe>,
    },
    Break,
    Continue,
}

#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

#[derive(Debug, Clone)]
pub(super) struct Pipe {
    pub(super) at: usize,
    /// At most one; two in a range.
    pub(super) variables: Vec<String>,
    /// `=` instead of `:=`.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) first: Operand,
    pub(super) arguments: Vec<Operand>,
}

#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) term: Term,
    /// `.A.B` behind the term.
    pub(super) fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) at: usize,
    pub(super) name: String,
}

#[derive(Debug, Clone)]
pub(super) enum Term {
    /// Also where the operand starts with a field.
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Text(std::sync::Arc<str>),
    Variable(String),
    Function(&'static Function),
    Pipe(Pipe),
}

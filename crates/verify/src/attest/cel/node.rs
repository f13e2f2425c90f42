//! An expression as it is evaluated: names are resolved, macros are loops, patterns are compiled.

use std::cmp::Ordering;

use regex::Regex;

use super::value::Value;

/// One part of an expression.
#[derive(Debug)]
pub(super) enum Node {
    Literal(Value<'static>),
    /// A variable by its place: 0 is `predicate`, 1 is `statement`, then the loops' from the outermost inwards.
    Variable(usize),
    Field(Box<Node>, String),
    Has(Box<Node>, String),
    Item(Box<Node>, Box<Node>),
    List(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    If(Box<[Node; 3]>),
    /// `==`, or `!=` where it is not to be equal.
    Equal(Box<[Node; 2]>, bool),
    Compare(Box<[Node; 2]>, Comparison),
    Arithmetic(Box<[Node; 2]>, Arithmetic),
    In(Box<[Node; 2]>),
    Size(Box<Node>),
    Text(Box<[Node; 2]>, TextTest),
    Matches(Box<Node>, Regex),
    Loop(Box<Loop>),
}

/// `all`, `exists`, `exists_one`, `map` and `filter`.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Node,
    /// For [`LoopKind::Collect`]: which items count.
    pub(super) when: Option<Node>,
    pub(super) body: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Collect,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Comparison {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }

    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Arithmetic {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

impl TextTest {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Contains => "contains",
        }
    }

    pub(super) fn holds(self, text: &str, part: &str) -> bool {
        match self {
            Self::StartsWith => text.starts_with(part),
            Self::EndsWith => text.ends_with(part),
            Self::Contains => text.contains(part),
        }
    }
}

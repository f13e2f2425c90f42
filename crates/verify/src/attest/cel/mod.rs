//! Expressions in CEL over a predicate. The grammar is the crate `cel`'s; evaluation is ours, for that crate's has no
//! limit on steps, and an expression of a few characters can take hours over a predicate of 1 MiB.
//!
//! Owns the limits: the length and the depth of an expression, and the steps of one evaluation, which bound its memory
//! as well. What is not evaluated here is an error when the Guard is loaded, never a surprise later.

mod compile;
mod node;
mod run;
mod value;

use serde_json::Value as Json;

use node::Node;

/// Longest expression, in bytes.
const LENGTH: usize = 4_096;
/// Deepest nesting of an expression.
const DEPTH: usize = 64;
/// Stack of the thread that parses: what the parser takes for an expression of [`LENGTH`] without brackets, in which
/// each operator is one level, and enough over.
const STACK: usize = 64 << 20;
/// Steps of one evaluation: each part of the expression that is evaluated, each item that is looked at and each 16
/// bytes of text that are copied or searched is one. A million take some tens of milliseconds.
const STEPS: usize = 1_000_000;

/// An expression that is ready to be evaluated.
#[derive(Debug, Clone)]
pub(super) struct Program(std::sync::Arc<Node>);

/// Why a text is no expression to evaluate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CelError {
    /// Past the limit.
    #[error("the expression of `cel` has more than {LENGTH} bytes")]
    TooLong,
    /// Past the limit.
    #[error("the expression of `cel` is nested more than {DEPTH} levels deep")]
    TooDeep,
    /// It does not parse.
    #[error("the expression of `cel` cannot be read: {0}")]
    Malformed(String),
    /// It uses what is not evaluated here.
    #[error("`{name}` is not known in an expression of `cel`: known here are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// What could stand there.
        known: &'static str,
    },
    /// It has a form that is not evaluated here.
    #[error("{0} not supported in an expression of `cel`")]
    Unsupported(&'static str),
    /// A pattern is no regular expression.
    #[error("`{expression}` is not a regular expression: {why}")]
    Pattern {
        /// As written.
        expression: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CelFault {
    /// It takes too long.
    #[error("it takes more than {STEPS} steps")]
    Steps,
    /// A field is not there.
    #[error("there is no `{0}`")]
    NoKey(String),
    /// An item is not there.
    #[error("there is no item {0}")]
    NoItem(i64),
    /// An operator or a function meets a value that it is not for.
    #[error("`{operation}` is not for {operand}")]
    Operand {
        /// As CEL writes it.
        operation: &'static str,
        /// The type of what it met.
        operand: &'static str,
    },
    /// A number is divided by zero, or the result is out of range.
    #[error("`{0}` has no result for these numbers")]
    Arithmetic(&'static str),
    /// Its value is not `true` or `false`.
    #[error("its value is {0}, not a boolean")]
    NotBool(&'static str),
}

impl Program {
    /// Reads an expression.
    ///
    /// It is parsed on a thread of its own: the parser recurses, and whatever it panics at is an error.
    pub(super) fn compile(text: &str) -> Result<Self, CelError> {
        if text.len() > LENGTH {
            return Err(CelError::TooLong);
        }
        let text = text.to_owned();
        let thread = std::thread::Builder::new().name("cel".to_owned()).stack_size(STACK);
        let thread = thread
            .spawn(move || compile::compile(&text))
            .map_err(|error| CelError::Malformed(error.to_string()))?;
        let node =
            thread.join().map_err(|_| CelError::Malformed("the parser broke off at it".to_owned()))??;
        Ok(Self(std::sync::Arc::new(node)))
    }

    /// The value for one predicate and its statement.
    pub(super) fn run(&self, predicate: &Json, statement: &Json) -> Result<bool, CelFault> {
        run::run(&self.0, [predicate, statement], STEPS)
    }
}

#[cfg(test)]
mod tests;

//! The functions of templates: Go's builtins and those of sprig's hermetic map that messages use.
//!
//! A function is pure, works within a [`Meter`], and has a signature, by which calls are checked both when a template
//! is parsed and when it runs. Where sprig is random (`keys`, `values`), the result here is sorted.
//!
//! Two of Go's distinctions are not made, so that some templates work here that fail in Flux: integers have one type
//! (`trunc (add 1 2) …` is an error in Go), and functions of dictionaries take `.Values` too.

mod builtin;
mod collection;
mod logic;
mod path;
mod pattern;
mod refused;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::types::Type;
use super::value::Value;
use crate::go_regex::GoRegex;

/// Work that one rendering may do. A message about 1,000 changes takes about 20,000 units.
const MAX_WORK: usize = 2_000_000;
/// What compiling a regular expression costs of it.
const REGEX_WORK: usize = 20_000;

/// A function of templates.
#[derive(Debug)]
pub(super) struct Function {
    /// Its names; the `must…` variants of sprig differ only in how they fail.
    names: &'static [&'static str],
    params: &'static [Param],
    /// The type of any further arguments.
    rest: Option<Param>,
    returns: Returns,
    pub(super) run: Run,
}

/// A function's body. It gets as many arguments, of such types, as the signature says.
type Call = fn(&mut Meter, &[Value]) -> Result<Value, Failure>;

#[derive(Debug, Clone, Copy)]
pub(super) enum Run {
    /// With all arguments evaluated and checked.
    Call(Call),
    /// `and`, `or`: evaluates arguments up to the first whose truth is this.
    Until(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Param {
    Any,
    Text,
    Int,
    Bool,
    List,
    Map,
}

/// How the type of the result follows from those of the arguments.
#[derive(Debug, Clone, Copy)]
enum Returns {
    Any,
    Bool,
    Int,
    Text,
    Texts,
    Ints,
    TextMap,
    Dict,
    /// The type of the first argument.
    Same,
    /// The element type of the first argument.
    Element,
    /// What `index` finds.
    Indexed,
    /// A type that all arguments share, or those that this many first ones share.
    Joined(usize),
    /// A list of what all arguments share.
    ListOf,
}

/// Why a function failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) message: String,
    /// A limit was exceeded.
    pub(super) limit: bool,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), limit: false }
    }

    pub(super) fn limit(message: impl Into<String>) -> Self {
        Self { message: message.into(), limit: true }
    }
}

/// The work that is left to a rendering, and the expressions that it has compiled.
pub(super) struct Meter {
    work: usize,
    patterns: BTreeMap<String, Arc<GoRegex>>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { work: MAX_WORK, patterns: BTreeMap::new() }
    }

    pub(super) fn charge(&mut self, work: usize) -> Result<(), Failure> {
        self.work =
            self.work.checked_sub(work).ok_or_else(|| Failure::limit("the template does too much work"))?;
        Ok(())
    }

    fn regex(&mut self, pattern: &str) -> Result<Arc<GoRegex>, Failure> {
        if let Some(regex) = self.patterns.get(pattern) {
            return Ok(regex.clone());
        }
        self.charge(REGEX_WORK)?;
        let regex = Arc::new(GoRegex::compile(pattern).map_err(|error| Failure::new(error.to_string()))?);
        self.patterns.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }
}

/// Finds a function, or says why there is none.
pub(super) fn lookup(name: &str) -> Result<&'static Function, String> {
    let tables = [
        builtin::FUNCTIONS,
        logic::FUNCTIONS,
        text::FUNCTIONS,
        collection::FUNCTIONS,
        pattern::FUNCTIONS,
        path::FUNCTIONS,
    ];
    match tables.into_iter().flatten().find(|function| function.names.contains(&name)) {
        Some(function) => Ok(function),
        None if refused::NOT_IN_FLUX.contains(&name) => Err(format!(
            "function {name:?} is not available: its result depends on more than its arguments (Flux does not have it either)"
        )),
        None if refused::UNSUPPORTED.contains(&name) => {
            Err(format!("function {name:?} is not supported in commit messages"))
        }
        None => Err(format!("function {name:?} not defined")),
    }
}

impl Function {
    const fn new(
        names: &'static [&'static str],
        params: &'static [Param],
        returns: Returns,
        run: Call,
    ) -> Self {
        Self { names, params, rest: None, returns, run: Run::Call(run) }
    }

    const fn with_rest(mut self, rest: Param) -> Self {
        self.rest = Some(rest);
        self
    }

    pub(super) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// Checks the number of arguments.
    pub(super) fn check_count(&self, count: usize) -> Result<(), String> {
        let (name, least) = (self.name(), self.params.len());
        match self.rest {
            None if count != least => {
                Err(format!("wrong number of args for {name}: want {least} got {count}"))
            }
            Some(_) if count < least => {
                Err(format!("wrong number of args for {name}: want at least {least} got {count}"))
            }
            _ => Ok(()),
        }
    }

    fn param(&self, index: usize) -> Param {
        self.params.get(index).copied().or(self.rest).unwrap_or(Param::Any)
    }

    /// Checks the static type of one argument.
    pub(super) fn check_type(&self, index: usize, ty: &Type) -> Result<(), String> {
        let fits = match (self.param(index), ty) {
            (Param::Any, _) | (_, Type::Any) => true,
            (Param::Text, ty) => *ty == Type::Text,
            (Param::Int, ty) => *ty == Type::Int,
            (Param::Bool, ty) => *ty == Type::Bool,
            (Param::List, ty) => matches!(ty, Type::List(_)),
            (Param::Map, ty) => matches!(ty, Type::Map(key, _) if **key == Type::Text),
        };
        if fits {
            Ok(())
        } else {
            Err(format!("wrong type for {}: {}", self.name(), self.mismatch(index, &ty.to_string())))
        }
    }

    /// Checks one argument.
    pub(super) fn check_value(&self, index: usize, value: &Value) -> Result<(), Failure> {
        let fits = match (self.param(index), value) {
            (Param::Any, _)
            | (Param::Text, Value::Text(_))
            | (Param::Int, Value::Int(_))
            | (Param::Bool, Value::Bool(_))
            | (Param::List, Value::List(_))
            // A nil map is an empty one.
            | (Param::Map, Value::Nil) => true,
            (Param::Map, Value::Map(map)) => map.has_text_keys(),
            _ => false,
        };
        if fits { Ok(()) } else { Err(Failure::new(self.mismatch(index, value.type_name()))) }
    }

    fn mismatch(&self, index: usize, got: &str) -> String {
        let expected = match self.param(index) {
            Param::Any => "any value",
            Param::Text => "a string",
            Param::Int => "an int",
            Param::Bool => "a bool",
            Param::List => "a list",
            Param::Map => "a map with string keys",
        };
        format!("argument {} must be {expected}, not {got}", index + 1)
    }

    /// The result's static type.
    pub(super) fn result(&self, arguments: &[Type]) -> Type {
        let joined = |types: &[Type]| match types.split_first() {
            Some((first, others)) => others.iter().fold(first.clone(), Type::join),
            None => Type::Any,
        };
        let first = arguments.first().cloned().unwrap_or(Type::Any);
        match self.returns {
            Returns::Any => Type::Any,
            Returns::Bool => Type::Bool,
            Returns::Int => Type::Int,
            Returns::Text => Type::Text,
            Returns::Texts => Type::list(Type::Text),
            Returns::Ints => Type::list(Type::Int),
            Returns::TextMap => Type::map(Type::Text, Type::Text),
            Returns::Dict => Type::map(Type::Text, Type::Any),
            Returns::Same => first,
            Returns::Element => element(first),
            Returns::Indexed => arguments.iter().skip(1).fold(first, |ty, _| element(ty)),
            Returns::Joined(count) => joined(&arguments[..count.min(arguments.len())]),
            Returns::ListOf => Type::list(joined(arguments)),
        }
    }
}

fn element(ty: Type) -> Type {
    match ty {
        Type::List(element) | Type::Map(_, element) => *element,
        // A string's bytes.
        Type::Text => Type::Int,
        _ => Type::Any,
    }
}

/// An argument that the signature says is text; likewise below.
fn text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        _ => "",
    }
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(value) => *value,
        _ => 0,
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::List(list) => &list.items,
        _ => &[],
    }
}

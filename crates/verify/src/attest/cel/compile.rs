//! From a text to a [`Node`]. Whatever is not evaluated is refused here, by name.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::parser::{ParseErrors, Parser};
use regex::RegexBuilder;

use super::node::{Arithmetic, Comparison, Loop, LoopKind, Node, TextTest};
use super::value::Value;
use super::{CelError, DEPTH};
use crate::attest::shown;

const VARIABLES: [&str; 2] = ["predicate", "statement"];
const NAMES: &str = "`predicate`, `statement`";
const FUNCTIONS: &str = "`size`, `startsWith`, `endsWith`, `contains`, `matches`, `has`, `all`, `exists`, `exists_one`, \
                         `map`, `filter`, with their number of arguments";
/// Largest compiled pattern, in bytes.
const PATTERN_BYTES: usize = 1 << 18;

pub(super) fn compile(text: &str) -> Result<Node, CelError> {
    let recursion = u16::try_from(DEPTH).unwrap_or(u16::MAX);
    let parsed = Parser::new().max_recursion_depth(recursion).parse(text).map_err(|errors| first(&errors))?;
    let mut compiler = Compiler { names: VARIABLES.map(str::to_owned).to_vec(), depth: 0 };
    compiler.node(&parsed)
}

fn first(errors: &ParseErrors) -> CelError {
    let told = errors.errors.first().map(|error| {
        let (line, column) = error.pos;
        let why = error.source.as_ref().map_or(error.msg.clone(), ToString::to_string);
        if line > 0 { format!("line {line}, column {column}: {why}") } else { why }
    });
    CelError::Malformed(shown(&told.unwrap_or_default()))
}

struct Compiler {
    /// The variables, innermost last.
    names: Vec<String>,
    depth: usize,
}

impl Compiler {
    fn node(&mut self, expr: &IdedExpr) -> Result<Node, CelError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(CelError::TooDeep);
        }
        let node = self.shallow(expr)?;
        self.depth -= 1;
        Ok(node)
    }

    fn boxed(&mut self, expr: &IdedExpr) -> Result<Box<Node>, CelError> {
        self.node(expr).map(Box::new)
    }

    fn pair(&mut self, left: &IdedExpr, right: &IdedExpr) -> Result<Box<[Node; 2]>, CelError> {
        Ok(Box::new([self.node(left)?, self.node(right)?]))
    }

    fn shallow(&mut self, expr: &IdedExpr) -> Result<Node, CelError> {
        match &expr.expr {
            Expr::Literal(literal) => self::literal(literal).map(Node::Literal),
            Expr::Ident(name) => {
                let place = self.names.iter().rposition(|known| known == name);
                place.map(Node::Variable).ok_or_else(|| CelError::Unknown { name: shown(name), known: NAMES })
            }
            Expr::Select(select) => {
                let operand = self.boxed(&select.operand)?;
                let field = select.field.clone();
                Ok(if select.test { Node::Has(operand, field) } else { Node::Field(operand, field) })
            }
            Expr::List(list) => {
                list.elements.iter().map(|item| self.node(item)).collect::<Result<_, _>>().map(Node::List)
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Map(_) => Err(CelError::Unsupported("maps that are written out are")),
            Expr::Struct(_) => Err(CelError::Unsupported("messages that are written out are")),
            Expr::Unspecified => Err(CelError::Malformed("a part is missing".to_owned())),
        }
    }

    fn call(&mut self, call: &CallExpr) -> Result<Node, CelError> {
        // `f(a, b)` and `a.f(b)`.
        let args: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let member = call.target.is_some();
        match (call.func_name.as_str(), args.as_slice()) {
            (operators::LOGICAL_NOT, [a]) => Ok(Node::Not(self.boxed(a)?)),
            (operators::NEGATE, [a]) => Ok(Node::Negate(self.boxed(a)?)),
            (operators::CONDITIONAL, [a, b, c]) => {
                Ok(Node::If(Box::new([self.node(a)?, self.node(b)?, self.node(c)?])))
            }
            ("size", [a]) => Ok(Node::Size(self.boxed(a)?)),
            ("matches", [a, pattern]) => self.matches(a, pattern),
            ("startsWith", [a, b]) if member => Ok(Node::Text(self.pair(a, b)?, TextTest::StartsWith)),
            ("endsWith", [a, b]) if member => Ok(Node::Text(self.pair(a, b)?, TextTest::EndsWith)),
            ("contains", [a, b]) if member => Ok(Node::Text(self.pair(a, b)?, TextTest::Contains)),
            (operator, [a, b]) if !member => self.binary(operator, a, b),
            (name, _) => Err(unknown(name)),
        }
    }

    fn binary(&mut self, operator: &str, a: &IdedExpr, b: &IdedExpr) -> Result<Node, CelError> {
        let compare = |pair, comparison| Ok(Node::Compare(pair, comparison));
        let arithmetic = |pair, operation| Ok(Node::Arithmetic(pair, operation));
        match operator {
            operators::LOGICAL_AND => Ok(Node::And(self.boxed(a)?, self.boxed(b)?)),
            operators::LOGICAL_OR => Ok(Node::Or(self.boxed(a)?, self.boxed(b)?)),
            operators::EQUALS => Ok(Node::Equal(self.pair(a, b)?, true)),
            operators::NOT_EQUALS => Ok(Node::Equal(self.pair(a, b)?, false)),
            operators::LESS => compare(self.pair(a, b)?, Comparison::Less),
            operators::LESS_EQUALS => compare(self.pair(a, b)?, Comparison::AtMost),
            operators::GREATER => compare(self.pair(a, b)?, Comparison::Greater),
            operators::GREATER_EQUALS => compare(self.pair(a, b)?, Comparison::AtLeast),
            operators::ADD => arithmetic(self.pair(a, b)?, Arithmetic::Add),
            operators::SUBSTRACT => arithmetic(self.pair(a, b)?, Arithmetic::Subtract),
            operators::MULTIPLY => arithmetic(self.pair(a, b)?, Arithmetic::Multiply),
            operators::DIVIDE => arithmetic(self.pair(a, b)?, Arithmetic::Divide),
            operators::MODULO => arithmetic(self.pair(a, b)?, Arithmetic::Remainder),
            operators::IN => Ok(Node::In(self.pair(a, b)?)),
            operators::INDEX => Ok(Node::Item(self.boxed(a)?, self.boxed(b)?)),
            name => Err(unknown(name)),
        }
    }

    /// Patterns are written out, so that a broken one is found when the Guard is loaded.
    fn matches(&mut self, text: &IdedExpr, pattern: &IdedExpr) -> Result<Node, CelError> {
        let Expr::Literal(LiteralValue::String(pattern)) = &pattern.expr else {
            return Err(CelError::Unsupported("patterns of `matches` that are not written out are"));
        };
        let regex = RegexBuilder::new(pattern.inner()).size_limit(PATTERN_BYTES).build();
        let regex = regex.map_err(|error| CelError::Pattern {
            expression: shown(pattern.inner()),
            why: error.to_string(),
        })?;
        Ok(Node::Matches(self.boxed(text)?, regex))
    }

    /// The parser makes comprehensions out of macros alone, and each has its form.
    fn comprehension(&mut self, macro_: &ComprehensionExpr) -> Result<Node, CelError> {
        let unsupported = || CelError::Unsupported("this kind of loop is");
        if macro_.iter_var2.is_some() {
            return Err(unsupported());
        }
        let (kind, when, body) = parts(macro_).ok_or_else(unsupported)?;
        let range = self.node(&macro_.iter_range)?;
        self.names.push(macro_.iter_var.clone());
        let when = when.map(|when| self.node(when)).transpose()?;
        let body = self.node(body)?;
        self.names.pop();
        Ok(Node::Loop(Box::new(Loop { kind, range, when, body })))
    }
}

/// What a macro does, for which items, and with what of each.
fn parts(macro_: &ComprehensionExpr) -> Option<(LoopKind, Option<&IdedExpr>, &IdedExpr)> {
    let Expr::Call(step) = &macro_.loop_step.expr else { return None };
    match (&macro_.accu_init.expr, step.func_name.as_str(), step.args.as_slice()) {
        (Expr::Literal(LiteralValue::Boolean(init)), operators::LOGICAL_AND, [_, body]) if *init.inner() => {
            Some((LoopKind::All, None, body))
        }
        (Expr::Literal(LiteralValue::Boolean(init)), operators::LOGICAL_OR, [_, body]) if !*init.inner() => {
            Some((LoopKind::Exists, None, body))
        }
        (Expr::Literal(LiteralValue::Int(_)), operators::CONDITIONAL, [body, _, _]) => {
            Some((LoopKind::ExistsOne, None, body))
        }
        (Expr::List(init), _, _) if !init.elements.is_empty() => None,
        (Expr::List(_), operators::ADD, _) => Some((LoopKind::Collect, None, appended(step)?)),
        (Expr::List(_), operators::CONDITIONAL, [when, IdedExpr { expr: Expr::Call(add), .. }, _]) => {
            Some((LoopKind::Collect, Some(when), appended(add)?))
        }
        _ => None,
    }
}

/// What `@result + [item]` appends.
fn appended(add: &CallExpr) -> Option<&IdedExpr> {
    match add.args.as_slice() {
        [_, IdedExpr { expr: Expr::List(list), .. }] if add.func_name == operators::ADD => {
            list.elements.first().filter(|_| list.elements.len() == 1)
        }
        _ => None,
    }
}

fn unknown(name: &str) -> CelError {
    CelError::Unknown { name: shown(name), known: FUNCTIONS }
}

fn literal(literal: &LiteralValue) -> Result<Value<'static>, CelError> {
    match literal {
        LiteralValue::Boolean(value) => Ok(Value::Bool(*value.inner())),
        LiteralValue::Int(value) => Ok(Value::Int(*value.inner())),
        LiteralValue::UInt(value) => Ok(Value::UInt(*value.inner())),
        LiteralValue::Double(value) => Ok(Value::Double(*value.inner())),
        LiteralValue::String(value) => Ok(Value::Made(value.inner().into())),
        LiteralValue::Null => Ok(Value::Null),
        LiteralValue::Bytes(_) => Err(CelError::Unsupported("bytes are")),
    }
}

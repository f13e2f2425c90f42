//! Evaluation within a budget of steps. An exhausted budget is never absorbed by `||`, `&&`, `all` or `exists`, as other
//! faults are (CEL language definition, "Logical Operators").

use std::sync::Arc;

use regex::Regex;
use serde_json::Value as Json;

use super::CelFault;
use super::node::{Arithmetic, Comparison, Loop, LoopKind, Node, TextTest};
use super::value::Value;
use crate::attest::shown;

/// Bytes of text that are one step.
const BYTES_PER_STEP: usize = 16;

/// The steps that are left.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), CelFault> {
        self.0 = self.0.checked_sub(steps).ok_or(CelFault::Steps)?;
        Ok(())
    }

    /// For a text that is looked through or copied.
    pub(super) fn read(&mut self, bytes: usize) -> Result<(), CelFault> {
        self.spend(bytes / BYTES_PER_STEP)
    }
}

pub(super) fn run(node: &Node, variables: [&Json; 2], steps: usize) -> Result<bool, CelFault> {
    let variables = variables.map(Value::of).to_vec();
    match (Run { variables, budget: Budget(steps) }).value(node)? {
        Value::Bool(value) => Ok(value),
        other => Err(CelFault::NotBool(other.kind())),
    }
}

struct Run<'v> {
    variables: Vec<Value<'v>>,
    budget: Budget,
}

impl<'v> Run<'v> {
    fn value(&mut self, node: &'v Node) -> Result<Value<'v>, CelFault> {
        self.budget.spend(1)?;
        match node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Variable(at) => Ok(self.variables[*at].clone()),
            Node::Field(operand, field) => {
                let map = self.map(operand, ".")?;
                map.get(field).map(Value::of).ok_or_else(|| CelFault::NoKey(shown(field)))
            }
            Node::Has(operand, field) => Ok(Value::Bool(self.map(operand, "has")?.contains_key(field))),
            Node::Item(operand, key) => self.item(operand, key),
            Node::List(items) => {
                let items = items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?;
                Ok(Value::List(Arc::new(items)))
            }
            Node::Not(operand) => Ok(Value::Bool(!self.bool(operand, "!")?)),
            Node::Negate(operand) => self.negate(operand),
            Node::And(a, b) => self.absorbing(a, b, "&&", false),
            Node::Or(a, b) => self.absorbing(a, b, "||", true),
            Node::If(parts) => {
                let [condition, yes, no] = &**parts;
                let chosen = if self.bool(condition, "?:")? { yes } else { no };
                self.value(chosen)
            }
            Node::Equal(pair, wanted) => {
                let (a, b) = self.pair(pair)?;
                Ok(Value::Bool(a.equals(&b, &mut self.budget)? == *wanted))
            }
            Node::Compare(pair, comparison) => self.compare(pair, *comparison),
            Node::Arithmetic(pair, operation) => {
                let (a, b) = self.pair(pair)?;
                self.arithmetic(*operation, &a, &b)
            }
            Node::In(pair) => self.is_in(pair),
            Node::Size(operand) => self.size(operand),
            Node::Text(pair, wanted) => self.text_test(pair, *wanted),
            Node::Matches(operand, pattern) => self.matches(operand, pattern),
            Node::Loop(each) => self.each(each),
        }
    }

    fn negate(&mut self, operand: &'v Node) -> Result<Value<'v>, CelFault> {
        match self.value(operand)? {
            Value::Int(value) => value.checked_neg().map(Value::Int).ok_or(CelFault::Arithmetic("-")),
            Value::Double(value) => Ok(Value::Double(-value)),
            other => Err(wrong("-", &other)),
        }
    }

    fn text_test(&mut self, pair: &'v [Node; 2], wanted: TextTest) -> Result<Value<'v>, CelFault> {
        let (text, part) = self.pair(pair)?;
        match (text.as_text(), part.as_text()) {
            (Some(text), Some(part)) => {
                self.budget.read(text.len())?;
                Ok(Value::Bool(wanted.holds(text, part)))
            }
            (Some(_), None) => Err(wrong(wanted.name(), &part)),
            (None, _) => Err(wrong(wanted.name(), &text)),
        }
    }

    /// A pattern is matched in time of the product of both lengths, at worst.
    fn matches(&mut self, operand: &'v Node, pattern: &Regex) -> Result<Value<'v>, CelFault> {
        let operand = self.value(operand)?;
        let Some(text) = operand.as_text() else { return Err(wrong("matches", &operand)) };
        self.budget.spend(text.len().saturating_mul(1 + pattern.as_str().len() / BYTES_PER_STEP))?;
        Ok(Value::Bool(pattern.is_match(text)))
    }

    fn pair(&mut self, pair: &'v [Node; 2]) -> Result<(Value<'v>, Value<'v>), CelFault> {
        Ok((self.value(&pair[0])?, self.value(&pair[1])?))
    }

    fn bool(&mut self, node: &'v Node, operation: &'static str) -> Result<bool, CelFault> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            other => Err(wrong(operation, &other)),
        }
    }

    fn map(
        &mut self,
        node: &'v Node,
        operation: &'static str,
    ) -> Result<&'v serde_json::Map<String, Json>, CelFault> {
        match self.value(node)? {
            Value::Map(map) => Ok(map),
            other => Err(wrong(operation, &other)),
        }
    }

    /// `&&` and `||`: whatever one side decides alone is not hidden by a fault of the other.
    fn absorbing(
        &mut self,
        a: &'v Node,
        b: &'v Node,
        operation: &'static str,
        decisive: bool,
    ) -> Result<Value<'v>, CelFault> {
        let a = self.bool(a, operation);
        if a == Ok(decisive) || a == Err(CelFault::Steps) {
            return a.map(Value::Bool);
        }
        let b = self.bool(b, operation)?;
        if b == decisive { Ok(Value::Bool(b)) } else { a.map(Value::Bool) }
    }

    fn item(&mut self, operand: &'v Node, key: &'v Node) -> Result<Value<'v>, CelFault> {
        let (operand, key) = (self.value(operand)?, self.value(key)?);
        match (&operand, &key) {
            (Value::Map(map), _) => {
                let Some(key) = key.as_text() else { return Err(wrong("[]", &key)) };
                self.budget.read(key.len())?;
                map.get(key).map(Value::of).ok_or_else(|| CelFault::NoKey(shown(key)))
            }
            (Value::List(_) | Value::JsonList(_), Value::Int(at)) => {
                let item = usize::try_from(*at).ok().and_then(|place| operand.item(place));
                item.ok_or(CelFault::NoItem(*at))
            }
            (Value::List(_) | Value::JsonList(_), other) | (other, _) => Err(wrong("[]", other)),
        }
    }

    fn is_in(&mut self, pair: &'v [Node; 2]) -> Result<Value<'v>, CelFault> {
        let (wanted, place) = self.pair(pair)?;
        if let Value::Map(map) = &place {
            let Some(key) = wanted.as_text() else { return Ok(Value::Bool(false)) };
            self.budget.read(key.len())?;
            return Ok(Value::Bool(map.contains_key(key)));
        }
        let Some(items) = place.items() else { return Err(wrong("in", &place)) };
        for at in 0..items {
            if let Some(item) = place.item(at)
                && item.equals(&wanted, &mut self.budget)?
            {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }

    fn size(&mut self, operand: &'v Node) -> Result<Value<'v>, CelFault> {
        let operand = self.value(operand)?;
        let size = if let Some(text) = operand.as_text() {
            self.budget.read(text.len())?;
            text.chars().count()
        } else if let Value::Map(map) = &operand {
            map.len()
        } else if let Some(items) = operand.items() {
            items
        } else {
            return Err(wrong("size", &operand));
        };
        i64::try_from(size).map(Value::Int).map_err(|_| CelFault::Arithmetic("size"))
    }

    fn compare(&mut self, pair: &'v [Node; 2], comparison: Comparison) -> Result<Value<'v>, CelFault> {
        let (a, b) = self.pair(pair)?;
        if let (Some(a), Some(b)) = (a.as_text(), b.as_text()) {
            self.budget.read(a.len().min(b.len()))?;
        }
        match a.order(&b) {
            Some(order) => Ok(Value::Bool(comparison.holds(order))),
            // Not a number: it is in no order with anything.
            None if is_number(&a) && is_number(&b) => Ok(Value::Bool(false)),
            None => Err(wrong(comparison.sign(), &b)),
        }
    }

    fn arithmetic(
        &mut self,
        operation: Arithmetic,
        a: &Value<'v>,
        b: &Value<'v>,
    ) -> Result<Value<'v>, CelFault> {
        match (operation, a, b) {
            (_, Value::Int(a), Value::Int(b)) => {
                whole(operation, *a, *b).map(Value::Int).ok_or(CelFault::Arithmetic(operation.sign()))
            }
            (Arithmetic::Add, Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
            (Arithmetic::Subtract, Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
            (Arithmetic::Multiply, Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
            (Arithmetic::Divide, Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
            (Arithmetic::Add, _, _) => self.joined(a, b),
            _ => Err(wrong(operation.sign(), b)),
        }
    }

    /// Two texts, or two lists, as one.
    fn joined(&mut self, a: &Value<'v>, b: &Value<'v>) -> Result<Value<'v>, CelFault> {
        if let (Some(a), Some(b)) = (a.as_text(), b.as_text()) {
            self.budget.read(a.len() + b.len())?;
            return Ok(Value::Made(format!("{a}{b}").into()));
        }
        let (Some(first), Some(second)) = (a.items(), b.items()) else { return Err(wrong("+", b)) };
        self.budget.spend(first + second)?;
        let items = (0..first).filter_map(|at| a.item(at));
        let items = items.chain((0..second).filter_map(|at| b.item(at)));
        Ok(Value::List(Arc::new(items.collect())))
    }

    fn each(&mut self, each: &'v Loop) -> Result<Value<'v>, CelFault> {
        let range = self.value(&each.range)?;
        let (mut hits, mut fault, mut collected) = (0_usize, None, Vec::new());
        let mut keys = match &range {
            Value::Map(map) => Some(map.keys()),
            _ => None,
        };
        let Some(items) = range.items().or(keys.as_ref().map(ExactSizeIterator::len)) else {
            return Err(wrong("a loop", &range));
        };
        for at in 0..items {
            let item = match &mut keys {
                Some(keys) => keys.next().map(|key| Value::Text(key)),
                None => range.item(at),
            };
            let Some(item) = item else { break };
            self.variables.push(item);
            let result = self.turn(each);
            self.variables.pop();
            match (each.kind, result) {
                (_, Err(CelFault::Steps)) => return Err(CelFault::Steps),
                (LoopKind::All, Ok(Some(Value::Bool(false)))) => return Ok(Value::Bool(false)),
                (LoopKind::Exists, Ok(Some(Value::Bool(true)))) => return Ok(Value::Bool(true)),
                (LoopKind::All | LoopKind::Exists, Err(error)) => fault = fault.or(Some(error)),
                (_, Err(error)) => return Err(error),
                (LoopKind::ExistsOne, Ok(Some(Value::Bool(true)))) => hits += 1,
                (LoopKind::Collect, Ok(Some(value))) => collected.push(value),
                (_, Ok(_)) => {}
            }
        }
        match (each.kind, fault) {
            (_, Some(fault)) => Err(fault),
            (LoopKind::All, None) => Ok(Value::Bool(true)),
            (LoopKind::Exists, None) => Ok(Value::Bool(false)),
            (LoopKind::ExistsOne, None) => Ok(Value::Bool(hits == 1)),
            (LoopKind::Collect, None) => Ok(Value::List(Arc::new(collected))),
        }
    }

    /// One item's result; nothing where it does not count.
    fn turn(&mut self, each: &'v Loop) -> Result<Option<Value<'v>>, CelFault> {
        if let Some(when) = &each.when
            && !self.bool(when, "filter")?
        {
            return Ok(None);
        }
        match each.kind {
            LoopKind::All => self.bool(&each.body, "all").map(Value::Bool).map(Some),
            LoopKind::Exists => self.bool(&each.body, "exists").map(Value::Bool).map(Some),
            LoopKind::ExistsOne => self.bool(&each.body, "exists_one").map(Value::Bool).map(Some),
            LoopKind::Collect => self.value(&each.body).map(Some),
        }
    }
}

fn whole(operation: Arithmetic, a: i64, b: i64) -> Option<i64> {
    match operation {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => a.checked_div(b),
        Arithmetic::Remainder => a.checked_rem(b),
    }
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::UInt(_) | Value::Double(_))
}

fn wrong(operation: &'static str, operand: &Value<'_>) -> CelFault {
    CelFault::Operand { operation, operand: operand.kind() }
}

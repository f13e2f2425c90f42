//! Go's builtins, and sprig's integer arithmetic.

use std::cmp::Ordering;

use super::super::print;
use super::super::types::Shape;
use super::super::value::{Key, Value};
use super::{Failure, Function, Param, Returns, Run, int, text};

const fn comparison(name: &'static [&'static str], run: super::Call) -> Function {
    Function::new(name, &[Param::Any, Param::Any], Returns::Bool, run)
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        names: &["and"],
        params: &[Param::Any],
        rest: Some(Param::Any),
        returns: Returns::Joined(usize::MAX),
        run: Run::Until(false),
    },
    Function {
        names: &["or"],
        params: &[Param::Any],
        rest: Some(Param::Any),
        returns: Returns::Joined(usize::MAX),
        run: Run::Until(true),
    },
    Function::new(&["not"], &[Param::Any], Returns::Bool, |_, a| Ok(Value::Bool(!a[0].truth()))),
    comparison(&["eq"], |_, a| equal_to_any(&a[0], &a[1..]).map(Value::Bool)).with_rest(Param::Any),
    comparison(&["ne"], |_, a| equal_to_any(&a[0], &a[1..2]).map(|equal| Value::Bool(!equal))),
    comparison(&["lt"], |_, a| compare(&a[0], &a[1]).map(|order| Value::Bool(order.is_lt()))),
    comparison(&["le"], |_, a| compare(&a[0], &a[1]).map(|order| Value::Bool(order.is_le()))),
    comparison(&["gt"], |_, a| compare(&a[0], &a[1]).map(|order| Value::Bool(order.is_gt()))),
    comparison(&["ge"], |_, a| compare(&a[0], &a[1]).map(|order| Value::Bool(order.is_ge()))),
    Function::new(&["len"], &[Param::Any], Returns::Int, |_, a| length(&a[0])),
    Function::new(&["index"], &[Param::Any], Returns::Indexed, |_, a| index(a)).with_rest(Param::Any),
    Function::new(&["print"], &[], Returns::Text, |_, a| print::sprint(a).map(Value::text))
        .with_rest(Param::Any),
    Function::new(&["println"], &[], Returns::Text, |_, a| print::sprintln(a).map(Value::text))
        .with_rest(Param::Any),
    Function::new(&["printf"], &[Param::Text], Returns::Text, |_, a| {
        print::sprintf(text(&a[0]), &a[1..]).map(Value::text)
    })
    .with_rest(Param::Any),
    Function::new(&["add"], &[], Returns::Int, |_, a| {
        Ok(Value::Int(a.iter().map(to_int).fold(0, i64::wrapping_add)))
    })
    .with_rest(Param::Any),
    Function::new(&["add1"], &[Param::Any], Returns::Int, |_, a| {
        Ok(Value::Int(to_int(&a[0]).wrapping_add(1)))
    }),
    Function::new(&["sub"], &[Param::Any, Param::Any], Returns::Int, |_, a| {
        Ok(Value::Int(to_int(&a[0]).wrapping_sub(to_int(&a[1]))))
    }),
    Function::new(&["mul"], &[Param::Any], Returns::Int, |_, a| {
        Ok(Value::Int(a.iter().map(to_int).fold(1, i64::wrapping_mul)))
    })
    .with_rest(Param::Any),
    Function::new(&["div"], &[Param::Any, Param::Any], Returns::Int, |_, a| divide(a, i64::wrapping_div)),
    Function::new(&["mod"], &[Param::Any, Param::Any], Returns::Int, |_, a| divide(a, i64::wrapping_rem)),
    Function::new(&["max", "biggest"], &[Param::Any], Returns::Int, |_, a| {
        Ok(Value::Int(a.iter().map(to_int).max().unwrap_or(0)))
    })
    .with_rest(Param::Any),
    Function::new(&["min"], &[Param::Any], Returns::Int, |_, a| {
        Ok(Value::Int(a.iter().map(to_int).min().unwrap_or(0)))
    })
    .with_rest(Param::Any),
    Function::new(&["int", "int64"], &[Param::Any], Returns::Int, |_, a| Ok(Value::Int(to_int(&a[0])))),
    Function::new(&["atoi"], &[Param::Text], Returns::Int, |_, a| Ok(Value::Int(atoi(text(&a[0]))))),
];

/// Go's `eq`: whether the first argument equals any other.
fn equal_to_any(first: &Value, others: &[Value]) -> Result<bool, Failure> {
    for other in others {
        let equal = match (first, other) {
            (Value::Nil, other) => *other == Value::Nil,
            (_, Value::Nil) => false,
            (Value::Bool(left), Value::Bool(right)) => left == right,
            (Value::Int(left), Value::Int(right)) => left == right,
            (Value::Text(left), Value::Text(right)) => left == right,
            (Value::Record(left), Value::Record(right)) if comparable(right.shape) => left == right,
            (
                Value::List(_) | Value::Map(_) | Value::Record(_),
                Value::List(_) | Value::Map(_) | Value::Record(_),
            ) => {
                return Err(Failure::new(format!("non-comparable type {}", other.type_name())));
            }
            _ => return Err(incompatible(first, other)),
        };
        if equal {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Go compares structs without maps.
fn comparable(shape: Shape) -> bool {
    !matches!(shape, Shape::TemplateData | Shape::Result)
}

fn compare(left: &Value, right: &Value) -> Result<Ordering, Failure> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Ok(left.cmp(right)),
        (Value::Text(left), Value::Text(right)) => Ok(left.cmp(right)),
        _ => Err(incompatible(left, right)),
    }
}

fn incompatible(left: &Value, right: &Value) -> Failure {
    Failure::new(format!("incompatible types for comparison: {} and {}", left.type_name(), right.type_name()))
}

fn length(value: &Value) -> Result<Value, Failure> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        other => return Err(Failure::new(format!("len of type {}", other.type_name()))),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// Go's `index`: an absent key gives the zero value, an index out of range is an error.
fn index(arguments: &[Value]) -> Result<Value, Failure> {
    let (Some(first), indices) = (arguments.first(), &arguments[1.min(arguments.len())..]) else {
        return Ok(Value::Nil);
    };
    indices.iter().try_fold(first.clone(), |value, index| {
        let out_of_range = || Failure::new(format!("index out of range: {}", int(index)));
        let place =
            |length: usize| usize::try_from(int(index)).ok().filter(|i| *i < length).ok_or_else(out_of_range);
        match (&value, index) {
            (Value::List(list), Value::Int(_)) => Ok(list.items[place(list.items.len())?].clone()),
            (Value::Text(text), Value::Int(_)) => {
                Ok(Value::Int(i64::from(text.as_bytes()[place(text.len())?])))
            }
            (Value::Map(map), key) => match key.as_key() {
                Some(key) if matches!(key, Key::Text(_)) == map.has_text_keys() => {
                    Ok(map.entries.get(&key).unwrap_or(&map.zero).clone())
                }
                _ => Err(Failure::new(format!("{} is not a key of this map", key.type_name()))),
            },
            (Value::List(_) | Value::Text(_), other) => {
                Err(Failure::new(format!("cannot index slice/array with type {}", other.type_name())))
            }
            (Value::Nil, _) => Err(Failure::new("index of untyped nil")),
            (other, _) => Err(Failure::new(format!("can't index item of type {}", other.type_name()))),
        }
    })
}

/// spf13/cast `ToInt64`, for the values that occur here: what is no number is zero.
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(value) => *value,
        Value::Bool(value) => i64::from(*value),
        Value::Text(text) => {
            let whole = match text.split_once('.') {
                Some((whole, fraction))
                    if !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0') =>
                {
                    whole
                }
                _ => text,
            };
            super::super::number::parse(whole).unwrap_or(0)
        }
        _ => 0,
    }
}

/// Go's `strconv.Atoi` without its error: text is zero, what is too large is the largest.
fn atoi(text: &str) -> i64 {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX })
}

fn divide(arguments: &[Value], operation: fn(i64, i64) -> i64) -> Result<Value, Failure> {
    match (to_int(&arguments[0]), to_int(&arguments[1])) {
        (_, 0) => Err(Failure::new("integer divide by zero")),
        (left, right) => Ok(Value::Int(operation(left, right))),
    }
}

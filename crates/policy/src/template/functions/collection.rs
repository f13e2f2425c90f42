//! sprig's lists and dictionaries. Nothing is changed in place: `set`, `unset` and `merge` are not supported.

use std::collections::BTreeMap;

use super::super::print;
use super::super::value::{Key, Value};
use super::builtin::to_int;
use super::logic::empty;
use super::{Failure, Function, Meter, Param, Returns, int, items, text};

use Param::{Any, Int, List, Map, Text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(&["list", "tuple"], &[], Returns::ListOf, |meter, a| collect(meter, a.to_vec()))
        .with_rest(Any),
    Function::new(&["first", "mustFirst"], &[List], Returns::Element, |_, a| {
        Ok(items(&a[0]).first().cloned().unwrap_or(Value::Nil))
    }),
    Function::new(&["last", "mustLast"], &[List], Returns::Element, |_, a| {
        Ok(items(&a[0]).last().cloned().unwrap_or(Value::Nil))
    }),
    Function::new(&["rest", "mustRest"], &[List], Returns::Same, |meter, a| {
        collect(meter, items(&a[0]).iter().skip(1).cloned().collect())
    }),
    Function::new(&["initial", "mustInitial"], &[List], Returns::Same, |meter, a| {
        let items = items(&a[0]);
        collect(meter, items[..items.len().saturating_sub(1)].to_vec())
    }),
    Function::new(&["reverse", "mustReverse"], &[List], Returns::Same, |meter, a| {
        collect(meter, items(&a[0]).iter().rev().cloned().collect())
    }),
    Function::new(&["append", "push", "mustAppend", "mustPush"], &[List, Any], Returns::Any, |meter, a| {
        collect(meter, items(&a[0]).iter().chain(&a[1..2]).cloned().collect())
    }),
    Function::new(&["prepend", "mustPrepend"], &[List, Any], Returns::Any, |meter, a| {
        collect(meter, a[1..2].iter().chain(items(&a[0])).cloned().collect())
    }),
    Function::new(&["concat"], &[], Returns::Joined(usize::MAX), |meter, a| {
        collect(meter, a.iter().flat_map(items).cloned().collect())
    })
    .with_rest(List),
    Function::new(&["compact", "mustCompact"], &[List], Returns::Same, |meter, a| {
        collect(meter, items(&a[0]).iter().filter(|value| !empty(value)).cloned().collect())
    }),
    Function::new(&["uniq", "mustUniq"], &[List], Returns::Same, |meter, a| distinct(meter, items(&a[0]))),
    Function::new(&["without", "mustWithout"], &[List], Returns::Same, |meter, a| {
        meter.charge(a[1..].iter().map(Value::size).sum::<usize>().saturating_mul(items(&a[0]).len()))?;
        collect(meter, items(&a[0]).iter().filter(|value| !a[1..].contains(value)).cloned().collect())
    })
    .with_rest(Any),
    Function::new(&["has", "mustHas"], &[Any, Any], Returns::Bool, |meter, a| {
        meter.charge(a[0].size().saturating_mul(items(&a[1]).len()))?;
        match &a[1] {
            Value::List(_) | Value::Nil => Ok(Value::Bool(items(&a[1]).contains(&a[0]))),
            other => Err(Failure::new(format!("has: cannot search in {}", other.type_name()))),
        }
    }),
    // sprig's `slice` hides Go's: it takes lists alone.
    Function::new(&["slice", "mustSlice"], &[List], Returns::Same, |meter, a| {
        slice(meter, items(&a[0]), &a[1..])
    })
    .with_rest(Any),
    Function::new(&["until"], &[Int], Returns::Ints, |meter, a| {
        let end = int(&a[0]);
        steps(meter, 0, end, if end < 0 { -1 } else { 1 })
    }),
    Function::new(&["untilStep"], &[Int, Int, Int], Returns::Ints, |meter, a| {
        steps(meter, int(&a[0]), int(&a[1]), int(&a[2]))
    }),
    Function::new(&["dict"], &[], Returns::Dict, dictionary).with_rest(Any),
    Function::new(&["get"], &[Map, Text], Returns::Any, |_, a| {
        Ok(find(&a[0], text(&a[1])).unwrap_or(Value::text("")))
    }),
    Function::new(&["hasKey"], &[Map, Text], Returns::Bool, |_, a| {
        Ok(Value::Bool(find(&a[0], text(&a[1])).is_some()))
    }),
    Function::new(&["keys"], &[], Returns::Texts, |meter, a| {
        collect(meter, a.iter().flat_map(entries).map(|(key, _)| key.value()).collect())
    })
    .with_rest(Map),
    Function::new(&["values"], &[Map], Returns::Any, |meter, a| {
        collect(meter, entries(&a[0]).map(|(_, value)| value.clone()).collect())
    }),
    Function::new(&["pluck"], &[Text], Returns::Any, |meter, a| {
        collect(meter, a[1..].iter().filter_map(|map| find(map, text(&a[0]))).collect())
    })
    .with_rest(Map),
    Function::new(&["pick"], &[Map], Returns::Same, |meter, a| {
        filtered(meter, &a[0], |key| a[1..].contains(key))
    })
    .with_rest(Text),
    Function::new(&["omit"], &[Map], Returns::Same, |meter, a| {
        filtered(meter, &a[0], |key| !a[1..].contains(key))
    })
    .with_rest(Text),
];

fn collect(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Failure> {
    meter.charge(values.len())?;
    Value::list(values)
}

fn distinct(meter: &mut Meter, values: &[Value]) -> Result<Value, Failure> {
    let mut kept: Vec<Value> = Vec::new();
    for value in values {
        meter.charge(value.size().saturating_mul(kept.len()))?;
        if !kept.contains(value) {
            kept.push(value.clone());
        }
    }
    collect(meter, kept)
}

fn slice(meter: &mut Meter, list: &[Value], bounds: &[Value]) -> Result<Value, Failure> {
    if list.is_empty() {
        return Ok(Value::Nil);
    }
    let place = |value: i64| usize::try_from(value).unwrap_or(usize::MAX);
    let start = place(bounds.first().map_or(0, to_int));
    let end = bounds.get(1).map_or(list.len(), |end| place(to_int(end)));
    match list.get(start..end) {
        Some(part) => collect(meter, part.to_vec()),
        None => Err(Failure::new("slice: bounds out of range")),
    }
}

/// sprig's `untilStep`: empty where the step leads away.
fn steps(meter: &mut Meter, start: i64, end: i64, step: i64) -> Result<Value, Failure> {
    let mut values = Vec::new();
    let mut next = Some(start);
    while let Some(value) = next.filter(|value| match step {
        0 => false,
        step if step > 0 => *value < end,
        _ => *value > end,
    }) {
        meter.charge(1)?;
        values.push(Value::Int(value));
        next = value.checked_add(step);
    }
    Value::list(values)
}

/// Keys and values in turn; a last key without a value has an empty one.
fn dictionary(meter: &mut Meter, arguments: &[Value]) -> Result<Value, Failure> {
    meter.charge(arguments.len())?;
    let mut entries = BTreeMap::new();
    for pair in arguments.chunks(2) {
        let key = Key::Text(print::plain(&pair[0])?.into());
        entries.insert(key, pair.get(1).cloned().unwrap_or(Value::text("")));
    }
    Value::map(entries, Value::Nil)
}

fn entries(value: &Value) -> impl Iterator<Item = (&Key, &Value)> {
    let map = match value {
        Value::Map(map) => Some(map),
        _ => None,
    };
    map.into_iter().flat_map(|map| &map.entries)
}

fn find(map: &Value, key: &str) -> Option<Value> {
    match map {
        Value::Map(map) => map.entries.get(&Key::Text(key.into())).cloned(),
        _ => None,
    }
}

fn filtered(meter: &mut Meter, map: &Value, keep: impl Fn(&Value) -> bool) -> Result<Value, Failure> {
    let kept: BTreeMap<Key, Value> = entries(map)
        .filter(|(key, _)| keep(&key.value()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    meter.charge(kept.len())?;
    let zero = match map {
        Value::Map(map) => map.zero.clone(),
        _ => Value::Nil,
    };
    Value::map(kept, zero)
}

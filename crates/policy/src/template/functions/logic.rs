//! sprig's defaults and flow control.

use super::super::value::Value;
use super::{Failure, Function, Param, Returns, text};

pub(super) const FUNCTIONS: &[Function] = &[
    // With one argument alone, that is the default itself.
    Function::new(&["default"], &[Param::Any], Returns::Joined(2), |_, a| {
        let given = a.get(1).filter(|given| !empty(given));
        Ok(given.unwrap_or(&a[0]).clone())
    })
    .with_rest(Param::Any),
    Function::new(&["empty"], &[Param::Any], Returns::Bool, |_, a| Ok(Value::Bool(empty(&a[0])))),
    Function::new(&["coalesce"], &[], Returns::Joined(usize::MAX), |_, a| {
        Ok(a.iter().find(|value| !empty(value)).cloned().unwrap_or(Value::Nil))
    })
    .with_rest(Param::Any),
    Function::new(&["all"], &[], Returns::Bool, |_, a| Ok(Value::Bool(!a.iter().any(empty))))
        .with_rest(Param::Any),
    Function::new(&["any"], &[], Returns::Bool, |_, a| Ok(Value::Bool(!a.iter().all(empty))))
        .with_rest(Param::Any),
    Function::new(&["ternary"], &[Param::Any, Param::Any, Param::Bool], Returns::Joined(2), |_, a| {
        Ok(if a[2].truth() { a[0].clone() } else { a[1].clone() })
    }),
    Function::new(&["fail"], &[Param::Text], Returns::Text, |_, a| Err(Failure::new(text(&a[0])))),
];

/// sprig's `empty` is the negation of a template's truth.
pub(super) fn empty(value: &Value) -> bool {
    !value.truth()
}

//! Values of expressions: what JSON holds, and what is made of it. Owns equality and order (CEL language definition,
//! "Equality", "Ordering"): numbers of all kinds compare by their value, and nothing else equals what is of another
//! kind.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::Value as Json;

use super::CelFault;
use super::run::Budget;

/// One value. JSON is borrowed from the predicate.
#[derive(Debug, Clone)]
pub(super) enum Value<'v> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    /// A text of the predicate, or of the expression.
    Text(&'v str),
    /// A text that the expression made. It is shared: a copy of it would cost more than one step.
    Made(Arc<str>),
    /// A list that the expression made.
    List(Arc<Vec<Value<'v>>>),
    /// A list of the predicate.
    JsonList(&'v [Json]),
    Map(&'v serde_json::Map<String, Json>),
}

impl<'v> Value<'v> {
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Made(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn of(json: &'v Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => {
                let (int, uint) = (number.as_i64().map(Self::Int), number.as_u64().map(Self::UInt));
                int.or(uint).unwrap_or_else(|| Self::Double(number.as_f64().unwrap_or(f64::NAN)))
            }
            Json::String(text) => Self::Text(text),
            Json::Array(items) => Self::JsonList(items),
            Json::Object(map) => Self::Map(map),
        }
    }

    /// Its type, with an article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a whole number",
            Self::UInt(_) => "an unsigned number",
            Self::Double(_) => "a fraction",
            Self::Text(_) | Self::Made(_) => "a text",
            Self::List(_) | Self::JsonList(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// How many items a list has.
    pub(super) fn items(&self) -> Option<usize> {
        match self {
            Self::List(items) => Some(items.len()),
            Self::JsonList(items) => Some(items.len()),
            _ => None,
        }
    }

    /// An item of a list.
    pub(super) fn item(&self, at: usize) -> Option<Self> {
        match self {
            Self::List(items) => items.get(at).cloned(),
            Self::JsonList(items) => items.get(at).map(Self::of),
            _ => None,
        }
    }

    /// Whether both are the same, deeply.
    pub(super) fn equals(&self, other: &Self, budget: &mut Budget) -> Result<bool, CelFault> {
        budget.spend(1)?;
        if let (Some(a), Some(b)) = (self.as_text(), other.as_text()) {
            budget.read(a.len().min(b.len()))?;
            return Ok(a == b);
        }
        match (self, other) {
            (Self::Null, Self::Null) => Ok(true),
            (Self::Bool(a), Self::Bool(b)) => Ok(a == b),
            (Self::Map(a), Self::Map(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (key, value) in *a {
                    budget.read(key.len())?;
                    let Some(other) = b.get(key) else { return Ok(false) };
                    if !Self::of(value).equals(&Self::of(other), budget)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => match (self.items(), other.items()) {
                (Some(a), Some(b)) if a == b => {
                    for at in 0..a {
                        let pair = self.item(at).zip(other.item(at));
                        let same = pair.map(|(a, b)| a.equals(&b, budget)).transpose()?;
                        if same != Some(true) {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                }
                _ => Ok(self.number_order(other) == Some(Ordering::Equal)),
            },
        }
    }

    /// The order of two numbers, two texts or two booleans.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        if let (Some(a), Some(b)) = (self.as_text(), other.as_text()) {
            return Some(a.cmp(b));
        }
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            _ => self.number_order(other),
        }
    }

    /// The order of two numbers by their exact values.
    fn number_order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Double(a), _) => Some(whole_and_fraction(other.whole()?, *a)?.reverse()),
            (_, Self::Double(b)) => whole_and_fraction(self.whole()?, *b),
            _ => Some(self.whole()?.cmp(&other.whole()?)),
        }
    }

    fn whole(&self) -> Option<i128> {
        match self {
            Self::Int(value) => Some(i128::from(*value)),
            Self::UInt(value) => Some(i128::from(*value)),
            _ => None,
        }
    }
}

/// Compares without rounding: a double has 53 bits, a whole number up to 64.
fn whole_and_fraction(whole: i128, fraction: f64) -> Option<Ordering> {
    /// Beyond every whole number that there is, and exact as a double.
    const FAR: f64 = 1e20;
    if fraction.is_nan() {
        return None;
    }
    if fraction.abs() > FAR {
        return Some(if fraction > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is floored, and far inside the range")]
    let floor = fraction.floor() as i128;
    Some(whole.cmp(&floor).then(if fraction.fract() == 0.0 { Ordering::Equal } else { Ordering::Less }))
}

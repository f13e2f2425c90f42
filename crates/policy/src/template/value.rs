//! Values at run time. They are immutable and shared, so that copying one is cheap.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::functions::Failure;
use super::types::{Place, Shape};

/// Deepest nesting of lists and maps: values are printed and dropped recursively.
const MAX_DEPTH: u8 = 32;
/// Largest size of a value as a tree, in units of about 64 bytes. Parts are shared, so that a small template can name
/// a value whose tree is huge.
const MAX_SIZE: usize = 1_000_000;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Go's invalid value and nil: an absent key, the first element of an empty list.
    Nil,
    Bool(bool),
    Int(i64),
    Text(Arc<str>),
    List(Arc<List>),
    Map(Arc<Map>),
    Record(Arc<Record>),
}

#[derive(Debug, PartialEq)]
pub(super) struct List {
    pub(super) items: Vec<Value>,
    extent: Extent,
}

#[derive(Debug, PartialEq)]
pub(super) struct Map {
    pub(super) entries: BTreeMap<Key, Value>,
    /// What `index` gives for an absent key: the zero value of the map's element type.
    pub(super) zero: Value,
    extent: Extent,
}

/// How deep and how large a value is as a tree.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Extent {
    depth: u8,
    size: usize,
}

/// A map's key; the order is Go's (`internal/fmtsort`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Text(Arc<str>),
    /// API version, kind, name, namespace.
    Object([Arc<str>; 4]),
}

/// A value of one of Flux's structs.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    pub(super) shape: Shape,
    pub(super) fields: Vec<Value>,
    pub(super) methods: Vec<Value>,
}

impl Value {
    pub(super) fn text(text: impl Into<Arc<str>>) -> Self {
        Value::Text(text.into())
    }

    pub(super) fn list(items: Vec<Value>) -> Result<Self, Failure> {
        let extent = Extent::around(&items)?;
        Ok(Value::List(Arc::new(List { items, extent })))
    }

    pub(super) fn texts<T: Into<Arc<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        let items: Vec<Value> = items.into_iter().map(Value::text).collect();
        let size = items.iter().map(Value::size).sum();
        Value::List(Arc::new(List { items, extent: Extent { depth: 1, size } }))
    }

    pub(super) fn map(entries: BTreeMap<Key, Value>, zero: Value) -> Result<Self, Failure> {
        let extent = Extent::around(entries.values())?;
        Ok(Value::Map(Arc::new(Map { entries, zero, extent })))
    }

    pub(super) fn record(shape: Shape, fields: Vec<Value>, methods: Vec<Value>) -> Self {
        Value::Record(Arc::new(Record { shape, fields, methods }))
    }

    /// The size as a tree, in units of about 64 bytes.
    pub(super) fn size(&self) -> usize {
        Extent::of(self).size
    }

    /// Go templates' truth: false, zero, nothing and what is empty are false. Structs are true.
    pub(super) fn truth(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Text(text) => !text.is_empty(),
            Value::List(list) => !list.items.is_empty(),
            Value::Map(map) => !map.entries.is_empty(),
            Value::Record(_) => true,
        }
    }

    /// As Go's `%T` has it, as far as the types are distinguished here.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Text(_) => "string",
            Value::List(_) => "[]interface {}",
            Value::Map(map) => match map.zero {
                Value::Text(_) => "map[string]string",
                Value::List(_) => "update.ObjectChanges",
                Value::Map(_) => "map[string]update.ObjectChanges",
                _ => "map[string]interface {}",
            },
            Value::Record(record) => record.shape.name(),
        }
    }

    /// The value as a map's key, if it can be one.
    pub(super) fn as_key(&self) -> Option<Key> {
        match self {
            Value::Text(text) => Some(Key::Text(text.clone())),
            Value::Record(record) if record.shape == Shape::ObjectIdentifier => {
                let part = |name| match record.member(name) {
                    Some(Value::Text(text)) => text,
                    _ => Arc::from(""),
                };
                Some(Key::Object([part("APIVersion"), part("Kind"), part("Name"), part("Namespace")]))
            }
            _ => None,
        }
    }
}

impl Extent {
    fn of(value: &Value) -> Self {
        match value {
            Value::List(list) => list.extent,
            Value::Map(map) => map.extent,
            Value::Text(text) => Extent { depth: 0, size: 1 + text.len() / 64 },
            Value::Record(record) => {
                Extent { depth: 0, size: 1 + record.fields.iter().map(Value::size).sum::<usize>() }
            }
            Value::Nil | Value::Bool(_) | Value::Int(_) => Extent { depth: 0, size: 1 },
        }
    }

    /// The extent of a list or map with these elements.
    fn around<'v>(elements: impl IntoIterator<Item = &'v Value>) -> Result<Self, Failure> {
        let extent = elements.into_iter().map(Extent::of).fold(Extent { depth: 1, size: 1 }, |sum, part| {
            Extent { depth: sum.depth.max(part.depth + 1), size: sum.size.saturating_add(part.size) }
        });
        if extent.depth > MAX_DEPTH || extent.size > MAX_SIZE {
            return Err(Failure::limit("a list or map is too large, or nested too deeply"));
        }
        Ok(extent)
    }
}

impl Map {
    /// Only `.Changed.Objects` and the values of `.Changed.FileChanges` have other keys, and their values are lists.
    pub(super) fn has_text_keys(&self) -> bool {
        !matches!(self.zero, Value::List(_))
    }
}

impl Key {
    pub(super) fn value(&self) -> Value {
        match self {
            Key::Text(text) => Value::Text(text.clone()),
            Key::Object(parts) => {
                let record = |shape, parts: &[Arc<str>]| {
                    Value::record(shape, parts.iter().cloned().map(Value::Text).collect(), Vec::new())
                };
                let parts = vec![record(Shape::TypeMeta, &parts[..2]), record(Shape::NameMeta, &parts[2..])];
                let resource = Value::record(Shape::ResourceIdentifier, parts, Vec::new());
                Value::record(Shape::ObjectIdentifier, vec![resource], Vec::new())
            }
        }
    }
}

impl Record {
    /// A field's, a promoted field's or a method's value.
    pub(super) fn member(&self, name: &str) -> Option<Value> {
        let (place, _) = self.shape.member(name)?;
        match place {
            Place::Field(index) => self.fields.get(index).cloned(),
            Place::Method(index) => self.methods.get(index).cloned(),
            Place::Embedded(index) => match self.fields.get(index)? {
                Value::Record(inner) => inner.member(name),
                _ => None,
            },
        }
    }
}

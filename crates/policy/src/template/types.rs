//! What is known about a value before a template runs.

use std::fmt;

/// A static type. Nothing is refused for being `Any`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Any,
    Bool,
    Int,
    Text,
    List(Box<Type>),
    /// Keys and values.
    Map(Box<Type>, Box<Type>),
    Record(Shape),
}

impl Type {
    pub(super) fn list(element: Type) -> Self {
        Type::List(Box::new(element))
    }

    pub(super) fn map(key: Type, value: Type) -> Self {
        Type::Map(Box::new(key), Box::new(value))
    }

    /// The type of a value that has one of two types.
    pub(super) fn join(self, other: &Type) -> Type {
        if self == *other { self } else { Type::Any }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Any => f.write_str("any"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Text => f.write_str("string"),
            Type::List(element) => write!(f, "[]{element}"),
            Type::Map(key, value) => write!(f, "map[{key}]{value}"),
            Type::Record(shape) => f.write_str(shape.name()),
        }
    }
}

/// Flux's Go structs: `source.TemplateData` and what it holds (image-automation-controller 1.2), with the kyaml types
/// that `ObjectIdentifier` embeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    TemplateData,
    NamespacedName,
    Result,
    Change,
    ObjectIdentifier,
    ResourceIdentifier,
    TypeMeta,
    NameMeta,
}

/// Where a member's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A field, by index.
    Field(usize),
    /// A field of the embedded struct with this index.
    Embedded(usize),
    /// A method without parameters, by index.
    Method(usize),
}

impl Shape {
    /// As Go's `%T` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Shape::TemplateData => "source.TemplateData",
            Shape::NamespacedName => "types.NamespacedName",
            Shape::Result => "update.Result",
            Shape::Change => "update.Change",
            Shape::ObjectIdentifier => "update.ObjectIdentifier",
            Shape::ResourceIdentifier => "yaml.ResourceIdentifier",
            Shape::TypeMeta => "yaml.TypeMeta",
            Shape::NameMeta => "yaml.NameMeta",
        }
    }

    /// Fields in their order, with the types; the flag marks embedded structs.
    pub(super) fn fields(self) -> Vec<(&'static str, Type, bool)> {
        let text = |name| (name, Type::Text, false);
        let embedded = |name, shape| (name, Type::Record(shape), true);
        match self {
            Shape::TemplateData => vec![
                ("AutomationObject", Type::Record(Shape::NamespacedName), false),
                ("Changed", Type::Record(Shape::Result), false),
                ("Values", Type::map(Type::Text, Type::Text), false),
            ],
            Shape::NamespacedName => vec![text("Namespace"), text("Name")],
            Shape::Result => vec![("FileChanges", Type::map(Type::Text, object_changes()), false)],
            Shape::Change => vec![text("OldValue"), text("NewValue"), text("Setter")],
            Shape::ObjectIdentifier => vec![embedded("ResourceIdentifier", Shape::ResourceIdentifier)],
            Shape::ResourceIdentifier => {
                vec![embedded("TypeMeta", Shape::TypeMeta), embedded("NameMeta", Shape::NameMeta)]
            }
            Shape::TypeMeta => vec![text("APIVersion"), text("Kind")],
            Shape::NameMeta => vec![text("Name"), text("Namespace")],
        }
    }

    fn methods(self) -> Vec<(&'static str, Type)> {
        match self {
            Shape::NamespacedName => vec![("String", Type::Text)],
            Shape::Result => {
                vec![("Changes", Type::list(Type::Record(Shape::Change))), ("Objects", object_changes())]
            }
            _ => Vec::new(),
        }
    }

    /// Finds a field, a promoted field or a method by name.
    pub(super) fn member(self, name: &str) -> Option<(Place, Type)> {
        let fields = self.fields();
        if let Some(index) = fields.iter().position(|(known, ..)| *known == name) {
            return Some((Place::Field(index), fields[index].1.clone()));
        }
        if let Some(index) = self.methods().iter().position(|(known, _)| *known == name) {
            return Some((Place::Method(index), self.methods()[index].1.clone()));
        }
        fields.iter().enumerate().find_map(|(index, (_, ty, embedded))| match ty {
            Type::Record(inner) if *embedded => Some((Place::Embedded(index), inner.member(name)?.1)),
            _ => None,
        })
    }

    /// The members that Flux had and removed, by the path that it names.
    pub(super) fn removed(self, name: &str) -> Option<&'static str> {
        match (self, name) {
            (Shape::TemplateData, "Updated") => {
                Some("template uses removed '.Updated' field. Please use '.Changed' instead.")
            }
            (Shape::Result, "ImageResult") => Some(
                "template uses removed '.Changed.ImageResult' field. Please use '.Changed.FileChanges' or \
                 '.Changed.Objects' instead.",
            ),
            _ => None,
        }
    }
}

fn object_changes() -> Type {
    Type::map(Type::Record(Shape::ObjectIdentifier), Type::list(Type::Record(Shape::Change)))
}

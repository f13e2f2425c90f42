//! What a template sees: one commit, as image-automation-controller's `source.TemplateData`.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_model::ObjectKey;
use windlass_model::place::ObjectIdentifier;

use super::functions::Failure;
use super::types::Shape;
use super::value::{Key, Value};

/// A commit, before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitData {
    /// `.AutomationObject`: the ImageUpdateAutomation.
    pub automation: ObjectKey,
    /// `.Changed`: every value that changed. The order among those of one object is kept.
    pub changes: Vec<Change>,
    /// `.Values`: `spec.git.commit.messageTemplateValues`.
    pub values: BTreeMap<String, String>,
}

/// One value that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file, relative to `spec.update.path`.
    pub file: String,
    /// The object that holds the value.
    pub object: ObjectIdentifier,
    /// `.OldValue`
    pub old_value: String,
    /// `.NewValue`
    pub new_value: String,
    /// `.Setter`: the marker's policy, with its suffix (`apps:podinfo:tag`).
    pub setter: String,
}

/// How an object sorts among others: as Go sorts the keys of a map of structs (kyaml `ResourceIdentifier`).
fn object_key(object: &ObjectIdentifier) -> Key {
    let parts = [&object.api_version, &object.kind, &object.name, &object.namespace];
    Key::Object(parts.map(|part| Arc::from(part.as_str())))
}

impl Change {
    fn value(&self) -> Value {
        let fields = [&self.old_value, &self.new_value, &self.setter];
        Value::record(
            Shape::Change,
            fields.iter().map(|field| Value::text(field.as_str())).collect(),
            Vec::new(),
        )
    }

    /// Go keeps each distinct triple once in `.Changed.Changes`.
    fn identity(&self) -> (&str, &str, &str) {
        (&self.old_value, &self.new_value, &self.setter)
    }
}

impl CommitData {
    /// The template's dot.
    pub(super) fn value(&self) -> Result<Value, Failure> {
        // Stable: the places within an object stay in order.
        let mut changes: Vec<&Change> = self.changes.iter().collect();
        changes.sort_by(|left, right| (&left.file, &left.object).cmp(&(&right.file, &right.object)));

        let key = &self.automation;
        let name = vec![Value::text(key.namespace.as_str()), Value::text(key.name.as_str())];
        let automation = Value::record(Shape::NamespacedName, name, vec![Value::text(key.to_string())]);
        let values = self
            .values
            .iter()
            .map(|(key, value)| (Key::Text(key.as_str().into()), Value::text(value.as_str())))
            .collect();
        let fields = vec![automation, changed(&changes)?, Value::map(values, Value::text(""))?];
        Ok(Value::record(Shape::TemplateData, fields, Vec::new()))
    }
}

fn changed(changes: &[&Change]) -> Result<Value, Failure> {
    let mut by_file: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut distinct = Vec::new();
    for change in changes {
        by_file.entry(&change.file).or_default().push(change);
        if seen.insert(change.identity()) {
            distinct.push(change.value());
        }
    }
    let no_objects = Value::map(BTreeMap::new(), Value::list(Vec::new())?)?;
    let files = by_file
        .into_iter()
        .map(|(file, changes)| Ok((Key::Text(file.into()), by_object(&changes)?)))
        .collect::<Result<_, Failure>>()?;
    let methods = vec![Value::list(distinct)?, by_object(changes)?];
    Ok(Value::record(Shape::Result, vec![Value::map(files, no_objects)?], methods))
}

fn by_object(changes: &[&Change]) -> Result<Value, Failure> {
    let mut objects: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
    for change in changes {
        objects.entry(object_key(&change.object)).or_default().push(change.value());
    }
    let entries = objects
        .into_iter()
        .map(|(key, changes)| Ok((key, Value::list(changes)?)))
        .collect::<Result<_, Failure>>()?;
    Value::map(entries, Value::list(Vec::new())?)
}

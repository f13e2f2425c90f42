//! Places in a predicate: values with their path, so that whatever is missing is named.

use std::str::FromStr as _;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Fault, Unmet, shown};

/// A value and where it is.
#[derive(Clone)]
pub(super) struct Place<'v> {
    value: &'v Value,
    path: String,
    form: &'static str,
}

impl<'v> Place<'v> {
    /// The predicate itself; `form` says with an article what it should be.
    pub(super) fn new(value: &'v Value, form: &'static str) -> Self {
        Self { value, path: String::new(), form }
    }

    /// A field. Absent and `null` are one.
    pub(super) fn get(&self, field: &str) -> Self {
        let path = if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) };
        Self { value: self.value.get(field).unwrap_or(&Value::Null), path, form: self.form }
    }

    pub(super) fn value(&self) -> &'v Value {
        self.value
    }

    pub(super) fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    /// This place, unless nothing is there.
    pub(super) fn present(self) -> Option<Self> {
        (!self.is_absent()).then_some(self)
    }

    pub(super) fn object(&self) -> Result<&'v Map<String, Value>, Unmet> {
        self.value.as_object().ok_or_else(|| self.is_not("an object"))
    }

    pub(super) fn text(&self) -> Result<&'v str, Unmet> {
        self.value.as_str().ok_or_else(|| self.is_not("a string"))
    }

    pub(super) fn filled_text(&self) -> Result<&'v str, Unmet> {
        self.text()
            .and_then(|text| if text.is_empty() { Err(self.is_not("a filled string")) } else { Ok(text) })
    }

    /// The items, each of which knows its place.
    pub(super) fn list(&self) -> Result<impl ExactSizeIterator<Item = Place<'v>> + use<'v>, Unmet> {
        let items = self.value.as_array().ok_or_else(|| self.is_not("a list"))?;
        let (path, form) = (self.path.clone(), self.form);
        Ok(items.iter().enumerate().map(move |(at, value)| Place {
            value,
            path: format!("{path}[{at}]"),
            form,
        }))
    }

    /// A time as RFC 3339 writes it.
    pub(super) fn time(&self) -> Result<Timestamp, Unmet> {
        Timestamp::from_str(self.text()?).map_err(|_| self.is_not("a time"))
    }

    pub(super) fn is_not(&self, wanted: &'static str) -> Unmet {
        let field = if self.path.is_empty() { "predicate".to_owned() } else { self.path.clone() };
        self.fault(Fault::Field { field, wanted })
    }

    /// A word that is none of those that are known.
    pub(super) fn is_unknown(&self, found: &str) -> Unmet {
        self.fault(Fault::Word { field: self.path.clone(), found: shown(found) })
    }

    pub(super) fn fault(&self, why: Fault) -> Unmet {
        Unmet::Form { form: self.form, why }
    }
}

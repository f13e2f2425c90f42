//! Whose work and whose notices a process takes.

use std::fmt;
use std::sync::Arc;

use windlass_model::ObjectKey;

/// All keys, or some: of what is worked on, and of Notifiers. Rules are asked while a transaction is open, so they must
/// not wait for anything.
#[derive(Clone, Default)]
pub struct Keys {
    namespaces: Option<Rule<str>>,
    names: Option<Rule<ObjectKey>>,
}

type Rule<T> = Arc<dyn Fn(&T) -> bool + Send + Sync>;

impl Keys {
    /// Every key.
    pub const ALL: Self = Self { namespaces: None, names: None };

    /// Those in namespaces for which the rule holds.
    pub fn in_namespaces(rule: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { namespaces: Some(Arc::new(rule)), names: None }
    }

    /// Of these, those for which the rule holds.
    #[must_use]
    pub fn that(self, rule: impl Fn(&ObjectKey) -> bool + Send + Sync + 'static) -> Self {
        Self { names: Some(Arc::new(rule)), ..self }
    }

    /// Whether some keys of a namespace may be meant.
    pub(crate) fn are_in(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|rule| rule(namespace))
    }

    /// Whether a key is meant; one that cannot be read is nobody's, so everybody may look at it.
    pub(crate) fn have(&self, key: impl FnOnce() -> Option<ObjectKey>) -> bool {
        if self.namespaces.is_none() && self.names.is_none() {
            return true;
        }
        key().is_none_or(|key| {
            self.are_in(&key.namespace) && self.names.as_ref().is_none_or(|rule| rule(&key))
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.namespaces.is_none() && self.names.is_none();
        f.write_str(if all { "Keys(all)" } else { "Keys(some)" })
    }
}

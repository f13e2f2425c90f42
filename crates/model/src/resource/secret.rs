//! Secrets: values that are never printed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Meta;

/// A core `v1` Secret, with the values of its files and environment variables already read.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Name, labels, origin.
    pub meta: Meta,
    /// `data` (decoded) and `stringData`, and what `windlass.dev/from-env` and `windlass.dev/from-file` name.
    pub values: BTreeMap<String, SecretValue>,
}

impl Secret {
    /// A value's bytes.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key).map(SecretValue::expose)
    }

    /// A value as text, if it is UTF-8.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("meta", &self.meta).field("keys", &self.values.keys()).finish()
    }
}

/// Secret bytes: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<Zeroizing<Vec<u8>>>);

impl SecretValue {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The bytes; the caller must not print them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

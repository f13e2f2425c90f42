//! How values become columns and come back. A value that this version cannot read back is `None`: its row is left
//! alone and reported, and never stops the others.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use windlass_model::{ObjectKey, ObjectRef};

use crate::error::Cause;

/// Longest reason or error text that is kept, in bytes: a few lines for a person.
const MAX_REASON: usize = 1024;

/// Microseconds since 1970, which fit the whole range of [`Timestamp`] (nanoseconds do not fit).
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub(crate) fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// `namespace/name`. Everything after the first slash is the name, so a namespace must not have one.
pub(crate) fn key_text(key: &ObjectKey) -> Result<String, Cause> {
    if key.namespace.contains('/') {
        return Err(Cause::Invalid(format!("the key `{key}`: its namespace contains a slash")));
    }
    Ok(key.to_string())
}

pub(crate) fn parse_key(text: &str) -> Option<ObjectKey> {
    let (namespace, name) = text.split_once('/')?;
    Some(ObjectKey::new(namespace, name))
}

/// `Kind/namespace/name`.
pub(crate) fn object_text(object: &ObjectRef) -> Result<String, Cause> {
    Ok(format!("{}/{}", object.kind, key_text(&object.key)?))
}

pub(crate) fn parse_object(text: &str) -> Option<ObjectRef> {
    let (kind, key) = text.split_once('/')?;
    Some(ObjectRef::new(kind.parse().ok()?, parse_key(key)?))
}

/// The namespace of an object that is written as [`object_text`] does.
pub(crate) fn namespace_of(object: &str) -> &str {
    object.split('/').nth(1).unwrap_or_default()
}

pub(crate) fn parse_json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// Tells the log about a row that another version wrote.
pub(crate) fn unreadable(table: &'static str, row: &str) {
    tracing::warn!(table, row, "this version cannot read a row of the store, and leaves it alone");
}

/// Cuts a text at [`MAX_REASON`] bytes, at a character's border.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > MAX_REASON {
        text.truncate(text.floor_char_boundary(MAX_REASON));
    }
    text
}

/// A limit as SQLite takes it.
pub(crate) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A number that the store wrote and that is never negative.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_model::Kind;

    #[test]
    fn objects_come_back_as_they_went_in() {
        for (namespace, name) in [("apps", "podinfo"), ("", ""), ("apps", "a/b"), ("ü", " ")] {
            let object = ObjectRef::new(Kind::ImagePolicy, ObjectKey::new(namespace, name));
            assert_eq!(parse_object(&object_text(&object).unwrap()), Some(object));
        }
        assert!(object_text(&ObjectRef::new(Kind::ImagePolicy, ObjectKey::new("a/b", "c"))).is_err());
        assert_eq!(parse_object("Unheard/apps/podinfo"), None);
    }

    #[test]
    fn times_come_back_to_the_microsecond_over_the_whole_range() {
        for at in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            assert_eq!(timestamp(micros(at)).as_microsecond(), at.as_microsecond());
        }
    }

    #[test]
    fn long_reasons_are_cut_at_a_character() {
        assert_eq!(bounded("ü".repeat(600)).chars().count(), 512);
        assert_eq!(bounded(format!("a{}", "ü".repeat(600))).len(), 1023);
        assert_eq!(bounded("short".into()), "short");
    }
}

//! JSON in which an object says each thing once. What a second field of one name means is left open (RFC 8259,
//! section 4), so that two programs may read one signed text differently.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::attest::shown;

/// Reads JSON of which no object, however deep, has two fields of one name.
///
/// # Errors
/// It is not JSON, not of this shape, or says something twice.
pub(crate) fn from_slice<'a, T: Deserialize<'a>>(json: &'a [u8]) -> serde_json::Result<T> {
    check(json)?;
    serde_json::from_slice(json)
}

/// The same, where somebody else reads it.
pub(crate) fn check(json: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice::<Unambiguous>(json).map(drop)
}

/// Any JSON that says each thing once.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            fields.next_value::<Self>()?;
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format_args!("`{}` is there twice", shown(&name))));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_thing_is_said_once_at_any_depth_and_under_any_spelling() {
        for good in ["null", "[1, -2, 0.5, \"x\", true, {}]", r#"{"a": {"a": {"a": []}}, "b": {"a": 1}}"#] {
            assert!(from_slice::<Value>(good.as_bytes()).is_ok(), "{good}");
        }
        for (bad, name) in [
            (r#"{"a": 1, "a": 1}"#, "a"),
            (r#"{"x": [{"y": {"b": 1, "c": 2, "b": 3}}]}"#, "b"),
            (r#"{"payload": "", "\u0070ayload": ""}"#, "payload"),
        ] {
            let error = from_slice::<Value>(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}` is there twice")), "{error}");
        }
        assert!(from_slice::<Value>(b"{} {}").is_err());
        assert!(from_slice::<Value>("[".repeat(100_000).as_bytes()).is_err());
    }
}

//! Typed object ids. Text form: lower-case hexadecimal, 40 digits for SHA-1 and 64 for SHA-256 repositories.

use std::fmt;
use std::str::FromStr;

use gix::ObjectId;

macro_rules! object_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) ObjectId);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.to_hex(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text.as_bytes()).map(Self).ok_or(InvalidId)
            }
        }
    };
}

object_id! {
    /// The id of a commit.
    CommitId
}
object_id! {
    /// The id of a file's content: equal contents have equal ids, in every commit and at every path.
    BlobId
}

/// A text that is not an object id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an object id: expected 40 or 64 hexadecimal digits")]
pub struct InvalidId;

/// Parses an id as servers write it.
pub(crate) fn parse(text: &[u8]) -> Option<ObjectId> {
    ObjectId::from_hex(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_both_lengths_and_nothing_else() {
        for digits in [40, 64] {
            let text = "a1".repeat(digits / 2);
            assert_eq!(text.parse::<CommitId>().unwrap().to_string(), text);
        }
        for bad in ["", "a1", &"g".repeat(40), &"a".repeat(41), &"ü".repeat(20)] {
            assert_eq!(bad.parse::<BlobId>(), Err(InvalidId), "{bad}");
        }
    }
}

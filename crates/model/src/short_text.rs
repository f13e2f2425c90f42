//! ASCII texts of which there may be millions, most of them short: those are kept in place, without an allocation.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The longest text that is kept in place. With it, the whole takes 24 bytes, as an allocation's address, length and
/// smallest size would.
const IN_PLACE: usize = 22;

/// An ASCII text. It compares, and hashes, as its bytes do.
#[derive(Clone)]
pub(crate) struct ShortText(Repr);

#[derive(Clone)]
enum Repr {
    InPlace { length: u8, bytes: [u8; IN_PLACE] },
    Allocated(Box<str>),
}

impl ShortText {
    /// Takes an ASCII text over; other characters are the caller's mistake, and stay as they are.
    pub(crate) fn new(text: &str) -> Self {
        let mut bytes = [0; IN_PLACE];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) if text.is_ascii() => {
                place.copy_from_slice(text.as_bytes());
                Self(Repr::InPlace { length, bytes })
            }
            _ => Self(Repr::Allocated(text.into())),
        }
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        match &self.0 {
            Repr::InPlace { .. } => {
                std::str::from_utf8(self.as_bytes()).expect("only ASCII is kept in place")
            }
            Repr::Allocated(text) => text,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::InPlace { length, bytes } => &bytes[..usize::from(*length)],
            Repr::Allocated(text) => text.as_bytes(),
        }
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl Ord for ShortText {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for ShortText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ShortText {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ShortText {}

impl Hash for ShortText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_takes_no_more_room_than_a_string() {
        assert_eq!(size_of::<ShortText>(), size_of::<String>());
    }

    proptest! {
        #[test]
        fn any_text_comes_back_and_compares_as_it_does(a in ".{0,40}", b in "[ -~]{0,40}") {
            let (short_a, short_b) = (ShortText::new(&a), ShortText::new(&b));
            prop_assert_eq!(short_a.as_str(), &a);
            prop_assert_eq!(short_a.cmp(&short_b), a.cmp(&b));
            prop_assert_eq!(short_a == short_b, a == b);
            prop_assert_eq!(ShortText::new(&b), short_b);
        }
    }
}

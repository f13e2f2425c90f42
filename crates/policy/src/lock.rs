//! Variant locks: which of its policy's tracks a place in Git is on.
//!
//! A place takes only tags of the variant that it has. What it has is read from its value; where that does not say, from
//! what Git and the policy last agreed upon there; where nothing says, the place is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windlass_model::ObjectKey;
use windlass_model::place::Part;

use crate::election::Agreed;
use crate::plan::PlaceFacts;
use crate::selection::Selector;

/// What a policy has one choice for: itself, or where it is locked, each variant that stands in Git.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Track {
    /// The policy.
    pub policy: ObjectKey,
    /// The variant; empty for plain tags, and for every policy without a lock.
    pub variant: Box<str>,
}

impl Track {
    /// The only track of a policy without a lock.
    pub fn only(policy: &ObjectKey) -> Self {
        Self { policy: policy.clone(), variant: Box::default() }
    }
}

/// Why a place of a locked policy is on none of its tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTrack {
    /// Nothing tells the variant.
    #[error(
        "nothing says which variant it has, and the policy is locked to variants: write a tag of the wanted one there"
    )]
    Unsaid,
    /// The file has several variants of the policy.
    #[error(
        "the file has several variants of the policy and the place does not say which it belongs to: use one marker for \
         the whole image, or `:tag@digest`"
    )]
    Several,
}

/// Puts every place of a locked policy on its track. Returns the variants that stand in Git.
pub fn lock(
    places: &mut [PlaceFacts],
    policy: &ObjectKey,
    selector: &Selector,
    agreed: &BTreeMap<(Arc<str>, Track), Agreed>,
) -> BTreeSet<Box<str>> {
    let mut files: BTreeMap<Arc<str>, Vec<&mut PlaceFacts>> = BTreeMap::new();
    for place in places.iter_mut().filter(|place| place.marker.policy == *policy) {
        files.entry(place.file.clone()).or_default().push(place);
    }
    let mut standing = BTreeSet::new();
    for (file, mut places) in files {
        let of_file = |(agreed, track): &&(Arc<str>, Track)| *agreed == file && track.policy == *policy;
        let remembered = agreed.keys().filter(of_file).map(|(_, track)| track.variant.clone()).collect();
        standing.extend(lock_file(&mut places, selector, remembered));
    }
    standing
}

/// The same for one file, of which `remembered` variants were agreed upon.
fn lock_file(
    places: &mut [&mut PlaceFacts],
    selector: &Selector,
    mut remembered: BTreeSet<Box<str>>,
) -> BTreeSet<Box<str>> {
    let said: Vec<Said> = places.iter().map(|place| Said::read(place, selector)).collect();
    let mut standing: BTreeSet<Box<str>> =
        said.iter().filter_map(|said| said.variant().map(Box::from)).collect();
    // One that stands there still is not what the silent place had.
    remembered.retain(|variant| !standing.contains(variant));
    let remembered = remembered.pop_first().filter(|_| remembered.is_empty());
    for (place, said) in places.iter_mut().zip(&said).filter(|(place, _)| place.marker.part.holds_tag()) {
        place.variant = match said {
            Said::Variant(variant) => Ok(variant.clone()),
            Said::Nothing => Ok(remembered.clone().unwrap_or_default()),
            Said::Unreadable => remembered.clone().ok_or(NoTrack::Unsaid),
        };
        standing.extend(place.variant.clone());
    }
    let neighbour = match (standing.len(), standing.first(), remembered) {
        (0, _, Some(remembered)) => Ok(remembered),
        (0, _, None) => Err(NoTrack::Unsaid),
        (1, Some(only), _) => Ok(only.clone()),
        _ => Err(NoTrack::Several),
    };
    for place in places.iter_mut().filter(|place| !place.marker.part.holds_tag()) {
        place.variant.clone_from(&neighbour);
        standing.extend(place.variant.clone());
    }
    standing
}

/// What a value says of its variant.
enum Said {
    Variant(Box<str>),
    /// No tag, or one like `latest` that is of no variant and no release.
    Nothing,
    /// It is not a tag, or a digest alone: it may be of any variant.
    Unreadable,
}

impl Said {
    fn read(place: &PlaceFacts, selector: &Selector) -> Self {
        let part = place.marker.part;
        let current = part.read(&place.value);
        match current.tag {
            _ if !part.holds_tag() => Self::Unreadable,
            Some(tag) => match selector.variant_of(tag.as_str()) {
                variant if variant.is_empty() && !selector.admits_in_its_variant(tag.as_str()) => {
                    Self::Nothing
                }
                variant => Self::Variant(variant),
            },
            // `name` alone stands for `name:latest`.
            None if place.value.is_empty() => Self::Nothing,
            None if part == Part::Image && current.name.as_deref() == Some(&*place.value) => Self::Nothing,
            None => Self::Unreadable,
        }
    }

    fn variant(&self) -> Option<&str> {
        match self {
            Self::Variant(variant) => Some(variant),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_model::Tag;
    use windlass_model::place::{Marker, ObjectIdentifier};
    use windlass_model::resource::PolicyRule;

    use super::*;

    fn app() -> ObjectKey {
        ObjectKey::new("apps", "app")
    }

    fn place(file: &str, part: Part, value: &str) -> PlaceFacts {
        PlaceFacts {
            file: file.into(),
            line: 1,
            marker: Marker { policy: app(), part },
            value: value.into(),
            variant: Ok(Box::default()),
            object: ObjectIdentifier::default(),
        }
    }

    /// The variants of these places of one file; `-` where there is none. Before, these were agreed upon.
    fn locked(places: &[(Part, &str)], agreed: &[&str]) -> Vec<String> {
        let selector = Selector::compile(&PolicyRule::SemVer { range: "*".into() }, None).unwrap();
        let mut places: Vec<_> = places.iter().map(|(part, value)| place("a.yaml", *part, value)).collect();
        let agreed = agreed.iter().map(|tag| {
            let track = Track { policy: app(), variant: selector.variant_of(tag) };
            let agreed = Agreed { tag: Tag::parse(tag).unwrap(), before: None, rule: "".into() };
            (("a.yaml".into(), track), agreed)
        });
        let standing = lock(&mut places, &app(), &selector.locked_to(""), &agreed.collect());
        let variants: BTreeSet<_> = places.iter().filter_map(|place| place.variant.clone().ok()).collect();
        assert_eq!(standing, variants);
        places
            .iter()
            .map(|place| place.variant.as_deref().map_or_else(|_| "-".to_owned(), str::to_owned))
            .collect()
    }

    #[test]
    fn a_place_is_of_the_variant_that_its_tag_has() {
        for (value, variant) in [
            ("1.2.0-alpine", "alpine"),
            ("1.2.0", ""),
            ("1.2.0-rc.1", ""),
            ("latest-alpine", "alpine"),
            ("latest", ""),
            ("", ""),
            ("1.2.0+alpine", "-"),
            ("{{ .Values.tag }}", "-"),
        ] {
            assert_eq!(locked(&[(Part::Tag, value)], &[]), [variant], "{value}");
        }
        let digest = format!("org/app@sha256:{}", "a".repeat(64));
        for (value, variant) in [("org/app", ""), ("org/app:1.2.0-slim", "slim"), (digest.as_str(), "-")] {
            assert_eq!(locked(&[(Part::Image, value)], &[]), [variant], "{value}");
        }
    }

    #[test]
    fn a_value_that_does_not_say_it_keeps_the_variant_that_was_agreed_upon() {
        for value in ["latest", "", "1.2.0+alpine"] {
            assert_eq!(locked(&[(Part::Tag, value)], &["1.2.0-alpine"]), ["alpine"], "{value}");
        }
        assert_eq!(locked(&[(Part::Tag, "1.1.0")], &["1.2.0-alpine"]), [""], "a person took another one");
        let beside = [(Part::Tag, "latest"), (Part::Tag, "1.2.0-alpine")];
        assert_eq!(locked(&beside, &["1.2.0-alpine"]), ["", "alpine"], "that one still stands there");
        assert_eq!(locked(&beside, &["1.2.0-alpine", "1.2.0-slim"]), ["slim", "alpine"]);
    }

    #[test]
    fn names_and_digests_are_of_the_variant_beside_them() {
        let three = |tag| [(Part::Name, "org/app"), (Part::Tag, tag), (Part::Digest, "")];
        assert_eq!(locked(&three("1.2.0-alpine"), &[]), ["alpine", "alpine", "alpine"]);
        assert_eq!(locked(&[(Part::Digest, "")], &[]), ["-"]);
        let several = [(Part::Tag, "1.2.0-alpine"), (Part::Tag, "1.2.0-slim"), (Part::Digest, "")];
        assert_eq!(locked(&several, &[]), ["alpine", "slim", "-"]);
    }
}

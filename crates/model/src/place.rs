//! Places in manifests that hold an image, and the text that each kind of place takes.
//!
//! The suffixes are Flux's (image-automation-controller 1.2, `:tag`, `:name`, `:digest`) and one of our own,
//! `:tag@digest`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::image::{Digest, ImageRef, Tag};
use crate::name::ObjectKey;

/// What a marker asks for: a policy, and which part of its choice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker {
    /// The policy: `namespace:name` in the marker.
    pub policy: ObjectKey,
    /// Which part of the reference the scalar holds.
    pub part: Part,
}

/// Which part of an image reference a scalar holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// No suffix: `name:tag[@digest]`.
    Image,
    /// `:tag`
    Tag,
    /// `:name`
    Name,
    /// `:digest`
    Digest,
    /// `:tag@digest`: `tag[@digest]`
    TagAndDigest,
}

impl Part {
    /// The text that a place of this part takes.
    pub fn render(self, image: &ImageRef) -> Result<String, NoDigest> {
        match (self, &image.digest) {
            (Part::Image, _) => Ok(image.to_string()),
            (Part::Tag, _) | (Part::TagAndDigest, None) => Ok(image.tag.to_string()),
            (Part::Name, _) => Ok(image.name.clone()),
            (Part::Digest, Some(digest)) => Ok(digest.to_string()),
            (Part::Digest, None) => Err(NoDigest),
            (Part::TagAndDigest, Some(digest)) => Ok(format!("{}@{digest}", image.tag)),
        }
    }

    /// Whether such a place says which release it holds.
    pub fn holds_tag(self) -> bool {
        matches!(self, Part::Image | Part::Tag | Part::TagAndDigest)
    }

    /// What the present text of such a place says; parts that it does not hold, or that are malformed, are absent.
    pub fn read(self, text: &str) -> Current {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Digest::parse(digest).ok()),
            None => (text, None),
        };
        match self {
            Part::Tag | Part::TagAndDigest => Current { name: None, tag: Tag::parse(rest).ok(), digest },
            Part::Name => Current { name: Some(text.to_owned()), tag: None, digest: None },
            Part::Digest => Current { name: None, tag: None, digest: Digest::parse(text).ok() },
            Part::Image => {
                // A colon after the last slash starts the tag; one before it is a port.
                let start = rest.rfind('/').map_or(0, |slash| slash + 1);
                match rest[start..].find(':') {
                    Some(colon) => Current {
                        name: Some(rest[..start + colon].to_owned()),
                        tag: Tag::parse(&rest[start + colon + 1..]).ok(),
                        digest,
                    },
                    None => Current { name: Some(rest.to_owned()), tag: None, digest },
                }
            }
        }
    }
}

impl fmt::Display for Part {
    /// The marker's suffix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Image => "",
            Part::Tag => ":tag",
            Part::Name => ":name",
            Part::Digest => ":digest",
            Part::TagAndDigest => ":tag@digest",
        })
    }
}

/// A `:digest` place, but the policy reflects no digest. Flux writes an empty string there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the policy has no digest for a `:digest` marker: set `digestReflectionPolicy` to `IfNotPresent` or `Always`"
)]
pub struct NoDigest;

/// What a place says at present.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Current {
    /// The image's name.
    pub name: Option<String>,
    /// The tag.
    pub tag: Option<Tag>,
    /// The digest.
    pub digest: Option<Digest>,
}

/// Which object of a manifest a place belongs to; empty fields where the document has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ObjectIdentifier {
    /// `apiVersion`
    pub api_version: String,
    /// `kind`
    pub kind: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`
    pub namespace: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(digest: bool) -> ImageRef {
        ImageRef {
            name: "ghcr.io/org/app".into(),
            tag: Tag::parse("1.2.3").unwrap(),
            digest: digest.then(|| Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap()),
        }
    }

    #[test]
    fn every_part_renders_and_reads_back() {
        let pinned = image(true);
        for part in [Part::Image, Part::Tag, Part::Name, Part::Digest, Part::TagAndDigest] {
            let current = part.read(&part.render(&pinned).unwrap());
            let holds_tag = !matches!(part, Part::Name | Part::Digest);
            assert_eq!(current.tag.as_ref(), holds_tag.then_some(&pinned.tag), "{part:?}");
            if matches!(part, Part::Image | Part::Digest | Part::TagAndDigest) {
                assert_eq!(current.digest, pinned.digest, "{part:?}");
            }
        }
    }

    #[test]
    fn a_digest_place_without_a_digest_is_refused() {
        assert_eq!(Part::Digest.render(&image(false)), Err(NoDigest));
        assert_eq!(Part::TagAndDigest.render(&image(false)).unwrap(), "1.2.3");
    }

    #[test]
    fn ports_are_not_tags() {
        let current = Part::Image.read("localhost:5000/app");
        assert_eq!((current.name.as_deref(), current.tag), (Some("localhost:5000/app"), None));
        let current = Part::Image.read("localhost:5000/app:v1@sha256:bad");
        assert_eq!(current.name.as_deref(), Some("localhost:5000/app"));
        assert_eq!(current.tag, Some(Tag::parse("v1").unwrap()));
        assert_eq!(current.digest, None);
    }
}

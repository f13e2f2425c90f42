//! What lies beside an image in a registry and may say something of it. Values only: nothing here is believed.

use std::collections::BTreeMap;

use bytes::Bytes;
use windlass_model::Digest;

/// One piece that can be verified by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Of its bytes.
    pub digest: Digest,
    /// Where it was found, for people: `the tag sha256-….sig`, `the referrer sha256:…`.
    pub place: String,
    /// In which form it is.
    pub form: Form,
    /// As the registry sent them, checked against `digest`.
    pub bytes: Bytes,
}

/// The forms of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A Sigstore bundle (0.1 to 0.3), as a layer of a referrer.
    Bundle,
    /// cosign's first format: a simple-signing payload, with the layer's annotations.
    Signature(BTreeMap<String, String>),
    /// cosign's first format: a DSSE envelope, with the layer's annotations.
    Attestation(BTreeMap<String, String>),
    /// An envelope of the Notary Project, of this media type.
    Notation(String),
}

impl Form {
    /// Whether it is looked for.
    pub(crate) fn is_wanted(&self, wanted: Wanted) -> bool {
        match self {
            Form::Bundle => wanted.bundle,
            Form::Signature(_) | Form::Attestation(_) => wanted.legacy,
            Form::Notation(_) => wanted.notation,
        }
    }
}

/// Which forms are looked for.
#[expect(clippy::struct_excessive_bools, reason = "a set of independent wishes")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The tags `sha256-….sig` and `sha256-….att`.
    pub legacy: bool,
    /// Bundles among the referrers.
    pub bundle: bool,
    /// Envelopes of the Notary Project among the referrers.
    pub notation: bool,
    /// For which platforms the image is.
    pub platforms: bool,
}

impl Wanted {
    /// What either wants.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            legacy: self.legacy || other.legacy,
            bundle: self.bundle || other.bundle,
            notation: self.notation || other.notation,
            platforms: self.platforms || other.platforms,
        }
    }
}

/// All that a repository holds about one digest, as far as it was looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// What can be verified, sorted.
    pub evidence: Vec<Evidence>,
    /// What is there and can be no evidence, each with its place and why. Looking again finds the same.
    pub unusable: Vec<String>,
    /// What the registry did not answer: there may be more evidence, so a missing signature means nothing yet.
    pub unread: Vec<String>,
    /// The image's own manifest: what a signature of the Notary Project is about.
    pub manifest: Option<Described>,
    /// `os/architecture[/variant]` of the image, where that was asked for.
    pub platforms: Option<Vec<String>>,
}

/// A manifest, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its media type.
    pub media_type: String,
    /// In bytes.
    pub size: u64,
}

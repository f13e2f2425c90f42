//! Manifests: how they are asked for, and how their digest is known.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256, Sha512};
use windlass_model::{Digest, Tag};

use crate::error::{Cause, quote};

/// Every type of manifest that is wanted as it was pushed. Without the index types a registry converts a
/// multi-platform image, and answers with the digest of something else.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";
/// Largest manifest, in bytes: what distribution-spec 1.1 asks registries to accept at least.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// RFC 9110, section 8.3: the type of content whose type is not stated.
const UNKNOWN_TYPE: &str = "application/octet-stream";
/// The registry's word for the digest of the manifest (distribution-spec 1.1, "Pulling manifests").
const DIGEST_HEADER: &str = "docker-content-digest";

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// By its tag, which may move.
    Tag(Tag),
    /// By its digest, against which the content is checked.
    Digest(Digest),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

/// A manifest whose digest was computed from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Of `bytes`: SHA-256, or the algorithm of the digest that was asked for.
    pub digest: Digest,
    /// `Content-Type`, lower case and without parameters; `application/octet-stream` if the registry states none.
    pub media_type: String,
    /// As sent by the registry.
    pub bytes: Bytes,
}

impl Manifest {
    /// Checks an answer against what was asked and against the digest that the registry states.
    pub(crate) fn verify(asked: &Reference, headers: &HeaderMap, bytes: Bytes) -> Result<Self, Cause> {
        let stated = stated_digest(headers)?;
        if stated.is_none() && matches!(asked, Reference::Tag(_)) && !is_manifest(&bytes) {
            return Err(Cause::Invalid("the answer is not a manifest".to_owned()));
        }
        let digest = match asked {
            Reference::Digest(digest) => digest_like(digest, &bytes),
            Reference::Tag(_) => sha256(&bytes),
        };
        if let Reference::Digest(wanted) = asked
            && *wanted != digest
        {
            return Err(Cause::Invalid(format!("the registry sent other content, whose digest is {digest}")));
        }
        if let Some(stated) = stated
            && digest_like(&stated, &bytes) != stated
        {
            return Err(Cause::Invalid(format!(
                "the registry states the digest {stated}, but its content has {digest}"
            )));
        }
        Ok(Self { digest, media_type: media_type(headers), bytes })
    }
}

/// Whether these bytes are a manifest of any kind: where no digest vouches for them, a proxy's or sign-in page would
/// otherwise become the digest of an image. Every kind states one of the two (image-spec 1.1, Docker schema 1 and 2).
fn is_manifest(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outline {
        #[serde(default)]
        schema_version: Option<IgnoredAny>,
        #[serde(default)]
        media_type: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Outline>(bytes)
        .is_ok_and(|outline| outline.schema_version.is_some() || outline.media_type.is_some())
}

/// The digest that the registry states, if it states one. A malformed one is an error, not an absent one.
pub(crate) fn stated_digest(headers: &HeaderMap) -> Result<Option<Digest>, Cause> {
    let Some(value) = headers.get(DIGEST_HEADER) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    Digest::parse(text.trim()).map(Some).map_err(|_| {
        Cause::Invalid(format!(
            "the registry's Docker-Content-Digest is not a digest: `{}`",
            quote(&text, &[])
        ))
    })
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::parse(&format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
        .expect("64 hex digits are a digest")
}

/// The digest of `bytes` by the algorithm of `like`.
pub(crate) fn digest_like(like: &Digest, bytes: &[u8]) -> Digest {
    if like.as_str().starts_with("sha512:") {
        let hex = hex::encode(Sha512::digest(bytes));
        return Digest::parse(&format!("sha512:{hex}")).expect("128 hex digits are a digest");
    }
    sha256(bytes)
}

fn media_type(headers: &HeaderMap) -> String {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match stated.split(';').next().map(str::trim) {
        Some(media_type) if !media_type.is_empty() => media_type.to_ascii_lowercase(),
        _ => UNKNOWN_TYPE.to_owned(),
    }
}

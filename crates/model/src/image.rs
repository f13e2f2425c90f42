//! Image references: where an image lives, and which one it is.
//!
//! Grammar: OCI distribution-spec 1.1, "Pulling manifests" (`<name>`, `<reference>`), and OCI image-spec 1.1,
//! "Digests". Normalisation of short names follows Docker's reference rules, as Flux's `canonicalImageName` does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::short_text::ShortText;

/// Longest `<name>` that registries accept: the limit of 255 that Docker's reference grammar sets.
const MAX_NAME: usize = 255;
/// Longest tag (distribution-spec: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`).
const MAX_TAG: usize = 128;
/// The registry that an unqualified name means, as Flux spells it.
const DOCKER_HUB: &str = "index.docker.io";

/// A repository in a registry, without tag or digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageName {
    registry: String,
    repository: String,
}

impl ImageName {
    /// Parses `[registry[:port]/]repository`, without scheme, tag or digest.
    pub fn parse(text: &str) -> Result<Self, ImageNameError> {
        if text.contains("://") {
            return Err(ImageNameError::Scheme(text.to_owned()));
        }
        if text.contains('@') {
            return Err(ImageNameError::Digest(text.to_owned()));
        }
        let (registry, repository) = match text.split_once('/') {
            Some((first, rest)) if is_registry(first) => (canonical_registry(first), rest.to_owned()),
            _ => (DOCKER_HUB.to_owned(), text.to_owned()),
        };
        if repository.contains(':') {
            return Err(ImageNameError::Tag(text.to_owned()));
        }
        let repository = match registry.as_str() {
            DOCKER_HUB if !repository.contains('/') => format!("library/{repository}"),
            _ => repository,
        };
        if !valid_registry(&registry) {
            return Err(ImageNameError::Registry(text.to_owned()));
        }
        if repository.len() > MAX_NAME || !repository.split('/').all(valid_component) {
            return Err(ImageNameError::Repository(text.to_owned()));
        }
        Ok(Self { registry, repository })
    }

    /// The registry as it is named in references: `host[:port]`, lower case; Docker Hub is `index.docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's path: `org/app`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The host to which API requests go. It differs from [`Self::registry`] for Docker Hub alone.
    pub fn api_host(&self) -> &str {
        if self.registry == DOCKER_HUB { "registry-1.docker.io" } else { &self.registry }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

/// Why a text is not an image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageNameError {
    /// It starts with a URL scheme.
    #[error("`{0}` must not have a scheme: write the registry's host and the repository alone")]
    Scheme(String),
    /// It carries a tag.
    #[error("`{0}` must not have a tag: the policy chooses it")]
    Tag(String),
    /// It carries a digest.
    #[error("`{0}` must not have a digest: the policy chooses the image")]
    Digest(String),
    /// The host part is malformed.
    #[error("`{0}` does not start with a valid registry host")]
    Registry(String),
    /// The path part is malformed.
    #[error(
        "`{0}` is not a valid repository: lower-case letters, digits and single separators (`.`, `_`, `-`, `/`)"
    )]
    Repository(String),
}

/// Docker's rule: the first component is a host if it has a dot or a port, or is `localhost`.
fn is_registry(first: &str) -> bool {
    first.contains('.') || first.contains(':') || first == "localhost"
}

/// Brings a registry's host to the spelling that references are compared by: lower case, Docker Hub's three names
/// as one. Payload hosts and image hosts both pass through here.
pub fn canonical_registry(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "docker.io" | "registry-1.docker.io" | "index.docker.io" => DOCKER_HUB.to_owned(),
        _ => host,
    }
}

/// Whether a text is `host[:port]`, as the first part of a reference may be.
pub(crate) fn valid_registry(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !host.ends_with(':') => (host, Some(port)),
        _ => (registry, None),
    };
    let host_ok = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    };
    host_ok && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// One path component: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` (distribution-spec 1.1).
fn valid_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !bytes.first().is_some_and(|b| alnum(*b)) || !bytes.last().is_some_and(|b| alnum(*b)) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|separator| !separator.is_empty())
        .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

/// A tag, valid by construction. Cheap to clone where it is short, as most are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(ShortText);

impl Tag {
    /// Checks the grammar `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    pub fn parse(text: &str) -> Result<Self, InvalidTag> {
        let first_ok = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let rest_ok = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if first_ok && rest_ok && text.len() <= MAX_TAG {
            Ok(Self(ShortText::new(text)))
        } else {
            Err(InvalidTag(text.chars().take(MAX_TAG + 1).collect()))
        }
    }

    /// The tag's text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The digest whose signature, attestation or referrers index this tag holds, by cosign's and the OCI
    /// fallback's naming: `sha256-<64 hex>` with an optional lower-case suffix (`.sig`, `.att`, `.sbom`).
    /// Such tags are never candidates.
    pub fn referrer_subject(&self) -> Option<Digest> {
        let rest = self.as_str().strip_prefix("sha256-")?;
        let (hex, suffix) = rest.split_at_checked(64)?;
        let suffix_ok = suffix.is_empty()
            || suffix
                .strip_prefix('.')
                .is_some_and(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase()));
        if suffix_ok { Digest::parse(&format!("sha256:{hex}")).ok() } else { None }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Tag {
    type Error = InvalidTag;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.as_str().to_owned()
    }
}

/// A text that is not a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid tag")]
pub struct InvalidTag(String);

/// A content digest, valid by construction: `sha256:<64 hex>` or `sha512:<128 hex>`, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Box<str>);

impl Digest {
    /// Checks algorithm and length (OCI image-spec: registered algorithms).
    pub fn parse(text: &str) -> Result<Self, InvalidDigest> {
        let wanted = match text.split_once(':') {
            Some(("sha256", _)) => 64,
            Some(("sha512", _)) => 128,
            _ => return Err(InvalidDigest(text.chars().take(160).collect())),
        };
        let hex = &text[7..];
        if hex.len() == wanted && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidDigest(text.chars().take(160).collect()))
        }
    }

    /// `sha256:…`
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.into()
    }
}

/// A text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid digest (sha256:<64 hex> or sha512:<128 hex>)")]
pub struct InvalidDigest(String);

/// A chosen image, as it is written into manifests: Flux's `status.latestRef`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageRef {
    /// `ImageRepository.spec.image` verbatim: what a person wrote is what a manifest gets.
    pub name: String,
    /// The original tag.
    pub tag: Tag,
    /// Present where the policy reflects digests.
    pub digest: Option<Digest>,
}

impl fmt::Display for ImageRef {
    /// `name:tag[@digest]`, as Flux's `ImageRef.String()`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)?;
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_as_flux_does() {
        for (text, canonical) in [
            ("alpine", "index.docker.io/library/alpine"),
            ("stefanprodan/podinfo", "index.docker.io/stefanprodan/podinfo"),
            ("docker.io/library/alpine", "index.docker.io/library/alpine"),
            ("GHCR.io/org/app", "ghcr.io/org/app"),
            ("localhost/app", "localhost/app"),
            ("127.0.0.1:5000/team/app", "127.0.0.1:5000/team/app"),
            ("[::1]:5000/app", "[::1]:5000/app"),
        ] {
            assert_eq!(ImageName::parse(text).unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn names_with_scheme_tag_digest_or_bad_characters_are_refused_by_name() {
        assert!(matches!(ImageName::parse("https://ghcr.io/a"), Err(ImageNameError::Scheme(_))));
        assert!(matches!(ImageName::parse("ghcr.io/a:1"), Err(ImageNameError::Tag(_))));
        assert!(matches!(ImageName::parse("alpine:3"), Err(ImageNameError::Tag(_))));
        assert!(matches!(ImageName::parse("ghcr.io/a@sha256:00"), Err(ImageNameError::Digest(_))));
        assert!(matches!(ImageName::parse("ghcr.io/A"), Err(ImageNameError::Repository(_))));
        assert!(matches!(ImageName::parse("ghcr.io//a"), Err(ImageNameError::Repository(_))));
        assert!(matches!(ImageName::parse("ghcr.io/../a"), Err(ImageNameError::Repository(_))));
        assert!(matches!(ImageName::parse("a.b:99999/x"), Err(ImageNameError::Registry(_))));
        assert!(matches!(ImageName::parse("a..b/x"), Err(ImageNameError::Registry(_))));
        assert!(matches!(ImageName::parse(""), Err(ImageNameError::Repository(_))));
    }

    #[test]
    fn tags_follow_the_grammar() {
        for good in ["1.2.3", "_x", "latest", "v1-alpine_3"] {
            assert!(Tag::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "a:b", "ü", "sha256:00", &"a".repeat(129)] {
            assert!(Tag::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn referrer_tags_name_their_subject() {
        let hex = "a".repeat(64);
        for tag in [format!("sha256-{hex}"), format!("sha256-{hex}.sig"), format!("sha256-{hex}.att")] {
            let subject = Tag::parse(&tag).unwrap().referrer_subject().unwrap();
            assert_eq!(subject.as_str(), format!("sha256:{hex}"));
        }
        for tag in [format!("sha256-{hex}-x"), format!("sha256-{hex}."), "sha256-abc".into(), "1.0.0".into()]
        {
            assert_eq!(Tag::parse(&tag).unwrap().referrer_subject(), None, "{tag}");
        }
    }

    #[test]
    fn digests_check_algorithm_and_length() {
        assert!(Digest::parse(&format!("sha256:{}", "0".repeat(64))).is_ok());
        assert!(Digest::parse(&format!("sha512:{}", "f".repeat(128))).is_ok());
        for bad in ["sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "", "sha256:", "ü"] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
        assert!(Digest::parse(&format!("sha256:{}", "A".repeat(64))).is_err());
    }
}

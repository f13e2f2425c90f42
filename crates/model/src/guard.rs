//! `windlass.dev` Guard: what an image must satisfy before it is written. Owns the rules as values, and which images a
//! Guard concerns; it never judges an image.
//!
//! A Guard that cannot be loaded is kept with what is known of its scope, and without rules: whatever it may concern
//! is not written until it is mended.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::image::{Digest, ImageName, canonical_registry};
use crate::name::{Kind, ObjectKey};
use crate::resource::{Meta, Resource};

mod attestation;
mod trust_root;

pub use attestation::{
    AttestationRule, Condition, Predicate, SHORT_NAMES, Severity, SlsaCondition, UnknownPredicateType,
    VulnCondition, predicate_type,
};
pub use trust_root::{InvalidMirror, TrustRootSource, TufAnchor, TufRepository};

/// A Guard, cluster-scoped: its name is both parts of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Name, labels, origin.
    pub meta: Meta,
    /// `spec.match`
    pub scope: Scope,
    /// The rules, or why there are none: the Guard is broken, and then nothing that it concerns may be written.
    pub rules: Result<GuardRules, String>,
}

impl Resource for Guard {
    const KIND: Kind = Kind::Guard;
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Guard {
    /// The Secrets that hold its keys and trust roots.
    pub fn secrets(&self) -> impl Iterator<Item = &ObjectKey> {
        let authorities = self.rules.iter().flat_map(|rules| rules.authorities.values());
        authorities.flat_map(|authority| {
            let keys = match &authority.trust {
                Trust::KeySecret(key) => Some(key),
                Trust::Notation(notation) => Some(&notation.secret),
                Trust::Keys(_) | Trust::Keyless(_) => None,
            };
            keys.into_iter().chain(authority.trust_root.as_ref().and_then(TrustRootSource::secret))
        })
    }

    /// The TUF repositories that its trust roots come from.
    pub fn tuf_repositories(&self) -> impl Iterator<Item = &TufRepository> {
        let authorities = self.rules.iter().flat_map(|rules| rules.authorities.values());
        authorities.filter_map(|authority| match &authority.trust_root {
            Some(TrustRootSource::Tuf(repository)) => Some(repository),
            Some(TrustRootSource::Secret(_)) | None => None,
        })
    }
}

/// What a Guard concerns. The default is everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// `images`: any of them; `None` means every image.
    pub images: Option<Vec<ImageGlob>>,
    /// `namespaces`: any of them; `None` means every namespace.
    pub namespaces: Option<Vec<String>>,
}

impl Scope {
    /// Whether an image that is written on behalf of a namespace is concerned.
    pub fn concerns(&self, image: &ImageName, namespace: &str) -> bool {
        self.images.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(image)))
            && self.namespaces.as_ref().is_none_or(|names| names.iter().any(|name| name == namespace))
    }
}

/// A pattern over `registry/repository`: `*` stands for any part of one component, `**` as a whole component for any
/// number of components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageGlob {
    text: String,
    components: Vec<String>,
}

impl ImageGlob {
    /// Whether an image's name matches. Docker Hub's names are one.
    pub fn matches(&self, image: &ImageName) -> bool {
        let name = image.to_string();
        let name: Vec<&str> = name.split('/').collect();
        matches_sequence(
            &self.components,
            &name,
            |glob| glob == "**",
            |glob, component| matches_component(glob, component),
        )
    }
}

/// Whether one component matches, in which `*` stands for any number of characters.
pub(crate) fn matches_component(glob: &str, component: &str) -> bool {
    matches_sequence(glob.as_bytes(), component.as_bytes(), |byte| *byte == b'*', |a, b| a == b)
}

impl FromStr for ImageGlob {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut components: Vec<String> = text.split('/').map(str::to_owned).collect();
        let first = &components[0];
        let host = first.contains(['.', ':', '*']) || first == "localhost";
        if !host || (components.len() < 2 && first != "**") {
            return Err(InvalidGlob::Registry(text.to_owned()));
        }
        if components.iter().any(|component| component != "**" && component.contains("**")) {
            return Err(InvalidGlob::Stars(text.to_owned()));
        }
        components[0] = canonical_registry(&components[0]);
        let valid = |component: &String| {
            !component.is_empty()
                && component
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_*".contains(&b))
        };
        let registry = components[0].replace([':', '[', ']'], "");
        if !valid(&registry) || !components[1..].iter().all(valid) {
            return Err(InvalidGlob::Characters(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), components })
    }
}

impl fmt::Display for ImageGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is no pattern for images.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    /// It has no registry, which Docker would supply and a rule must not guess.
    #[error(
        "`{0}` must start with a registry, as in `ghcr.io/org/**` or `docker.io/library/*`; `**` is every image"
    )]
    Registry(String),
    /// `**` is only part of a component.
    #[error("`{0}`: `**` must stand alone between slashes; within one component write `*`")]
    Stars(String),
    /// No image's name could match it.
    #[error("`{0}` has a component that no image's name has: lower-case letters, digits, `.`, `_`, `-`")]
    Characters(String),
}

/// Matches with stars that stand for any number of items, in time of the product of both lengths at most.
fn matches_sequence<P, T>(
    pattern: &[P],
    items: &[T],
    star: impl Fn(&P) -> bool,
    same: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut item) = (0, 0);
    let mut retry = None;
    while item < items.len() {
        if pattern.get(at).is_some_and(&star) {
            retry = Some((at + 1, item));
            at += 1;
        } else if pattern.get(at).is_some_and(|wanted| same(wanted, &items[item])) {
            (at, item) = (at + 1, item + 1);
        } else if let Some((after, taken)) = retry {
            retry = Some((after, taken + 1));
            (at, item) = (after, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(star)
}

/// What a Guard asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuardRules {
    /// `authorities`, by name.
    pub authorities: BTreeMap<String, Authority>,
    /// `require.signatures`
    pub signatures: Option<Quorum>,
    /// `require.attestations`: all of them.
    pub attestations: Vec<AttestationRule>,
    /// `require.minAge`: since the digest was first seen.
    pub min_age: Option<Duration>,
    /// `require.platforms`: `os/architecture[/variant]`, all of them.
    pub platforms: Vec<String>,
    /// `deny`
    pub deny: Vec<Denial>,
    /// `pin`
    pub pin: Pin,
}

/// Whose signatures are enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quorum {
    /// `allOf`: each of these authorities.
    AllOf(Vec<String>),
    /// `anyOf`: this many distinct signers among these authorities.
    AnyOf {
        /// Names of authorities.
        authorities: Vec<String>,
        /// At least one.
        minimum: usize,
    },
}

/// `deny[]`: no image with this tag or this digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// `tag` or `digest`
    pub what: Denied,
    /// `reason`: told to whoever asks.
    pub reason: String,
}

/// What a [`Denial`] names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// A tag, exact.
    Tag(String),
    /// A digest.
    Digest(Digest),
}

/// `pin`: whether the digest that was verified is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pin {
    /// The default: where the place can hold one.
    #[default]
    WhereverPossible,
    /// A place that cannot hold a digest is refused.
    Required,
    /// No digest is written.
    Never,
}

/// `authorities[]`: whom to believe, and how their signatures must look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// `key` or `keyless`
    pub trust: Trust,
    /// `source.repository`: where the signatures lie, if not beside the image.
    pub source: Option<ImageName>,
    /// `formats`
    pub formats: Formats,
    /// Whether a signature must be in the transparency log (`insecureIgnoreTlog` says no).
    pub tlog: bool,
    /// Whether a certificate must be in the certificate transparency log (`insecureIgnoreSCT` says no).
    pub sct: bool,
    /// `timestamps: required`: a signed timestamp (RFC 3161) is needed.
    pub timestamps: bool,
    /// `annotations`: what the signature must state, exactly.
    pub annotations: BTreeMap<String, String>,
    /// `trustRoot`; absent means the public good root that is built in.
    pub trust_root: Option<TrustRootSource>,
}

/// The forms in which signatures are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formats {
    /// `legacy`: the tags `sha256-….sig` and `.att`.
    pub legacy: bool,
    /// `bundle`: Sigstore bundles, as referrers.
    pub bundle: bool,
}

impl Default for Formats {
    fn default() -> Self {
        Self { legacy: true, bundle: true }
    }
}

/// What an authority's signatures are checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// `key.pem`: public keys in PEM, at least one.
    Keys(String),
    /// `key.secretRef`: every `*.pub` of this Secret.
    KeySecret(ObjectKey),
    /// `keyless.identities`: any of these, at least one.
    Keyless(Vec<Identity>),
    /// `notation`: signatures of the Notary Project.
    Notation(NotationTrust),
}

/// `notation`: a trust policy document and the certificates of its trust stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotationTrust {
    /// `secretRef`: a Secret with `trustpolicy.json` and certificates (`*.crt`, `*.pem`), as Flux has it.
    pub secret: ObjectKey,
    /// `trustStores`: which keys of the Secret are in which store (`ca:NAME`, `signingAuthority:NAME`); empty: all
    /// certificates are in the one store that the document names.
    pub trust_stores: BTreeMap<String, Vec<String>>,
}

impl NotationTrust {
    /// The Secret's key that holds the trust policy document.
    pub const POLICY: &'static str = "trustpolicy.json";

    /// Whether a Secret's key holds certificates.
    pub fn is_certificates(key: &str) -> bool {
        [".crt", ".pem"].iter().any(|end| key.len() > end.len() && key.ends_with(end))
    }
}

/// `keyless.identities[]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `issuer` or `issuerRegExp`
    pub issuer: TextRule,
    /// `subject` or `subjectRegExp`
    pub subject: TextRule,
}

/// A text, or a pattern for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextRule {
    /// Equal, byte for byte.
    Exact(String),
    /// A regular expression for the whole text, or for any part of it (`insecureUnanchored`).
    Pattern {
        /// The expression as written.
        expression: String,
        /// Whether it must match the whole text.
        anchored: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, image: &str) -> bool {
        glob.parse::<ImageGlob>().unwrap().matches(&ImageName::parse(image).unwrap())
    }

    #[test]
    fn one_star_stays_in_a_component_and_two_cross_them() {
        for (glob, image, expected) in [
            ("**", "ghcr.io/a/b", true),
            ("ghcr.io/acme/**", "ghcr.io/acme/app", true),
            ("ghcr.io/acme/**", "ghcr.io/acme/team/app", true),
            ("ghcr.io/acme/**", "ghcr.io/acme-evil/app", false),
            ("ghcr.io/acme/**", "evil.io/ghcr.io/acme/app", false),
            ("ghcr.io/acme/*", "ghcr.io/acme/team/app", false),
            ("ghcr.io/acme/app-*", "ghcr.io/acme/app-api", true),
            ("ghcr.io/**/app", "ghcr.io/app", true),
            ("ghcr.io/**/app", "ghcr.io/a/b/app", true),
            ("ghcr.io/**/app", "ghcr.io/a/b/apple", false),
            ("*.acme.io/**", "eu.acme.io/x", true),
            ("*.acme.io/**", "acme.io/x", false),
            ("docker.io/library/*", "nginx", true),
            ("localhost:5000/**", "localhost:5000/x", true),
            ("localhost:5000/**", "localhost:5001/x", false),
        ] {
            assert_eq!(matches(glob, image), expected, "{glob} {image}");
        }
    }

    #[test]
    fn patterns_that_could_match_nothing_or_guess_a_registry_are_refused() {
        for text in
            ["", "nginx", "acme/app", "ghcr.io", "ghcr.io/", "ghcr.io/a**", "ghcr.io/App", "ghcr.io/a:1"]
        {
            assert!(text.parse::<ImageGlob>().is_err(), "{text}");
        }
    }

    #[test]
    fn many_stars_are_matched_in_bounded_time() {
        let glob = format!("ghcr.io/{}b", "*a".repeat(60));
        assert!(!matches(&glob, &format!("ghcr.io/{}", "a".repeat(200))));
    }

    #[test]
    fn a_scope_without_limits_concerns_everything() {
        let image = ImageName::parse("ghcr.io/a/b").unwrap();
        assert!(Scope::default().concerns(&image, "apps"));
        let scope = Scope { images: None, namespaces: Some(vec!["prod".into()]) };
        assert!(scope.concerns(&image, "prod") && !scope.concerns(&image, "apps"));
    }
}

//! What a Guard asks of attestations. Owns the rules as values, the names of predicate types, and which conditions fit
//! which of them; it never reads an attestation.

use std::fmt;
use std::time::Duration;

use super::TextRule;

/// The short names of predicate types, as cosign has them, with what they stand for.
pub const SHORT_NAMES: [(&str, &str); 10] = [
    ("slsaprovenance", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ("spdx", "https://spdx.dev/Document"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
    ("openvex", "https://openvex.dev/ns"),
    ("link", "https://in-toto.io/Link/v1"),
    ("custom", "https://cosign.sigstore.dev/attestation/v1"),
];

/// The kinds of predicates whose content is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predicate {
    /// SLSA provenance v0.2.
    SlsaV02,
    /// SLSA provenance v1.
    SlsaV1,
    /// A vulnerability scan, as cosign specifies it (`cosign/vuln/v1`).
    Vuln,
    /// An SPDX document.
    Spdx,
    /// A CycloneDX document.
    CycloneDx,
    /// An OpenVEX document.
    OpenVex,
}

impl Predicate {
    /// The kind of a predicate type. SPDX, CycloneDX and OpenVEX are also told with the version of their format behind
    /// a slash.
    pub fn of(predicate_type: &str) -> Option<Self> {
        const VERSIONED: [(&str, Predicate); 3] = [
            ("https://spdx.dev/Document", Predicate::Spdx),
            ("https://cyclonedx.org/bom", Predicate::CycloneDx),
            ("https://openvex.dev/ns", Predicate::OpenVex),
        ];
        match predicate_type {
            "https://slsa.dev/provenance/v0.2" => return Some(Self::SlsaV02),
            "https://slsa.dev/provenance/v1" => return Some(Self::SlsaV1),
            "https://cosign.sigstore.dev/attestation/vuln/v1" => return Some(Self::Vuln),
            _ => {}
        }
        let of_base = |(base, kind): (&str, Self)| {
            let rest = predicate_type.strip_prefix(base)?;
            (rest.is_empty() || rest.starts_with("/v")).then_some(kind)
        };
        VERSIONED.into_iter().find_map(of_base)
    }
}

/// `require.attestations[]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationRule {
    /// `predicateType`, exact: short names are resolved.
    pub predicate_type: String,
    /// `authorities`: any of these.
    pub authorities: Vec<String>,
    /// What the predicate must say; absent: an attestation of this type is enough.
    pub condition: Option<Condition>,
}

/// What a predicate must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `slsa`
    Slsa(SlsaCondition),
    /// `vuln`
    Vuln(VulnCondition),
    /// `sbom`: it is a document of its kind that lists at least one package or component.
    Sbom,
    /// `vex`: it is an OpenVEX document whose statements are whole.
    Vex {
        /// `maxAge`: since the document was last changed.
        max_age: Option<Duration>,
    },
    /// `cel`: an expression over `predicate` and `statement` that is true.
    Cel(String),
}

impl Condition {
    /// Its field.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Slsa(_) => "slsa",
            Self::Vuln(_) => "vuln",
            Self::Sbom => "sbom",
            Self::Vex { .. } => "vex",
            Self::Cel(_) => "cel",
        }
    }

    /// The short names of the types that it is for; empty where any type will do.
    pub fn for_types(&self) -> &'static [&'static str] {
        match self {
            Self::Slsa(_) => &["slsaprovenance", "slsaprovenance1"],
            Self::Vuln(_) => &["vuln"],
            Self::Sbom => &["spdx", "cyclonedx"],
            Self::Vex { .. } => &["openvex"],
            Self::Cel(_) => &[],
        }
    }

    /// Whether it can be asked of a predicate of this type.
    pub fn fits(&self, predicate_type: &str) -> bool {
        let kind = Predicate::of(predicate_type);
        match self {
            Self::Slsa(_) => matches!(kind, Some(Predicate::SlsaV02 | Predicate::SlsaV1)),
            Self::Vuln(_) => kind == Some(Predicate::Vuln),
            Self::Sbom => matches!(kind, Some(Predicate::Spdx | Predicate::CycloneDx)),
            Self::Vex { .. } => kind == Some(Predicate::OpenVex),
            Self::Cel(_) => true,
        }
    }
}

/// `slsa`: at least one of its fields is present, and all that are must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlsaCondition {
    /// `builder` or `builderRegExp`: the builder's identifier.
    pub builder: Option<TextRule>,
    /// `source` or `sourceRegExp`: the repository that was built, without `git+` and without a reference.
    pub source: Option<TextRule>,
    /// `ref` or `refRegExp`: the Git reference that was built.
    pub reference: Option<TextRule>,
    /// `buildType`, exact.
    pub build_type: Option<String>,
}

/// `vuln`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VulnCondition {
    /// `maxAge`: since the scan was finished.
    pub max_age: Option<Duration>,
    /// `maxSeverity`: no finding is worse.
    pub max_severity: Option<Severity>,
}

/// How bad a finding is, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As a limit: no finding at all.
    None,
    /// Hardly worth a word.
    Negligible,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical, or unknown to the scanner: what is not known may be anything.
    Critical,
}

impl Severity {
    /// The words of a Guard, in ascending order.
    pub const WORDS: [(&'static str, Self); 6] = [
        ("none", Self::None),
        ("negligible", Self::Negligible),
        ("low", Self::Low),
        ("medium", Self::Medium),
        ("high", Self::High),
        ("critical", Self::Critical),
    ];
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, severity)| severity == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}

/// Resolves a `predicateType`: a URI stays what it is, a short name becomes the URI that cosign writes for it.
pub fn predicate_type(text: &str) -> Result<String, UnknownPredicateType> {
    if let Some((_, uri)) = SHORT_NAMES.iter().find(|(name, _)| *name == text) {
        return Ok((*uri).to_owned());
    }
    let scheme = text.split_once(':').map(|(scheme, rest)| (scheme.as_bytes(), rest));
    match scheme {
        Some(([first, others @ ..], rest))
            if first.is_ascii_alphabetic()
                && others.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
                && !rest.is_empty()
                && !text.contains(char::is_whitespace) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(UnknownPredicateType(text.to_owned())),
    }
}

/// A text that is neither a URI nor a short name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a URI nor one of the short names {list}", list = short_names())]
pub struct UnknownPredicateType(pub String);

fn short_names() -> String {
    SHORT_NAMES.map(|(name, _)| format!("`{name}`")).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_become_uris_and_uris_stay() {
        assert_eq!(predicate_type("slsaprovenance1").unwrap(), "https://slsa.dev/provenance/v1");
        for uri in ["https://example.com/a", "urn:x:y", "tag+a-b.c:z"] {
            assert_eq!(predicate_type(uri).unwrap(), uri);
        }
        for text in ["", "slsa", "SPDX", "a b:c", ":x", "https:", "1a:b", "https://a b"] {
            let error = predicate_type(text).unwrap_err().to_string();
            assert!(error.contains("`slsaprovenance`") && error.contains("`openvex`"), "{text}: {error}");
        }
    }

    #[test]
    fn kinds_are_told_by_the_whole_type() {
        for (uri, kind) in [
            ("https://slsa.dev/provenance/v0.2", Some(Predicate::SlsaV02)),
            ("https://slsa.dev/provenance/v1", Some(Predicate::SlsaV1)),
            ("https://slsa.dev/provenance/v1/", None),
            ("https://slsa.dev/provenance/v0.1", None),
            ("https://spdx.dev/Document", Some(Predicate::Spdx)),
            ("https://spdx.dev/Document/v2.3", Some(Predicate::Spdx)),
            ("https://spdx.dev/Documents", None),
            ("https://cyclonedx.org/bom/v1.6", Some(Predicate::CycloneDx)),
            ("https://openvex.dev/ns/v0.2.0", Some(Predicate::OpenVex)),
            ("https://openvex.dev/nsx", None),
        ] {
            assert_eq!(Predicate::of(uri), kind, "{uri}");
        }
        let short = |name: &str| Predicate::of(&predicate_type(name).unwrap());
        for condition in [
            Condition::Slsa(SlsaCondition::default()),
            Condition::Vuln(VulnCondition::default()),
            Condition::Sbom,
            Condition::Vex { max_age: None },
        ] {
            for name in condition.for_types() {
                assert!(short(name).is_some() && condition.fits(&predicate_type(name).unwrap()), "{name}");
            }
            assert!(!condition.fits("https://example.com/other"));
        }
    }

    #[test]
    fn severities_are_in_order() {
        assert!(Severity::WORDS.windows(2).all(|pair| pair[0].1 < pair[1].1));
        assert_eq!(Severity::High.to_string(), "high");
    }
}

//! Exclusion lists: which tags a policy never sees.
//!
//! Flux applies `spec.exclusionList` of an ImageRepository before it stores tags. Windlass also drops every tag that
//! holds a signature, an attestation or a referrers index (`sha256-<hex>` with an optional suffix), whatever the list
//! says; Flux drops those that end in `.sig`, and only where the list is the default one.

use windlass_model::Tag;

use crate::go_regex::{GoRegex, GoRegexError};

/// Most patterns (Flux's CRD, `maxItems`).
const MAX_PATTERNS: usize = 25;

/// A compiled exclusion list.
#[derive(Debug, Clone, Default)]
pub struct Exclusions {
    patterns: Vec<GoRegex>,
}

/// Why a tag is not a candidate, whatever the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion<'e> {
    /// It is named as cosign and the OCI referrers fallback name what belongs to another image.
    Referrer,
    /// This pattern matches.
    Pattern(&'e str),
}

/// Why an exclusion list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExclusions {
    /// A pattern is not a regular expression.
    #[error("exclusionList[{index}]: {source}")]
    Pattern {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        source: GoRegexError,
    },
    /// There are more patterns than Flux's schema allows.
    #[error("exclusionList: {0} patterns, at most {MAX_PATTERNS} are allowed")]
    TooMany(usize),
}

impl Exclusions {
    /// Compiles a list of regular expressions in Go's syntax, unanchored.
    pub fn compile(patterns: &[String]) -> Result<Self, InvalidExclusions> {
        if patterns.len() > MAX_PATTERNS {
            return Err(InvalidExclusions::TooMany(patterns.len()));
        }
        let patterns = patterns
            .iter()
            .enumerate()
            .map(|(index, pattern)| {
                GoRegex::compile(pattern).map_err(|source| InvalidExclusions::Pattern { index, source })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// What excludes the tag, if anything does.
    pub fn exclusion(&self, tag: &str) -> Option<Exclusion<'_>> {
        if is_referrer(tag) {
            return Some(Exclusion::Referrer);
        }
        let pattern = self.patterns.iter().find(|pattern| pattern.is_match(tag))?;
        Some(Exclusion::Pattern(pattern.as_str()))
    }

    /// Whether the tag is not a candidate: it is a signature's (see the module), or a pattern matches.
    pub fn excludes(&self, tag: &str) -> bool {
        self.exclusion(tag).is_some()
    }

    /// The tags that a policy may see, in their order.
    pub fn candidates<'t>(&self, tags: impl IntoIterator<Item = &'t str>) -> impl Iterator<Item = &'t str> {
        tags.into_iter().filter(|tag| !self.excludes(tag))
    }
}

fn is_referrer(tag: &str) -> bool {
    // The prefix is checked first, since almost no tag has it and parsing allocates.
    tag.starts_with("sha256-") && Tag::parse(tag).is_ok_and(|tag| tag.referrer_subject().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn patterns_are_unanchored_and_named() {
        let exclusions = Exclusions::compile(&list(&[r"^.*\.sig$", "nightly"])).unwrap();
        assert_eq!(exclusions.exclusion("a.sig"), Some(Exclusion::Pattern(r"^.*\.sig$")));
        assert_eq!(exclusions.exclusion("2025-nightly-1"), Some(Exclusion::Pattern("nightly")));
        assert!(!exclusions.excludes("a.sig.b"));
        let tags = ["1.0.0", "nightly", "1.1.0"];
        assert_eq!(exclusions.candidates(tags).collect::<Vec<_>>(), ["1.0.0", "1.1.0"]);
    }

    #[test]
    fn signature_tags_are_dropped_whatever_the_list_says() {
        let hex = "0".repeat(64);
        let exclusions = Exclusions::compile(&[]).unwrap();
        for suffix in ["", ".sig", ".att", ".sbom"] {
            assert_eq!(exclusions.exclusion(&format!("sha256-{hex}{suffix}")), Some(Exclusion::Referrer));
        }
        for tag in [format!("sha256-{hex}-dev"), "sha256-abc".to_owned(), "release.sig".to_owned()] {
            assert!(!exclusions.excludes(&tag), "{tag}");
        }
    }

    #[test]
    fn a_bad_list_names_the_entry() {
        let error = Exclusions::compile(&list(&["a", "[b"])).unwrap_err();
        assert_eq!(error.to_string(), "exclusionList[1]: error parsing regexp: missing closing ]: `[b`");
        assert_eq!(
            Exclusions::compile(&vec!["a".to_owned(); 26]).unwrap_err(),
            InvalidExclusions::TooMany(26)
        );
    }
}

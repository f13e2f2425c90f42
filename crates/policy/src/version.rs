//! Versions as Flux reads them from tags: fluxcd/pkg `version.ParseVersion` over Masterminds/semver v3.5
//! `NewVersion`, which is more lenient than SemVer 2.0 in some places and stricter in others.
//!
//! This module parses and compares. It never decides whether a version is wanted; `constraint` does.

use std::cmp::Ordering;

use semver::{BuildMetadata, Prerelease, Version};

/// Longest version text that Masterminds/semver v3.5 reads (`MaxVersionLen`), in bytes.
const MAX_LENGTH: usize = 256;

/// Reads a tag as fluxcd/pkg `ParseVersion` does: it must have three parts when it is split at its first two dots,
/// and then [`parse_loose`] must accept it. `1.2` is therefore refused, but `1.2-a.b` is a version (1.2.0-a.b).
pub fn parse_tag(tag: &str) -> Option<Version> {
    let dots = tag.bytes().filter(|byte| *byte == b'.').take(2).count();
    if dots < 2 { None } else { parse_loose(tag) }
}

/// Reads a version as Masterminds/semver v3.5 `NewVersion` does: an optional lower-case `v`, one to three numeric
/// segments (leading zeros allowed, each within `u64`), and a valid pre-release and build metadata.
pub fn parse_loose(text: &str) -> Option<Version> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let rest = text.strip_prefix('v').unwrap_or(text);
    let (major, rest) = take_number(rest)?;
    let (minor, rest) = take_segment(rest)?;
    let (patch, rest) = take_segment(rest)?;
    let (rest, build) = match rest.split_once('+') {
        Some((rest, build)) if !build.is_empty() => (rest, BuildMetadata::new(build).ok()?),
        Some(_) => return None,
        None => (rest, BuildMetadata::EMPTY),
    };
    let pre = match rest.strip_prefix('-') {
        Some(pre) if !pre.is_empty() => Prerelease::new(pre).ok()?,
        None if rest.is_empty() => Prerelease::EMPTY,
        _ => return None,
    };
    Some(Version { major, minor, patch, pre, build })
}

fn take_number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

fn take_segment(text: &str) -> Option<(u64, &str)> {
    match text.strip_prefix('.') {
        Some(rest) => take_number(rest),
        None => Some((0, text)),
    }
}

/// Compares by precedence as Masterminds/semver v3.5 does: build metadata is ignored.
///
/// It departs from SemVer 2.0 §11, and from the `semver` crate, for numeric pre-release identifiers above
/// `u64::MAX`: these compare as text. Flux orders them so, and the choice must be equal.
pub fn compare(left: &Version, right: &Version) -> Ordering {
    (left.major, left.minor, left.patch)
        .cmp(&(right.major, right.minor, right.patch))
        .then_with(|| compare_prerelease(left.pre.as_str(), right.pre.as_str()))
}

/// Compares pre-releases without the `-`; none is above any.
pub(crate) fn compare_prerelease(left: &str, right: &str) -> Ordering {
    match (left.is_empty(), right.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // `Iterator::cmp_by` is unstable; a shorter list of equal identifiers is the smaller one.
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(left), Some(right)) => match compare_identifier(left, right) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
        }
    }
}

fn compare_identifier(left: &str, right: &str) -> Ordering {
    // `u64::from_str` also takes a leading `+`, which the grammar of identifiers excludes.
    match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => left.cmp(right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_versions_exactly_where_flux_says_so() {
        for (tag, version) in [
            ("1.2.3", "1.2.3"),
            ("v1.2.3", "1.2.3"),
            ("v2025.02.03-rc.1", "2025.2.3-rc.1"),
            ("007.08.09", "7.8.9"),
            ("1.2-a.b", "1.2.0-a.b"),
            ("1-a.b.c", "1.0.0-a.b.c"),
            ("1.2.3--", "1.2.3--"),
            ("1.2.3-0", "1.2.3-0"),
            ("1.2.3-01a", "1.2.3-01a"),
            ("1.2.3+build.01", "1.2.3+build.01"),
            ("18446744073709551615.0.0", "18446744073709551615.0.0"),
            ("1.2.3-99999999999999999999", "1.2.3-99999999999999999999"),
        ] {
            assert_eq!(parse_tag(tag).map(|v| v.to_string()).as_deref(), Some(version), "{tag}");
        }
        for tag in [
            "",
            "1",
            "1.2",
            "v1",
            "V1.2.3",
            "1.2.3.4",
            "1.0.0p",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3-a..b",
            "1.2.3+",
            "1..3",
            "1.2.",
            ".1.2",
            "1.2.3-a.",
            "1.2.3-é",
            "+1.2.3",
            "18446744073709551616.0.0",
            "latest",
            "vv1.2.3",
        ] {
            assert_eq!(parse_tag(tag), None, "{tag}");
        }
        assert_eq!(parse_tag(&format!("1.2.3-{}", "a".repeat(MAX_LENGTH))), None);
    }

    #[test]
    fn precedence_is_masterminds() {
        let ascending = [
            "1.0.0-0",
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-10",
            "1.0.0-10.a",
            "1.0.0-18446744073709551615",
            "1.0.0-100000000000000000000",
            "1.0.0-99999999999999999999",
            "1.0.0-BETA",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0",
            "1.0.1-rc",
            "1.0.10",
            "1.2.0",
        ];
        let versions: Vec<Version> = ascending.iter().map(|text| parse_loose(text).unwrap()).collect();
        for (i, left) in versions.iter().enumerate() {
            for (j, right) in versions.iter().enumerate() {
                assert_eq!(compare(left, right), i.cmp(&j), "{left} against {right}");
            }
        }
        assert_eq!(compare(&parse_loose("1.0.0+a").unwrap(), &parse_loose("1+b").unwrap()), Ordering::Equal);
    }
}

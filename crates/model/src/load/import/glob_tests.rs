use proptest::prelude::*;
use regex::Regex;

use super::*;
use crate::image::ImageName;

fn texts(pattern: &str, dialect: Dialect) -> Vec<String> {
    globs(pattern, dialect).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn patterns_of_policy_controller_are_rewritten() {
    for (pattern, expected) in [
        ("**", &["**"][..]),
        ("*", &["index.docker.io/library/*"]),
        ("*/*", &["index.docker.io/*/*"]),
        ("ghcr.io/acme/*", &["ghcr.io/acme/*"]),
        ("ghcr.io/acme/**", &["ghcr.io/acme/**"]),
        ("ghcr.io/acme/app:**", &["ghcr.io/acme/app"]),
        ("ghcr.io/acme/app@sha256:*", &["ghcr.io/acme/app"]),
        ("ghcr.io/acme/*-prod:**", &["ghcr.io/acme/*-prod"]),
        ("ghcr.io/acme/app*:**", &["ghcr.io/acme/app*"]),
        ("ghcr.io/acme/app*1.0", &["ghcr.io/acme/app*"]),
        ("ghcr.io/acme**", &["ghcr.io/acme*/**"]),
        ("ghcr.io/**/app:v1", &["ghcr.io/**/app"]),
        ("localhost:5000/a/*", &["localhost:5000/a/*"]),
    ] {
        assert_eq!(texts(pattern, Dialect::PolicyController), expected, "{pattern}");
    }
}

#[test]
fn patterns_of_kyverno_cross_slashes_and_know_short_names() {
    for (pattern, expected) in [
        ("*", &["**"][..]),
        ("ghcr.io/acme/*", &["ghcr.io/acme/**"]),
        ("ghcr.io/acme/app*", &["ghcr.io/acme/app*/**"]),
        ("ghcr.io/acme/app:*", &["ghcr.io/acme/app"]),
        ("ghcr.io/a*b/c:1", &["ghcr.io/a*b/c", "ghcr.io/a*/**/*b/c"]),
        ("docker.io/nginx*", &["docker.io/nginx*/**", "index.docker.io/library/nginx*"]),
        ("*.io/a*", &["index.docker.io/a*/**", "**/*.io/a*/**", "index.docker.io/library/a*"]),
        ("ghcr*", &["index.docker.io/ghcr*/**", "ghcr*/**", "index.docker.io/library/ghcr*"]),
    ] {
        assert_eq!(texts(pattern, Dialect::Kyverno), expected, "{pattern}");
    }
}

#[test]
fn what_cannot_be_carried_over_is_refused() {
    for pattern in
        ["", "ghcr.io/a?", "ghcr.io/[ab]/c", "ghcr.io/{a,b}", "nginx:*", "ghcr.io/A/*", "a//b", "{{x}}"]
    {
        assert!(globs(pattern, Dialect::Kyverno).is_err(), "{pattern}");
    }
    let many = format!("ghcr.io/{}", "a*b/".repeat(9) + "c");
    assert!(globs(&many, Dialect::Kyverno).unwrap_err().contains("more than 64"));
}

/// The source's own rule, as a regular expression. policy-controller reads two patterns as Docker Hub's.
fn oracle(pattern: &str, dialect: Dialect) -> Regex {
    let pattern = match (dialect, pattern) {
        (Dialect::PolicyController, "*") => "index.docker.io/library/*",
        (Dialect::PolicyController, "*/*") => "index.docker.io/*/*",
        _ => pattern,
    };
    let mut text = regex::escape(pattern);
    match dialect {
        Dialect::PolicyController => text = text.replace(r"\*\*", ".+").replace(r"\*", "[^/]+"),
        Dialect::Kyverno => text = text.replace(r"\*", ".*"),
    }
    Regex::new(&format!("^(?:{text})$")).unwrap()
}

fn piece() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a",
        "b",
        "*",
        "**",
        "a*",
        "*b",
        "a*b",
        "**a",
        "docker.io",
        "library",
        "-a",
        "sha256",
    ])
    .prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec![
        "ghcr.io",
        "docker.io",
        "index.docker.io",
        "*",
        "*.io",
        "d*",
        "r:5000",
        "**",
        "a",
    ]);
    let tag = prop::sample::select(vec!["", ":*", ":**", ":a", "@sha256:*", "*:*", "*a", "@*"]);
    (host, prop::collection::vec(piece(), 0..4), tag).prop_map(|(host, path, tag)| {
        let mut parts = vec![host.to_owned()];
        parts.extend(path);
        parts.join("/") + tag
    })
}

/// An image's name as it is written, and as it is meant.
fn reference() -> impl Strategy<Value = (String, String)> {
    let host =
        prop::sample::select(vec!["", "ghcr.io/", "docker.io/", "index.docker.io/", "r:5000/", "d.x/"]);
    let component = prop::sample::select(vec!["a", "b", "ab", "aab", "a-a", "library", "sha256"]);
    let tag = prop::sample::select(vec![":a", ":1-a", "", "@sha256:00ab", ":a@sha256:00ab"]);
    (host, prop::collection::vec(component, 1..4), tag)
        .prop_map(|(host, path, tag)| (format!("{host}{}", path.join("/")), tag.to_owned()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_the_source_matches_the_guard_matches(pattern in pattern(), (written, tag) in reference()) {
        let name = ImageName::parse(&written).unwrap();
        for (dialect, spelled) in [
            (Dialect::PolicyController, name.to_string()),
            (Dialect::Kyverno, written.clone()),
            (Dialect::Kyverno, name.to_string()),
        ] {
            let Ok(globs) = globs(&pattern, dialect) else { continue };
            // policy-controller has a tag or a digest, never both and never neither.
            if dialect == Dialect::PolicyController && (tag.is_empty() || tag.starts_with(":a@")) {
                continue;
            }
            if oracle(&pattern, dialect).is_match(&format!("{spelled}{tag}")) {
                prop_assert!(
                    globs.iter().any(|glob| glob.matches(&name)),
                    "{pattern} matches {spelled}{tag} ({dialect:?}), which none of {globs:?} does"
                );
            }
        }
    }

    #[test]
    fn nothing_panics(pattern in "[a*./:@{?>é-]{0,12}") {
        for dialect in [Dialect::PolicyController, Dialect::Kyverno] {
            drop(globs(&pattern, dialect));
        }
    }
}

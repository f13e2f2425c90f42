//! Each expectation was confirmed with Masterminds/semver v3.5.0.

use super::*;

/// Versions that tell the operators apart.
const PROBES: &str = "0.0.0 0.0.1 0.0.3 0.0.4 0.1.0 0.2.0 0.2.3 0.2.9 0.3.0 1.0.0 1.1.0 1.2.0 1.2.3 1.2.4 1.3.0 1.9.9 2.0.0 2.1.0 \
                      3.0.0 4.5.0 4.5.9 4.6.0 11.0.0 11.1.0 11.1.5 11.2.0 12.0.0";

fn admitted(constraint: &str, versions: &str) -> String {
    let constraint = Constraint::parse(constraint).unwrap_or_else(|error| panic!("{constraint}: {error}"));
    let admitted = |text: &&str| constraint.matches(&version::parse_loose(text).unwrap());
    versions.split_whitespace().filter(admitted).collect::<Vec<_>>().join(" ")
}

/// Checks that exactly the probes between two others (inclusive) are admitted.
fn assert_span(constraints: &[&str], first: &str, last: &str) {
    let start = PROBES.find(first).unwrap();
    let end = PROBES.find(&format!("{last} ")).map_or(PROBES.len(), |start| start + last.len());
    let wanted: Vec<&str> = PROBES[start..end].split_whitespace().collect();
    for constraint in constraints {
        assert_eq!(admitted(constraint, PROBES), wanted.join(" "), "{constraint}");
    }
}

#[test]
fn operators_and_their_aliases() {
    assert_span(
        &["1.2.3", "=1.2.3", "= 1.2.3", "v1.2.3", "=v01.2.3", "1.2.3+build", "~>1.2.3 <1.2.4"],
        "1.2.3",
        "1.2.3",
    );
    assert_span(&["1.2", "1.2.x", "=1.2", "~1.2", "~>1.2", "~1.2.0", "~1.2.*"], "1.2.0", "1.2.4");
    assert_span(
        &["1", "1.x", "1.x.x", "1.X", "1.*", "1.x.3", "~1", "~>1.x", "^1", "^1.0", "^1.0.0"],
        "1.0.0",
        "1.9.9",
    );
    assert_span(&["~1.2.3", "~>1.2.3"], "1.2.3", "1.2.4");
    assert_span(&[">1.2.3", "> 1.2.3", ">v1.2.3"], "1.2.4", "12.0.0");
    assert_span(&[">=1.2.3", "=>1.2.3"], "1.2.3", "12.0.0");
    assert_span(&[">=1.2.x", ">=1.2", ">=1.2.0"], "1.2.0", "12.0.0");
    assert_span(&["<1.2.3"], "0.0.0", "1.2.0");
    assert_span(&["<=1.2.3", "=<1.2.3"], "0.0.0", "1.2.3");
    assert_span(&["<1.x", "<1"], "0.0.0", "0.3.0");
    assert_span(&["<1.1.x", "<1.1"], "0.0.0", "1.0.0");
    assert_span(&["<=2.x", "<=2"], "0.0.0", "2.1.0");
    assert_span(&["<=1.2", "<=1.2.x"], "0.0.0", "1.2.4");
    assert_span(&[">11", ">11.x"], "12.0.0", "12.0.0");
    assert_span(&[">11.1", ">11.1.x"], "11.2.0", "12.0.0");
    assert_span(&["^1.2.3"], "1.2.3", "1.9.9");
    assert_span(&["^0.2.3"], "0.2.3", "0.2.9");
    assert_span(&["^0.2"], "0.2.0", "0.2.9");
    assert_span(&["^0.0.3"], "0.0.3", "0.0.3");
    assert_span(&["^0.0"], "0.0.0", "0.0.4");
    assert_span(&["^0"], "0.0.0", "0.3.0");
}

#[test]
fn not_equal_takes_out_a_version_or_a_range() {
    let versions = "1.2.2 1.2.3 1.3.0 4.0.0 4.1.2 5.0.0";
    assert_eq!(admitted("!=1.2.3", versions), "1.2.2 1.3.0 4.0.0 4.1.2 5.0.0");
    assert_eq!(admitted("!=1.2", versions), "1.3.0 4.0.0 4.1.2 5.0.0");
    assert_eq!(admitted("!=4.x", versions), "1.2.2 1.2.3 1.3.0 5.0.0");
    assert_eq!(
        admitted("!=1.2.x-0", "1.2.3 1.2.3-0 1.2.3-1"),
        "1.2.3 1.2.3-1",
        "quirk: only this pre-release"
    );
}

#[test]
fn ranges_and_groups() {
    assert_span(&["1.2 - 4.5", ">=1.2,<=4.5", ">=1.2 , <=4.5", ">=1.2\t<=4.5"], "1.2.0", "4.5.9");
    assert_span(&["1.2.3 - 4.5.0"], "1.2.3", "4.5.0");
    assert_span(&["1.2 - 4.5, <2", "1.2 - 4.5<2"], "1.2.0", "1.9.9");
    assert_eq!(admitted("<0.0.1 || 1.2.3||>11.2", PROBES), "0.0.0 1.2.3 12.0.0");
    assert_eq!(admitted("1||2 - 3", "0.1.0 1.0.0 2.0.0 9.0.0"), "1.0.0 2.0.0 9.0.0", "quirk: >=1 || 2, <=3");
}

#[test]
fn wildcards_and_zero_have_the_original_quirks() {
    for everything in ["*", "x", "X", "~*", "=*", ">=*", "~>x", "~0.0.0", "v*"] {
        assert_eq!(admitted(everything, PROBES), admitted(">=0", PROBES), "{everything}");
    }
    assert_eq!(admitted("^*", PROBES), "0.0.0");
    assert_eq!(admitted(">*", "0.0.0 0.0.1 3.0.0"), "0.0.1 3.0.0");
    assert_eq!(admitted("<=*", "0.0.0 0.0.9 0.1.0 1.0.0"), "0.0.0 0.0.9");
    assert_eq!(admitted("<*", PROBES), "");
    assert_eq!(admitted("!=*", "0.0.0 0.0.1 1.0.0"), "0.0.1 1.0.0");
}

#[test]
fn prereleases_are_admitted_by_group() {
    let versions = "1.0.0-alpha 1.2.3-beta.1 1.2.3-beta.2 1.2.4-beta.2 1.2.4 2.0.0-alpha 2.0.0-rc.1 2.0.0";
    for none in [">=1.0.0", "*", "~1.2", "!=9"] {
        assert_eq!(admitted(none, "1.2.4-beta.2 2.0.0-rc.1"), "", "{none}");
    }
    assert_eq!(admitted(">=1.0.0-0", versions), versions);
    assert_eq!(admitted(">=1.0.0-0 <2.0.0", "1.0.0-alpha 2.0.0-rc.1 2.0.0"), "1.0.0-alpha 2.0.0-rc.1");
    assert_eq!(admitted("~1.2.3-beta.2", versions), "1.2.3-beta.2 1.2.4-beta.2 1.2.4");
    assert_eq!(admitted("^1.x-0", versions), "1.0.0-alpha 1.2.3-beta.1 1.2.3-beta.2 1.2.4-beta.2 1.2.4");
    assert_eq!(admitted(">9-0 || 1.x", versions), "1.2.4", "alternatives are independent");
    assert_eq!(admitted(">0-0", "0.0.1-alpha 0.1.0-alpha 1.0.0"), "1.0.0");
    assert_eq!(admitted(">=0-0", "0.0.1-alpha 0.1.0-alpha 1.0.0"), "0.0.1-alpha 0.1.0-alpha 1.0.0");
    assert_eq!(admitted("1.2-1.4.5", "1.2.0-1.4.5 1.2.0-1.4.6 1.2.0 1.3.0"), "1.2.0-1.4.5 1.2.0-1.4.6 1.2.0");
}

#[test]
fn a_refused_version_has_its_reason() {
    let check = |constraint: &str, version: &str| {
        Constraint::parse(constraint).unwrap().check(&version::parse_loose(version).unwrap())
    };
    assert_eq!(check("^1", "1.2.0"), Ok(()));
    assert_eq!(check("^1", "2.0.0"), Err(Unmet::OutOfRange));
    assert_eq!(check("^1", "1.2.0-rc.1"), Err(Unmet::Prerelease));
    assert_eq!(check("^1 || ^3-0", "1.2.0-rc.1"), Err(Unmet::OutOfRange));
}

#[test]
fn what_masterminds_refuses_is_refused() {
    let improper = [
        "",
        " ",
        "||",
        "1||",
        "||1",
        "1,",
        ",1",
        "1,,2",
        ">",
        ">=1<2",
        "> =1",
        "1.2.3.4",
        "1.",
        "1-",
        "1.2.3-a.",
        "latest",
        "1 2 - 3",
        "1 - 2 - 3",
        "1 ||2 - 3",
        "1.2.3.4 - 5",
        "==1",
        "!1",
        "V1",
        "1\u{a0}2",
        "1\u{b}2",
        "é",
    ];
    for text in improper {
        assert!(matches!(Constraint::parse(text), Err(ConstraintError::Improper(_))), "{text}");
    }
    for text in ["1x", "**", "1|2", "|", "xx", "1.2.3-01", ">1.2.3-beta.01", "18446744073709551616"] {
        assert!(matches!(Constraint::parse(text), Err(ConstraintError::Version(_))), "{text}");
    }
    assert_eq!(Constraint::parse(&"1".repeat(513)).unwrap_err(), ConstraintError::TooLong);
    assert_eq!(Constraint::parse(&["1"; 33].join("||")).unwrap_err(), ConstraintError::TooManyGroups);
    assert!(Constraint::parse(&["1"; 32].join("||")).is_ok());
}

/// Constraints, hand-written and random, with what Masterminds/semver v3.5.0 made of them: one digit for each of the
/// versions in the first line.
#[test]
fn recorded_constraints_match_as_in_masterminds() {
    let mut lines = include_str!("../../testdata/constraints.jsonl").lines();
    let versions: Vec<String> = serde_json::from_str(lines.next().unwrap()).unwrap();
    let versions: Vec<Version> = versions.iter().map(|text| version::parse_loose(text).unwrap()).collect();
    for line in lines {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let matches = Constraint::parse(case["constraint"].as_str().unwrap()).ok().map(|constraint| {
            versions
                .iter()
                .map(|version| if constraint.matches(version) { '1' } else { '0' })
                .collect::<String>()
        });
        assert_eq!(matches.as_deref(), case["matches"].as_str(), "{}", case["constraint"]);
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_constraint_or_an_error(text in "([<>=!~^|, v.x*+-]|[0-9]{1,3}|rc|\\PC){0,24}") {
        if let Ok(constraint) = Constraint::parse(&text) {
            let version = version::parse_loose("1.2.3-rc.1").unwrap();
            proptest::prop_assert_eq!(constraint.matches(&version), constraint.check(&version).is_ok());
        }
    }
}

#[test]
fn the_newest_of_a_repositorys_tags_is_found_and_ties_are_settled() {
    let newest =
        |range: &str, tags: &'static [&str]| Constraint::parse(range).unwrap().newest(tags.iter().copied());
    assert_eq!(newest("*", &["v1.9.0", "v1.10.0", "latest", "v2.0.0-rc.1"]), Some("v1.10.0"));
    // Two parts are no version in a tag.
    assert_eq!(newest(">=1", &["1.2.3+a", "1.2.3+b", "1.3"]), Some("1.2.3+b"));
    assert_eq!(newest("*", &["v1.2.3", "1.2.3"]), Some("v1.2.3"));
    assert_eq!(newest("^1", &["2.0.0", "main"]), None);
}

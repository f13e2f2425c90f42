use proptest::prelude::*;

use super::*;

fn semver(range: &str) -> PolicyRule {
    PolicyRule::SemVer { range: range.to_owned() }
}

fn filter(pattern: &str, extract: &str) -> TagFilter {
    TagFilter { pattern: pattern.to_owned(), extract: extract.to_owned() }
}

fn selector(rule: &PolicyRule, filter: Option<&TagFilter>) -> Selector {
    Selector::compile(rule, filter).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn each_order_chooses_as_flux_does() {
    let numbers = ["1", "20", "3"];
    let versions = ["1.0.0", "1.1.0", "2.0.0-rc.1", "0.9.0", "latest", "1.10.0"];
    for (rule, tags, wanted) in [
        (semver(">=0.9.0"), &versions[..], "1.10.0"),
        (semver(">=1.0.0-0"), &versions, "2.0.0-rc.1"),
        (semver("1.0.x"), &versions, "1.0.0"),
        (PolicyRule::Alphabetical(Order::Asc), &numbers, "3"),
        (PolicyRule::Alphabetical(Order::Desc), &numbers, "1"),
        (PolicyRule::Numerical(Order::Asc), &numbers, "20"),
        (PolicyRule::Numerical(Order::Desc), &numbers, "1"),
    ] {
        assert_eq!(selector(&rule, None).select(tags.iter().copied()), Ok(wanted), "{rule:?}");
    }
}

#[test]
fn the_original_tag_is_chosen_by_what_is_extracted() {
    let tags = [
        "main-a94a8fe5-20250101120000001",
        "main-ccb19ba6-20250101120000002",
        "dev-0000000-20260101120000000",
    ];
    let filter = filter(r"^main-[a-f0-9]+-(?P<ts>[0-9]+)$", "$ts");
    let numerical = selector(&PolicyRule::Numerical(Order::Asc), Some(&filter));
    assert_eq!(numerical.select(tags), Ok("main-ccb19ba6-20250101120000002"), "a millisecond apart is apart");
}

#[test]
fn ties_go_to_the_highest_original_tag() {
    let tags = ["1.2.3", "v1.2.3", "v1.02.3", "1.2.2"];
    assert_eq!(selector(&semver("*"), None).select(tags), Ok("v1.2.3"));
    let tags = ["07", "7", "7.0"];
    assert_eq!(selector(&PolicyRule::Numerical(Order::Asc), None).select(tags), Ok("7.0"));
    assert_eq!(selector(&PolicyRule::Numerical(Order::Desc), None).select(tags), Ok("7.0"));
    let filter = filter(r"^(\d+\.\d+\.\d+)-", "$1");
    let tags = ["1.0.0-alpine", "1.0.0-slim", "1.0.0-bookworm"];
    assert_eq!(selector(&semver("*"), Some(&filter)).select(tags), Ok("1.0.0-slim"));
}

#[test]
fn no_selection_has_flux_messages() {
    let message = |rule: &PolicyRule, tags: &[&str]| {
        let filter = filter("^[0-9v]", "");
        selector(rule, Some(&filter)).select(tags.iter().copied()).unwrap_err().to_string()
    };
    assert_eq!(message(&semver("*"), &[]), "version list argument cannot be empty");
    assert_eq!(message(&semver("*"), &["latest"]), "version list argument cannot be empty");
    assert_eq!(message(&semver(">2"), &["1.0.0"]), "unable to determine latest version from provided list");
    let numerical = PolicyRule::Numerical(Order::Asc);
    let wanted = "failed to parse invalid numeric value 'v2' of tag 'v2': it is not a decimal number";
    assert_eq!(message(&numerical, &["1", "v1", "v2"]), wanted);
    assert_eq!(message(&numerical, &["v2", "v1", "1"]), wanted);
    assert!(message(&numerical, &["0x1p4"]).ends_with("hexadecimal numbers are not supported"));
}

#[test]
fn invalid_policies_name_the_field() {
    let field = |rule: &PolicyRule, filter: Option<&TagFilter>| {
        Selector::compile(rule, filter).unwrap_err().to_string()
    };
    assert_eq!(field(&semver(""), None), r#"policy.semver.range: improper constraint: """#);
    assert_eq!(
        field(&semver("*"), Some(&filter("(?=a)", ""))),
        "filterTags.pattern: error parsing regexp: invalid or unsupported Perl syntax: `(?=`"
    );
}

/// Tags that meet each other often: few distinct values, several spellings.
fn tags() -> impl Strategy<Value = Vec<String>> {
    let tag = prop_oneof![
        "v?[0-2]\\.[0-2]\\.[0-2](-(rc|beta)\\.[0-9])?",
        "0?[0-9]{1,3}(\\.[0-9])?",
        "(main|dev)-[0-9]{1,3}",
        "[a-z0-9._-]{1,8}",
    ];
    prop::collection::vec(tag, 0..24)
}

fn policies() -> impl Strategy<Value = (PolicyRule, Option<TagFilter>)> {
    let order = prop_oneof![Just(Order::Asc), Just(Order::Desc)];
    let rule = prop_oneof![
        prop::sample::select(vec!["*", ">=1.0.0-0", "~1.1", "^0.1", "1 - 2", "!=1.1.1"]).prop_map(semver),
        order.clone().prop_map(PolicyRule::Alphabetical),
        order.prop_map(PolicyRule::Numerical),
    ];
    let filters = vec![
        None,
        Some(filter("^[0-9.]+$", "")),
        Some(filter("^v?(?P<v>.*)$", "$v")),
        Some(filter("^(main|dev)-(?P<n>[0-9]+)$", "$n")),
        Some(filter("^[0-9]", "$0")),
    ];
    (rule, prop::sample::select(filters))
}

proptest! {
    #[test]
    fn selection_is_total_and_independent_of_order(
        (rule, filter) in policies(),
        (tags, shuffled) in tags().prop_flat_map(|tags| (Just(tags.clone()), Just(tags).prop_shuffle())),
    ) {
        let selector = selector(&rule, filter.as_ref());
        let chosen = selector.select(tags.iter().map(String::as_str));
        prop_assert_eq!(&chosen, &selector.select(shuffled.iter().map(String::as_str)));

        let ranks: Vec<_> = tags.iter().map(|tag| selector.rank(tag)).collect();
        match chosen {
            Ok(chosen) => {
                let passes = filter.as_ref().is_none_or(|filter| {
                    GoRegex::compile(&filter.pattern).unwrap().is_match(chosen)
                });
                prop_assert!(passes, "the filter drops {}", chosen);
                let best = ranks.into_iter().map(Result::unwrap).max().flatten();
                prop_assert_eq!(best, selector.rank(chosen).unwrap());
                let ranked = selector.ranked(tags.iter().map(String::as_str)).unwrap();
                prop_assert_eq!(ranked.first(), Some(&chosen));
            }
            Err(NoSelection::Unrankable(named)) => {
                prop_assert!(ranks.contains(&Err(named)));
            }
            Err(NoSelection::Empty | NoSelection::NoMatch) => {
                prop_assert!(ranks.iter().all(|rank| rank == &Ok(None)));
            }
        }
    }
}

use jiff::Timestamp;
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

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn seen(tag: &str, at: i64) -> Candidate<'_> {
    Candidate { tag, first_seen: Some(second(at)) }
}

fn calver(format: &str) -> LeadingOrder {
    LeadingOrder::CalVer { format: format.to_owned() }
}

fn alphabetical() -> Selector {
    selector(&PolicyRule::Alphabetical(Order::Asc), None)
}

#[test]
fn the_tag_that_was_first_seen_last_is_the_newest_pushed() {
    let newest = |selector: Selector| selector.led_by(&LeadingOrder::NewestPushed).unwrap();
    let tags = [seen("f00d", 30), seen("cafe", 20), seen("beef", 40), Candidate::from("ffff")];
    assert_eq!(newest(alphabetical()).select(tags), Ok("beef"), "an unknown time is the oldest");
    assert_eq!(newest(alphabetical()).ranked(tags).unwrap(), ["beef", "f00d", "cafe", "ffff"]);

    // The rule still says what a candidate is, and what is better of what was seen at once.
    let tags = [seen("1.9.0", 10), seen("1.10.0", 10), seen("1.2.0", 5), seen("2.0.0", 50), seen("x", 60)];
    assert_eq!(newest(selector(&semver("1.x"), None)).select(tags), Ok("1.10.0"));
    assert_eq!(newest(alphabetical()).select(tags[..3].iter().copied()), Ok("1.9.0"));
    let only_main = filter("^main-", "");
    let tags = [seen("main-1", 1), seen("main-2", 2), seen("dev-3", 3)];
    assert_eq!(
        newest(selector(&PolicyRule::Alphabetical(Order::Asc), Some(&only_main))).select(tags),
        Ok("main-2")
    );
    let numerical = newest(selector(&PolicyRule::Numerical(Order::Asc), None));
    let error = numerical.select([seen("7", 1), seen("x", 2)]).unwrap_err();
    assert!(matches!(error, NoSelection::Unrankable(_)), "{error}");
}

#[test]
fn what_cannot_be_shown_to_be_older_may_be_as_new() {
    let newest = alphabetical().led_by(&LeadingOrder::NewestPushed).unwrap();
    let rank = |candidate: Candidate<'_>| newest.rank(candidate).unwrap().unwrap();
    let chosen = rank(seen("b", 20));
    for (present, may_be) in
        [(seen("a", 20), true), (seen("a", 21), true), (seen("c", 19), false), (Candidate::from("a"), true)]
    {
        assert_eq!(rank(present).may_be_as_new_as(&chosen), may_be, "{present:?}");
    }
    let plain = |tag: &str| alphabetical().rank(tag).unwrap().unwrap();
    assert!(!plain("a").may_be_as_new_as(&plain("b")), "only times can be unknown");
}

#[test]
fn calendar_versions_lead_the_rule() {
    let format = "YYYY.0M.DD[-MICRO]";
    let dated = |selector: Selector| selector.led_by(&calver(format)).unwrap();
    let tags = ["2026.01.5", "2026.01.15", "2026.01.15-9", "2026.01.15-10", "2026.13.01", "9999", "latest"];
    assert_eq!(dated(alphabetical()).select(tags), Ok("2026.01.15-10"));
    assert_eq!(dated(alphabetical()).ranked(tags).unwrap().len(), 4);
    // A range admits as ever: `-9` is a pre-release to it.
    assert_eq!(dated(selector(&semver(">=2026.0.0"), None)).select(tags), Ok("2026.01.15"));
    assert_eq!(dated(selector(&semver("<2026.1.15"), None)).select(tags), Ok("2026.01.5"));
    // What the filter extracts is what is read as a date; a numerical rule fails on dates alone, not on the rest.
    let extract = filter("^app-(.*)$", "$1");
    let rule = PolicyRule::Alphabetical(Order::Desc);
    let tags = ["app-2026.02.1", "app-2026.01.31", "2027.01.1"];
    assert_eq!(dated(selector(&rule, Some(&extract))).select(tags), Ok("app-2026.02.1"));
    let numerical = selector(&PolicyRule::Numerical(Order::Asc), None).led_by(&calver("YYYY0M0D")).unwrap();
    assert_eq!(numerical.select(["20260101", "20251231", "latest"]), Ok("20260101"));
    assert_eq!(
        dated(alphabetical()).select(["latest"]).unwrap_err().to_string(),
        "unable to determine latest version from provided list"
    );
    let error = alphabetical().led_by(&calver("YYYYMMDD")).unwrap_err().to_string();
    assert!(error.starts_with("windlass.dev/order: nothing tells where `MM` ends"), "{error}");
}

#[test]
fn a_lock_keeps_the_variant_and_compares_the_rest() {
    let tags =
        ["1.2.3", "1.2.4", "1.2.4-alpine", "1.3.0-slim", "1.10.0-alpine", "2.0.0-rc.1-alpine", "1.11.0-rc.1"];
    let release = selector(&semver(">=1.0.0"), None);
    for (variant, wanted) in [
        ("", Ok("1.2.4")),
        ("alpine", Ok("1.10.0-alpine")),
        ("slim", Ok("1.3.0-slim")),
        ("bookworm", Err(NoSelection::NoMatch)),
    ] {
        assert_eq!(release.locked_to(variant).select(tags), wanted, "{variant}");
    }
    assert!(!release.is_locked() && release.locked_to("").is_locked());
    let any = selector(&semver(">=1.0.0-0"), None);
    assert_eq!(any.locked_to("alpine").select(tags), Ok("2.0.0-rc.1-alpine"));
    assert_eq!(any.locked_to("").select(tags), Ok("1.11.0-rc.1"));
    let numerical = selector(&PolicyRule::Numerical(Order::Asc), None).locked_to("slim");
    assert_eq!(numerical.select(["7-slim", "10-slim", "x", "11"]), Ok("10-slim"), "others are not compared");
    // What a filter extracts is compared as it is.
    let extract = filter("^v(.*)$", "$1");
    let extracted = selector(&semver("*"), Some(&extract)).locked_to("alpine");
    assert_eq!(extracted.select(["v1.2.3-alpine"]), Err(NoSelection::NoMatch), "a pre-release to the range");
}

#[test]
fn a_filter_may_say_what_the_variant_is() {
    let filter = filter(r"^(?P<v>\d+\.\d+\.\d+)(-(?P<variant>alpine|slim)[0-9.]*)?(-r\d+)?$", "$v");
    let selector = selector(&semver("*"), Some(&filter));
    for (tag, variant) in [
        ("1.2.3-alpine3.20-r5", "alpine"),
        ("1.2.3-slim", "slim"),
        ("1.2.3", ""),
        ("no", ""),
        ("1.2.3-x", ""),
    ] {
        assert_eq!(&*selector.variant_of(tag), variant, "{tag}");
    }
    let tags = ["1.2.3-alpine3.19", "1.3.0-alpine3.20-r5", "1.4.0", "1.5.0-slim"];
    assert_eq!(selector.locked_to("alpine").select(tags), Ok("1.3.0-alpine3.20-r5"));
    assert_eq!(selector.locked_to("").select(tags), Ok("1.4.0"));
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

/// Tags, each with a time that many share or that is unknown.
fn candidates() -> impl Strategy<Value = Vec<(String, Option<Timestamp>)>> {
    let tag = prop_oneof![
        "[0-2]\\.[0-2]\\.[0-2](-(rc\\.1|alpine|slim))?",
        "202[5-6]\\.0[1-2]\\.(28|29)(-[0-9])?(-slim)?",
        "[0-9]{1,2}(-alpine)?",
        "[a-z0-9-]{1,5}",
    ];
    let time = prop::option::of((0_i64..4).prop_map(second));
    // A registry lists each tag once.
    prop::collection::btree_map(tag, time, 0..24).prop_map(|tags| tags.into_iter().collect())
}

/// Selectors with and without annotations.
fn selectors() -> impl Strategy<Value = Selector> {
    let leads = vec![None, Some(LeadingOrder::NewestPushed), Some(calver("YYYY.0M.DD[-MICRO]"))];
    let variants = vec![None, Some(""), Some("alpine"), Some("slim")];
    (policies(), prop::sample::select(leads), prop::sample::select(variants)).prop_map(
        |((rule, filter), lead, variant)| {
            let plain = selector(&rule, filter.as_ref());
            let led = match lead {
                Some(lead) => plain.led_by(&lead).unwrap(),
                None => plain,
            };
            variant.map_or(led.clone(), |variant| led.locked_to(variant))
        },
    )
}

fn of(tags: &[(String, Option<Timestamp>)]) -> impl Iterator<Item = Candidate<'_>> {
    tags.iter().map(|(tag, first_seen)| Candidate { tag, first_seen: *first_seen })
}

proptest! {
    #[test]
    fn leading_orders_and_locks_are_total_and_independent_of_order(
        selector in selectors(),
        (tags, shuffled) in candidates().prop_flat_map(|tags| (Just(tags.clone()), Just(tags).prop_shuffle())),
    ) {
        let chosen = selector.select(of(&tags));
        prop_assert_eq!(&chosen, &selector.select(of(&shuffled)));
        let ranks: Vec<_> = of(&tags).map(|candidate| selector.rank(candidate)).collect();
        match chosen {
            Ok(chosen) => {
                let ranked = selector.ranked(of(&shuffled)).unwrap();
                prop_assert_eq!(ranked.first(), Some(&chosen));
                let mut order: Vec<_> = ranks.into_iter().filter_map(Result::unwrap).collect();
                order.sort();
                prop_assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "no two tags are equal");
                prop_assert_eq!(order.len(), ranked.len());
                if let Some(pattern) = selector.pattern() {
                    let pattern = GoRegex::compile(pattern).unwrap();
                    for tag in &ranked {
                        prop_assert!(pattern.is_match(tag), "the filter drops {}", tag);
                    }
                }
                if let Some(locked) = selector.locked_variant() {
                    for tag in ranked {
                        let variant = selector.variant_of(tag);
                        prop_assert_eq!(&*variant, locked);
                    }
                }
            }
            Err(NoSelection::Unrankable(named)) => prop_assert!(ranks.contains(&Err(named))),
            Err(NoSelection::Empty | NoSelection::NoMatch) => {
                prop_assert!(ranks.iter().all(|rank| rank == &Ok(None)));
            }
        }
    }
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

        let ranks: Vec<_> = tags.iter().map(|tag| selector.rank(tag.as_str())).collect();
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

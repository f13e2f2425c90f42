//! Selection and commit messages.

use std::cmp::Ordering;

use semver::Version;
use windlass_model::ObjectKey;
use windlass_model::place::ObjectIdentifier;
use windlass_model::resource::{Order, PolicyRule, TagFilter};
use windlass_policy::constraint::{Constraint, Unmet};
use windlass_policy::expand::Expansion;
use windlass_policy::go_regex::GoRegex;
use windlass_policy::selection::{NoSelection, Selector};
use windlass_policy::template::{Change, CommitData, Template};
use windlass_policy::version;

use crate::texts;

/// A constraint and a version. Alternatives and conditions mean what they say: `A || B` admits what A or B admits;
/// `A, B` what both admit; the reason for a refusal is right; and space around the whole changes nothing.
pub fn constraint(data: &[u8]) {
    let Some([text, other, tag]) = texts(data) else { return };
    let Ok(constraint) = Constraint::parse(text) else {
        let rule = PolicyRule::SemVer { range: text.to_owned() };
        assert!(Selector::compile(&rule, None).is_err(), "{text:?}");
        return;
    };
    let Some(version) = version::parse_loose(tag) else { return };
    let admits = |text: &str| Constraint::parse(text).ok().map(|constraint| constraint.matches(&version));

    let matches = constraint.matches(&version);
    match constraint.check(&version) {
        Ok(()) => assert!(matches),
        Err(Unmet::Prerelease) => assert!(!matches && !version.pre.is_empty()),
        Err(Unmet::OutOfRange) => assert!(!matches),
    }
    if let Some(same) = admits(&format!(" {text} ")) {
        assert_eq!(same, matches, "space around {text:?} for {tag}");
    }
    // Quirk of Masterminds: a hyphen range is rewritten across `||`, so the arms of such a text are not independent.
    if text.contains('-') || other.contains('-') {
        return;
    }
    let Some(others) = admits(other) else { return };
    if let Some(either) = admits(&format!("{text}||{other}")) {
        assert_eq!(either, matches || others, "{text:?} || {other:?} for {tag}");
    }
    if !text.contains("||") && !other.contains("||") {
        if let Some(both) = admits(&format!("{text},{other}")) {
            assert_eq!(both, matches && others, "{text:?}, {other:?} for {tag}");
        }
    }
}

/// Two tags. What is a version reads as the same one when it is written in full; what SemVer 2.0 reads is read alike;
/// and the order is an order, that of SemVer where numbers fit into 64 bits.
pub fn version(data: &[u8]) {
    let Some([left, right]) = texts(data) else { return };
    let (left, right) = (checked_version(left), checked_version(right));
    let (Some(left), Some(right)) = (left, right) else { return };
    let order = version::compare(&left, &right);
    assert_eq!(version::compare(&right, &left), order.reverse(), "{left} {right}");
    assert_eq!(version::compare(&left, &left), Ordering::Equal);
    let beyond = |version: &Version| {
        let is_number = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit());
        version.pre.as_str().split('.').any(|id| is_number(id) && id.len() > 19)
    };
    if !beyond(&left) && !beyond(&right) {
        assert_eq!(order, left.cmp_precedence(&right), "{left} {right}");
    }
}

fn checked_version(text: &str) -> Option<Version> {
    let strict = Version::parse(text).ok().filter(|_| text.len() <= 256);
    let loose = version::parse_loose(text);
    if strict.is_some() {
        assert_eq!(loose, strict, "{text:?}");
        assert_eq!(version::parse_tag(text), strict, "{text:?}");
    }
    if let Some(tag) = version::parse_tag(text) {
        assert_eq!(Some(tag), loose, "{text:?}");
    }
    let version = loose?;
    let written = version.to_string();
    if written.len() <= 256 {
        assert_eq!(version::parse_tag(&written).as_ref(), Some(&version), "{text:?}");
        assert_eq!(
            version::parse_loose(&format!("v{written}"))
                .filter(|_| written.len() < 256)
                .unwrap_or(version.clone()),
            version
        );
    }
    Some(version)
}

/// A pattern, a replacement, and tags, one on a line. The groups of a match lie within it, and the whole match is
/// group 0; a replacement of text is itself; a selection is total, independent of the order of the tags, and of what
/// the filter lets pass.
pub fn filter(data: &[u8]) {
    let Some([pattern, extract, tags]) = texts(data) else { return };
    let Ok(regex) = GoRegex::compile(pattern) else { return };
    assert_eq!(regex.as_str(), pattern);
    let tags: Vec<&str> = tags.lines().take(16).collect();
    let [whole, text, expansion] = ["$0", "$$", extract].map(|template| Expansion::new(template, &regex));
    let mut locations = regex.locations();
    for tag in &tags {
        let found = regex.captures(&mut locations, tag);
        assert_eq!(found, regex.is_match(tag), "{pattern:?} in {tag:?}");
        if !found {
            continue;
        }
        let (start, end) = locations.get(0).expect("a match has a place");
        for (from, to) in (1..regex.group_names().len()).filter_map(|group| locations.get(group)) {
            assert!(start <= from && from <= to && to <= end && tag.get(from..to).is_some());
        }
        let [mut matched, mut dollar, mut expanded] = [const { String::new() }; 3];
        whole.append(tag, &locations, &mut matched);
        assert_eq!(matched, tag[start..end]);
        text.append(tag, &locations, &mut dollar);
        assert_eq!(dollar, "$");
        expansion.append(tag, &locations, &mut expanded);
        if !extract.contains('$') {
            assert_eq!(expanded, extract);
        }
    }

    let filter = TagFilter { pattern: pattern.to_owned(), extract: extract.to_owned() };
    for rule in [
        PolicyRule::SemVer { range: ">=0-0".to_owned() },
        PolicyRule::Alphabetical(Order::Asc),
        PolicyRule::Numerical(Order::Desc),
    ] {
        let selector = Selector::compile(&rule, Some(&filter)).expect("the pattern compiles");
        let chosen = selector.select(tags.iter().copied());
        assert_eq!(chosen, selector.select(tags.iter().rev().copied()), "{rule:?} depends on the order");
        match chosen {
            Ok(tag) => assert!(tags.contains(&tag) && regex.is_match(tag), "{rule:?} chose {tag:?}"),
            Err(NoSelection::Empty) => assert!(tags.iter().all(|tag| !regex.is_match(tag))),
            Err(NoSelection::NoMatch) => assert!(matches!(rule, PolicyRule::SemVer { .. })),
            Err(NoSelection::Unrankable(named)) => assert!(regex.is_match(&named.tag)),
        }
    }
}

/// A template, a value and a tag. A message is the same every time and bounded; an error names a place in the
/// template; what `check` accepts of a text without actions is the text itself.
pub fn template(data: &[u8]) {
    let Some([source, value, tag]) = texts(data) else { return };
    let lines = source.matches('\n').count() + 1;
    let template = match Template::parse(source) {
        Ok(template) => template,
        Err(error) => {
            assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
            assert!(source.contains("{{"), "{source:?} has no action: {error}");
            return;
        }
    };
    let commit = commit(value, tag);
    let message = template.render(&commit);
    assert_eq!(message, template.render(&commit));
    let mut turned = commit.clone();
    turned.changes.reverse();
    // The two are of different files, whose order is that of their names.
    assert_eq!(message, template.render(&turned), "the order of files shows");
    match message {
        Ok(message) => {
            assert!(message.len() <= 256 * 1024, "{} bytes", message.len());
            assert!(source.contains("{{") || message == source);
        }
        Err(error) => assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}"),
    }
}

fn commit(value: &str, tag: &str) -> CommitData {
    let change = |file: &str, name: &str| Change {
        file: file.to_owned(),
        object: ObjectIdentifier {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
            namespace: "prod".to_owned(),
        },
        old_value: "ghcr.io/org/app:1.0.0".to_owned(),
        new_value: format!("ghcr.io/org/{name}:{tag}"),
        setter: format!("apps:{name}"),
    };
    CommitData {
        automation: ObjectKey::new("flux-system", "apps"),
        changes: vec![change("apps/web.yaml", "web"), change("apps/api.yaml", "api")],
        values: [("cluster".to_owned(), value.to_owned())].into(),
    }
}

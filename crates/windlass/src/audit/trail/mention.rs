//! What an entry says of single images: which tags and contents it names, and which choice is behind a commit.

use std::collections::BTreeMap;

use serde_json::Value;
use windlass_model::{Digest, ImageName, Tag};
use windlass_store::{AuditEntry, AuditKind};

use crate::audit::question::ImageQuestion;

/// A tag, a content, or both.
#[derive(Debug, PartialEq, Eq)]
struct Mention<'e> {
    tag: Option<&'e str>,
    digest: Option<&'e str>,
}

/// Whether the entry names the tag or the content that is asked about.
pub(super) fn names(entry: &AuditEntry, question: &ImageQuestion) -> bool {
    let tag = question.tag.as_ref().map(Tag::as_str);
    let digest = question.digest.as_ref().map(Digest::as_str);
    mentions(entry, &question.name).iter().any(|mention| match (tag, digest) {
        (Some(tag), Some(digest)) => {
            mention.tag.is_none_or(|other| other == tag) && mention.digest.is_none_or(|other| other == digest)
        }
        (Some(tag), None) => mention.tag == Some(tag),
        (None, _) => mention.digest == digest,
    })
}

fn mentions<'e>(entry: &'e AuditEntry, image: &ImageName) -> Vec<Mention<'e>> {
    let detail = &entry.detail;
    let found: Vec<Mention<'e>> = match entry.kind {
        AuditKind::Received | AuditKind::Refused => vec![own(detail)],
        AuditKind::Selected => vec![own(detail), reference(detail["from"].as_str().unwrap_or_default())],
        AuditKind::Scanned => scanned(detail),
        AuditKind::Committed => {
            changes(detail).filter(|change| is_of(change, image)).flat_map(moved).collect()
        }
        _ => Vec::new(),
    };
    found.into_iter().filter(|mention| mention.tag.is_some() || mention.digest.is_some()).collect()
}

fn own(detail: &Value) -> Mention<'_> {
    Mention { tag: detail["tag"].as_str(), digest: detail["digest"].as_str() }
}

fn scanned(detail: &Value) -> Vec<Mention<'_>> {
    let digests = detail["digests"].as_object().into_iter().flatten();
    let digests = digests.map(|(tag, digest)| Mention { tag: Some(tag), digest: digest.as_str() });
    let listed = ["new", "gone"].into_iter().flat_map(|list| detail[list].as_array().into_iter().flatten());
    digests.chain(listed.map(|tag| Mention { tag: tag.as_str(), digest: None })).collect()
}

fn changes(detail: &Value) -> impl Iterator<Item = &Value> {
    detail["changes"].as_array().into_iter().flatten()
}

fn is_of(change: &Value, image: &ImageName) -> bool {
    change["image"].as_str().and_then(|name| ImageName::parse(name).ok()).is_some_and(|name| name == *image)
}

fn moved(change: &Value) -> [Mention<'_>; 2] {
    let from = reference(change["from"].as_str().unwrap_or_default());
    let to = reference(change["to"].as_str().unwrap_or_default());
    [from, Mention { tag: to.tag, digest: to.digest.or_else(|| change["digest"].as_str()) }]
}

/// What a marker's value says: a tag alone, a digest alone, or a reference with either.
fn reference(text: &str) -> Mention<'_> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let tag = match rest.rfind(':').filter(|colon| !rest[*colon..].contains('/')) {
        Some(_) if digest.is_none() && rest.starts_with("sha") => {
            return Mention { tag: None, digest: Some(rest) };
        }
        Some(colon) => Some(&rest[colon + 1..]),
        None if rest.contains('/') || rest.is_empty() => None,
        None => Some(rest),
    };
    Mention { tag, digest }
}

/// The choices that a commit wrote, of all that its policies made: for each image that moved, the last one before it that
/// it names. One that no change names (a marker for an image's name alone says no tag) is the policy's last before it;
/// after a crash the choice may be told after the commit.
pub(super) fn behind(committed: &AuditEntry, selected: &[AuditEntry]) -> Vec<AuditEntry> {
    let mut found: BTreeMap<(String, String), &AuditEntry> = BTreeMap::new();
    for change in changes(&committed.detail) {
        let [_, to] = moved(change);
        let policy = change["policy"].as_str().unwrap_or_default();
        let of_policy = || {
            let chosen = |entry: &&AuditEntry| entry.kind == AuditKind::Selected;
            selected.iter().filter(chosen).filter(|entry| entry.object.key.to_string() == policy)
        };
        let named = || {
            of_policy().filter(|entry| {
                let chosen = own(&entry.detail);
                (to.tag.is_some() && chosen.tag == to.tag)
                    || (to.digest.is_some() && chosen.digest == to.digest)
            })
        };
        let before = |entry: &&AuditEntry| entry.at <= committed.at;
        let chosen = named()
            .filter(before)
            .max_by_key(|entry| entry.at)
            .or_else(|| named().min_by_key(|entry| entry.at))
            .or_else(|| of_policy().filter(before).max_by_key(|entry| entry.at));
        if let Some(entry) = chosen {
            let tag = own(&entry.detail).tag.unwrap_or_default().to_owned();
            found.insert((policy.to_owned(), tag), entry);
        }
    }
    found.into_values().cloned().collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn entry(kind: AuditKind, second: i64, detail: Value) -> AuditEntry {
        let object = "ImagePolicy/apps/podinfo".parse().unwrap();
        let at = Timestamp::from_second(second).unwrap();
        AuditEntry { at, kind, object, detail, event: None, about: [].into() }
    }

    fn question(tag: Option<&str>, digest: Option<&str>) -> ImageQuestion {
        ImageQuestion {
            name: ImageName::parse("ghcr.io/org/app").unwrap(),
            tag: tag.map(|tag| tag.parse().unwrap()),
            digest: digest.map(|digest| digest.parse().unwrap()),
        }
    }

    #[test]
    fn values_of_markers_are_tags_digests_or_references() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let with = |tag, digest| Mention { tag, digest };
        assert_eq!(reference("1.0"), with(Some("1.0"), None));
        assert_eq!(reference("localhost:5000/app:1.0"), with(Some("1.0"), None));
        assert_eq!(reference("localhost:5000/app"), with(None, None));
        assert_eq!(reference(&digest), with(None, Some(digest.as_str())));
        assert_eq!(reference(&format!("1.0@{digest}")), with(Some("1.0"), Some(digest.as_str())));
        assert_eq!(reference(&format!("ghcr.io/a/b:1.0@{digest}")), with(Some("1.0"), Some(digest.as_str())));
        assert_eq!(reference(""), with(None, None));
    }

    #[test]
    fn entries_are_found_by_a_tag_or_a_content_that_they_name() {
        let (a, b) = (format!("sha256:{}", "a".repeat(64)), format!("sha256:{}", "b".repeat(64)));
        let change = |image: &str| json!({"image": image, "from": "0.9", "to": "1.0", "digest": a});
        let committed = entry(AuditKind::Committed, 0, json!({"changes": [change("ghcr.io/org/app")]}));
        let other = entry(AuditKind::Committed, 0, json!({"changes": [change("ghcr.io/org/other")]}));
        let scanned = entry(AuditKind::Scanned, 0, json!({"new": ["1.0"], "digests": {"1.1": a}}));
        let received = entry(AuditKind::Received, 0, json!({"tag": "1.0", "digest": null}));
        let failed = entry(AuditKind::Failed, 0, json!({"reason": "1.0"}));
        for (wanted, tag, digest, entry) in [
            (true, Some("1.0"), None, &committed),
            (true, Some("0.9"), None, &committed),
            (false, Some("1.1"), None, &committed),
            (true, None, Some(&a), &committed),
            (false, None, Some(&b), &committed),
            (
                false,
                Some("1.0"),
                Some(&b),
                &entry(AuditKind::Selected, 0, json!({"tag": "1.0", "digest": a})),
            ),
            (false, Some("1.0"), None, &other),
            (true, Some("1.0"), None, &scanned),
            (true, Some("1.1"), Some(&a), &scanned),
            (true, Some("1.0"), Some(&a), &received),
            (false, None, Some(&a), &received),
            (false, Some("1.0"), None, &failed),
        ] {
            let question = question(tag, digest.map(String::as_str));
            assert_eq!(names(entry, &question), wanted, "{question:?} {entry:?}");
        }
    }

    #[test]
    fn choice_behind_a_commit_is_the_last_before_it_that_it_names() {
        let selected = |second, tag: &str| entry(AuditKind::Selected, second, json!({"tag": tag}));
        let all = [selected(1, "1.0"), selected(2, "0.9"), selected(3, "1.0"), selected(9, "1.0")];
        let committed = |to: &str| {
            let change = json!({"policy": "apps/podinfo", "image": "ghcr.io/org/app", "to": to});
            entry(AuditKind::Committed, 5, json!({"changes": [change]}))
        };
        let seconds = |to, all: &[AuditEntry]| {
            let found = behind(&committed(to), all);
            found.iter().map(|entry| entry.at.as_second()).collect::<Vec<_>>()
        };
        assert_eq!(seconds("ghcr.io/org/app:1.0", &all), [3]);
        assert_eq!(seconds("0.9", &all), [2]);
        assert_eq!(seconds("1.0", &all[3..]), [9], "told after a crash");
        assert_eq!(seconds("ghcr.io/org/app", &all), [3], "a name alone");
        assert_eq!(seconds("2.0", &[]), [0; 0]);
    }
}

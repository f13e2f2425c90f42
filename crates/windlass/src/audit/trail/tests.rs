use std::sync::Arc;

use serde_json::json;
use windlass_model::{Clock, ImageName};
use windlass_store::{Record, Store};

use super::*;
use crate::audit::question::readings;

struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

fn entry(second: i64, kind: AuditKind, object: &str, event: &str, about: &[&str]) -> AuditEntry {
    AuditEntry {
        at: Timestamp::from_second(second).unwrap(),
        kind,
        object: object.parse().unwrap(),
        detail: json!({ "tag": "1.0" }),
        event: (!event.is_empty()).then(|| event.to_owned()),
        about: about.iter().map(|text| subject(text)).collect(),
    }
}

/// The way of the image `name`: an event or a poll, a look, a choice, a commit and a notice.
fn way(name: &str, start: i64, event: &str, commit: &str) -> Vec<AuditEntry> {
    let (repository, policy) = (format!("ImageRepository/apps/{name}"), format!("ImagePolicy/apps/{name}"));
    let (image, about) = (format!("image ghcr.io/org/{name}"), format!("commit {commit}"));
    let mut committed = entry(
        start + 3,
        AuditKind::Committed,
        "ImageUpdateAutomation/apps/fleet",
        event,
        &[&image, &policy, &about, &format!("event {event}")],
    );
    let change = json!({
        "policy": format!("apps/{name}"), "image": format!("ghcr.io/org/{name}"), "from": "0.9", "to": "1.0",
    });
    committed.detail = json!({ "changes": [change] });
    let mut scanned = entry(start + 1, AuditKind::Scanned, &repository, event, &[&image]);
    scanned.detail = json!({ "new": ["1.0"] });
    let way = [
        (!event.starts_with("poll")).then(|| entry(start, AuditKind::Received, &repository, event, &[])),
        Some(scanned),
        Some(entry(start + 1, AuditKind::Selected, &policy, event, &[&image, &repository])),
        Some(committed),
        Some(entry(start + 4, AuditKind::Notified, "Notifier/apps/slack", "", &[&about])),
    ];
    way.into_iter().flatten().collect()
}

async fn store(audit: Vec<AuditEntry>) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Arc::new(Epoch)).await.unwrap();
    store.record(Record { audit, ..Record::default() }).await.unwrap();
    (folder, store)
}

async fn ask(store: &Store, text: &str) -> anyhow::Result<Vec<AuditEntry>> {
    let mut found = Trail::default();
    for question in readings(text)? {
        found = follow(&store.reader(), &question, Timestamp::MIN, 100).await?;
        if !found.entries.is_empty() {
            break;
        }
    }
    Ok(found.entries)
}

#[tokio::test]
async fn images_of_one_poll_are_told_apart_and_a_commit_is_led_up_to_by_its_own() {
    let (a, b) = (way("a", 10, "poll-1", "0a1b"), way("b", 10, "poll-1", "0b00"));
    let (_folder, store) = store([a.clone(), b.clone()].concat()).await;
    for question in ["ghcr.io/org/a", "ghcr.io/org/a:1.0", "apps/a", "ImagePolicy/apps/a", "0a1b", "0A1B"] {
        assert_eq!(ask(&store, question).await.unwrap(), a, "{question}");
    }
    assert_eq!(ask(&store, "0b0").await.unwrap(), [], "too few digits for a commit");
    assert_eq!(ask(&store, "0b00").await.unwrap(), b);
    assert_eq!(ask(&store, "ghcr.io/org/a:2.0").await.unwrap(), []);
    assert_eq!(ask(&store, "ghcr.io/org/c").await.unwrap(), []);
    let both = ask(&store, "ImageUpdateAutomation/apps/fleet").await.unwrap();
    let commits = both.iter().filter(|entry| entry.kind == AuditKind::Committed).count();
    assert_eq!(commits, 2);
}

#[tokio::test]
async fn beginning_of_several_commits_is_refused_with_their_ids() {
    let ids: Vec<String> = (0..7).map(|n| format!("abcd{n}{}", "0".repeat(35))).collect();
    let audit = ids.iter().flat_map(|id| way("a", 10, "e", id)).collect();
    let (_folder, store) = store(audit).await;
    let error = ask(&store, "abcd").await.unwrap_err().to_string();
    assert!(error.starts_with("abcd begins several commits (abcd0"), "{error}");
    assert!(error.ends_with(", …): write more digits") && !error.contains("abcd5"), "{error}");
    assert_eq!(ask(&store, "abcd3").await.unwrap().len(), 5);
}

#[tokio::test]
async fn one_tag_has_its_own_way_with_the_failures_meanwhile() {
    let repository = "ImageRepository/apps/a";
    let failed = |second| entry(second, AuditKind::Failed, repository, "", &[]);
    let mut older = way("a", 1, "e0", "0a00");
    for entry in &mut older {
        entry.detail = json!({ "tag": "0.8", "new": ["0.8"], "changes": [] });
    }
    let newer = way("a", 10, "e1", "0a1b");
    let (_folder, store) = store([older, newer.clone(), vec![failed(0), failed(12)]].concat()).await;
    let mut wanted = newer;
    wanted.insert(3, failed(12));
    assert_eq!(ask(&store, "ghcr.io/org/a:1.0").await.unwrap(), wanted);
}

#[tokio::test]
async fn limit_keeps_the_newest_and_counts_the_others() {
    let (_folder, store) = store(way("a", 10, "e", "0a1b")).await;
    let question = Question::Image(ImageQuestion {
        name: ImageName::parse("ghcr.io/org/a").unwrap(),
        tag: None,
        digest: None,
    });
    let trail = follow(&store.reader(), &question, Timestamp::MIN, 2).await.unwrap();
    let kinds: Vec<_> = trail.entries.iter().map(|entry| entry.kind).collect();
    assert_eq!((kinds, trail.left_out), (vec![AuditKind::Committed, AuditKind::Notified], 3));
    let since = Timestamp::from_second(13).unwrap();
    let trail = follow(&store.reader(), &question, since, 9).await.unwrap();
    assert_eq!((trail.entries.len(), trail.left_out), (2, 0));
}

//! The audit by what its entries are about, and what the store itself tells it.

use jiff::Timestamp;
use serde_json::json;
use windlass_model::message::{CommitNotice, Notice};
use windlass_model::resource::NoticeKind;
use windlass_model::{ImageName, Kind, ObjectRef};
use windlass_store::{
    Appended, AuditEntry, AuditKind, Delivery, Keys, NewNotice, Record, Retention, Store, Subject,
};

use crate::support::{World, delivery, key, repository, signal};

const EVERYBODY: Keys = Keys::ALL;

fn entry(world: &World, kind: AuditKind, second: i64, about: &[Subject]) -> AuditEntry {
    AuditEntry {
        at: world.after(second),
        kind,
        object: repository("a"),
        detail: json!({ "second": second }),
        event: None,
        about: about.iter().cloned().collect(),
    }
}

fn commit(id: &str) -> Subject {
    Subject::Commit(id.to_owned())
}

fn event(id: &str) -> Subject {
    Subject::Event(id.to_owned())
}

async fn about(store: &Store, subjects: &[Subject]) -> Vec<AuditEntry> {
    store.reader().audit_about(Some(subjects.to_vec()), Timestamp::MIN, 100).await.unwrap()
}

#[tokio::test]
async fn entries_are_found_by_object_event_commit_and_image_the_newest_first() {
    let world = super::world();
    let store = world.open().await;
    let image = Subject::Image(ImageName::parse("ghcr.io/org/app").unwrap());
    let policy = ObjectRef::new(Kind::ImagePolicy, key("p"));
    let received = AuditEntry { event: Some("1".into()), ..entry(&world, AuditKind::Received, 1, &[]) };
    let scanned = entry(&world, AuditKind::Scanned, 2, &[image.clone(), event("1")]);
    let selected = AuditEntry { object: policy.clone(), ..entry(&world, AuditKind::Selected, 2, &[]) };
    let committed = entry(&world, AuditKind::Committed, 9, &[commit("0a1b"), event("1"), event("2")]);
    // What happened before may be told later.
    let all = [committed.clone(), received.clone(), scanned.clone(), selected.clone()];
    store.record(Record { audit: all.to_vec(), ..Record::default() }).await.unwrap();
    assert_eq!(about(&store, &[event("1")]).await, [committed.clone(), scanned.clone(), received.clone()]);
    for (subject, wanted) in [
        (event("2"), committed.clone()),
        (commit("0a1b"), committed.clone()),
        (image.clone(), scanned.clone()),
        (Subject::Object(policy), selected.clone()),
    ] {
        assert_eq!(about(&store, &[subject]).await, [wanted]);
    }
    let several = [image, commit("0a1b"), event("2"), Subject::Object(repository("a"))];
    assert_eq!(about(&store, &several).await, [committed.clone(), scanned.clone(), received.clone()]);
    assert_eq!(about(&store, &[]).await, []);
    assert_eq!(about(&store, &[event("3"), commit("0a")]).await, []);
    let reader = store.reader();
    let newest = reader.audit_about(None, world.after(2), 2).await.unwrap();
    assert_eq!(newest, [committed, selected]);
    assert_eq!(reader.audit_about(None, world.after(10), 2).await.unwrap(), []);
    assert_eq!(reader.audit_begins().await.unwrap(), Some(world.after(1)));
}

#[tokio::test]
async fn commits_are_found_by_the_first_digits_of_their_id() {
    let world = super::world();
    let store = world.open().await;
    let ids = ["0a1b", "0a2c", "0b00", "f000"];
    let audit = ids.map(|id| entry(&world, AuditKind::Committed, 1, &[commit(id), event(id)])).to_vec();
    let told = entry(&world, AuditKind::Notified, 2, &[commit("0a1b")]);
    store.record(Record { audit: [audit, vec![told]].concat(), ..Record::default() }).await.unwrap();
    let reader = store.reader();
    let commits = async |prefix: &str, limit| reader.audit_commits(prefix, limit).await.unwrap();
    assert_eq!(commits("0a", 9).await, ids[..2]);
    assert_eq!(commits("0a1b", 9).await, ids[..1]);
    assert_eq!(commits("f", 9).await, ids[3..]);
    assert_eq!(commits("0", 2).await, ids[..2]);
    assert_eq!(commits("1", 9).await, [""; 0]);
}

#[tokio::test]
async fn delivery_is_told_to_the_audit_once() {
    let world = super::world();
    let store = world.open().await;
    let received = AuditEntry { event: Some("1".into()), ..entry(&world, AuditKind::Received, 0, &[]) };
    let first = Delivery {
        audit: vec![received.clone()],
        ..delivery(Some("1"), world.now(), vec![signal("a", "1.0")])
    };
    assert_eq!(store.append(first.clone()).await.unwrap(), Appended::New);
    assert_eq!(store.append(first).await.unwrap(), Appended::Duplicate);
    assert_eq!(store.audit_recent(None, 9).await.unwrap(), [received]);
}

#[tokio::test]
async fn what_becomes_of_a_notice_is_told_with_its_commit() {
    let world = super::world();
    let store = world.open().await;
    let commit_notice = CommitNotice {
        repository: "https://git.example.com/fleet.git".into(),
        branch: "main".into(),
        id: "0a1b".into(),
        url: None,
        parent: None,
        files: Vec::new(),
        changes: Vec::new(),
    };
    let notice = |id: &str| NewNotice {
        id: id.into(),
        notifier: key("slack"),
        notice: Notice {
            id: "0a1b".into(),
            kind: NoticeKind::Committed,
            object: repository("a"),
            at: world.now(),
            commit: Some(commit_notice.clone()),
            summary: "moved".into(),
        },
    };
    store.record(Record { outbox: vec![notice("1"), notice("2")], ..Record::default() }).await.unwrap();
    store.outbox_due(&EVERYBODY, 9, world.now()).await.unwrap();
    store.outbox_sent("1", world.after(3)).await.unwrap();
    store.outbox_failed("2", "404 no_service").await.unwrap();
    let told = about(&store, &[commit("0a1b")]).await;
    let shown: Vec<_> = told.iter().map(|entry| (entry.kind, entry.at, entry.detail.clone())).collect();
    let detail = |id: &str| json!({ "notice": id, "told": "committed", "summary": "moved", "attempts": 1, "commit": "0a1b" });
    let mut undeliverable = detail("2");
    undeliverable["reason"] = "404 no_service".into();
    assert_eq!(
        shown,
        [
            (AuditKind::Notified, world.after(3), detail("1")),
            (AuditKind::Undeliverable, world.now(), undeliverable)
        ]
    );
    assert_eq!(told[0].object, ObjectRef::new(Kind::Notifier, key("slack")));
    assert_eq!(about(&store, &[Subject::Object(repository("a"))]).await.len(), 2);
}

#[tokio::test]
async fn what_entries_are_about_is_forgotten_with_them() {
    let world = super::world();
    let store = world.open().await;
    let old = entry(&world, AuditKind::Committed, 0, &[commit("0a1b"), event("1")]);
    store.record(Record { audit: vec![old], ..Record::default() }).await.unwrap();
    world.clock.advance(31 * 24 * 60 * 60);
    let pruned = store.prune(world.now(), Retention::default()).await.unwrap();
    assert_eq!(pruned.rows, 1);
    assert_eq!(store.reader().audit_commits("0a", 9).await.unwrap(), [""; 0]);
    assert_eq!(store.reader().audit_begins().await.unwrap(), None);
}

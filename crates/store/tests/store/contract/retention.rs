//! What is forgotten, and when.

use serde_json::Value;
use windlass_store::{
    Appended, AuditEntry, AuditKind, Commit, LedgerWrite, Pruned, Record, Retention, Store,
};

use crate::support::{World, delivery, key, repository, signal};

const DAY: i64 = 24 * 60 * 60;

async fn prune(world: &World, store: &Store) -> Pruned {
    store.prune(world.now(), Retention::default()).await.unwrap()
}

fn audit(world: &World, count: usize) -> Vec<AuditEntry> {
    let entry = AuditEntry {
        at: world.now(),
        kind: AuditKind::Scanned,
        object: repository("a"),
        detail: Value::Null,
        event: None,
        about: [].into(),
    };
    vec![entry; count]
}

#[tokio::test]
async fn delivery_ids_are_remembered_for_seven_days() {
    let world = super::world();
    let store = world.open().await;
    let delivery = delivery(Some("1"), world.now(), vec![signal("a", "1.0")]);
    store.append(delivery.clone()).await.unwrap();
    world.clock.advance(7 * DAY);
    assert_eq!(prune(&world, &store).await, Pruned { rows: 0, more: false });
    assert_eq!(store.append(delivery.clone()).await.unwrap(), Appended::Duplicate);
    world.clock.advance(1);
    assert_eq!(prune(&world, &store).await, Pruned { rows: 1, more: false });
    assert_eq!(store.append(delivery).await.unwrap(), Appended::New);
    assert_eq!(store.depth().await.unwrap().waiting, 1, "work is never pruned");
}

#[tokio::test]
async fn history_is_pruned_in_bounded_steps_after_thirty_days() {
    let world = super::world();
    let store = world.open().await;
    store.record(Record { audit: audit(&world, 1200), ..Record::default() }).await.unwrap();
    world.clock.advance(30 * DAY + 1);
    store.record(Record { audit: audit(&world, 3), ..Record::default() }).await.unwrap();
    for wanted in [(500, true), (500, true), (200, false), (0, false)] {
        let pruned = prune(&world, &store).await;
        assert_eq!((pruned.rows, pruned.more), wanted);
    }
    assert_eq!(store.audit_recent(None, 10_000).await.unwrap().len(), 3);
}

#[tokio::test]
async fn last_commit_of_an_automation_is_kept_for_ever() {
    let world = super::world();
    let store = world.open().await;
    let commit = |id: &str| Commit {
        decision: id.into(),
        automation: key("x"),
        id: id.into(),
        branch: "main".into(),
        repository: "https://git.example.com/fleet.git".into(),
        at: world.now(),
        summary: Value::Null,
    };
    let ledger = ["1", "2", "3"].map(|id| LedgerWrite::Commit(commit(id))).to_vec();
    store.record(Record { ledger, ..Record::default() }).await.unwrap();
    world.clock.advance(400 * DAY);
    assert_eq!(prune(&world, &store).await.rows, 2);
    assert_eq!(store.load_commits().await.unwrap()[0].id, "3");
}

#[tokio::test]
async fn tags_that_are_gone_are_forgotten_and_present_ones_are_not() {
    let world = super::world();
    let store = world.open().await;
    let start = world.now();
    let tags = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
    let ledger = vec![
        LedgerWrite::TagsSeen { repository: key("a"), tags: tags(&["1", "2"]), at: start },
        LedgerWrite::TagsGone { repository: key("a"), tags: tags(&["1"]), at: start },
    ];
    store.record(Record { ledger, ..Record::default() }).await.unwrap();
    world.clock.advance(31 * DAY);
    assert_eq!(prune(&world, &store).await.rows, 1);
    let ledger =
        vec![LedgerWrite::TagsSeen { repository: key("a"), tags: tags(&["1", "2"]), at: world.now() }];
    store.record(Record { ledger, ..Record::default() }).await.unwrap();
    let times: Vec<_> = store.load_tags(&key("a")).await.unwrap().into_iter().map(|(_, at)| at).collect();
    assert_eq!(times, [world.now(), start]);
}

//! A person's hand in the queue and the outbox: try now, drop; and the picture that it goes by.

use windlass_model::message::Notice;
use windlass_model::resource::NoticeKind;
use windlass_store::{
    AuditEntry, AuditKind, Intervened, Intervention, Item, Keys, NewNotice, Record, Retention, Store,
    StoreErrorKind, Subject, Work,
};

use crate::support::{World, complete, expect_change, hints, key, pushed, repository, signal};

const EVERYBODY: Keys = Keys::ALL;

fn work(name: &str) -> Item {
    Item::Work(repository(name))
}

fn letter(id: &str) -> Item {
    Item::Notice(id.to_owned())
}

async fn retry(store: &Store, item: Item) -> Intervened {
    store.intervene(Intervention::Retry(item)).await.unwrap()
}

async fn discard(store: &Store, item: Item) -> Intervened {
    store.intervene(Intervention::Drop(item)).await.unwrap()
}

/// Work on `name` that failed once and waits for a minute.
async fn failing(world: &World, store: &Store, name: &str) -> Work {
    store.signal(vec![signal(name, "1.0")], &format!("event-{name}")).await.unwrap();
    let work = world.claim_one(store).await;
    store.retry(&work.target, work.generation, world.after(60), "503").await.unwrap();
    work
}

async fn notices(world: &World, store: &Store, ids: &[&str]) {
    let notice = |id: &&str| NewNotice {
        id: (*id).to_owned(),
        notifier: key("slack"),
        notice: Notice {
            id: format!("event-{id}"),
            kind: NoticeKind::Failed,
            object: repository("a"),
            at: world.now(),
            commit: None,
            summary: "the registry answered 503".into(),
        },
    };
    store.record(Record { outbox: ids.iter().map(notice).collect(), ..Record::default() }).await.unwrap();
}

async fn due(world: &World, store: &Store) -> Vec<(String, u32, bool)> {
    let due = store.outbox_due(&EVERYBODY, 9, world.now()).await.unwrap();
    due.into_iter().map(|out| (out.id, out.attempts, out.repeat)).collect()
}

async fn requests(store: &Store) -> Vec<AuditEntry> {
    let mut all = store.audit_recent(None, 100).await.unwrap();
    all.retain(|entry| entry.kind == AuditKind::Requested);
    all
}

#[tokio::test]
async fn work_that_waits_is_due_at_once_and_keeps_its_attempts_and_hints() {
    let world = super::world();
    let store = world.open().await;
    failing(&world, &store, "a").await;
    let mut changed = store.changed(&Keys::ALL);
    assert_eq!(world.claim(&store).await, []);
    assert_eq!(retry(&store, work("a")).await, Intervened::Changed(vec![work("a")]));
    expect_change(&mut changed).await;
    assert_eq!(retry(&store, work("a")).await, Intervened::Due);
    let again = world.claim_one(&store).await;
    assert_eq!((again.attempts, hints(&again)), (1, vec![pushed("1.0")]));
    assert_eq!(retry(&store, work("a")).await, Intervened::Busy);
    complete(&store, &again).await;
    assert_eq!(retry(&store, work("a")).await, Intervened::Unknown);
    let told = requests(&store).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let detail = serde_json::json!({ "request": "retry", "attempts": 1, "reason": "503", "events": 1 });
    assert_eq!((&told[0].object, &told[0].detail), (&repository("a"), &detail));
    assert_eq!(told[0].about, [Subject::Event("event-a".into())].into());
}

#[tokio::test]
async fn dropped_work_is_gone_until_the_next_signal_and_claimed_work_is_left_alone() {
    let world = super::world();
    let store = world.open().await;
    let first = failing(&world, &store, "a").await;
    assert_eq!(discard(&store, work("b")).await, Intervened::Unknown);
    retry(&store, work("a")).await;
    let claimed = world.claim_one(&store).await;
    assert_eq!(discard(&store, work("a")).await, Intervened::Busy);
    store.retry(&claimed.target, claimed.generation, world.after(60), "503").await.unwrap();
    assert_eq!(discard(&store, work("a")).await, Intervened::Changed(vec![work("a")]));
    assert_eq!(store.queued(9).await.unwrap(), []);
    assert_eq!(requests(&store).await[0].detail["request"], "drop");
    // The key begins anew, and a report on what was dropped is not taken for one on it.
    store.signal(vec![signal("a", "2.0")], "x").await.unwrap();
    let anew = world.claim_one(&store).await;
    assert_eq!((anew.attempts, hints(&anew)), (0, vec![pushed("2.0")]));
    for old in [first, claimed] {
        let error = store.complete(&old.target, old.generation, Record::default()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Stale);
    }
    complete(&store, &anew).await;
}

#[tokio::test]
async fn dead_notice_is_sent_again_as_if_nothing_had_been_sent() {
    let world = super::world();
    let store = world.open().await;
    notices(&world, &store, &["dead", "later", "sending"]).await;
    assert_eq!(due(&world, &store).await.len(), 3);
    store.outbox_failed("dead", "404").await.unwrap();
    store.outbox_unknown("later", world.after(60), "timed out").await.unwrap();
    assert_eq!(retry(&store, letter("sending")).await, Intervened::Busy);
    assert_eq!(retry(&store, letter("other")).await, Intervened::Unknown);
    let mut changed = store.outbox_changed(&Keys::ALL);
    for id in ["dead", "later"] {
        assert_eq!(retry(&store, letter(id)).await, Intervened::Changed(vec![letter(id)]));
        assert_eq!(retry(&store, letter(id)).await, Intervened::Due);
    }
    expect_change(&mut changed).await;
    assert_eq!(store.outbox_dead(9).await.unwrap(), []);
    let sent = due(&world, &store).await;
    assert_eq!(sent, [("dead".to_owned(), 0, false), ("later".to_owned(), 1, true)]);
    store.outbox_sent("dead", world.now()).await.unwrap();
    assert_eq!(retry(&store, letter("dead")).await, Intervened::Unknown, "it is done with");
    assert_eq!(requests(&store).await.len(), 2);
}

#[tokio::test]
async fn dropped_notice_is_never_sent_not_even_when_its_record_is_repeated() {
    let world = super::world();
    let store = world.open().await;
    notices(&world, &store, &["dead", "waiting"]).await;
    assert_eq!(due(&world, &store).await.len(), 2);
    assert_eq!(discard(&store, letter("dead")).await, Intervened::Busy);
    store.outbox_failed("dead", "404").await.unwrap();
    store.outbox_retry("waiting", world.after(60), "429").await.unwrap();
    for id in ["dead", "waiting"] {
        assert_eq!(discard(&store, letter(id)).await, Intervened::Changed(vec![letter(id)]));
        assert_eq!(discard(&store, letter(id)).await, Intervened::Unknown);
    }
    notices(&world, &store, &["dead", "waiting"]).await;
    world.clock.advance(60);
    assert_eq!(due(&world, &store).await, []);
    let depth = store.outbox_depth().await.unwrap();
    assert_eq!((depth.waiting, depth.dead), (0, 0));
    let told = requests(&store).await;
    assert_eq!(told[1].detail["notice"], "dead");
    world.clock.advance(8 * 24 * 60 * 60);
    assert_eq!(store.prune(world.now(), Retention::default()).await.unwrap().rows, 2, "they are forgotten");
}

#[tokio::test]
async fn everything_that_waits_for_later_is_due_at_once() {
    let world = super::world();
    let store = world.open().await;
    assert_eq!(store.intervene(Intervention::RetryAll).await.unwrap(), Intervened::Changed(vec![]));
    failing(&world, &store, "a").await;
    failing(&world, &store, "b").await;
    store.signal(vec![signal("c", "1.0")], "x").await.unwrap();
    notices(&world, &store, &["dead", "later"]).await;
    due(&world, &store).await;
    store.outbox_failed("dead", "404").await.unwrap();
    store.outbox_retry("later", world.after(60), "429").await.unwrap();
    let changed = store.intervene(Intervention::RetryAll).await.unwrap();
    let wanted = [work("a"), work("b"), letter("dead"), letter("later")];
    assert_eq!(changed, Intervened::Changed(wanted.to_vec()));
    assert_eq!(world.claim(&store).await.len(), 3);
    assert_eq!(due(&world, &store).await.len(), 2);
    assert_eq!(requests(&store).await.len(), 4);
}

#[tokio::test]
async fn backlog_tells_what_is_due_later_held_failing_and_dead() {
    let world = super::world();
    let store = world.open().await;
    failing(&world, &store, "failing").await;
    world.clock.advance(10);
    store.signal(vec![signal("held", "1.0")], "x").await.unwrap();
    let held = world.claim_one(&store).await;
    store.signal(vec![signal("due", "1.0")], "x").await.unwrap();
    notices(&world, &store, &["dead", "later", "new"]).await;
    store.outbox_due(&EVERYBODY, 2, world.now()).await.unwrap();
    store.outbox_failed("dead", "404").await.unwrap();
    store.outbox_retry("later", world.after(60), "429").await.unwrap();
    let backlog = store.backlog(world.now(), 9).await.unwrap();
    assert_eq!((backlog.due, backlog.later, backlog.claimed, backlog.failing), (1, 1, 1, 1));
    assert_eq!((backlog.at, backlog.oldest), (world.now(), Some(world.after(-10))));
    let shown: Vec<_> = backlog.work.iter().map(|work| (&work.target, work.reason.as_deref())).collect();
    assert_eq!(shown, [(&repository("failing"), Some("503"))]);
    assert_eq!((backlog.work[0].attempts, backlog.work[0].claimed), (1, false));
    assert_eq!(backlog.work[0].not_before, world.after(50));
    assert_eq!((backlog.outbox.waiting, backlog.outbox.dead), (2, 1));
    let retried: Vec<_> = backlog.retried.iter().map(|out| (out.id.as_str(), out.error.as_str())).collect();
    assert_eq!((retried, backlog.dead[0].id.as_str()), (vec![("later", "429")], "dead"));
    store.retry(&held.target, held.generation, world.now(), "503").await.unwrap();
    let held = world.claim(&store).await;
    assert_eq!(held.len(), 2);
    let backlog = store.backlog(world.now(), 9).await.unwrap();
    assert_eq!((backlog.due, backlog.claimed, backlog.failing), (0, 2, 2));
    assert!(backlog.work[0].claimed, "the one that is being tried: {backlog:?}");
    assert_eq!(store.backlog(world.now(), 1).await.unwrap().work.len(), 1);
}

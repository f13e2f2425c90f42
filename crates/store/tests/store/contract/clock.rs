//! Clocks that are set while work waits: nothing is lost, and nothing waits for more than five minutes longer.

use windlass_model::message::Notice;
use windlass_model::resource::NoticeKind;
use windlass_store::{Keys, NewNotice, QueueDepth, Record, Retention, Store};

use crate::support::{World, complete, delivery, hints, key, pushed, repository, signal};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;
const EVERYBODY: Keys = Keys::ALL;

fn notice(world: &World) -> Record {
    let notice = Notice {
        id: "event-1".into(),
        kind: NoticeKind::Failed,
        object: repository("a"),
        at: world.now(),
        commit: None,
        summary: "the registry answered 503".into(),
    };
    let outbox = vec![NewNotice { id: "1".into(), notifier: key("slack"), notice }];
    Record { outbox, ..Record::default() }
}

/// The ids of the notices that are due.
async fn due(world: &World, store: &Store) -> Vec<String> {
    let due = store.outbox_due(&EVERYBODY, 9, world.now()).await.unwrap();
    due.into_iter().map(|outgoing| outgoing.id).collect()
}

/// One key that waits for its retry, another one whose signal came just now, and a notice that waits.
async fn waiting(world: &World, store: &Store, seconds: i64) {
    store.signal(vec![signal("a", "1.0")], "one").await.unwrap();
    let work = world.claim_one(store).await;
    store.retry(&work.target, work.generation, world.after(seconds), "503").await.unwrap();
    store.signal(vec![signal("b", "1.0")], "two").await.unwrap();
    store.record(notice(world)).await.unwrap();
    assert_eq!(due(world, store).await, ["1"]);
    store.outbox_retry("1", world.after(seconds), "503").await.unwrap();
}

#[tokio::test]
async fn what_waits_is_due_when_the_clock_is_set_back_by_a_day() {
    let world = super::world();
    let store = world.open().await;
    waiting(&world, &store, MINUTE).await;
    world.clock.advance(-DAY);
    let works = world.claim(&store).await;
    assert_eq!(works.iter().flat_map(hints).collect::<Vec<_>>(), [pushed("1.0"), pushed("1.0")]);
    assert_eq!(due(&world, &store).await, ["1"]);
    // What is put off by the clock as it is now waits as it should.
    let [first, second] = &works[..] else { panic!("two keys: {works:?}") };
    store.retry(&first.target, first.generation, world.after(MINUTE), "503").await.unwrap();
    store.outbox_retry("1", world.after(MINUTE), "503").await.unwrap();
    complete(&store, second).await;
    assert_eq!(world.claim(&store).await, []);
    assert_eq!(due(&world, &store).await, [""; 0]);
    world.clock.advance(MINUTE);
    complete(&store, &world.claim_one(&store).await).await;
    assert_eq!(due(&world, &store).await, ["1"]);
    assert_eq!(store.depth().await.unwrap(), QueueDepth::default());
}

#[tokio::test]
async fn what_waits_is_due_five_minutes_after_the_clock_is_set_back_by_less() {
    let world = super::world();
    let store = world.open().await;
    waiting(&world, &store, MINUTE).await;
    world.clock.advance(-3 * MINUTE);
    assert_eq!(world.claim(&store).await, []);
    assert_eq!(store.next_due(&Keys::ALL, world.now()).await.unwrap(), Some(world.after(3 * MINUTE)));
    world.clock.advance(4 * MINUTE);
    assert_eq!(world.claim(&store).await.len(), 2);
    assert_eq!(due(&world, &store).await, ["1"]);
}

#[tokio::test]
async fn nothing_is_put_off_for_longer_than_five_minutes() {
    let world = super::world();
    let store = world.open().await;
    waiting(&world, &store, DAY).await;
    assert_eq!(world.claim(&store).await.len(), 1, "the signal's alone");
    assert_eq!(due(&world, &store).await, [""; 0]);
    world.clock.advance(5 * MINUTE);
    assert_eq!(hints(&world.claim_one(&store).await), [pushed("1.0")]);
    assert_eq!(due(&world, &store).await, ["1"]);
}

#[tokio::test]
async fn clock_that_was_a_day_ahead_and_is_right_again_costs_nothing() {
    let world = super::world();
    let store = world.open().await;
    world.clock.advance(DAY);
    waiting(&world, &store, MINUTE).await;
    store.append(delivery(Some("1"), world.now(), vec![signal("c", "1.0")])).await.unwrap();
    world.clock.advance(-DAY);
    let lease = store.lease("promoter").await.unwrap();
    assert_eq!(world.claim(&store).await.len(), 3);
    assert_eq!(due(&world, &store).await, ["1"]);
    let pruned = store.prune(world.now(), Retention::default()).await.unwrap();
    assert_eq!(pruned.rows, 0);
    drop(lease);
}

//! Notices: once each, and every doubt counted.

use windlass_model::message::Notice;
use windlass_model::resource::NoticeKind;
use windlass_store::{Keys, NewNotice, OutboxDepth, Outgoing, Record, Store, StoreErrorKind};

use crate::support::{World, expect_change, key, poll_once, repository};

const EVERYBODY: Keys = Keys::ALL;

fn notice(world: &World, id: &str) -> NewNotice {
    let notice = Notice {
        id: format!("event-{id}"),
        kind: NoticeKind::Failed,
        object: repository("a"),
        at: world.now(),
        commit: None,
        summary: "the registry answered 503".into(),
    };
    NewNotice { id: id.into(), notifier: key("slack"), notice }
}

async fn queue(world: &World, store: &Store, ids: &[&str]) {
    let outbox = ids.iter().map(|id| notice(world, id)).collect();
    store.record(Record { outbox, ..Record::default() }).await.unwrap();
}

async fn due(world: &World, store: &Store) -> Vec<Outgoing> {
    store.outbox_due(&EVERYBODY, 100, world.now()).await.unwrap()
}

#[tokio::test]
async fn notice_is_sent_once_however_often_it_is_recorded() {
    let world = super::world();
    let store = world.open().await;
    let mut changed = store.outbox_changed(&Keys::ALL);
    queue(&world, &store, &["1", "2", "1"]).await;
    expect_change(&mut changed).await;
    let outgoing = due(&world, &store).await;
    assert_eq!(outgoing.iter().map(|out| out.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(
        (outgoing[0].notice.clone(), outgoing[0].notifier.clone()),
        (notice(&world, "1").notice, key("slack"))
    );
    assert_eq!((outgoing[0].attempts, outgoing[0].repeat), (0, false));
    assert_eq!(due(&world, &store).await, [], "they are with the caller");
    store.outbox_sent("1", world.now()).await.unwrap();
    changed.mark_unchanged();
    queue(&world, &store, &["1", "2"]).await;
    assert!(!changed.has_changed().unwrap());
    assert_eq!(due(&world, &store).await, []);
    assert_eq!(store.outbox_depth().await.unwrap(), OutboxDepth { sending: 1, ..OutboxDepth::default() });
}

#[tokio::test]
async fn notices_are_taken_by_their_addressees() {
    let world = super::world();
    let store = world.open().await;
    let to = |id: &str, notifier: &str| NewNotice { notifier: key(notifier), ..notice(&world, id) };
    let outbox = vec![to("1", "slack"), to("2", "flux"), to("3", "argocd")];
    store.record(Record { outbox, ..Record::default() }).await.unwrap();
    let ids = |taken: Vec<Outgoing>| taken.into_iter().map(|out| out.id).collect::<Vec<_>>();
    let nobody = Keys::ALL.that(|_| false);
    assert_eq!(ids(store.outbox_due(&nobody, 9, world.now()).await.unwrap()), [""; 0]);
    let only = Keys::ALL.that(|notifier| notifier.name != "slack");
    assert_eq!(ids(store.outbox_due(&only, 9, world.now()).await.unwrap()), ["2", "3"]);
    assert_eq!(store.outbox_next_due(&only).await.unwrap(), None);
    let others = Keys::ALL.that(|notifier| notifier.name == "slack");
    assert_eq!(store.outbox_next_due(&others).await.unwrap(), Some(world.now()));
    assert_eq!(ids(store.outbox_due(&others, 9, world.now()).await.unwrap()), ["1"]);
}

#[tokio::test]
async fn refused_send_waits_and_a_lost_answer_counts_as_a_possible_repeat() {
    let world = super::world();
    let store = world.open().await;
    queue(&world, &store, &["1"]).await;
    due(&world, &store).await;
    store.outbox_retry("1", world.after(30), "429").await.unwrap();
    assert_eq!(due(&world, &store).await, []);
    assert_eq!(store.outbox_next_due(&EVERYBODY).await.unwrap(), Some(world.after(30)));
    world.clock.advance(30);
    let again = due(&world, &store).await.remove(0);
    assert_eq!((again.attempts, again.repeat), (1, false));
    store.outbox_unknown("1", world.now(), "timed out").await.unwrap();
    let again = due(&world, &store).await.remove(0);
    assert_eq!((again.attempts, again.repeat), (2, true));
    store.outbox_sent("1", world.now()).await.unwrap();
    assert_eq!(
        store.outbox_depth().await.unwrap(),
        OutboxDepth { possible_repeats: 1, ..OutboxDepth::default() }
    );
    assert_eq!(store.outbox_next_due(&EVERYBODY).await.unwrap(), None);
}

#[tokio::test]
async fn notice_that_was_being_sent_when_the_process_ended_is_marked_as_a_possible_repeat() {
    let world = super::world();
    let store = world.open().await;
    queue(&world, &store, &["sending", "waiting"]).await;
    assert_eq!(store.outbox_due(&EVERYBODY, 1, world.now()).await.unwrap()[0].id, "sending");
    drop(store);
    let store = world.open().await;
    let depth = store.outbox_depth().await.unwrap();
    assert_eq!((depth.waiting, depth.possible_repeats), (2, 1));
    let outgoing = due(&world, &store).await;
    let repeats: Vec<_> = outgoing.iter().map(|out| (out.id.as_str(), out.attempts, out.repeat)).collect();
    assert_eq!(repeats, [("sending", 1, true), ("waiting", 0, false)]);
}

#[tokio::test]
async fn notice_that_is_given_up_is_due_again_as_a_possible_repeat() {
    let world = super::world();
    let store = world.open().await;
    queue(&world, &store, &["1"]).await;
    assert_eq!(due(&world, &store).await.len(), 1);
    let mut changed = store.outbox_changed(&Keys::ALL);
    store.outbox_abandon("1");
    expect_change(&mut changed).await;
    let again = due(&world, &store).await;
    assert_eq!((again[0].attempts, again[0].repeat), (1, true));
    store.outbox_sent("1", world.now()).await.unwrap();
    store.outbox_abandon("1");
    store.ping().await.unwrap();
    assert_eq!(due(&world, &store).await, [], "what arrived does not come back");
}

#[tokio::test]
async fn refused_notice_is_kept_as_dead_with_its_reason() {
    let world = super::world();
    let store = world.open().await;
    queue(&world, &store, &["1"]).await;
    due(&world, &store).await;
    store.outbox_failed("1", "404 no_service").await.unwrap();
    assert_eq!(due(&world, &store).await, []);
    let dead = store.outbox_dead(10).await.unwrap();
    assert_eq!(
        (dead[0].id.as_str(), dead[0].error.as_str(), dead[0].at),
        ("1", "404 no_service", world.now())
    );
    assert_eq!((dead[0].notifier.as_str(), dead[0].attempts), ("apps/slack", 1));
    assert_eq!(store.outbox_depth().await.unwrap().dead, 1);
}

#[tokio::test]
async fn report_on_a_notice_that_is_not_being_sent_is_refused() {
    let world = super::world();
    let store = world.open().await;
    queue(&world, &store, &["1"]).await;
    for id in ["1", "unknown"] {
        for result in [
            store.outbox_sent(id, world.now()).await,
            store.outbox_retry(id, world.now(), "").await,
            store.outbox_failed(id, "").await,
        ] {
            assert_eq!(result.unwrap_err().kind(), StoreErrorKind::Stale, "{id}");
        }
    }
    assert_eq!(store.outbox_depth().await.unwrap().waiting, 1);
}

#[tokio::test]
async fn notice_whose_sender_went_away_is_due_again_and_is_no_repeat() {
    let world = super::world();
    let store = world.open().await;
    let mut changed = store.outbox_changed(&Keys::ALL);
    let mut number = 0;
    let abandoned = loop {
        number += 1;
        let id = number.to_string();
        queue(&world, &store, &[&id]).await;
        match poll_once(store.outbox_due(&EVERYBODY, 1, world.now())).await {
            // The writer was quicker than this test.
            Some(_) => store.outbox_sent(&id, world.now()).await.unwrap(),
            None => break id,
        }
    };
    let outgoing = loop {
        if let Some(outgoing) = due(&world, &store).await.pop() {
            break outgoing;
        }
        expect_change(&mut changed).await;
    };
    assert_eq!((outgoing.id, outgoing.attempts, outgoing.repeat), (abandoned, 0, false));
}

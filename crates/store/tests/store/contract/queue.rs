//! Append, coalesce, claim, complete, retry.

use windlass_model::signal::RescanReason;
use windlass_model::{Hint, Kind, ObjectKey, ObjectRef, Signal};
use windlass_store::{Appended, Delivery, Keys, QueueDepth, Record, StoreErrorKind, Work};

use crate::support::{complete, delivery, expect_change, hints, key, poll_once, pushed, repository, signal};

#[tokio::test]
async fn delivery_is_dropped_only_when_its_receiver_saw_its_id() {
    let world = super::world();
    let store = world.open().await;
    let first = delivery(Some("1"), world.now(), vec![signal("a", "1.0")]);
    let other_receiver = Delivery { receiver: "apps/other".into(), ..first.clone() };
    let other_content = Delivery { signals: vec![signal("b", "9.9")], ..first.clone() };
    let other_id = Delivery { delivery_id: Some("2".into()), ..first.clone() };
    let no_id = Delivery { delivery_id: None, ..first.clone() };
    let long_id = Delivery { delivery_id: Some("x".repeat(513)), ..first.clone() };
    for (delivery, wanted) in [
        (first.clone(), Appended::New),
        (first, Appended::Duplicate),
        (other_receiver, Appended::New),
        (other_content, Appended::Duplicate),
        (other_id, Appended::New),
        (no_id.clone(), Appended::New),
        (no_id, Appended::New),
        (long_id.clone(), Appended::New),
        (long_id, Appended::New),
    ] {
        assert_eq!(store.append(delivery.clone()).await.unwrap(), wanted, "{delivery:?}");
    }
    let work = world.claim_one(&store).await;
    assert_eq!((work.target.clone(), hints(&work)), (repository("a"), vec![pushed("1.0")]));
}

#[tokio::test]
async fn tag_that_moves_from_a_to_b_to_a_is_looked_at_each_time() {
    let world = super::world();
    let store = world.open().await;
    let digest = |hex: &str| Some(format!("sha256:{}", hex.repeat(64)).parse().unwrap());
    let moved = |hex| Signal {
        target: repository("a"),
        hint: Hint::TagPushed { tag: "latest".parse().unwrap(), digest: digest(hex) },
    };
    for (id, hex) in [("1", "a"), ("2", "b"), ("3", "a")] {
        let appended = store.append(delivery(Some(id), world.now(), vec![moved(hex)])).await.unwrap();
        assert_eq!(appended, Appended::New);
        let work = world.claim_one(&store).await;
        assert_eq!(hints(&work), vec![moved(hex).hint]);
        complete(&store, &work).await;
    }
}

#[tokio::test]
async fn equal_hints_wait_once_with_the_earliest_receipt_and_its_event() {
    let world = super::world();
    let store = world.open().await;
    let early = world.after(-60);
    store.append(delivery(Some("late"), world.now(), vec![signal("a", "1.0")])).await.unwrap();
    store.append(delivery(Some("early"), early, vec![signal("a", "1.0")])).await.unwrap();
    store.append(delivery(Some("other"), world.now(), vec![signal("a", "1.1")])).await.unwrap();
    store.append(delivery(Some("latest"), world.after(5), vec![signal("a", "1.0")])).await.unwrap();
    let work = world.claim_one(&store).await;
    assert_eq!(hints(&work), [pushed("1.0"), pushed("1.1")]);
    assert_eq!((work.hints[0].event.as_str(), work.hints[0].at), ("event-early", early));
    assert_eq!(work.first_at, early);
    assert_eq!(work.attempts, 0);
}

#[tokio::test]
async fn too_many_hints_of_one_key_become_one_rescan_and_other_keys_keep_theirs() {
    let world = super::world();
    let store = world.open().await;
    let many = |from: u32, to: u32| (from..to).map(|n| signal("a", &format!("1.{n}"))).collect::<Vec<_>>();
    store.append(delivery(Some("first"), world.after(-9), many(0, 4096))).await.unwrap();
    store.append(delivery(Some("b"), world.now(), vec![signal("b", "1.0")])).await.unwrap();
    // Hints that wait already do not count twice.
    store.append(delivery(Some("again"), world.now(), many(0, 100))).await.unwrap();
    let work = world.claim(&store).await;
    assert_eq!(work.iter().map(|work| work.hints.len()).collect::<Vec<_>>(), [4096, 1]);
    store.retry(&work[0].target, work[0].generation, world.now(), "again").await.unwrap();

    store.append(delivery(Some("last"), world.now(), many(4096, 4097))).await.unwrap();
    let work = world.claim_one(&store).await;
    assert_eq!(hints(&work), [Hint::Rescan { reason: RescanReason::Webhook }]);
    assert_eq!((work.hints[0].event.as_str(), work.hints[0].at), ("event-first", world.after(-9)));

    // What comes after the collapse is kept beside it, and a flood during the work collapses apart from it.
    store.append(delivery(Some("flood"), world.now(), many(0, 5000))).await.unwrap();
    complete(&store, &work).await;
    let work = world.claim_one(&store).await;
    assert_eq!(work.hints.len(), 5000 - 4096, "one rescan, and what came after it: {}", work.hints.len());
    assert!(hints(&work).contains(&Hint::Rescan { reason: RescanReason::Webhook }));
}

#[tokio::test]
async fn key_is_held_by_one_claim_at_a_time() {
    let world = super::world();
    let store = world.open().await;
    store.signal(vec![signal("a", "1.0"), signal("b", "1.0")], "timer").await.unwrap();
    let first = store.claim(&Keys::ALL, 1, world.now()).await.unwrap();
    assert_eq!(first[0].target, repository("a"));
    store.signal(vec![signal("a", "1.1")], "timer").await.unwrap();
    let second = world.claim(&store).await;
    assert_eq!(second.iter().map(|work| &work.target).collect::<Vec<_>>(), [&repository("b")]);
    assert_eq!(world.claim(&store).await, []);
    let depth = store.depth().await.unwrap();
    assert_eq!(depth, QueueDepth { waiting: 0, claimed: 2, oldest: Some(world.now()) });
}

#[tokio::test]
async fn keys_are_taken_by_those_who_work_on_their_namespace_and_wake_them() {
    let world = super::world();
    let store = world.open().await;
    let in_namespace = |name: &str, namespace: &str| {
        let Signal { target, hint } = signal(name, "1.0");
        Signal { target: ObjectRef { key: ObjectKey::new(namespace, name), ..target }, hint }
    };
    let of = |namespace: &'static str| Keys::in_namespaces(move |asked| asked == namespace);
    let (ours, theirs) = (of("ours"), of("theirs"));
    let (mut our_bell, mut their_bell) = (store.changed(&ours), store.changed(&theirs));
    let signals = vec![in_namespace("a", "theirs"), in_namespace("b", "ours"), in_namespace("c", "theirs")];
    store.signal(signals, "timer").await.unwrap();
    assert!(our_bell.has_changed().unwrap() && their_bell.has_changed().unwrap());
    our_bell.mark_unchanged();
    their_bell.mark_unchanged();
    let names = |works: &[Work]| works.iter().map(|work| work.target.key.name.clone()).collect::<Vec<_>>();
    let b = store.claim(&ours, 9, world.now()).await.unwrap();
    assert_eq!(names(&b), ["b"]);
    assert_eq!(store.next_due(&ours, world.now()).await.unwrap(), None);
    assert_eq!(store.next_due(&theirs, world.now()).await.unwrap(), Some(world.now()));
    assert_eq!(names(&store.claim(&theirs, 1, world.now()).await.unwrap()), ["a"]);
    assert_eq!(names(&store.claim(&Keys::ALL, 9, world.now()).await.unwrap()), ["c"]);
    store.retry(&b[0].target, b[0].generation, world.after(5), "not now").await.unwrap();
    assert!(our_bell.has_changed().unwrap() && !their_bell.has_changed().unwrap());
    assert_eq!(store.next_due(&ours, world.now()).await.unwrap(), Some(world.after(5)));
}

#[tokio::test]
async fn event_during_the_work_runs_the_key_again_with_the_newer_hints_alone() {
    let world = super::world();
    let store = world.open().await;
    store.signal(vec![signal("a", "1.0")], "one").await.unwrap();
    let work = world.claim_one(&store).await;
    world.clock.advance(5);
    // The same hint is news now: the worker may have looked before it happened.
    store.signal(vec![signal("a", "1.0"), signal("a", "1.1")], "two").await.unwrap();
    complete(&store, &work).await;
    let again = world.claim_one(&store).await;
    assert!(again.generation > work.generation);
    assert_eq!(hints(&again), [pushed("1.0"), pushed("1.1")]);
    assert!(again.hints.iter().all(|hint| hint.event == "two" && hint.at == world.now()));
    assert_eq!(again.first_at, world.now());
    complete(&store, &again).await;
    assert_eq!(store.depth().await.unwrap(), QueueDepth::default());
    assert_eq!(store.next_due(&Keys::ALL, world.now()).await.unwrap(), None);
}

#[tokio::test]
async fn retry_keeps_the_hints_counts_the_attempt_and_waits() {
    let world = super::world();
    let store = world.open().await;
    store.signal(vec![signal("a", "1.0")], "one").await.unwrap();
    let work = world.claim_one(&store).await;
    store.retry(&work.target, work.generation, world.after(30), "registry answered 503").await.unwrap();
    assert_eq!(world.claim(&store).await, []);
    assert_eq!(store.next_due(&Keys::ALL, world.now()).await.unwrap(), Some(world.after(30)));
    let queued = store.queued(10).await.unwrap();
    assert_eq!(queued[0].reason.as_deref(), Some("registry answered 503"));
    assert_eq!((queued[0].attempts, queued[0].not_before), (1, world.after(30)));
    world.clock.advance(30);
    assert_eq!(store.next_due(&Keys::ALL, world.after(1)).await.unwrap(), Some(world.after(1)));
    let again = world.claim_one(&store).await;
    assert_eq!((again.attempts, hints(&again)), (1, vec![pushed("1.0")]));
    assert_eq!(store.next_due(&Keys::ALL, world.now()).await.unwrap(), None, "a claimed key has no timer");
}

#[tokio::test]
async fn signal_makes_a_waiting_key_due_at_once_and_keeps_its_attempts() {
    let world = super::world();
    let store = world.open().await;
    store.signal(vec![signal("a", "1.0")], "one").await.unwrap();
    let work = world.claim_one(&store).await;
    store.retry(&work.target, work.generation, world.after(3600), "down").await.unwrap();
    store.signal(vec![signal("a", "1.1")], "two").await.unwrap();
    let work = world.claim_one(&store).await;
    assert_eq!((work.attempts, work.hints.len()), (1, 2));
    // So does one that came while the work ran; equal hints are handed out once, the earliest.
    world.clock.advance(1);
    store.signal(vec![signal("a", "1.1")], "three").await.unwrap();
    store.retry(&work.target, work.generation, world.after(3600), "down").await.unwrap();
    let work = world.claim_one(&store).await;
    assert_eq!((work.attempts, hints(&work)), (2, vec![pushed("1.0"), pushed("1.1")]));
    assert_eq!(work.hints[1].event, "two");
    complete(&store, &work).await;
    assert_eq!(store.depth().await.unwrap(), QueueDepth::default());
}

#[tokio::test]
async fn keys_are_claimed_in_the_order_in_which_they_became_due() {
    let world = super::world();
    let store = world.open().await;
    for name in ["c", "a", "b"] {
        store.signal(vec![signal(name, "1.0")], "timer").await.unwrap();
        world.clock.advance(1);
    }
    // Named again, a key neither loses nor gains its place.
    store.signal(vec![signal("b", "2.0"), signal("c", "2.0")], "timer").await.unwrap();
    let first = store.claim(&Keys::ALL, 2, world.now()).await.unwrap();
    assert_eq!(first.iter().map(|work| work.target.key.name.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    // A key that runs again queues behind those that waited meanwhile.
    world.clock.advance(1);
    store.signal(vec![signal("c", "3.0")], "timer").await.unwrap();
    complete(&store, &first[0]).await;
    let second = world.claim(&store).await;
    assert_eq!(second.iter().map(|work| work.target.key.name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
}

#[tokio::test]
async fn report_on_work_that_is_not_held_is_refused_and_stores_nothing() {
    let world = super::world();
    let store = world.open().await;
    store.signal(vec![signal("a", "1.0")], "one").await.unwrap();
    let work = world.claim_one(&store).await;
    complete(&store, &work).await;
    store.signal(vec![signal("a", "1.1")], "two").await.unwrap();
    let newer = world.claim_one(&store).await;
    assert_ne!(newer.generation, work.generation, "a number is not used again");
    let seen = Record {
        ledger: vec![windlass_store::LedgerWrite::TagsSeen {
            repository: key("a"),
            tags: vec!["1.0".parse().unwrap()],
            at: world.now(),
        }],
        ..Record::default()
    };
    let error = store.complete(&work.target, work.generation, seen).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Stale);
    assert!(error.to_string().contains("ImageRepository/apps/a"), "{error}");
    assert_eq!(store.load_tags(&key("a")).await.unwrap(), []);
    let error = store.retry(&repository("b"), 1, world.now(), "").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Stale);
    complete(&store, &newer).await;
}

#[tokio::test]
async fn change_wakes_whoever_subscribed_before_it() {
    let world = super::world();
    let store = world.open().await;
    let mut changed = store.changed(&Keys::ALL);
    assert_eq!(world.claim(&store).await, []);
    store.signal(vec![signal("a", "1.0")], "one").await.unwrap();
    expect_change(&mut changed).await;
    let work = world.claim_one(&store).await;
    assert!(!changed.has_changed().unwrap(), "a claim wakes nobody");
    store.signal(vec![signal("a", "1.1")], "two").await.unwrap();
    assert!(!changed.has_changed().unwrap(), "nor does a signal for a key that cannot be claimed");
    complete(&store, &work).await;
    changed.changed().await.unwrap();
    let work = world.claim_one(&store).await;
    complete(&store, &work).await;
    assert!(!changed.has_changed().unwrap(), "nor does the end of all work");
    store.signal(vec![signal("a", "1.0")], "one").await.unwrap();
    let work = world.claim_one(&store).await;
    changed.mark_unchanged();
    store.retry(&work.target, work.generation, world.after(9), "later").await.unwrap();
    assert!(changed.has_changed().unwrap(), "a retry moves the timer");
}

#[tokio::test]
async fn claim_whose_caller_went_away_is_given_back() {
    let world = super::world();
    let store = world.open().await;
    let mut abandoned = 0;
    while abandoned < 20 {
        store.signal(vec![signal("a", "1.0")], "one").await.unwrap();
        let mut changed = store.changed(&Keys::ALL);
        if let Some(answer) = poll_once(store.claim(&Keys::ALL, 1, world.now())).await {
            // The writer was quicker than this test.
            complete(&store, &answer.unwrap()[0]).await;
            continue;
        }
        abandoned += 1;
        let work = loop {
            if let Some(work) = world.claim(&store).await.pop() {
                break work;
            }
            expect_change(&mut changed).await;
        };
        assert_eq!(work.attempts, 0);
        complete(&store, &work).await;
    }
    assert_eq!(store.depth().await.unwrap(), QueueDepth::default());
}

#[tokio::test]
async fn claim_that_is_given_up_is_claimable_again_and_one_that_ended_is_not() {
    let world = super::world();
    let store = world.open().await;
    store.signal(vec![signal("a", "1.0")], "one").await.unwrap();
    let work = world.claim_one(&store).await;
    let mut changed = store.changed(&Keys::ALL);
    store.abandon(&work.target, work.generation);
    expect_change(&mut changed).await;
    let again = world.claim_one(&store).await;
    assert_eq!((&again.hints, again.attempts), (&work.hints, 0));
    complete(&store, &again).await;
    store.signal(vec![signal("a", "1.1")], "two").await.unwrap();
    let newer = world.claim_one(&store).await;
    store.abandon(&work.target, work.generation);
    store.ping().await.unwrap();
    assert_eq!(store.depth().await.unwrap().claimed, 1, "what was given up is no longer held");
    complete(&store, &newer).await;
}

#[tokio::test]
async fn claims_end_with_the_process_and_the_work_stays() {
    let world = super::world();
    let store = world.open().await;
    store.signal(vec![signal("a", "1.0")], "one").await.unwrap();
    let work = world.claim_one(&store).await;
    store.signal(vec![signal("a", "1.0"), signal("a", "1.1")], "two").await.unwrap();
    drop(store);
    let store = world.open().await;
    let again = world.claim_one(&store).await;
    assert!(again.generation > work.generation);
    assert_eq!(hints(&again), [pushed("1.0"), pushed("1.1")]);
    assert_eq!(again.hints[0].event, "one");
}

#[tokio::test]
async fn names_that_a_column_cannot_hold_are_refused_and_odd_ones_come_back() {
    let world = super::world();
    let store = world.open().await;
    let odd = ObjectRef::new(Kind::ImageUpdateAutomation, ObjectKey::new("", "a/b ü'\""));
    store
        .signal(vec![Signal { target: odd.clone(), hint: pushed("1") }], "'; DROP TABLE work")
        .await
        .unwrap();
    let work = world.claim_one(&store).await;
    assert_eq!((work.target, work.hints[0].event.as_str()), (odd, "'; DROP TABLE work"));
    let bad = ObjectRef::new(Kind::ImageRepository, ObjectKey::new("a/b", "c"));
    let error = store.signal(vec![Signal { target: bad, hint: pushed("1") }], "x").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
}

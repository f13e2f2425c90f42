//! Names that one holder has at a time.

use crate::support::poll_once;

#[tokio::test]
async fn lease_has_one_holder_at_a_time_and_passes_on_when_it_is_dropped() {
    let world = super::world();
    let store = world.open().await;
    let first = store.lease("lane a").await.unwrap();
    assert_eq!(first.name(), "lane a");
    let other = store.lease("lane b").await.unwrap();
    let mut waiting = Box::pin(store.lease("lane a"));
    for _ in 0..20 {
        assert!(poll_once(&mut waiting).await.is_none(), "it is held");
        store.ping().await.unwrap();
    }
    assert!(poll_once(other.lost()).await.is_none());
    drop(first);
    let second = waiting.await.unwrap();
    assert_eq!(second.name(), "lane a");
}

#[tokio::test]
async fn lease_ends_with_the_process() {
    let world = super::world();
    let store = world.open().await;
    drop((store.lease("lane a").await.unwrap(), store));
    let store = world.open().await;
    let lease = store.lease("lane a").await.unwrap();
    assert_eq!(lease.name(), "lane a");
}

#[tokio::test]
async fn leases_that_are_held_are_listed_and_their_comings_and_goings_told() {
    let world = super::world();
    let store = world.open().await;
    let mut changed = store.leases_changed();
    assert_eq!(store.leases("lane").await.unwrap(), [""; 0]);
    let leases = [store.lease("lane b").await.unwrap(), store.lease("other").await.unwrap()];
    let first = store.lease("lane a").await.unwrap();
    assert!(changed.has_changed().unwrap());
    assert_eq!(store.leases("lane").await.unwrap(), ["lane a", "lane b"]);
    changed.mark_unchanged();
    drop(first);
    crate::support::expect_change(&mut changed).await;
    assert_eq!(store.leases("lane").await.unwrap(), ["lane b"]);
    drop(leases);
}

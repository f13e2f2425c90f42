//! What several processes on one queue see of each other, and of a server that ends, forgets or is set up otherwise.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, Context};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;
use windlass_model::message::Notice;
use windlass_model::resource::NoticeKind;
use windlass_store::{
    Appended, AuditEntry, AuditKind, ConnectError, Intervened, Intervention, Item, Keys, Lease, LedgerWrite,
    NatsOptions, NewNotice, OpenError, ReadOnly, Record, Store, StoreErrorKind, Work,
};
use windlass_testkit::eventually;
use windlass_testkit::link::Link;
use windlass_testkit::nats::NatsServer;

use crate::support::{
    TestClock, complete, delivery, expect_change, hints, key, options, pushed, repository, signal,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// What the issue of a killed process may cost.
const TAKE_OVER: Duration = Duration::from_secs(5);
const EVERYBODY: Keys = Keys::ALL;
/// Three signs of life of three seconds that do not come, on a machine that does other things as well.
const NOTICED: Duration = Duration::from_secs(20);

/// A process on the queue, as far as the store sees one: a folder of its own.
struct Member {
    folder: TempDir,
    store: Store,
}

async fn member(server: &NatsServer) -> Member {
    member_with(&options(server)).await
}

async fn member_with(options: &NatsOptions) -> Member {
    let folder = tempfile::tempdir().unwrap();
    let store = join(folder.path(), options).await.unwrap();
    Member { folder, store }
}

async fn join(folder: &Path, options: &NatsOptions) -> Result<Store, ConnectError> {
    Store::connect(folder, options, TestClock::new()).await
}

async fn claim(store: &Store) -> Vec<Work> {
    store.claim(&Keys::ALL, 100, TestClock::new().now_at()).await.unwrap()
}

/// Claims as soon as there is something to claim.
async fn claim_when_due(store: &Store) -> Work {
    let mut changed = store.changed(&Keys::ALL);
    loop {
        changed.mark_unchanged();
        if let Some(work) = claim(store).await.pop() {
            return work;
        }
        changed.changed().await.unwrap();
    }
}

fn seen(tag: &str) -> Record {
    let seen = LedgerWrite::TagsSeen {
        repository: key("a"),
        tags: vec![tag.parse().unwrap()],
        at: TestClock::new().now_at(),
    };
    Record { ledger: vec![seen], ..Record::default() }
}

/// An entry of so many words.
fn long_entry(words: usize) -> AuditEntry {
    AuditEntry {
        at: TestClock::new().now_at(),
        kind: AuditKind::Committed,
        object: repository("a"),
        detail: json!("long ".repeat(words)),
        event: None,
        about: [].into(),
    }
}

fn notice(id: &str) -> NewNotice {
    let notice = Notice {
        id: format!("event-{id}"),
        kind: NoticeKind::Failed,
        object: repository("a"),
        at: TestClock::new().now_at(),
        commit: None,
        summary: "the registry answered 503".into(),
    };
    NewNotice { id: id.into(), notifier: key("slack"), notice }
}

async fn jetstream(server: &NatsServer) -> Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

#[tokio::test]
async fn processes_share_one_state_and_a_key_is_with_one_of_them() {
    let server = NatsServer::start().await.unwrap();
    let (a, b) = (member(&server).await, member(&server).await);
    let mut changed = b.store.changed(&Keys::ALL);
    let first = delivery(Some("1"), TestClock::new().now_at(), vec![signal("a", "1.0")]);
    assert_eq!(a.store.append(first.clone()).await.unwrap(), Appended::New);
    expect_change(&mut changed).await;
    assert_eq!(b.store.append(first).await.unwrap(), Appended::Duplicate);
    let work = claim(&b.store).await.remove(0);
    assert_eq!(hints(&work), [pushed("1.0")]);
    assert_eq!(claim(&a.store).await, []);
    let error = a.store.complete(&work.target, work.generation, seen("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Stale, "it is not a's to end");
    b.store.complete(&work.target, work.generation, seen("1.0")).await.unwrap();
    a.store.ping().await.unwrap();
    assert_eq!(a.store.load_tags(&key("a")).await.unwrap().len(), 1);
    assert_eq!(a.store.depth().await.unwrap().claimed, 0);
}

#[tokio::test]
async fn what_a_killed_process_held_is_with_another_within_five_seconds() {
    let server = NatsServer::start().await.unwrap();
    let (a, b) = (member(&server).await, member(&server).await);
    a.store.signal(vec![signal("a", "1.0")], "poll").await.unwrap();
    a.store.record(Record { outbox: vec![notice("1")], ..Record::default() }).await.unwrap();
    let lease = a.store.lease("lane").await.unwrap();
    let work = claim(&a.store).await.remove(0);
    assert_eq!(a.store.outbox_due(&EVERYBODY, 1, TestClock::new().now_at()).await.unwrap().len(), 1);
    b.store.ping().await.unwrap();
    // On this runtime of one thread, nothing runs between the two: nobody is told.
    drop((lease, a));
    let taken = timeout(TAKE_OVER, async {
        tokio::join!(claim_when_due(&b.store), async { b.store.lease("lane").await.unwrap() })
    });
    let (again, lease) = taken.await.expect("taken over in time");
    assert_eq!((&again.target, hints(&again)), (&work.target, hints(&work)));
    assert_eq!(lease.name(), "lane");
    let outgoing = b.store.outbox_due(&EVERYBODY, 1, TestClock::new().now_at()).await.unwrap();
    assert!(outgoing[0].repeat, "nobody knows whether it was sent");
    complete(&b.store, &again).await;
}

#[tokio::test]
async fn process_that_leaves_frees_at_once_what_it_held() {
    let server = NatsServer::start().await.unwrap();
    let (a, b) = (member(&server).await, member(&server).await);
    a.store.signal(vec![signal("a", "1.0")], "poll").await.unwrap();
    assert_eq!(claim(&a.store).await.len(), 1);
    a.store.close().await.unwrap();
    b.store.ping().await.unwrap();
    assert_eq!(claim(&b.store).await.len(), 1);
}

/// Two processes, and the work and the lease that the second one holds.
async fn holding(server: &NatsServer) -> ([Member; 2], Work, Lease) {
    let (a, b) = (member(server).await, member(server).await);
    a.store.signal(vec![signal("a", "1.0")], "poll").await.unwrap();
    let work = claim_when_due(&b.store).await;
    let lease = b.store.lease("lane").await.unwrap();
    ([a, b], work, lease)
}

/// Waits until this process knows that the server is away.
async fn expect_loss(store: &Store) {
    let refused = async || {
        let told = timeout(Duration::from_millis(200), store.signal(vec![signal("a", "2.0")], "poll")).await;
        Ok(told.ok().and_then(Result::err))
    };
    let error = eventually(PATIENCE, "the loss to be told", refused).await.unwrap();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn server_that_is_killed_and_comes_back_costs_nothing() {
    let mut server = NatsServer::start().await.unwrap();
    let ([a, b], work, lease) = holding(&server).await;
    server.kill();
    expect_loss(&a.store).await;
    server.restart().await.unwrap();
    let back = async |store: &Store| {
        eventually(PATIENCE, "the server to be found again", async || Ok(store.ping().await.ok()))
            .await
            .unwrap();
    };
    tokio::join!(back(&a.store), back(&b.store));
    b.store.complete(&work.target, work.generation, seen("1.0")).await.unwrap();
    a.store.ping().await.unwrap();
    assert_eq!(a.store.load_tags(&key("a")).await.unwrap().len(), 1);
    assert!(timeout(Duration::ZERO, lease.lost()).await.is_err(), "the lease is still b's");
    assert!(!a.store.losses().has_changed().unwrap());
}

#[tokio::test]
async fn what_is_given_up_while_the_server_is_away_is_free_once_it_is_back() {
    let mut server = NatsServer::start().await.unwrap();
    let ([a, b], work, lease) = holding(&server).await;
    server.kill();
    expect_loss(&b.store).await;
    drop(lease);
    b.store.abandon(&work.target, work.generation);
    server.restart().await.unwrap();
    // The one that gave up says nothing more, and lives.
    let taken = timeout(PATIENCE, async {
        tokio::join!(claim_when_due(&a.store), async { a.store.lease("lane").await })
    });
    let (again, lease) = taken.await.expect("both are free");
    assert_eq!((again.target, again.attempts), (work.target, 0));
    drop(lease.unwrap());
}

#[tokio::test]
async fn deleted_stream_is_made_anew_and_its_loss_is_told() {
    let server = NatsServer::start().await.unwrap();
    let (a, b) = (member(&server).await, member(&server).await);
    let mut losses = [a.store.losses(), b.store.losses()];
    let lease = a.store.lease("lane").await.unwrap();
    a.store.signal(vec![signal("a", "1.0")], "poll").await.unwrap();
    jetstream(&server).await.delete_stream("windlass").await.unwrap();
    for loss in &mut losses {
        expect_change(loss).await;
    }
    timeout(PATIENCE, lease.lost()).await.expect("the lease went with the state").unwrap();
    let writable = async || Ok(a.store.signal(vec![signal("a", "1.0")], "poll").await.ok());
    eventually(PATIENCE, "the queue to work again", writable).await.unwrap();
    let work = timeout(PATIENCE, claim_when_due(&b.store)).await.unwrap();
    complete(&b.store, &work).await;
}

#[tokio::test]
async fn server_that_lost_its_last_messages_is_believed_by_all() {
    let mut server = NatsServer::start().await.unwrap();
    let a = member(&server).await;
    a.store.record(seen("1.0")).await.unwrap();
    server.kill();
    let (kept, lost) = (server.folder().join("kept"), server.folder().join("jetstream"));
    copy(&lost, &kept);
    server.restart().await.unwrap();
    let write = async || Ok(a.store.record(seen("2.0")).await.ok());
    eventually(PATIENCE, "the server to be found again", write).await.unwrap();
    assert_eq!(a.store.load_tags(&key("a")).await.unwrap().len(), 2);
    let mut losses = a.store.losses();
    server.kill();
    std::fs::remove_dir_all(&lost).unwrap();
    copy(&kept, &lost);
    server.restart().await.unwrap();
    expect_change(&mut losses).await;
    let b = member(&server).await;
    eventually(PATIENCE, "a to work again", async || Ok(a.store.ping().await.ok())).await.unwrap();
    for store in [&a.store, &b.store] {
        assert_eq!(store.load_tags(&key("a")).await.unwrap().len(), 1);
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

#[tokio::test]
async fn snapshot_takes_the_place_of_the_log() {
    let server = NatsServer::start().await.unwrap();
    let options = NatsOptions { snapshot_every: Some(20), ..options(&server) };
    let a = member_with(&options).await;
    let behind = member_with(&options).await;
    behind.store.close().await.unwrap();
    for minor in 0..50 {
        a.store.record(seen(&format!("1.{minor}"))).await.unwrap();
    }
    let jetstream = jetstream(&server).await;
    let shortened = async || {
        a.store.ping().await.unwrap();
        let stream = jetstream.get_stream("windlass").await?;
        Ok((stream.get_info().await?.state.first_sequence > 20).then_some(()))
    };
    eventually(PATIENCE, "a snapshot", shortened).await.unwrap();
    let new = member_with(&options).await;
    let again = join(behind.folder.path(), &options).await.unwrap();
    for store in [&new.store, &again] {
        assert_eq!(store.load_tags(&key("a")).await.unwrap().len(), 50);
    }
    // A newcomer's copy lives on as any other.
    again.record(seen("2.0")).await.unwrap();
    a.store.ping().await.unwrap();
    assert_eq!(a.store.load_tags(&key("a")).await.unwrap().len(), 51);
}

#[tokio::test]
async fn snapshot_that_is_deleted_is_made_again_and_a_newcomer_joins() {
    let server = NatsServer::start().await.unwrap();
    let options = NatsOptions { snapshot_every: Some(20), ..options(&server) };
    let a = member_with(&options).await;
    let jetstream = jetstream(&server).await;
    let mut number = 0;
    let shortened = async || {
        number += 1;
        a.store.record(seen(&format!("1.{number}"))).await.unwrap();
        let info = jetstream.get_stream("windlass").await?.get_info().await?;
        Ok((info.state.first_sequence > 20).then_some(()))
    };
    eventually(PATIENCE, "a snapshot", shortened).await.unwrap();
    jetstream.delete_object_store("windlass-state").await.unwrap();
    let new = timeout(PATIENCE, member_with(&options)).await.expect("it joins");
    assert_eq!(new.store.load_tags(&key("a")).await.unwrap().len(), number);
    new.store.record(seen("2.0")).await.unwrap();
    a.store.ping().await.unwrap();
    assert_eq!(a.store.load_tags(&key("a")).await.unwrap().len(), number + 1);
}

async fn bound(jetstream: &Context, bytes: impl FnOnce(u64) -> i64) {
    let info = jetstream.get_stream("windlass").await.unwrap().get_info().await.unwrap();
    let config = Config { max_bytes: bytes(info.state.bytes), ..info.config };
    jetstream.update_stream(&config).await.unwrap();
}

/// Lets the log grow by so many bytes.
async fn leave_room(jetstream: &Context, more: u64) {
    bound(jetstream, |bytes| i64::try_from(bytes + more).unwrap()).await;
}

async fn lift_bound(jetstream: &Context) {
    bound(jetstream, |_| -1).await;
}

#[tokio::test]
async fn full_stream_refuses_what_is_new_and_loses_nothing() {
    let server = NatsServer::start().await.unwrap();
    let (a, b) = (member(&server).await, member(&server).await);
    a.store.signal(vec![signal("a", "1.0")], "poll").await.unwrap();
    let work = claim_when_due(&b.store).await;
    let jetstream = jetstream(&server).await;
    leave_room(&jetstream, 1).await;
    for store in [&a.store, &b.store] {
        let error = store.signal(vec![signal("b", "1.0")], "poll").await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("maximum bytes exceeded"), "{error}");
    }
    let error = b.store.complete(&work.target, work.generation, seen("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    lift_bound(&jetstream).await;
    b.store.complete(&work.target, work.generation, seen("1.0")).await.unwrap();
    a.store.signal(vec![signal("b", "1.0")], "poll").await.unwrap();
    assert_eq!(hints(&claim_when_due(&b.store).await), [pushed("1.0")]);
    a.store.ping().await.unwrap();
    assert_eq!(a.store.load_tags(&key("a")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn server_without_room_refuses_what_is_new_and_loses_nothing() {
    let server = NatsServer::with("jetstream { max_file_store: 400KB }").await.unwrap();
    let a = member(&server).await;
    let long = |number: usize| Record { audit: vec![long_entry(10_000)], ..seen(&format!("1.{number}")) };
    let mut stored = 0;
    let error = loop {
        match a.store.record(long(stored)).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 20, "the server took more than it has room for");
    };
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("insufficient"), "{error}");
    assert_eq!(a.store.load_tags(&key("a")).await.unwrap().len(), stored);
}

#[tokio::test]
async fn partition_is_told_within_seconds_and_its_end_costs_nothing() {
    let server = NatsServer::start().await.unwrap();
    let link = Link::start(server.address()).unwrap();
    let cut_off = NatsOptions { servers: format!("nats://{}", link.address()), ..options(&server) };
    let (a, b) = (member_with(&cut_off).await, member(&server).await);
    let lease = a.store.lease("lane").await.unwrap();
    a.store.signal(vec![signal("a", "1.0")], "poll").await.unwrap();
    let work = claim(&a.store).await.remove(0);
    link.stop();
    let taken = timeout(TAKE_OVER, async {
        tokio::join!(claim_when_due(&b.store), async { b.store.lease("lane").await.unwrap() })
    });
    let (again, _lease) = taken.await.expect("the others take over what the cut off one held");
    assert_eq!(again.target, work.target);
    // Whoever is cut off cannot know; whatever it says is refused when it is heard.
    let noticed = async || {
        let told = timeout(Duration::from_millis(100), a.store.ping()).await;
        Ok(told.ok().and_then(Result::err))
    };
    let error = eventually(NOTICED, "the partition to be told", noticed).await.unwrap();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    complete(&b.store, &again).await;
    link.open();
    timeout(PATIENCE, lease.lost()).await.expect("it learns that its lease is lost").unwrap();
    eventually(PATIENCE, "it to be back", async || Ok(a.store.ping().await.ok())).await.unwrap();
    let error = a.store.complete(&work.target, work.generation, seen("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Stale, "{error}");
    a.store.signal(vec![signal("a", "2.0")], "poll").await.unwrap();
    assert_eq!(hints(&claim_when_due(&b.store).await), [pushed("2.0")]);
    assert_eq!(b.store.load_tags(&key("a")).await.unwrap(), []);
    assert!(!a.store.losses().has_changed().unwrap(), "nothing was lost");
}

#[tokio::test]
async fn record_that_is_longer_than_the_server_takes_is_stored_whole() {
    let server = NatsServer::with("max_payload: 64KB").await.unwrap();
    let (a, b) = (member(&server).await, member(&server).await);
    let entry = long_entry(100_000);
    a.store.record(Record { audit: vec![entry.clone()], ..seen("1.0") }).await.unwrap();
    b.store.ping().await.unwrap();
    assert_eq!(b.store.audit_recent(None, 9).await.unwrap(), [entry]);
    assert_eq!(b.store.load_tags(&key("a")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn record_that_is_refused_halfway_stands_in_nobodys_way() {
    let server = NatsServer::with("max_payload: 64KB").await.unwrap();
    let (a, b) = (member(&server).await, member(&server).await);
    // In parts of half of what the server takes.
    let long = || Record { audit: vec![long_entry(100_000)], ..seen("1.0") };
    let jetstream = jetstream(&server).await;
    a.store.ping().await.unwrap();
    leave_room(&jetstream, 150_000).await;
    let error = a.store.record(long()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    let parts = jetstream.get_stream("windlass").await.unwrap().get_info().await.unwrap().state.bytes;
    assert!(parts > 100_000, "some parts were taken: {parts}");
    lift_bound(&jetstream).await;
    let stored = async {
        a.store.record(seen("2.0")).await.unwrap();
        a.store.record(long()).await.unwrap();
        b.store.ping().await.unwrap();
        b.store.load_tags(&key("a")).await.unwrap().len()
    };
    assert_eq!(timeout(PATIENCE, stored).await.expect("the log goes on"), 2);
}

#[tokio::test]
async fn stream_that_is_set_up_otherwise_is_refused_by_the_name_of_its_field() {
    let server = NatsServer::start().await.unwrap();
    let other = Config {
        name: "windlass".into(),
        subjects: vec!["windlass.log".into()],
        max_age: Duration::from_mins(1),
        ..Config::default()
    };
    jetstream(&server).await.create_stream(other).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = join(folder.path(), &options(&server)).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Mismatch { field: "discard", .. }), "{error}");
    let version = async_nats::connect(server.url()).await.unwrap().server_info().version;
    assert!(error.to_string().contains(&format!("(nats-server {version}) has `discard` Old")), "{error}");
    let without_jetstream = NatsOptions { replicas: Some(3), stream: "other".into(), ..options(&server) };
    let error = join(folder.path(), &without_jetstream).await.unwrap_err();
    assert!(matches!(&error, ConnectError::JetStream { action: "make the stream", .. }), "{error}");
}

#[tokio::test]
async fn folder_of_the_other_kind_is_refused() {
    let server = NatsServer::start().await.unwrap();
    let (embedded, shared) = (tempfile::tempdir().unwrap(), member(&server).await);
    Store::open(embedded.path(), TestClock::new()).await.unwrap().close().await.unwrap();
    let error = join(embedded.path(), &options(&server)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Open(OpenError::Embedded { .. })), "{error}");
    shared.store.close().await.unwrap();
    let error = Store::open(shared.folder.path(), TestClock::new()).await.unwrap_err();
    assert!(matches!(error, OpenError::Shared { .. }), "{error}");
}

#[tokio::test]
async fn token_is_read_from_a_file_and_a_wrong_one_is_refused() {
    let server = NatsServer::with("authorization { token: made-for-this-test }").await.unwrap();
    let file = server.folder().join("token");
    std::fs::write(&file, "made-for-this-test\n").unwrap();
    let login = NatsOptions { token: Some(file.clone()), ..options(&server) };
    member_with(&login).await.store.ping().await.unwrap();
    std::fs::write(&file, "another").unwrap();
    let folder = tempfile::tempdir().unwrap();
    for wrong in [login, options(&server)] {
        let error = join(folder.path(), &wrong).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
    }
    let missing = NatsOptions { credentials: Some(server.folder().join("none")), ..options(&server) };
    let error = join(folder.path(), &missing).await.unwrap_err();
    assert!(matches!(&error, ConnectError::File { path, .. } if path.ends_with("none")), "{error}");
}

#[tokio::test]
async fn observer_reads_the_state_as_it_is_and_nobody_hears_of_it() {
    let server = NatsServer::start().await.unwrap();
    let options = NatsOptions { snapshot_every: Some(20), ..options(&server) };
    let a = member_with(&options).await;
    let jetstream = jetstream(&server).await;
    let last = async || {
        let stream = jetstream.get_stream("windlass").await.unwrap();
        stream.get_info().await.unwrap().state
    };
    let observe = async || {
        let folder = tempfile::tempdir().unwrap();
        // Whoever only looks need not know how the stream is set up.
        let options = NatsOptions { replicas: Some(3), ..options.clone() };
        let observed = ReadOnly::observe(folder.path(), &options, TestClock::new()).await.unwrap();
        (folder, observed)
    };
    a.store.record(seen("1.0")).await.unwrap();
    let before = last().await.last_sequence;
    let (_folder, observed) = observe().await;
    assert_eq!(observed.load_tags(&key("a")).await.unwrap().len(), 1);
    assert_eq!(last().await.last_sequence, before, "something was published");
    // Over a snapshot too, with the claims.
    a.store.signal(vec![signal("a", "1.0")], "poll").await.unwrap();
    let work = claim(&a.store).await.remove(0);
    for minor in 0..50 {
        a.store.record(seen(&format!("1.{minor}"))).await.unwrap();
    }
    eventually(PATIENCE, "a snapshot", async || {
        a.store.ping().await.unwrap();
        Ok((last().await.first_sequence > 20).then_some(()))
    })
    .await
    .unwrap();
    let (_folder, observed) = observe().await;
    assert_eq!(observed.load_tags(&key("a")).await.unwrap().len(), 50);
    let backlog = observed.backlog(TestClock::new().now_at(), 9).await.unwrap();
    assert_eq!((backlog.due, backlog.claimed), (0, 1));
    a.store.complete(&work.target, work.generation, Record::default()).await.unwrap();
}

#[tokio::test]
async fn visitor_changes_the_state_and_leaves_and_makes_no_queue() {
    let server = NatsServer::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    for error in [
        Store::visit(folder.path(), &options(&server), TestClock::new()).await.unwrap_err(),
        ReadOnly::observe(folder.path(), &options(&server), TestClock::new()).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(matches!(error, ConnectError::NoStream { .. }) && text.contains("`windlass`"), "{text}");
    }
    assert!(jetstream(&server).await.get_stream("windlass").await.is_err(), "a stream was made");
    let a = member(&server).await;
    a.store.signal(vec![signal("a", "1.0")], "poll").await.unwrap();
    let work = claim(&a.store).await.remove(0);
    let later = crate::support::at(TestClock::new().now_at(), 600);
    a.store.retry(&work.target, work.generation, later, "503").await.unwrap();
    let mut changed = a.store.changed(&Keys::ALL);
    let visitor = Store::visit(folder.path(), &options(&server), TestClock::new()).await.unwrap();
    let asked = visitor.intervene(Intervention::Retry(Item::Work(repository("a")))).await.unwrap();
    assert_eq!(asked, Intervened::Changed(vec![Item::Work(repository("a"))]));
    visitor.close().await.unwrap();
    expect_change(&mut changed).await;
    assert_eq!(claim(&a.store).await.len(), 1);
}

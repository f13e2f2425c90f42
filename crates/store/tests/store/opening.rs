//! Who may open a store, and what it says when it cannot.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::timeout;
use windlass_model::ObjectKey;
use windlass_store::{Appended, Disposition, Keys, OpenError, ReadOnly, Record, Store, StoreErrorKind};

use crate::support::{World, delivery, hints, pushed, repository, signal};

fn database(world: &World) -> PathBuf {
    world.folder.path().join("windlass.db")
}

async fn open_error(world: &World) -> OpenError {
    Store::open(world.folder.path(), world.clock.clone()).await.unwrap_err()
}

#[tokio::test]
async fn second_open_is_refused_until_the_first_is_closed_or_dropped() {
    let world = World::new();
    let store = world.open().await;
    let error = open_error(&world).await;
    assert!(matches!(&error, OpenError::AlreadyOpen { path } if path == world.folder.path()));
    let text = error.to_string();
    assert!(text.contains("another windlass runs on it"), "{text}");
    assert!(text.contains(&world.folder.path().display().to_string()), "{text}");
    store.close().await.unwrap();
    drop(world.open().await);
    world.open().await.close().await.unwrap();
}

#[tokio::test]
async fn close_commits_what_was_accepted_and_leaves_one_file() {
    let world = World::new();
    let store = world.open().await;
    let clone = store.clone();
    let delivery = delivery(Some("1"), world.now(), vec![signal("a", "1.0")]);
    let (appended, closed) = tokio::join!(store.append(delivery), clone.close());
    appended.unwrap();
    closed.unwrap();
    assert!(!world.folder.path().join("windlass.db-wal").exists());
    for error in [
        store.signal(vec![], "x").await.unwrap_err(),
        store.depth().await.unwrap_err(),
        store.clone().close().await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.disposition()), (StoreErrorKind::Closed, Disposition::Fatal));
    }
    let store = world.open().await;
    assert_eq!(hints(&world.claim_one(&store).await), [pushed("1.0")]);
}

#[tokio::test]
async fn files_are_private_and_so_is_a_folder_that_it_creates() {
    let world = World::new();
    let folder = world.folder.path().join("data/store");
    let store = Store::open(&folder, world.clock.clone()).await.unwrap();
    store.signal(vec![signal("a", "1.0")], "x").await.unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.clone()), 0o700);
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(path.clone()), 0o600, "{}", path.display());
    }
    store.close().await.unwrap();
    fs::set_permissions(folder.join("windlass.db"), fs::Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&folder, world.clock.clone()).await.unwrap();
    assert_eq!(mode(folder.join("windlass.db")), 0o600);
    drop(store);
}

#[tokio::test]
async fn newer_schema_is_refused_and_left_alone() {
    let world = World::new();
    world.open().await.close().await.unwrap();
    Connection::open(database(&world)).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(database(&world)).unwrap();
    let error = open_error(&world).await;
    assert!(matches!(error, OpenError::NewerSchema { found: 99, supported: 5, .. }), "{error}");
    let error = ReadOnly::open(world.folder.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::NewerSchema { found: 99, .. }), "{error}");
    assert_eq!(fs::read(database(&world)).unwrap(), before);
}

#[tokio::test]
async fn database_of_the_first_schema_keeps_its_choices_and_agreements() {
    let world = World::new();
    world.open().await.close().await.unwrap();
    fs::remove_file(database(&world)).unwrap();
    let old = Connection::open(database(&world)).unwrap();
    old.execute_batch(include_str!("../../src/schema/0001.sql")).unwrap();
    old.pragma_update(None, "application_id", 0x574e_444c).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    let image = r#"{"name":"ghcr.io/org/app","tag":"1.0","digest":null}"#;
    old.execute("INSERT INTO latest VALUES ('apps/p', ?1, NULL, 7)", [image]).unwrap();
    old.execute_batch("INSERT INTO agreed VALUES ('apps/x', 'a.yaml', 'apps/p', '1.0', NULL, 'r', 7, '0.9')")
        .unwrap();
    drop(old);
    let store = world.open().await;
    let latest = store.load_latest().await.unwrap().remove(0);
    assert_eq!((latest.variant.as_str(), latest.image.tag.as_str()), ("", "1.0"));
    let agreed = store.load_agreed(&ObjectKey::new("apps", "x")).await.unwrap().remove(0);
    assert_eq!((agreed.variant.as_str(), agreed.file.as_str(), agreed.tag.as_str()), ("", "a.yaml", "1.0"));
    assert_eq!(agreed.told.unwrap().as_str(), "0.9");
}

#[tokio::test]
async fn database_of_another_program_is_refused() {
    let world = World::new();
    Connection::open(database(&world)).unwrap().execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
    assert!(matches!(open_error(&world).await, OpenError::Foreign { .. }));
    assert!(matches!(ReadOnly::open(world.folder.path()).await, Err(OpenError::Foreign { .. })));
}

#[tokio::test]
async fn file_that_is_no_database_is_corrupt_and_the_error_says_that_deleting_it_is_safe() {
    let world = World::new();
    fs::write(database(&world), "not a database at all, but long enough for a header".repeat(200)).unwrap();
    let error = open_error(&world).await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("windlass.db") && text.contains("this is safe"), "{text}");
    fs::remove_file(database(&world)).unwrap();
    world.open().await.signal(vec![signal("a", "1.0")], "x").await.unwrap();
}

#[tokio::test]
async fn damaged_pages_are_reported_as_corrupt() {
    let world = World::new();
    let store = world.open().await;
    let signals = (0..500).map(|n| signal(&format!("app-{n}"), "1.0")).collect();
    store.append(delivery(Some("1"), world.now(), signals)).await.unwrap();
    store.close().await.unwrap();
    let mut bytes = fs::read(database(&world)).unwrap();
    bytes[8192..].fill(0x5a); // All but the schema.
    fs::write(database(&world), bytes).unwrap();
    let text = match Store::open(world.folder.path(), world.clock.clone()).await {
        Err(error) => {
            assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
            error.to_string()
        }
        Ok(store) => {
            let error = store.claim(&Keys::ALL, 10, world.now()).await.unwrap_err();
            assert_eq!((error.kind(), error.disposition()), (StoreErrorKind::Corrupt, Disposition::Fatal));
            error.to_string()
        }
    };
    assert!(text.contains("this is safe"), "{text}");
}

#[tokio::test]
async fn store_can_be_read_while_another_process_holds_it_and_after() {
    let world = World::new();
    let error = ReadOnly::open(world.folder.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    let store = world.open().await;
    let looking = ReadOnly::open(world.folder.path()).await.unwrap();
    assert_eq!(looking.depth().await.unwrap().waiting, 0);
    store.signal(vec![signal("a", "1.0")], "x").await.unwrap();
    let work = world.claim_one(&store).await;
    assert_eq!(looking.depth().await.unwrap().waiting, 1, "it sees what was committed since");
    assert_eq!(looking.queued(10).await.unwrap()[0].target, repository("a"));
    store.complete(&work.target, work.generation, Record::default()).await.unwrap();
    assert_eq!(looking.depth().await.unwrap().waiting, 0);
    store.close().await.unwrap();
    drop(looking);
    let after = ReadOnly::open(world.folder.path()).await.unwrap();
    assert_eq!(after.queued(10).await.unwrap(), []);
    assert_eq!(after.load_latest().await.unwrap(), []);
    assert_eq!(after.load_commits().await.unwrap(), []);
    assert_eq!(after.load_states().await.unwrap(), []);
    assert_eq!(after.audit_recent(Some(&repository("a")), 1).await.unwrap(), []);
    assert_eq!(after.outbox_dead(1).await.unwrap(), []);
    drop(after);
    world.open().await.close().await.unwrap();
}

#[tokio::test]
async fn row_of_a_newer_version_is_left_alone_and_stops_nothing() {
    let world = World::new();
    let store = world.open().await;
    store.signal(vec![signal("a", "1.0"), signal("b", "1.0"), signal("c", "1.0")], "x").await.unwrap();
    store.close().await.unwrap();
    Connection::open(database(&world))
        .unwrap()
        .execute_batch(
            "UPDATE work SET target = 'Unheard/apps/a' WHERE target LIKE '%/a';
             UPDATE hints SET hint = '{\"Unheard\":{}}' WHERE work = (SELECT id FROM work WHERE target LIKE '%/b');
             INSERT INTO latest VALUES ('apps/p', '', '{}', NULL, 0);
             INSERT INTO states VALUES ('Unheard/apps/p', 'ok', '', 0);",
        )
        .unwrap();
    let store = world.open().await;
    let work = world.claim(&store).await;
    assert_eq!(work.iter().map(|work| work.target.key.name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    assert!(matches!(hints(&work[0])[..], [windlass_model::Hint::Rescan { .. }]));
    assert_eq!(world.claim(&store).await, []);
    assert_eq!(store.load_latest().await.unwrap(), []);
    assert_eq!(store.load_states().await.unwrap(), []);
}

/// The files of a database, as an operator may delete them.
const FILES: [&[&str]; 3] =
    [&["windlass.db"], &["windlass.db-wal"], &["windlass.db", "windlass.db-wal", "windlass.db-shm"]];

#[tokio::test]
async fn database_that_is_deleted_under_its_process_is_written_anew_with_all_that_it_held() {
    for files in FILES {
        let world = World::new();
        let store = world.open().await;
        let first = delivery(Some("1"), world.now(), vec![signal("a", "1.0"), signal("b", "1.0")]);
        store.append(first.clone()).await.unwrap();
        let held = store.claim(&Keys::ALL, 1, world.now()).await.unwrap().remove(0);
        let lease = store.lease("lane").await.unwrap();
        assert_eq!(store.depth().await.unwrap().claimed, 1);
        for file in files {
            fs::remove_file(world.folder.path().join(file)).unwrap();
        }
        assert_eq!(store.depth().await.unwrap().waiting, 1, "{files:?}: readers go on meanwhile");
        let second = delivery(Some("2"), world.now(), vec![signal("b", "1.1")]);
        assert_eq!(store.append(second.clone()).await.unwrap(), Appended::New);
        // What is acknowledged is in its place: a process that is killed now loses none of it.
        let copy = World::new();
        for file in ["windlass.db", "windlass.db-wal"] {
            fs::copy(world.folder.path().join(file), copy.folder.path().join(file)).unwrap();
        }
        let after = copy.open().await;
        for known in [first, second] {
            assert_eq!(after.append(known).await.unwrap(), Appended::Duplicate, "{files:?}");
        }
        assert_eq!(copy.claim(&after).await.len(), 2);
        // And what is held is held on.
        assert!(timeout(Duration::ZERO, lease.lost()).await.is_err());
        store.complete(&held.target, held.generation, Record::default()).await.unwrap();
        let work = world.claim_one(&store).await;
        assert_eq!((&work.target, hints(&work)), (&repository("b"), vec![pushed("1.0"), pushed("1.1")]));
        assert_eq!(store.depth().await.unwrap().claimed, 1, "{files:?}: readers see the new file");
        drop(lease);
        store.close().await.unwrap();
        let mode = fs::metadata(database(&world)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(hints(&world.claim_one(&world.open().await).await).len(), 2);
    }
}

#[tokio::test]
async fn database_that_cannot_be_written_anew_takes_nothing_until_it_can() {
    let world = World::new();
    let store = world.open().await;
    store.signal(vec![signal("a", "1.0")], "x").await.unwrap();
    fs::remove_file(database(&world)).unwrap();
    // A folder in the way of the copy.
    let obstacle = world.folder.path().join("windlass.db-anew/in the way");
    fs::create_dir_all(&obstacle).unwrap();
    let error = store.signal(vec![signal("b", "1.0")], "x").await.unwrap_err();
    assert_eq!((error.kind(), error.disposition()), (StoreErrorKind::Io, Disposition::Retry), "{error}");
    assert!(error.to_string().contains("windlass.db-anew"), "{error}");
    fs::remove_dir_all(obstacle.parent().unwrap()).unwrap();
    store.signal(vec![signal("b", "1.0")], "x").await.unwrap();
    drop(store);
    assert_eq!(world.claim(&world.open().await).await.len(), 2);
}

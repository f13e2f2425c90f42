//! Processes that are killed, and disks that lose what was not synced: nothing acknowledged is lost.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use tokio::task::JoinSet;
use windlass_model::{Hint, Tag};
use windlass_store::{Appended, AuditEntry, AuditKind, Keys, Record, Store, Work};

use crate::support::{TestClock, World, delivery, repository, signal};

const CHILD: &str = "WINDLASS_STORE_CRASH_CHILD";
const ROUNDS: usize = 12;

/// Plays both roles: without the variable it starts itself as a child with it, and kills that.
#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "tells the child's role from the parent's")]
    let role = std::env::var_os(CHILD);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(role) = role {
        let role = PathBuf::from(role);
        runtime.block_on(append_and_complete_for_ever(&role));
        return;
    }
    let world = World::new();
    let mut acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        run_and_kill(world.folder.path(), round, 40 + round * 97 % 500, &mut acknowledged);
        runtime.block_on(verify(&world, &acknowledged));
    }
    assert!(acknowledged.appended.len() > ROUNDS * 20 && acknowledged.completed.len() > ROUNDS);
    let database = rusqlite::Connection::open(world.folder.path().join("windlass.db")).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// What the children were told.
#[derive(Default)]
struct Acknowledged {
    /// Tags, which are delivery ids as well.
    appended: BTreeSet<String>,
    /// Tags of completed work.
    completed: BTreeSet<String>,
}

fn run_and_kill(folder: &Path, round: usize, lines: usize, acknowledged: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::nothing_acknowledged_is_lost_when_the_process_is_killed", "--exact", "--nocapture"])
        .env(CHILD, folder.join(round.to_string()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut seen = 0;
    let mut line = String::new();
    // A last line without its end was cut by the kill.
    while output.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        match line.trim_end().split_once(' ') {
            Some(("appended", tag)) => acknowledged.appended.insert(tag.to_owned()),
            Some(("completed", tag)) => acknowledged.completed.insert(tag.to_owned()),
            _ => false,
        };
        seen += 1;
        if seen == lines {
            child.kill().unwrap();
        }
        line.clear();
    }
    assert!(seen >= lines, "the child ended by itself");
    child.wait().unwrap();
}

/// Every acknowledged delivery is known, and its hint either waits or is in the record of completed work, not both.
async fn verify(world: &World, acknowledged: &Acknowledged) {
    let store = world.open().await;
    let again = acknowledged.appended.iter().map(|tag| delivery(Some(tag), world.now(), vec![]));
    for delivery in again {
        assert_eq!(
            store.append(delivery.clone()).await.unwrap(),
            Appended::Duplicate,
            "{delivery:?} was lost"
        );
    }
    let waiting: BTreeSet<String> = world.claim(&store).await.iter().flat_map(tags).collect();
    let mut completed = BTreeSet::new();
    for entry in store.audit_recent(None, usize::MAX).await.unwrap() {
        for tag in entry.detail.as_array().unwrap() {
            assert!(completed.insert(tag.as_str().unwrap().to_owned()), "{tag} was completed twice");
        }
    }
    assert!(acknowledged.completed.is_subset(&completed));
    assert!(waiting.is_disjoint(&completed));
    let kept: BTreeSet<_> = waiting.union(&completed).cloned().collect();
    let lost: Vec<_> = acknowledged.appended.difference(&kept).collect();
    assert!(lost.is_empty(), "{lost:?}");
    store.close().await.unwrap();
}

fn tags(work: &Work) -> Vec<String> {
    let tag = |hint: &Hint| match hint {
        Hint::TagPushed { tag, .. } => tag.to_string(),
        other => panic!("the store invented {other:?}"),
    };
    work.hints.iter().map(|received| tag(&received.hint)).collect()
}

/// The child: its role names the store's folder and the round. It prints what it is told, once it is told.
async fn append_and_complete_for_ever(role: &Path) {
    let round = role.file_name().unwrap().to_str().unwrap().to_owned();
    let clock = TestClock::new();
    let store = Store::open(role.parent().unwrap(), clock).await.unwrap();
    let mut tasks = JoinSet::new();
    for producer in 0..16 {
        let (store, round) = (store.clone(), round.clone());
        tasks.spawn(async move { produce(&store, &round, producer).await });
    }
    for _ in 0..2 {
        let store = store.clone();
        tasks.spawn(async move { work(&store).await });
    }
    tasks.join_all().await;
}

async fn produce(store: &Store, round: &str, producer: usize) {
    let now = World::new().now();
    for number in 0_usize.. {
        let tag = format!("{round}.{producer}.{number}");
        let name = format!("app-{}", number % 7);
        store.append(delivery(Some(&tag), now, vec![signal(&name, &tag)])).await.unwrap();
        print_line(&format!("appended {tag}\n"));
    }
}

async fn work(store: &Store) {
    let now = World::new().now();
    let mut changed = store.changed(&Keys::ALL);
    loop {
        for work in store.claim(&Keys::ALL, 2, now).await.unwrap() {
            let tags = tags(&work);
            let audit = AuditEntry {
                at: now,
                kind: AuditKind::Committed,
                object: work.target.clone(),
                detail: json!(tags),
                event: None,
                about: [].into(),
            };
            let record = Record { audit: vec![audit], ..Record::default() };
            store.complete(&work.target, work.generation, record).await.unwrap();
            let lines: Vec<_> = tags.iter().map(|tag| format!("completed {tag}\n")).collect();
            print_line(&lines.concat());
        }
        changed.changed().await.unwrap();
    }
}

fn print_line(text: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).unwrap();
    output.flush().unwrap();
}

/// A power failure keeps the database file and a part of the log: at least what was synced, perhaps a torn end.
#[tokio::test]
async fn log_that_is_cut_anywhere_keeps_every_append_that_was_acknowledged_before_the_cut() {
    let world = World::new();
    let store = world.open().await;
    let log = world.folder.path().join("windlass.db-wal");
    let mut lengths = Vec::new();
    for number in 0..40 {
        let tag = format!("1.{number}");
        store.append(delivery(Some(&tag), world.now(), vec![signal("a", &tag)])).await.unwrap();
        lengths.push(usize::try_from(fs::metadata(&log).unwrap().len()).unwrap());
    }
    let whole = fs::read(&log).unwrap();
    for cut in
        [lengths[0], lengths[0] + 1, lengths[9] - 1, lengths[9], lengths[20] + 4000, lengths[38], whole.len()]
    {
        let after = World::new();
        fs::copy(world.folder.path().join("windlass.db"), after.folder.path().join("windlass.db")).unwrap();
        fs::write(after.folder.path().join("windlass.db-wal"), &whole[..cut]).unwrap();
        let store = after.open().await;
        let kept = after.claim_one(&store).await;
        let acknowledged = lengths.iter().filter(|length| **length <= cut).count();
        assert_eq!(kept.target, repository("a"));
        let wanted: Vec<_> =
            (0..acknowledged).map(|n| Tag::parse(&format!("1.{n}")).unwrap().to_string()).collect();
        assert_eq!(tags(&kept), wanted, "cut at {cut}");
    }
}

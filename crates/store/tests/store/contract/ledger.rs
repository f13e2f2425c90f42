//! Ledger and audit.

use serde_json::json;
use windlass_model::{Digest, ImageRef, Tag};
use windlass_store::{AuditEntry, AuditKind, Commit, Health, Intent, LedgerWrite, Record, Store};

use crate::support::{key, repository, signal};

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

async fn write(store: &Store, write: LedgerWrite) {
    store.record(Record { ledger: vec![write], ..Record::default() }).await.unwrap();
}

#[tokio::test]
async fn tags_keep_the_time_of_their_first_sight() {
    let world = super::world();
    let store = world.open().await;
    let start = world.now();
    let seen = |tags: &[&str], at| LedgerWrite::TagsSeen {
        repository: key("a"),
        tags: tags.iter().map(|text| tag(text)).collect(),
        at,
    };
    write(&store, seen(&["1.0", "1.1"], start)).await;
    write(&store, seen(&["1.1", "1.2"], world.after(10))).await;
    write(&store, LedgerWrite::TagsSeen { repository: key("b"), tags: vec![tag("9")], at: start }).await;
    let gone = |at| LedgerWrite::TagsGone { repository: key("a"), tags: vec![tag("1.0"), tag("never")], at };
    write(&store, gone(world.after(20))).await;
    assert_eq!(
        store.load_tags(&key("a")).await.unwrap(),
        [(tag("1.1"), start), (tag("1.2"), world.after(10))]
    );
    let asked = ["never", "1.2", "1.0"].map(tag).to_vec();
    let known = [(tag("1.2"), world.after(10)), (tag("1.0"), start)];
    assert_eq!(
        store.first_seen(&key("a"), asked.clone()).await.unwrap(),
        known,
        "also of tags that are gone"
    );
    assert_eq!(store.first_seen(&key("b"), asked).await.unwrap(), []);
    write(&store, seen(&["1.0"], world.after(30))).await;
    drop(store);
    let store = world.open().await;
    assert_eq!(store.load_tags(&key("a")).await.unwrap()[0], (tag("1.0"), start));
    assert_eq!(store.load_tags(&key("b")).await.unwrap(), [(tag("9"), start)]);
    assert_eq!(store.load_tags(&key("c")).await.unwrap(), []);
}

#[tokio::test]
async fn contents_keep_the_time_of_the_first_sight_in_each_repository() {
    let world = super::world();
    let store = world.open().await;
    let digest = |digit: &str| Digest::parse(&format!("sha256:{}", digit.repeat(64))).unwrap();
    let seen = |repository, digit, at| LedgerWrite::DigestSeen {
        repository: key(repository),
        digest: digest(digit),
        at,
    };
    write(&store, seen("a", "1", world.now())).await;
    write(&store, seen("a", "1", world.after(10))).await;
    write(&store, seen("b", "1", world.after(20))).await;
    drop(store);
    let store = world.open().await;
    let first =
        async |repository, digit| store.digest_first_seen(&key(repository), digest(digit)).await.unwrap();
    assert_eq!(first("a", "1").await, Some(world.now()));
    assert_eq!(first("b", "1").await, Some(world.after(20)));
    assert_eq!(first("a", "2").await, None);
}

#[tokio::test]
async fn long_tag_lists_are_written_whole() {
    let world = super::world();
    let store = world.open().await;
    let tags: Vec<Tag> = (0..5000).map(|n| tag(&format!("1.{n:05}"))).collect();
    store.signal(vec![signal("a", "1.0")], "poll").await.unwrap();
    let work = world.claim_one(&store).await;
    let at = world.now();
    let record = Record {
        ledger: vec![LedgerWrite::TagsSeen { repository: key("a"), tags: tags.clone(), at }],
        ..Record::default()
    };
    store.complete(&work.target, work.generation, record).await.unwrap();
    let expected: Vec<_> = tags.iter().map(|tag| (tag.clone(), at)).collect();
    assert_eq!(store.load_tags(&key("a")).await.unwrap(), expected);
    let gone = LedgerWrite::TagsGone { repository: key("a"), tags: tags[..4999].to_vec(), at };
    write(&store, gone).await;
    assert_eq!(store.load_tags(&key("a")).await.unwrap(), expected[4999..]);
}

#[tokio::test]
async fn latest_image_remembers_the_one_before_it() {
    let world = super::world();
    let store = world.open().await;
    let image = |text: &str| ImageRef { name: "ghcr.io/org/app".into(), tag: tag(text), digest: None };
    let of = |variant: &str, text, at| LedgerWrite::Latest {
        policy: key("p"),
        variant: variant.into(),
        image: image(text),
        at,
    };
    let chose = |text, at| of("", text, at);
    write(&store, chose("1.0", world.now())).await;
    write(&store, chose("1.0", world.after(5))).await;
    let latest = store.load_latest().await.unwrap().remove(0);
    assert_eq!((latest.image, latest.previous, latest.since), (image("1.0"), None, world.now()));
    write(&store, chose("1.1", world.after(10))).await;
    write(&store, chose("1.1", world.after(11))).await;
    let latest = store.load_latest().await.unwrap().remove(0);
    assert_eq!(
        (latest.image, latest.previous, latest.since),
        (image("1.1"), Some(image("1.0")), world.after(10))
    );
    assert_eq!(latest.policy, key("p"));
    write(&store, of("alpine", "1.2-alpine", world.now())).await;
    let latest = store.load_latest().await.unwrap();
    let shown: Vec<_> = latest.iter().map(|l| (l.variant.as_str(), l.image.tag.as_str())).collect();
    assert_eq!(shown, [("", "1.1"), ("alpine", "1.2-alpine")], "each variant has its own");
}

#[tokio::test]
async fn commit_counts_once_for_its_decision_and_the_last_one_is_loaded() {
    let world = super::world();
    let store = world.open().await;
    let commit = |decision: &str, automation: &str, id: &str| Commit {
        decision: decision.into(),
        automation: key(automation),
        id: id.into(),
        branch: "main".into(),
        repository: "https://git.example.com/fleet.git".into(),
        at: world.now(),
        summary: json!({"changes": 1}),
    };
    for landed in [
        commit("d1", "x", "aaa"),
        commit("d2", "x", "bbb"),
        commit("d1", "x", "ccc"), // decisions that were told before
        commit("d2", "x", "ccc"),
        commit("d3", "y", "ddd"),
    ] {
        write(&store, LedgerWrite::Commit(landed)).await;
    }
    assert_eq!(store.load_commits().await.unwrap(), [commit("d2", "x", "bbb"), commit("d3", "y", "ddd")]);
}

#[tokio::test]
async fn push_that_was_begun_is_known_after_a_restart_until_it_is_settled() {
    let world = super::world();
    let store = world.open().await;
    let intent = |id: &str, lane: &str, body: i64, seconds| Intent {
        id: id.into(),
        lane: lane.into(),
        at: world.after(seconds),
        body: json!(body),
    };
    for begun in [
        intent("bbb", "fleet#main", 1, 0),
        intent("aaa", "fleet#main", 2, 5),
        intent("ccc", "other#main", 3, 0),
        intent("bbb", "fleet#main", 9, 9), // told again
    ] {
        write(&store, LedgerWrite::Intent(begun)).await;
    }
    drop(store);
    let store = world.open().await;
    let of_lane = store.load_intents("fleet#main").await.unwrap();
    assert_eq!(of_lane, [intent("bbb", "fleet#main", 1, 0), intent("aaa", "fleet#main", 2, 5)]);
    for id in ["bbb", "bbb", "unknown"] {
        write(&store, LedgerWrite::IntentSettled { id: id.into() }).await;
    }
    assert_eq!(store.load_intents("fleet#main").await.unwrap(), of_lane[1..]);
    assert_eq!(store.load_intents("nobody's").await.unwrap(), []);
}

#[tokio::test]
async fn episode_of_failure_keeps_its_beginning() {
    let world = super::world();
    let store = world.open().await;
    let start = world.now();
    let report = |health, reason: &str, seconds| LedgerWrite::State {
        object: repository("a"),
        health,
        reason: reason.into(),
        at: world.after(seconds),
    };
    for (health, reason, seconds, since) in [
        (Health::Failing, "401", 0, start),
        (Health::Failing, "503", 10, start),
        (Health::Ok, "", 20, world.after(20)),
        (Health::Ok, "", 30, world.after(20)),
        (Health::Failing, "503", 40, world.after(40)),
    ] {
        write(&store, report(health, reason, seconds)).await;
        let states = store.load_states().await.unwrap();
        assert_eq!(states.len(), 1);
        assert_eq!((states[0].health, states[0].reason.as_str(), states[0].since), (health, reason, since));
    }
}

#[tokio::test]
async fn audit_is_read_newest_first_for_all_or_for_one_object() {
    let world = super::world();
    let store = world.open().await;
    let entry = |name: &str, kind, number: i64| AuditEntry {
        at: world.after(number),
        kind,
        object: repository(name),
        detail: json!({ "number": number }),
        event: (number > 0).then(|| format!("event-{number}")),
        about: [].into(),
    };
    let entries: Vec<_> = (0_i64..)
        .zip(AuditKind::ALL)
        .map(|(n, kind)| entry(if n % 2 == 0 { "a" } else { "b" }, kind, n))
        .collect();
    store.record(Record { audit: entries.clone(), ..Record::default() }).await.unwrap();
    let newest: Vec<_> = entries.iter().rev().cloned().collect();
    assert_eq!(store.audit_recent(None, 100).await.unwrap(), newest);
    assert_eq!(store.audit_recent(None, 2).await.unwrap(), newest[..2]);
    let of_b: Vec<_> = newest.into_iter().filter(|entry| entry.object == repository("b")).collect();
    assert_eq!(store.audit_recent(Some(&repository("b")), 100).await.unwrap(), of_b);
    assert_eq!(store.audit_recent(Some(&repository("c")), 100).await.unwrap(), []);
}

#[tokio::test]
async fn record_is_stored_whole_or_not_at_all() {
    let world = super::world();
    let store = world.open().await;
    let bad = windlass_model::ObjectKey::new("a/b", "c");
    let record = Record {
        ledger: vec![
            LedgerWrite::TagsSeen { repository: key("a"), tags: vec![tag("1.0")], at: world.now() },
            LedgerWrite::TagsSeen { repository: bad, tags: vec![tag("1.0")], at: world.now() },
        ],
        ..Record::default()
    };
    store.signal(vec![signal("a", "1.0")], "poll").await.unwrap();
    let work = world.claim_one(&store).await;
    store.complete(&work.target, work.generation, record).await.unwrap_err();
    assert_eq!(store.load_tags(&key("a")).await.unwrap(), []);
    // The claim is as it was, too.
    assert_eq!(world.claim(&store).await, []);
    store.complete(&work.target, work.generation, Record::default()).await.unwrap();
}

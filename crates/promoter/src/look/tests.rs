use windlass_model::{Clock as _, ImageName};
use windlass_registry::{ErrorKind, Metrics, Pool, PoolConfig, RepositoryConfig};

use super::*;
use crate::testing::{TestClock, TestRegistry, digest, pushed, pushed_with, rescan, spec, tag};

struct Looks {
    registry: TestRegistry,
    client: Repository,
    known: KnownTags,
    clock: TestClock,
}

impl Looks {
    async fn at(tags: &[&str]) -> Self {
        let registry = TestRegistry::start(tags).await;
        let spec = spec(&[&registry.repository()]);
        let image: ImageName = spec.image_repositories.values().next().unwrap().image.clone();
        let pool = Pool::new(
            PoolConfig::default(),
            Metrics::register(&mut prometheus_client::registry::Registry::default()),
        );
        let config = RepositoryConfig::new(image.clone(), std::time::Duration::from_mins(1));
        let client = pool.repository(RepositoryConfig { insecure: true, ..config }).unwrap();
        let known = KnownTags::new(image, tags.iter().map(|text| tag(text)).collect());
        Self { registry, client, known, clock: TestClock::default() }
    }

    async fn look(&mut self, hints: &[Received]) -> Seen {
        look(&self.client, &mut self.known, hints, self.clock.now()).await
    }
}

#[tokio::test]
async fn a_tag_that_an_event_named_is_asked_for_and_nothing_else() {
    let mut looks = Looks::at(&["1.0.0"]).await;
    looks.registry.push("1.1.0", 'b');
    let signature = format!("sha256-{}.sig", "a".repeat(64));
    let now = looks.clock.now();
    let seen = looks.look(&[pushed("1.1.0", now), pushed(&signature, now)]).await;
    assert_eq!((seen.change.added, seen.listed), (vec![tag("1.1.0")], false));
    assert_eq!(looks.registry.asked(), ["1.1.0"]);
    assert!(looks.known.contains(&tag("1.1.0")));
}

#[tokio::test]
async fn a_pushed_tag_that_is_not_there_yet_is_awaited_and_not_taken_for_deleted() {
    let mut looks = Looks::at(&["1.0.0", "1.1.0"]).await;
    looks.registry.delete("1.1.0");
    let hints = [pushed("1.1.0", looks.clock.now())];
    let seen = looks.look(&hints).await;
    assert_eq!(seen.awaited, BTreeSet::from([tag("1.1.0")]));
    assert!(looks.known.contains(&tag("1.1.0")), "a replica that lags behind rolls nothing back");
    looks.clock.advance(15);
    let seen = looks.look(&hints).await;
    assert!(seen.awaited.is_empty(), "then it is given up");
    assert_eq!(seen.change.removed, [tag("1.1.0")]);
}

#[tokio::test]
async fn a_tag_that_does_not_have_the_stated_digest_yet_is_looked_at_again() {
    let mut looks = Looks::at(&["1.0.0"]).await;
    let moved = [pushed_with("1.0.0", 'b', looks.clock.now())];
    let awaited = BTreeSet::from([tag("1.0.0")]);
    assert_eq!(looks.look(&moved).await.awaited, awaited, "the event came before the tag moved");
    looks.registry.push("1.0.0", 'b');
    let seen = looks.look(&moved).await;
    assert!(seen.awaited.is_empty());
    assert_eq!(seen.digests[&tag("1.0.0")].as_str(), digest('b'));
    // There and back: the later event decides, and of two that came together either.
    let first = looks.clock.now();
    looks.clock.advance(1);
    let back = [pushed_with("1.0.0", 'c', first), pushed_with("1.0.0", 'b', looks.clock.now())];
    assert!(looks.look(&back).await.awaited.is_empty());
    let there = [pushed_with("1.0.0", 'b', first), pushed_with("1.0.0", 'c', looks.clock.now())];
    assert_eq!(looks.look(&there).await.awaited, awaited);
    let together = [pushed_with("1.0.0", 'b', first), pushed_with("1.0.0", 'c', first)];
    assert!(looks.look(&together).await.awaited.is_empty());
    // A sender that states what is not true is not believed for long.
    looks.clock.advance(15);
    assert!(looks.look(&there).await.awaited.is_empty());
}

#[tokio::test]
async fn a_tag_that_the_registry_refuses_hides_neither_the_others_nor_the_list() {
    let mut looks = Looks::at(&["1.0.0"]).await;
    looks.registry.push("1.1.0", 'b');
    looks.registry.push("1.2.0", 'c');
    looks.registry.refuse("1.2.0", 403);
    let now = looks.clock.now();
    let seen = looks.look(&[pushed("1.2.0", now), pushed("1.1.0", now), rescan(now)]).await;
    assert_eq!(seen.failure.map(|failure| failure.kind()), Some(ErrorKind::Forbidden));
    assert!(seen.listed);
    assert_eq!(seen.change.added, [tag("1.1.0"), tag("1.2.0")]);
}

#[tokio::test]
async fn a_registry_that_is_down_is_not_asked_for_the_list_too() {
    let mut looks = Looks::at(&["1.0.0"]).await;
    looks.registry.refuse("1.0.0", 500);
    let now = looks.clock.now();
    let seen = looks.look(&[pushed("1.0.0", now), rescan(now)]).await;
    assert_eq!(seen.failure.map(|failure| failure.kind()), Some(ErrorKind::Server));
    assert!(!looks.registry.asked().contains(&"list".to_owned()));
}

#[tokio::test]
async fn signatures_and_untagged_manifests_cost_no_request() {
    let mut looks = Looks::at(&["1.0.0"]).await;
    let digest = Digest::parse(&digest('a')).unwrap();
    let hints = [Hint::ReferrerPushed { subject: digest.clone() }, Hint::ManifestPushed { digest }]
        .map(|hint| Received { hint, event: "e".to_owned(), at: looks.clock.now() });
    let seen = looks.look(&hints).await;
    assert!(seen.failure.is_none() && seen.change == Change::default());
    assert_eq!(looks.registry.asked(), [""; 0]);
}

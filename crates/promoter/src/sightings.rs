//! When tags were first seen: what the ledger is told of a look, and what an order by these times reads back.
//!
//! The ledger alone keeps the times. They survive restarts so, also those of tags that are gone for a while, and where no
//! policy compares them they cost no memory.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use windlass_model::resource::{ImageRepository, LeadingOrder};
use windlass_model::signal::Received;
use windlass_model::{Hint, ObjectKey, Spec, Tag};
use windlass_policy::election::Choice;
use windlass_policy::plan::{Facts, PolicyFacts};
use windlass_policy::rank::FirstSeen;
use windlass_store::{LedgerWrite, Record, Store, StoreError};

use crate::adopted::Adopted;
use crate::images::ledger_key;
use crate::known::Change;

/// The step between what the first list finds and what came after it.
const JUST_BEFORE: SignedDuration = SignedDuration::from_micros(1);

/// What one look tells the ledger.
pub(crate) struct Sightings<'a> {
    /// The ledger's key of the repository.
    pub(crate) repository: ObjectKey,
    pub(crate) change: &'a Change,
    /// The events that led to the look.
    pub(crate) hints: &'a [Received],
    /// Whether the look read the first list of this image.
    pub(crate) first_list: bool,
    pub(crate) now: Timestamp,
}

impl Sightings<'_> {
    /// A tag that an event named was seen when the event was accepted; another one is seen now. What the first list finds
    /// was there before everything that events named, and nobody knows since when: all of it is of one time.
    pub(crate) fn writes(&self) -> Vec<LedgerWrite> {
        self.writes_before(None)
    }

    /// As [`Self::writes`], for a first list that finds times in the ledger already, of tags that events named before.
    fn writes_before(&self, recorded: Option<Timestamp>) -> Vec<LedgerWrite> {
        let named = self.named();
        let unnamed = match named.values().copied().chain(recorded).min() {
            Some(earliest) if self.first_list => earliest.checked_sub(JUST_BEFORE).unwrap_or(earliest),
            _ => self.now,
        };
        let mut seen: BTreeMap<Timestamp, Vec<Tag>> = BTreeMap::new();
        for tag in &self.change.added {
            seen.entry(named.get(tag).copied().unwrap_or(unnamed)).or_default().push(tag.clone());
        }
        let repository = || self.repository.clone();
        let seen =
            seen.into_iter().map(|(at, tags)| LedgerWrite::TagsSeen { repository: repository(), tags, at });
        let gone = (!self.change.removed.is_empty()).then(|| LedgerWrite::TagsGone {
            repository: repository(),
            tags: self.change.removed.clone(),
            at: self.now,
        });
        seen.chain(gone).collect()
    }

    /// The first-seen times of the repository's tags, where one of its policies compares them. What was just seen is
    /// recorded before, so that the times that are compared are the ledger's, now and after a restart.
    pub(crate) async fn times(
        &self,
        store: &Store,
        spec: &Adopted,
        repository: &ImageRepository,
    ) -> Result<FirstSeen, StoreError> {
        let mut policies = spec.policies_of(&repository.meta.key).iter();
        if !policies.any(|policy| policy.order == Some(LeadingOrder::NewestPushed)) {
            return Ok(FirstSeen::default());
        }
        let recorded = if self.first_list { self.load(store).await?.map(|(_, at)| at).min() } else { None };
        let ledger = self.writes_before(recorded);
        if !ledger.is_empty() {
            store.record(Record { ledger, ..Record::default() }).await?;
        }
        Ok(self.load(store).await?.collect())
    }

    async fn load(&self, store: &Store) -> Result<impl Iterator<Item = (Tag, Timestamp)>, StoreError> {
        Ok(store.load_tags(&self.repository).await?.into_iter())
    }

    /// The tags that events named, each with the earliest one's time.
    fn named(&self) -> BTreeMap<&Tag, Timestamp> {
        let mut named = BTreeMap::new();
        for Received { hint, at, .. } in self.hints {
            if let Hint::TagPushed { tag, .. } = hint {
                let earliest = named.entry(tag).or_insert(*at);
                *earliest = (*earliest).min(*at);
            }
        }
        named
    }
}

/// Adds the first-seen times of the tags that a decision compares, where their policy's order asks for them.
pub(crate) async fn complete(facts: &mut Facts, store: &Store, spec: &Spec) {
    let Facts { policies, places, agreed, .. } = facts;
    for (key, fact) in policies {
        let repository =
            spec.image_policies.get(key).and_then(|p| spec.image_repositories.get(&p.repository));
        let choices: Vec<&mut Choice> = match fact {
            PolicyFacts::Chosen(choice) => vec![choice],
            PolicyFacts::Locked(variants) => variants.values_mut().flatten().collect(),
            PolicyFacts::Waiting(_) | PolicyFacts::NotSelected => Vec::new(),
        };
        let by_time = choices.iter().any(|choice| choice.selector.is_led_by_time());
        let Some(repository) = repository.filter(|_| by_time) else { continue };
        let present = places
            .iter()
            .filter(|place| place.marker.policy == *key)
            .filter_map(|place| place.marker.part.read(&place.value).tag);
        let agreed = agreed
            .iter()
            .filter(|((_, track), _)| track.policy == *key)
            .map(|(_, agreed)| agreed.tag.clone());
        let mut tags: Vec<Tag> =
            present.chain(agreed).chain(choices.iter().map(|choice| choice.image.tag.clone())).collect();
        tags.sort_unstable();
        tags.dedup();
        match store.first_seen(&ledger_key(repository), tags).await {
            Ok(times) => {
                let times: FirstSeen = times.into_iter().collect();
                for choice in choices {
                    choice.first_seen = times.clone();
                }
            }
            Err(error) => {
                *fact =
                    PolicyFacts::Waiting(format!("when its tags were first seen could not be read: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_model::{Clock as _, Kind, Signal};
    use windlass_policy::lock::Track;

    use super::*;
    use crate::testing::{TestRegistry, World, key, object, pushed, rescan, tag};
    use crate::work::run_one;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn writes(
        change: &Change,
        hints: &[Received],
        first_list: bool,
    ) -> Vec<(Vec<String>, Option<Timestamp>)> {
        let repository = ObjectKey::new("apps", "ghcr.io/org/app");
        let sightings = Sightings { repository, change, hints, first_list, now: at(100) };
        let shown = |write: LedgerWrite| match write {
            LedgerWrite::TagsSeen { tags, at, .. } => {
                (tags.iter().map(ToString::to_string).collect(), Some(at))
            }
            LedgerWrite::TagsGone { tags, .. } => (tags.iter().map(ToString::to_string).collect(), None),
            other => panic!("{other:?}"),
        };
        sightings.writes().into_iter().map(shown).collect()
    }

    #[test]
    fn a_tag_was_seen_when_the_first_event_that_named_it_was_accepted() {
        let change = Change {
            added: vec![tag("a"), tag("b"), tag("c")],
            removed: vec![tag("x")],
            ..Change::default()
        };
        let hints =
            [pushed("b", at(20)), pushed("a", at(50)), pushed("a", at(40)), pushed("unknown", at(10))];
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            writes(&change, &hints, false),
            [
                (texts(&["b"]), Some(at(20))),
                (texts(&["a"]), Some(at(40))),
                (texts(&["c"]), Some(at(100))),
                (texts(&["x"]), None),
            ]
        );
        assert!(writes(&Change::default(), &hints, false).is_empty());
    }

    /// A policy by first-seen time, and by name where that does not tell.
    const NEWEST: &str = "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata:\n  name: app\n  \
        namespace: apps\n  annotations: {windlass.dev/order: newest-pushed}\n\
        spec: {imageRepositoryRef: {name: app}, policy: {alphabetical: {}}}";

    /// Looks at the registry, and settles the work as the dispatcher does. Returns the choice.
    async fn look(world: &World, hints: Vec<Received>) -> String {
        let target = object(Kind::ImageRepository, "app");
        for received in &hints {
            let signal = Signal { target: target.clone(), hint: received.hint.clone() };
            world.shared.store.signal(vec![signal], &received.event).await.unwrap();
        }
        let work = world
            .shared
            .store
            .claim(&windlass_store::Keys::ALL, 1, world.clock.now())
            .await
            .unwrap()
            .remove(0);
        run_one(&world.shared, work).await;
        world.clock.advance(60);
        world.shared.choices.latest(&Track::only(&key("app"))).unwrap().tag.to_string()
    }

    #[tokio::test]
    async fn the_newest_pushed_tag_is_chosen_and_a_tag_that_comes_back_is_as_old_as_it_was() {
        let registry = TestRegistry::start(&["beef", "f00d"]).await;
        let world = World::new(&[&registry.repository(), NEWEST]).await;
        let (rescans, push) =
            (|| vec![rescan(world.clock.now())], |tag: &str| vec![pushed(tag, world.clock.now())]);
        assert_eq!(look(&world, rescans()).await, "f00d", "both were there: the rule's own order decides");
        registry.push("abba", 'a');
        assert_eq!(look(&world, push("abba")).await, "abba");
        registry.push("0000", 'b');
        assert_eq!(look(&world, rescans()).await, "0000", "a poll finds it too");
        registry.delete("0000");
        assert_eq!(look(&world, rescans()).await, "abba");
        registry.push("1111", 'c');
        assert_eq!(look(&world, push("1111")).await, "1111");
        registry.push("0000", 'b');
        assert_eq!(look(&world, rescans()).await, "1111", "it was seen before");
    }

    #[tokio::test]
    async fn a_tag_that_an_event_names_before_the_first_list_is_newer_than_all_that_the_list_finds() {
        for together in [true, false] {
            let registry = TestRegistry::start(&["beef", "f00d", "abba"]).await;
            let world = World::new(&[&registry.repository(), NEWEST]).await;
            let (event, list) = (pushed("abba", world.clock.now()), rescan(world.clock.now()));
            let chosen = if together {
                look(&world, vec![event, list]).await
            } else {
                assert_eq!(look(&world, vec![event]).await, "abba");
                look(&world, vec![list]).await
            };
            assert_eq!(chosen, "abba", "together: {together}");
        }
    }

    #[test]
    fn what_the_first_list_finds_is_older_than_what_events_named() {
        let change = Change { added: vec![tag("a"), tag("b")], ..Change::default() };
        let found = writes(&change, &[pushed("b", at(20))], true);
        assert_eq!(found.len(), 2);
        assert!(
            found[0].0 == ["a"]
                && found[0].1 < Some(at(20))
                && found[1] == (vec!["b".to_owned()], Some(at(20)))
        );
        assert_eq!(writes(&change, &[], true), [(vec!["a".to_owned(), "b".to_owned()], Some(at(100)))]);
    }
}

//! Work on one ImageRepository: look at the registry, choose for each of its policies, and hand what changed to the
//! lanes.

mod choosing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use windlass_model::resource::{ImagePolicy, ImageRepository, Resource};
use windlass_model::signal::Received;
use windlass_model::{Hint, ImageRef, Kind, ObjectKey, ObjectRef, Spec, Tag};
use windlass_policy::lock::Track;
use windlass_policy::rank::FirstSeen;
use windlass_registry::{RegistryError, Repository};
use windlass_store::{LedgerWrite, Record, StoreError, Work};

use crate::adopted::Adopted;
use crate::approach::Approach;
use crate::board::Severity;
use crate::choices::Cause;
use crate::known::{Change, KnownTags};
use crate::lanes::{Answer, LaneFailure, Lanes};
use crate::look::{Seen, look};
use crate::shared::{Shared, registry_pause, registry_severity};
use crate::sightings::Sightings;
use crate::trail;
use crate::work::Done;

/// The known tags of every ImageRepository. Its work is exclusive per key, so no lock is ever waited for long.
#[derive(Debug, Default)]
pub(crate) struct Images {
    known: Mutex<HashMap<ObjectKey, Arc<tokio::sync::Mutex<Option<KnownTags>>>>>,
}

impl Images {
    fn slot(&self, repository: &ObjectKey) -> Arc<tokio::sync::Mutex<Option<KnownTags>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(repository.clone()).or_default().clone()
    }

    /// Forgets the repositories that are configured no more.
    pub(crate) fn retain(&self, keep: impl Fn(&ObjectKey) -> bool) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|repository, _| keep(repository));
    }
}

/// Runs the work of one ImageRepository.
pub(crate) async fn run(shared: &Arc<Shared>, work: &Work) -> Done {
    let spec = shared.spec();
    let Some(repository) = spec.image_repositories.get(&work.target.key).cloned() else {
        return Done::nothing();
    };
    // The board shows why; a change of the configuration that mends it brings a signal of its own.
    if repository.suspend || spec.why_not_ready(&work.target).is_some() {
        return Done::nothing();
    }
    let connection = crate::access::registry(&spec, &repository)
        .and_then(|config| shared.pool.repository(config).map_err(|error| error.to_string()));
    let client = match connection {
        Ok(client) => client,
        Err(why) => return Box::pin(shared.failing(&work.target, why, Severity::Lasting)).await,
    };
    let approach = approach(shared, &spec, work);
    let slot = shared.images.slot(&work.target.key);
    let mut slot = slot.lock().await;
    // Put back at the end only: a run that broke off may have learned of tags that were not chosen among. The next one
    // starts from the ledger and finds them again.
    let mut known = match take_known(shared, &repository, &mut slot).await {
        Ok(known) => known,
        Err(why) => return Done::retry(why),
    };
    let (unlisted, now) = (!known.is_listed(), shared.now());
    let seen = look(&client, &mut known, &work.hints, now).await;
    // Boxed, so that the thousands that may wait for a registry hold no room for what comes after it.
    let concluded = Box::pin(async {
        let sightings = Sightings {
            repository: ledger_key(&repository),
            change: &seen.change,
            hints: &work.hints,
            first_list: unlisted && seen.listed,
            now,
        };
        let first_seen = sightings.times(&shared.store, &spec, &repository).await?;
        let ledger = sightings.writes();
        let run =
            Run { shared, spec: &spec, repository: &repository, client: &client, work, approach, first_seen };
        Ok::<_, StoreError>(run.finish(&known, seen, ledger).await)
    });
    match concluded.await {
        Ok(done) => {
            *slot = Some(known);
            done
        }
        Err(error) => Done::retry(error.to_string()),
    }
}

/// Announces the image to the lanes that it may have something for. A look without an event seldom finds news, and a
/// lane must not wait for a poll of everything.
fn approach(shared: &Shared, spec: &Adopted, work: &Work) -> Approach {
    let is_event = |received: &Received| matches!(received.hint, Hint::TagPushed { .. });
    let policies = spec.policies_of(&work.target.key).iter().filter(|_| work.hints.iter().any(is_event));
    shared
        .lanes
        .approaches
        .announce(Lanes::of(spec, policies.flat_map(|policy| automations_of(spec, policy))))
}

/// The known tags, loaded from the ledger on the first use and when `spec.image` changed.
async fn take_known(
    shared: &Shared,
    repository: &ImageRepository,
    slot: &mut Option<KnownTags>,
) -> Result<KnownTags, String> {
    if let Some(known) = slot.take().filter(|known| *known.image() == repository.image) {
        return Ok(known);
    }
    let remembered = shared.store.load_tags(&ledger_key(repository)).await.map_err(|e| e.to_string())?;
    let tags = remembered.into_iter().map(|(tag, _)| tag).collect();
    Ok(KnownTags::new(repository.image.clone(), tags))
}

/// Tags are remembered per namespace and image, not per resource: renaming a resource loses no first-seen time, and
/// another namespace's credentials never lend their view.
pub(crate) fn ledger_key(repository: &ImageRepository) -> ObjectKey {
    ObjectKey::new(repository.meta.key.namespace.clone(), repository.image.to_string())
}

/// One run, after the registry was looked at.
struct Run<'a> {
    shared: &'a Arc<Shared>,
    spec: &'a Adopted,
    repository: &'a Arc<ImageRepository>,
    client: &'a Repository,
    work: &'a Work,
    approach: Approach,
    /// Empty where no policy of the repository compares them.
    first_seen: FirstSeen,
}

/// What a look found out.
#[derive(Default)]
struct Learned {
    record: Record,
    /// What each policy chooses, as people read it.
    choices: BTreeMap<String, String>,
}

impl Learned {
    fn add(&mut self, policy: &ImagePolicy, images: &BTreeMap<Track, ImageRef>, news: Record) {
        if !images.is_empty() {
            let shown: Vec<_> = images.values().map(ToString::to_string).collect();
            self.choices.insert(policy.meta.key.to_string(), shown.join(", "));
        }
        self.record.ledger.extend(news.ledger);
        self.record.audit.extend(news.audit);
    }
}

impl Run<'_> {
    async fn finish(&self, known: &KnownTags, mut seen: Seen, ledger: Vec<LedgerWrite>) -> Done {
        let now = self.shared.now();
        self.report(&seen.change, known);
        let mut learned = Learned { record: Record { ledger, ..Record::default() }, ..Learned::default() };
        let mut failure = None;
        if seen.listed || known.len() > 0 {
            failure = self.choose_all(known, &mut seen, now, &mut learned).await;
        } else if let Some(error) = &seen.failure {
            self.let_policies_wait(error, now);
        }
        let Learned { mut record, choices } = learned;
        let is_done = failure.is_none() && seen.awaited.is_empty() && seen.failure.is_none();
        if is_done || seen.change.is_news() {
            let hints = &self.work.hints;
            record.audit.extend(trail::scanned(self.repository, known, &seen, hints, &choices, now));
        }
        if let Some(error) = &seen.failure {
            let severity = registry_severity(error);
            let pause = registry_pause(error);
            return self
                .shared
                .failing_with(&self.work.target, error.to_string(), severity, record, pause)
                .await;
        }
        self.succeed(known, seen.listed, now).await;
        if let Some((reason, after)) = failure {
            return Done::retry_after(reason, after).with(record);
        }
        if !seen.awaited.is_empty() {
            let awaited: Vec<_> = seen.awaited.iter().map(Tag::as_str).collect();
            let awaited = awaited.join(", ");
            return Done::retry(format!(
                "the registry does not have {awaited} (yet), or not as the event says"
            ))
            .with(record);
        }
        Done::recorded(record)
    }

    /// Nothing is known of the image, so its policies cannot be tried: they were looked at all the same.
    fn let_policies_wait(&self, error: &RegistryError, now: Timestamp) {
        for policy in self.spec.policies_of(&self.repository.meta.key) {
            let message = format!("waits for {}: {error}", self.work.target);
            self.shared.board.waiting(&policy.object_ref(), message, now);
        }
    }

    /// Chooses for each policy of this repository, then lets the lanes write what changed, all at once.
    async fn choose_all(
        &self,
        known: &KnownTags,
        seen: &mut Seen,
        now: Timestamp,
        learned: &mut Learned,
    ) -> Option<(String, Option<Duration>)> {
        let mut failure = None;
        let mut wanted = BTreeSet::new();
        let mut again = Vec::new();
        for policy in self.spec.policies_of(&self.repository.meta.key) {
            if policy.suspend || self.spec.why_not_ready(&policy.object_ref()).is_some() {
                self.shared.choices.pass_over(policy);
                continue;
            }
            let chosen = self.choose_for(policy, known, seen, now).await;
            self.show(policy, &chosen).await;
            let choosing::Chosen { images, news, blocked, unknown, .. } = chosen;
            learned.add(policy, &images, news);
            if !images.is_empty() || policy.variant_lock {
                let lanes = &self.shared.lanes;
                let written = |automation: &_| lanes.has_written(automation, policy, &images);
                wanted.extend(automations_of(self.spec, policy).filter(|automation| !written(automation)));
            }
            failure = unknown.map(|unknown| (unknown.reason, unknown.pause)).or(failure);
            again.extend(blocked.into_iter().filter_map(|b| Some((b.prospects.again?, b.reason))));
        }
        if let Err(lane) = self.write(wanted).await {
            failure = Some((lane.reason, lane.pause));
        }
        let again = again.into_iter().min().map(|(pause, reason)| (reason, Some(pause)));
        failure.or(again)
    }

    /// Lets the lanes write, all at once. Of several failures, the one that may be tried again first counts.
    async fn write(&self, wanted: BTreeSet<ObjectKey>) -> Result<(), LaneFailure> {
        let lanes = &self.shared.lanes;
        let answers: Vec<Answer> =
            wanted.into_iter().map(|automation| lanes.request(self.shared, automation)).collect();
        self.approach.arrive();
        let mut failures = Vec::new();
        for answer in answers {
            failures.extend(answer.wait().await.err());
        }
        failures.into_iter().min_by_key(|failure| failure.pause).map_or(Ok(()), Err)
    }

    /// The event that brought the image in: the earliest that named its tag, else the earliest of all.
    fn cause(&self, chosen: &Tag) -> Cause {
        let names =
            |received: &&Received| matches!(&received.hint, Hint::TagPushed { tag, .. } if tag == chosen);
        let by_age = |received: &&Received| received.at;
        let event = self.work.hints.iter().filter(names).min_by_key(by_age);
        Cause {
            event: event
                .or_else(|| self.work.hints.iter().min_by_key(by_age))
                .map(|received| received.event.clone()),
            pushed_at: event.map(|received| received.at),
        }
    }

    /// Tells of what is strange. Only where a Receiver should have announced a tag does a missed one mean a lost event.
    fn report(&self, change: &Change, known: &KnownTags) {
        let repository = &self.repository.meta.key;
        if change.doubted > 0 {
            tracing::warn!(%repository, missing = change.doubted, known = known.len(), "the tag list lacks most of what is known: it is believed when the next one does too");
        }
        let covered = || {
            let names_it = |r: &&Arc<ImageRepository>| r.meta.key == *repository;
            let receivers = self.spec.receivers.values();
            receivers.filter(|r| !r.suspend).any(|r| r.image_repositories(self.spec).iter().any(names_it))
        };
        if change.missed > 0 && covered() {
            tracing::warn!(%repository, tags = change.missed, "a resync found tags that no event had announced");
            self.shared.metrics.resync_found(change.missed);
        }
    }

    async fn succeed(&self, known: &KnownTags, listed: bool, now: Timestamp) {
        let message = format!("successful scan: found {} tags", known.len());
        let tags = known.len();
        self.shared
            .succeeded(&self.work.target, message, |details| {
                details.tags = Some(tags);
                if listed {
                    details.last_scan = Some(now);
                }
            })
            .await;
    }
}

/// The automations that write what a policy chooses.
pub(crate) fn automations_of<'a>(
    spec: &'a Spec,
    policy: &'a ImagePolicy,
) -> impl Iterator<Item = ObjectKey> + 'a {
    let selects = move |automation: &&Arc<windlass_model::resource::ImageUpdateAutomation>| {
        automation.meta.key.namespace == policy.meta.key.namespace
            && automation
                .policy_selector
                .as_ref()
                .is_none_or(|selector| selector.matches(&policy.meta.labels))
    };
    spec.automations.values().filter(selects).map(|automation| automation.meta.key.clone())
}

/// The queue's key of an ImageRepository.
pub(crate) fn target(repository: &ObjectKey) -> ObjectRef {
    ObjectRef::new(Kind::ImageRepository, repository.clone())
}

#[cfg(test)]
mod tests;

//! What is known of each resource at present: readiness, message, details. `status` reads it; `/readyz` asks it
//! whether everything was tried.
//!
//! The board also decides when people are told: once when a resource starts to fail, once when it works again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use windlass_model::resource::{NoticeKind, Resource};
use windlass_model::status::{Details, ObjectStatus, Readiness};
use windlass_model::{Kind, ObjectRef};

use crate::adopted::Adopted;

/// A passing failure is told when it happened this often in a row: one lost connection is no news.
const PASSING_FAILURES_BEFORE_TELLING: u32 = 3;

/// The state of every configured resource.
#[derive(Debug, Default)]
pub(crate) struct Board {
    entries: Mutex<BTreeMap<ObjectRef, Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    readiness: Readiness,
    message: String,
    since: Option<Timestamp>,
    details: Details,
    failures: u32,
    told: bool,
    tried: bool,
    decided_by: By,
}

/// What decides on a resource's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// What comes of the work on it.
    Work,
    /// The configuration alone: what an earlier configuration's work reports changes nothing.
    Configuration,
    /// The same, because of another resource that it needs; people are told of that one.
    Need,
}

/// A state that the configuration decides on.
struct Fixed {
    readiness: Readiness,
    message: String,
    by: By,
}

/// How long a failure may be expected to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// A timeout, an outage: it may pass by itself.
    Passing,
    /// Wrong credentials, a refusal, a mistake in the configuration: somebody has to act.
    Lasting,
}

impl Board {
    /// Takes a new configuration over: new resources are pending, removed ones are forgotten, and those that cannot
    /// work say why.
    pub(crate) fn adopt(&self, spec: &Adopted, now: Timestamp) {
        let standing = standing(spec);
        let mut entries = self.lock();
        entries.retain(|object, _| standing.contains_key(object));
        for (object, fixed) in standing {
            // A Notifier works until a delivery says otherwise; a new configuration may have mended it.
            let is_notifier = object.kind == Kind::Notifier;
            let entry = entries.entry(object).or_insert_with(Entry::pending);
            entry.decided_by = By::Work;
            if let Some(Fixed { readiness, message, by }) = fixed {
                entry.decided_by = by;
                entry.become_(readiness, message, now);
                entry.tried = true;
            } else if is_notifier {
                entry.become_(Readiness::Ready, "loaded".to_owned(), now);
                entry.tried = true;
            } else if entry.readiness == Readiness::Suspended {
                entry.become_(Readiness::Pending, "resumed, not tried yet".to_owned(), now);
            }
        }
    }

    /// What people should be told of the states that the configuration decided on, with the messages.
    pub(crate) fn news_of_configuration(&self) -> Vec<(ObjectRef, NoticeKind, String)> {
        let mut news = Vec::new();
        let decided = |entry: &Entry| entry.decided_by == By::Configuration;
        for (object, entry) in self.lock().iter_mut().filter(|(_, entry)| decided(entry)) {
            let kind = match (entry.readiness, entry.told) {
                (Readiness::Failing, false) => NoticeKind::Failed,
                (Readiness::Ready, true) => NoticeKind::Recovered,
                _ => continue,
            };
            entry.told = kind == NoticeKind::Failed;
            news.push((object.clone(), kind, entry.message.clone()));
        }
        news
    }

    /// Remembers, after a restart, which failures people know of already.
    pub(crate) fn remember_told(&self, objects: impl IntoIterator<Item = ObjectRef>) {
        let mut entries = self.lock();
        for object in objects {
            if let Some(entry) = entries.get_mut(&object) {
                entry.told = true;
            }
        }
    }

    /// Remembers, after a restart, the last commit of an automation.
    pub(crate) fn remember_commit(&self, object: &ObjectRef, id: String, at: Timestamp) {
        if let Some(entry) = self.lock().get_mut(object) {
            entry.details.last_commit = Some(id);
            entry.details.last_commit_at = Some(at);
        }
    }

    /// The last try succeeded. Returns what people should be told, if anything.
    pub(crate) fn ready(
        &self,
        object: &ObjectRef,
        message: String,
        now: Timestamp,
        detail: impl FnOnce(&mut Details),
    ) -> Option<NoticeKind> {
        let mut entries = self.lock();
        let entry = entries.get_mut(object)?;
        detail(&mut entry.details);
        if entry.decided_by != By::Work {
            return None;
        }
        entry.become_(Readiness::Ready, message, now);
        entry.failures = 0;
        entry.tried = true;
        std::mem::take(&mut entry.told).then_some(NoticeKind::Recovered)
    }

    /// The last try failed. Returns what people should be told, if anything.
    pub(crate) fn failing(
        &self,
        object: &ObjectRef,
        message: String,
        severity: Severity,
        now: Timestamp,
    ) -> Option<NoticeKind> {
        let mut entries = self.lock();
        let entry = entries.get_mut(object).filter(|entry| entry.decided_by == By::Work)?;
        entry.become_(Readiness::Failing, message, now);
        entry.failures = entry.failures.saturating_add(1);
        entry.tried = true;
        let news = severity == Severity::Lasting || entry.failures >= PASSING_FAILURES_BEFORE_TELLING;
        if !news || entry.told {
            return None;
        }
        entry.told = true;
        Some(NoticeKind::Failed)
    }

    /// It was looked at, and something else has to be there first; nobody is told of it.
    pub(crate) fn waiting(&self, object: &ObjectRef, message: String, now: Timestamp) {
        if let Some(entry) = self.lock().get_mut(object).filter(|entry| entry.decided_by == By::Work) {
            entry.become_(Readiness::Pending, message, now);
            entry.tried = true;
        }
    }

    /// What people should be told could not be recorded: it is news again at the next try.
    pub(crate) fn not_told(&self, object: &ObjectRef, kind: NoticeKind) {
        if let Some(entry) = self.lock().get_mut(object) {
            entry.told = kind == NoticeKind::Recovered;
        }
    }

    /// The resources that fail or wait at present: a change of the configuration may have mended them.
    pub(crate) fn not_ready(&self) -> Vec<ObjectRef> {
        let entries = self.lock();
        let waits = |entry: &Entry| matches!(entry.readiness, Readiness::Failing | Readiness::Pending);
        entries.iter().filter(|(_, entry)| waits(entry)).map(|(object, _)| object.clone()).collect()
    }

    /// Since when a resource is in its present state.
    pub(crate) fn since(&self, object: &ObjectRef) -> Option<Timestamp> {
        self.lock().get(object).and_then(|entry| entry.since)
    }

    /// Whether every resource was tried once, whatever came of it. A policy is tried with its repository: while that
    /// fails there is nothing to try.
    pub(crate) fn all_tried(&self) -> bool {
        self.lock().iter().all(|(object, entry)| entry.tried || object.kind == Kind::ImagePolicy)
    }

    /// Every resource, in the order of kinds and names.
    pub(crate) fn list(&self) -> Vec<ObjectStatus> {
        let entries = self.lock();
        let status = |(object, entry): (&ObjectRef, &Entry)| ObjectStatus {
            object: object.clone(),
            ready: entry.readiness,
            message: entry.message.clone(),
            since: entry.since,
            details: entry.details.clone(),
        };
        entries.iter().map(status).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectRef, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn pending() -> Self {
        Self {
            readiness: Readiness::Pending,
            message: "not tried yet".to_owned(),
            since: None,
            details: Details::default(),
            failures: 0,
            told: false,
            tried: false,
            decided_by: By::Work,
        }
    }

    fn become_(&mut self, readiness: Readiness, message: String, now: Timestamp) {
        if self.readiness != readiness || self.since.is_none() {
            self.since = Some(now);
        }
        self.readiness = readiness;
        self.message = message;
    }
}

/// Every resource of our share that has a status, with its state where the configuration decides on it.
fn standing(spec: &Adopted) -> BTreeMap<ObjectRef, Option<Fixed>> {
    let mut all = BTreeMap::new();
    for repository in spec.image_repositories.values() {
        all.insert(repository.object_ref(), own(spec, repository.as_ref(), repository.suspend));
    }
    for policy in spec.image_policies.values() {
        let fixed = own(spec, policy.as_ref(), policy.suspend);
        let repository = spec.image_repositories.get(&policy.repository);
        let of_repository =
            || inherited(&repository?.object_ref(), &own(spec, &**repository?, repository?.suspend)?);
        all.insert(policy.object_ref(), fixed.or_else(of_repository));
    }
    for automation in spec.automations.values() {
        let fixed = own(spec, automation.as_ref(), automation.suspend);
        let source = spec.git_repositories.get(&automation.source);
        let of_source = || inherited(&source?.object_ref(), &own(spec, &**source?, source?.suspend)?);
        all.insert(automation.object_ref(), fixed.or_else(of_source));
    }
    for source in spec.git_repositories.values() {
        all.insert(source.object_ref(), Some(loaded(spec, source.as_ref(), source.suspend)));
    }
    for guard in spec.guards.values() {
        let by_its_roots = || {
            let (readiness, message) = spec.guard_state(&guard.meta.key);
            Fixed { readiness, message, by: By::Configuration }
        };
        all.insert(guard.object_ref(), Some(own(spec, guard.as_ref(), false).unwrap_or_else(by_its_roots)));
    }
    for receiver in spec.receivers.values() {
        all.insert(receiver.object_ref(), Some(loaded(spec, receiver.as_ref(), receiver.suspend)));
    }
    for notifier in spec.notifiers.values() {
        let fixed = own(spec, notifier.as_ref(), notifier.suspend);
        // Nobody is told: it may be the very one that would have to tell.
        all.insert(notifier.object_ref(), fixed.map(|fixed| Fixed { by: By::Need, ..fixed }));
    }
    all.retain(|object, _| spec.division.has(&object.key.namespace));
    all
}

/// What the resource's own document says: a suspended one is not looked at, so it does not fail either.
fn own<R: Resource>(spec: &Adopted, resource: &R, suspend: bool) -> Option<Fixed> {
    if suspend {
        let message = "suspended by spec.suspend".to_owned();
        return Some(Fixed { readiness: Readiness::Suspended, message, by: By::Configuration });
    }
    let message = spec.why_not_ready(&resource.object_ref())?.to_owned();
    Some(Fixed { readiness: Readiness::Failing, message, by: By::Configuration })
}

/// What follows for a resource that needs `object`, which is in this state. People are told of an automation that
/// stands still, but not of each policy of an image.
fn inherited(object: &ObjectRef, of: &Fixed) -> Option<Fixed> {
    let message = match of.readiness {
        Readiness::Suspended => format!("{object} is suspended"),
        Readiness::Failing => format!("{object} is not ready: {}", of.message),
        Readiness::Ready | Readiness::Pending => return None,
    };
    let by = if object.kind == Kind::ImageRepository { By::Need } else { By::Configuration };
    Some(Fixed { readiness: of.readiness, message, by })
}

/// The state of a resource for which no work is done: it only has to be loaded.
fn loaded<R: Resource>(spec: &Adopted, resource: &R, suspend: bool) -> Fixed {
    let ready = || Fixed { readiness: Readiness::Ready, message: "loaded".to_owned(), by: By::Configuration };
    own(spec, resource, suspend).unwrap_or_else(ready)
}

#[cfg(test)]
mod tests;

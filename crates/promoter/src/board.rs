//! What is known of each resource at present: readiness, message, details. `status` reads it; `/readyz` asks it
//! whether everything was tried.
//!
//! The board also decides when people are told: once when a resource starts to fail, once when it works again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use windlass_model::resource::{NoticeKind, Resource};
use windlass_model::status::{Details, ObjectStatus, Readiness};
use windlass_model::{Kind, ObjectRef, Spec};

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
    /// work say why. `failing` names the resources that people were told about before a restart.
    pub(crate) fn adopt(&self, spec: &Spec, not_ready: &BTreeMap<ObjectRef, String>, now: Timestamp) {
        let suspended = suspended(spec);
        let mut entries = self.lock();
        entries.retain(|object, _| suspended.contains_key(object));
        for (object, suspended) in suspended {
            let entry = entries.entry(object.clone()).or_insert_with(Entry::pending);
            if let Some(why) = not_ready.get(&object) {
                entry.become_(Readiness::Failing, why.clone(), now);
                entry.tried = true;
            } else if suspended {
                entry.become_(Readiness::Suspended, "suspended by spec.suspend".to_owned(), now);
                entry.tried = true;
            } else if !is_tried(object.kind) {
                entry.become_(Readiness::Ready, "loaded".to_owned(), now);
                entry.tried = true;
            } else if entry.readiness == Readiness::Suspended {
                entry.become_(Readiness::Pending, "resumed, not tried yet".to_owned(), now);
            }
        }
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
        entry.become_(Readiness::Ready, message, now);
        detail(&mut entry.details);
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
        let entry = entries.get_mut(object)?;
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

    /// Whether every resource was tried once, whatever came of it.
    pub(crate) fn all_tried(&self) -> bool {
        self.lock().values().all(|entry| entry.tried)
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

/// Whether work is done for the kind itself; the others only have to be loaded.
fn is_tried(kind: Kind) -> bool {
    matches!(kind, Kind::ImageRepository | Kind::ImagePolicy | Kind::ImageUpdateAutomation)
}

/// Every resource that has a status, with its `suspend`. A policy is suspended with its repository.
fn suspended(spec: &Spec) -> BTreeMap<ObjectRef, bool> {
    let mut all = BTreeMap::new();
    all.extend(spec.image_repositories.values().map(|r| (r.object_ref(), r.suspend)));
    all.extend(spec.image_policies.values().map(|policy| {
        let repository = spec.image_repositories.get(&policy.repository);
        (policy.object_ref(), policy.suspend || repository.is_some_and(|r| r.suspend))
    }));
    all.extend(spec.automations.values().map(|automation| {
        let source = spec.git_repositories.get(&automation.source);
        (automation.object_ref(), automation.suspend || source.is_some_and(|s| s.suspend))
    }));
    all.extend(spec.git_repositories.values().map(|r| (r.object_ref(), r.suspend)));
    all.extend(spec.receivers.values().map(|r| (r.object_ref(), r.suspend)));
    all.extend(spec.notifiers.values().map(|r| (r.object_ref(), r.suspend)));
    all
}

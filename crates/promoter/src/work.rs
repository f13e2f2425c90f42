//! The dispatcher: claims what is due, runs it, and acknowledges it only when its effect is there.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use windlass_failpoint::{self as failpoint, Point};
use windlass_git::ClientPool;
use windlass_model::resource::NoticeKind;
use windlass_model::status::Details;
use windlass_model::{Clock, Hint, Kind, ObjectRef, Spec};
use windlass_notify::Sender;
use windlass_registry::{Pool, RegistryError, Retry};
use windlass_store::{Disposition, Keys, LedgerWrite, Record, Store, StoreError, Work};
use windlass_tuf::Roots;
use windlass_verify::Verifier;

use crate::adopted::Adopted;
use crate::board::{Board, Severity};
use crate::choices::Choices;
use crate::images::Images;
use crate::lanes::{LaneFailure, Lanes};
use crate::metrics::{Metrics, RunResult};
use crate::notices;

/// Pieces of work in flight at once. Each is a small task that mostly waits; the registry's budget and the lanes
/// bound what they do. A thousand images that change at once must all be able to join one push.
const MAX_IN_FLIGHT: usize = 8192;
/// The first retry comes after this; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Retries are never further apart than this, so that recovery is seen soon after an outage.
const LAST_RETRY: Duration = Duration::from_mins(1);
/// Between two tries of a write that the store could not take: a full disk is looked at by a person.
pub(crate) const STORE_PAUSE: Duration = Duration::from_secs(2);

/// What every part of the promoter works with.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Store,
    pub(crate) pool: Pool,
    pub(crate) git_clients: ClientPool,
    pub(crate) sender: Sender,
    pub(crate) metrics: Metrics,
    /// What is configured; [`Self::spec`] is what is worked with.
    pub(crate) offered: watch::Receiver<Arc<Spec>>,
    /// The trust roots that are fetched, as they are now.
    pub(crate) roots: watch::Receiver<Arc<Roots>>,
    pub(crate) adopted: RwLock<Arc<Adopted>>,
    pub(crate) cancel: CancellationToken,
    pub(crate) mirrors: PathBuf,
    pub(crate) board: Board,
    pub(crate) images: Images,
    pub(crate) choices: Choices,
    pub(crate) verifier: Verifier,
    pub(crate) lanes: Lanes,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The present configuration. Whoever asks first after a change adopts it, so that no work runs with a new resource
    /// and old permissions, or is acknowledged because its resource is not known yet.
    pub(crate) fn spec(&self) -> Arc<Adopted> {
        let adopted = self.adopted.read().unwrap_or_else(PoisonError::into_inner).clone();
        if adopted.is_of(&self.offered.borrow(), &self.roots.borrow()) { adopted } else { self.adopt() }
    }

    /// What this promoter works on: its share of the namespaces.
    pub(crate) fn ours(&self) -> Keys {
        let spec = self.spec();
        if spec.division.is_whole() {
            return Keys::ALL;
        }
        Keys::in_namespaces(move |namespace| spec.division.has(namespace))
    }

    fn adopt(&self) -> Arc<Adopted> {
        let mut adopted = self.adopted.write().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: an older configuration never replaces a newer one.
        let (offered, roots) = (self.offered.borrow().clone(), self.roots.borrow().clone());
        if !adopted.is_of(&offered, &roots) {
            let spec = adopted.replaced_by(offered, roots);
            self.board.adopt(&spec, self.now());
            self.images.retain(|key| spec.image_repositories.contains_key(key));
            self.choices.retain(|key| spec.image_policies.contains_key(key));
            self.lanes.reconfigure(&spec);
            *adopted = Arc::new(spec);
        }
        adopted.clone()
    }

    /// Repeats a write that the store has no room for at present, until it is taken or this promoter is to end. What it
    /// is about is then to be given up, for the process and its claims may outlive this promoter.
    pub(crate) async fn persist<F>(&self, what: &str, mut write: impl FnMut() -> F) -> Result<(), StoreError>
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let mut told = false;
        loop {
            match write().await {
                Err(error) if error.disposition() == Disposition::Retry => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(%error, what, "the store cannot be written; it is tried until it can");
                    }
                    tokio::select! {
                        () = self.cancel.cancelled() => return Err(error),
                        () = tokio::time::sleep(STORE_PAUSE) => {}
                    }
                }
                done => return done,
            }
        }
    }

    /// Shows a success, and tells people where a failure was told before.
    pub(crate) async fn succeeded(
        &self,
        object: &ObjectRef,
        message: String,
        detail: impl FnOnce(&mut Details),
    ) {
        let news = self.board.ready(object, message.clone(), self.now(), detail);
        if let Some(kind) = news {
            self.tell(object, kind, &message).await;
        }
    }

    /// Shows a failure, tells people once, and leaves the work undone where it may pass by itself.
    pub(crate) async fn failing(&self, object: &ObjectRef, why: String, severity: Severity) -> Done {
        self.failing_with(object, why, severity, Record::default(), None).await
    }

    /// As [`Self::failing`], keeping what was learned all the same.
    pub(crate) async fn failing_with(
        &self,
        object: &ObjectRef,
        why: String,
        severity: Severity,
        learned: Record,
        retry_after: Option<Duration>,
    ) -> Done {
        tracing::warn!(%object, reason = %why, "failing");
        let news = self.board.failing(object, why.clone(), severity, self.now());
        if let Some(kind) = news {
            self.tell(object, kind, &why).await;
        }
        Done::retry_after(why, retry_after).with(learned)
    }

    /// Puts the notices about a beginning or an end into the outbox.
    pub(crate) async fn tell(&self, object: &ObjectRef, kind: NoticeKind, message: &str) {
        let since = self.board.since(object).unwrap_or_else(|| self.now());
        let record = notices::episode(&self.spec(), object, kind, since, message);
        if let Err(error) = self.store.record(record).await {
            tracing::error!(%object, %error, "a notice could not be recorded; it is tried again with the next look");
            self.board.not_told(object, kind);
        }
    }
}

/// How long a failure of a registry may last.
pub(crate) fn registry_severity(error: &RegistryError) -> Severity {
    match error.retry() {
        Retry::Backoff | Retry::After(_) => Severity::Passing,
        Retry::NextInterval => Severity::Lasting,
    }
}

/// How long a registry asked us to wait.
pub(crate) fn registry_pause(error: &RegistryError) -> Option<Duration> {
    match error.retry() {
        Retry::After(pause) => Some(pause),
        Retry::Backoff | Retry::NextInterval => None,
    }
}

/// How a piece of work ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// What was learned, written in either case.
    record: Record,
    /// Put back, with the reason and the earliest next try that the other side asked for.
    retry: Option<(String, Option<Duration>)>,
}

impl Done {
    pub(crate) fn nothing() -> Self {
        Self::recorded(Record::default())
    }

    pub(crate) fn recorded(record: Record) -> Self {
        Self { record, retry: None }
    }

    pub(crate) fn retry(reason: String) -> Self {
        Self::retry_after(reason, None)
    }

    pub(crate) fn retry_after(reason: String, after: Option<Duration>) -> Self {
        Self { record: Record::default(), retry: Some((reason, after)) }
    }

    /// With what was learned.
    pub(crate) fn with(mut self, learned: Record) -> Self {
        let Record { ledger, outbox, audit } = learned;
        self.record.ledger.extend(ledger);
        self.record.outbox.extend(outbox);
        self.record.audit.extend(audit);
        self
    }
}

/// Claims and runs work until the process is to end, then waits for what is in flight. What is not finished stays in
/// the store.
pub(crate) async fn dispatch(shared: Arc<Shared>) {
    let mut offered = shared.offered.clone();
    let mut running = Running::default();
    while !shared.cancel.is_cancelled() {
        offered.mark_unchanged();
        let ours = shared.ours();
        let mut changed = shared.store.changed(&ours);
        let pause = match claim(&shared, &ours, &mut running).await {
            Ok(Some(due)) if running.has_room() => until(shared.now(), due),
            Ok(_) => LAST_RETRY,
            Err(error) => {
                tracing::error!(%error, "work could not be claimed; trying again");
                STORE_PAUSE
            }
        };
        tokio::select! {
            () = shared.cancel.cancelled() => {}
            _ = changed.changed(), if running.has_room() => {}
            Ok(()) = offered.changed() => {}
            () = running.finish_some(&shared) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    while !running.tasks.is_empty() {
        running.finish_some(&shared).await;
    }
}

/// Starts what is due. Returns when the next work is.
async fn claim(
    shared: &Arc<Shared>,
    ours: &Keys,
    running: &mut Running,
) -> Result<Option<Timestamp>, StoreError> {
    let free = MAX_IN_FLIGHT.saturating_sub(running.tasks.len());
    for work in shared.store.claim(ours, free, shared.now()).await? {
        running.start(shared, work);
    }
    shared.store.next_due(ours, shared.now()).await
}

/// The work in flight.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    /// What each task holds, should it panic.
    claims: HashMap<Id, Claim>,
}

/// A claim, by which its work is put back.
#[derive(Debug, Clone)]
struct Claim {
    target: ObjectRef,
    generation: u64,
    attempts: u32,
}

impl Running {
    fn has_room(&self) -> bool {
        self.tasks.len() < MAX_IN_FLIGHT
    }

    fn start(&mut self, shared: &Arc<Shared>, work: Work) {
        let Work { target, generation, attempts, .. } = &work;
        let claim = Claim { target: target.clone(), generation: *generation, attempts: *attempts };
        let shared = shared.clone();
        let task = self.tasks.spawn(async move { run_one(&shared, work).await });
        self.claims.insert(task.id(), claim);
    }

    /// Waits for one task, and takes all that ended. Waits for ever where none runs.
    async fn finish_some(&mut self, shared: &Arc<Shared>) {
        let Some(first) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        let mut finished = Some(first);
        while let Some(task) = finished {
            match task {
                Ok((id, ())) => drop(self.claims.remove(&id)),
                Err(error) => self.put_back(shared, &error),
            }
            finished = self.tasks.try_join_next_with_id();
        }
    }

    /// Work that panicked is tried again as if it had failed: what made it panic may be gone by then. In a task of its
    /// own, because whoever waits for the end of tasks may stop waiting.
    fn put_back(&mut self, shared: &Arc<Shared>, error: &JoinError) {
        let Some(claim) = self.claims.remove(&error.id()) else { return };
        tracing::error!(target = %claim.target, %error, "a piece of work panicked; please report this");
        let (shared, panicked) = (shared.clone(), claim.clone());
        let task = self.tasks.spawn(async move { retry(&shared, &panicked, "it panicked", None).await });
        self.claims.insert(task.id(), claim);
    }
}

pub(crate) async fn run_one(shared: &Arc<Shared>, work: Work) {
    let done = match (failpoint::pass(Point::Claimed).await, work.target.kind) {
        (Err(injected), _) => Done::retry(injected.to_string()),
        (Ok(()), Kind::ImageRepository) => crate::images::run(shared, &work).await,
        (Ok(()), Kind::ImageUpdateAutomation) => Box::pin(run_automation(shared, &work)).await,
        (Ok(()), _) => Done::nothing(),
    };
    // Boxed, as the above: the thousands of images in progress hold no room for it.
    Box::pin(settle(shared, work, done)).await;
}

/// Lifts the holds that a person asked to be lifted, then brings the automation up to date.
async fn run_automation(shared: &Arc<Shared>, work: &Work) -> Done {
    let automation = &work.target.key;
    let lifted = work.hints.iter().filter_map(|received| match &received.hint {
        Hint::Resume { policy } => {
            Some(LedgerWrite::Resumed { automation: automation.clone(), policy: policy.clone() })
        }
        _ => None,
    });
    let ledger: Vec<LedgerWrite> = lifted.collect();
    if !ledger.is_empty() {
        if let Err(error) = shared.store.record(Record { ledger, ..Record::default() }).await {
            return Done::retry(error.to_string());
        }
        shared.lanes.resume(automation);
        tracing::info!(%automation, "a person lifted holds");
    }
    match shared.lanes.request(shared, automation.clone()).wait().await {
        Ok(()) => Done::nothing(),
        Err(LaneFailure { reason, pause, .. }) => Done::retry_after(reason, pause),
    }
}

/// Acknowledges the work, or puts it back; what was learned is recorded in either case.
async fn settle(shared: &Shared, work: Work, Done { record, retry: again }: Done) {
    let Work { target, generation, attempts, .. } = work;
    let claim = Claim { target, generation, attempts };
    let Claim { target, .. } = &claim;
    // Shared with the store: thousands may wait for it after a poll, each with a list of tags.
    let record = Arc::new(record);
    let stored = match &again {
        None => {
            shared
                .persist("an acknowledgement", || shared.store.complete(target, generation, record.clone()))
                .await
        }
        Some(_) => shared.persist("what was learned", || shared.store.record(record.clone())).await,
    };
    match (stored, again) {
        (Ok(()), None) => shared.metrics.run(target.kind.as_str(), RunResult::Done),
        (Ok(()), Some((reason, after))) => retry(shared, &claim, &reason, after).await,
        (Err(error), _) => {
            tracing::error!(%target, %error, "the outcome of a piece of work could not be recorded");
            retry(shared, &claim, &error.to_string(), None).await;
        }
    }
}

async fn retry(shared: &Shared, claim: &Claim, reason: &str, after: Option<Duration>) {
    let Claim { target, generation, attempts } = claim;
    shared.metrics.run(target.kind.as_str(), RunResult::Retried);
    let delay = after.unwrap_or_default().max(backoff(target, *attempts));
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    let put_back = || {
        let at = shared.now().checked_add(delay).unwrap_or(Timestamp::MAX);
        shared.store.retry(target, *generation, at, reason)
    };
    if let Err(error) = shared.persist("that work is to be tried again", put_back).await {
        tracing::error!(%target, %error, "work could not be put back; it is given up, for whoever has it next");
        shared.store.abandon(target, *generation);
    }
}

/// Doubling, capped, and spread by up to a quarter so that a thousand works do not return in the same instant. The
/// spread is a function of the key: no randomness, and tests can compute it.
fn backoff(target: &ObjectRef, attempts: u32) -> Duration {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let base = FIRST_RETRY.saturating_mul(1 << attempts.min(10)).min(LAST_RETRY);
    let mut hasher = DefaultHasher::new();
    (target, attempts).hash(&mut hasher);
    let quarter = u64::try_from(base.as_millis() / 4).unwrap_or(u64::MAX);
    base + Duration::from_millis(hasher.finish() % quarter.max(1))
}

fn until(now: Timestamp, due: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or_default().min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_model::ObjectKey;

    #[test]
    fn retries_double_up_to_a_minute_and_differ_between_keys() {
        let a = ObjectRef::new(Kind::ImageRepository, ObjectKey::new("apps", "a"));
        let b = ObjectRef::new(Kind::ImageRepository, ObjectKey::new("apps", "b"));
        for attempts in 0..40 {
            let base = Duration::from_secs(1 << attempts.min(6)).min(LAST_RETRY);
            let delay = backoff(&a, attempts);
            assert!(delay >= base && delay <= base + base / 4, "{attempts}: {delay:?}");
        }
        assert_ne!(backoff(&a, 3), backoff(&b, 3));
    }
}

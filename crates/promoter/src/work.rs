//! The dispatcher: claims what is due, runs it, and acknowledges it only when its effect is there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_git::ClientPool;
use windlass_model::resource::NoticeKind;
use windlass_model::status::Details;
use windlass_model::{Clock, Kind, ObjectRef, Spec};
use windlass_notify::Sender;
use windlass_registry::{Pool, RegistryError, Retry};
use windlass_store::{LedgerWrite, Record, Store, Work};

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

/// What every part of the promoter works with.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Store,
    pub(crate) pool: Pool,
    pub(crate) git_clients: ClientPool,
    pub(crate) sender: Sender,
    pub(crate) metrics: Metrics,
    pub(crate) spec: watch::Receiver<Arc<Spec>>,
    pub(crate) mirrors: PathBuf,
    pub(crate) board: Board,
    pub(crate) images: Images,
    pub(crate) choices: Choices,
    pub(crate) lanes: Lanes,
    /// Why resources of the present configuration cannot work, whatever the outside says.
    pub(crate) not_ready: RwLock<BTreeMap<ObjectRef, String>>,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn spec(&self) -> Arc<Spec> {
        self.spec.borrow().clone()
    }

    pub(crate) fn not_ready(&self, object: &ObjectRef) -> bool {
        self.not_ready.read().unwrap_or_else(PoisonError::into_inner).contains_key(object)
    }

    /// Shows a success, and tells people where a failure was told before.
    pub(crate) async fn succeeded(
        &self,
        object: &ObjectRef,
        message: String,
        detail: impl FnOnce(&mut Details),
    ) {
        let news = self.board.ready(object, message.clone(), self.now(), detail);
        self.tell(object, news, &message).await;
    }

    /// Shows a failure, tells people once, and leaves the work undone where it may pass by itself.
    pub(crate) async fn failing(&self, object: &ObjectRef, why: String, severity: Severity) -> Done {
        self.failing_with(object, why, severity, Vec::new(), None).await
    }

    /// As [`Self::failing`], keeping what was learned all the same.
    pub(crate) async fn failing_with(
        &self,
        object: &ObjectRef,
        why: String,
        severity: Severity,
        ledger: Vec<LedgerWrite>,
        retry_after: Option<Duration>,
    ) -> Done {
        tracing::warn!(%object, reason = %why, "failing");
        let news = self.board.failing(object, why.clone(), severity, self.now());
        self.tell(object, news, &why).await;
        Done::retry_after(why, retry_after).with_ledger(ledger)
    }

    async fn tell(&self, object: &ObjectRef, news: Option<NoticeKind>, message: &str) {
        let Some(kind) = news else { return };
        let since = self.board.since(object).unwrap_or_else(|| self.now());
        let record = notices::episode(&self.spec(), object, kind, since, message);
        if let Err(error) = self.store.record(record).await {
            tracing::error!(%object, %error, "a notice could not be recorded");
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

    pub(crate) fn with_ledger(mut self, ledger: Vec<LedgerWrite>) -> Self {
        self.record.ledger.extend(ledger);
        self
    }
}

/// Claims and runs work until `cancel`, then waits for what is in flight. What is not finished stays in the store.
pub(crate) async fn dispatch(shared: Arc<Shared>, cancel: CancellationToken) {
    let mut changed = shared.store.changed();
    let mut running = JoinSet::new();
    while !cancel.is_cancelled() {
        changed.mark_unchanged();
        let free = MAX_IN_FLIGHT.saturating_sub(running.len());
        match shared.store.claim(free, shared.now()).await {
            Ok(claimed) => {
                for work in claimed {
                    let shared = shared.clone();
                    running.spawn(async move { run_one(&shared, work).await });
                }
            }
            Err(error) => tracing::error!(%error, "work could not be claimed; the store must be looked at"),
        }
        let due = match shared.store.next_due(shared.now()).await {
            Ok(Some(due)) if running.len() < MAX_IN_FLIGHT => until(shared.now(), due),
            _ => LAST_RETRY,
        };
        tokio::select! {
            () = cancel.cancelled() => {}
            _ = changed.changed(), if running.len() < MAX_IN_FLIGHT => {}
            Some(finished) = running.join_next() => report_panic(finished),
            () = tokio::time::sleep(due) => {}
        }
    }
    while let Some(finished) = running.join_next().await {
        report_panic(finished);
    }
}

/// A task that panicked left its work claimed: it is not lost, but only a restart runs it again, so it is loud.
fn report_panic(finished: Result<(), tokio::task::JoinError>) {
    if let Err(error) = finished {
        tracing::error!(%error, "a piece of work panicked; please report this");
    }
}

async fn run_one(shared: &Arc<Shared>, work: Work) {
    let done = match work.target.kind {
        Kind::ImageRepository => crate::images::run(shared, &work).await,
        Kind::ImageUpdateAutomation => {
            let written = shared.lanes.write(shared, work.target.key.clone(), Vec::new()).await;
            written.map_or_else(|LaneFailure { reason, .. }| Done::retry(reason), |()| Done::nothing())
        }
        _ => Done::nothing(),
    };
    if let Err(error) = settle(shared, &work, done).await {
        tracing::error!(target = %work.target, %error, "work could not be acknowledged; it will run again");
    }
}

async fn settle(shared: &Shared, work: &Work, done: Done) -> Result<(), windlass_store::StoreError> {
    let kind = work.target.kind.as_str();
    let Some((reason, after)) = done.retry else {
        shared.metrics.run(kind, RunResult::Done);
        return shared.store.complete(&work.target, work.generation, done.record).await;
    };
    shared.metrics.run(kind, RunResult::Retried);
    shared.store.record(done.record).await?;
    let delay = after.unwrap_or_default().max(backoff(&work.target, work.attempts));
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    let at = shared.now().checked_add(delay).unwrap_or(Timestamp::MAX);
    shared.store.retry(&work.target, work.generation, at, &reason).await
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

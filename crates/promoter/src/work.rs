//! The dispatcher: claims what is due, runs it, and acknowledges it only when its effect is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::{Id, JoinError, JoinSet};
use windlass_failpoint::{self as failpoint, Point};
use windlass_model::{Hint, Kind, ObjectRef};
use windlass_store::{Keys, LedgerWrite, Record, StoreError, Work};

use crate::lanes::LaneFailure;
use crate::metrics::RunResult;
use crate::shared::{STORE_PAUSE, Shared};

/// Pieces of work in flight at once. Each is a small task that mostly waits; the registry's budget and the lanes
/// bound what they do. A thousand images that change at once must all be able to join one push.
const MAX_IN_FLIGHT: usize = 8192;
/// The first retry comes after this; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Retries are never further apart than this, so that recovery is seen soon after an outage.
const LAST_RETRY: Duration = Duration::from_mins(1);
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

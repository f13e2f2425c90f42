//! What every part of the promoter shares: the configuration as it is now, the store, and how failures and ends are shown
//! and told.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_git::ClientPool;
use windlass_model::resource::NoticeKind;
use windlass_model::status::Details;
use windlass_model::{Clock, ObjectRef, Spec};
use windlass_notify::Sender;
use windlass_registry::{Pool, RegistryError, Retry};
use windlass_store::{Disposition, Keys, Record, Store, StoreError};
use windlass_tuf::Roots;
use windlass_verify::Verifier;

use crate::adopted::Adopted;
use crate::board::{Board, Severity};
use crate::choices::Choices;
use crate::images::Images;
use crate::lanes::Lanes;
use crate::metrics::Metrics;
use crate::notices;
use crate::work::Done;

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

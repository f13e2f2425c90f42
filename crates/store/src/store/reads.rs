//! What is read: it asks nobody, and sees what is committed.

use std::sync::Arc;

use jiff::Timestamp;
use windlass_model::{Digest, ObjectKey, ObjectRef, Tag};

use super::Store;
use crate::agreement::{self, Agreement};
use crate::audit::AuditEntry;
use crate::column;
use crate::digests;
use crate::error::StoreError;
use crate::ledger::{self, Commit, Intent, LatestImage, ReportedState};
use crate::queue::{self, QueueDepth, QueuedWork};
use crate::read_only::ReadOnly;

impl Store {
    /// How much is queued.
    pub async fn depth(&self) -> Result<QueueDepth, StoreError> {
        let claimed = self.inner.board.claimed();
        self.inner.readers.read(move |db| queue::depth(db, claimed)).await
    }

    /// Up to `limit` keys with work, claimed or not, the earliest due first.
    pub async fn queued(&self, limit: usize) -> Result<Vec<QueuedWork>, StoreError> {
        self.inner.readers.read(move |db| queue::list(db, limit)).await
    }

    /// The tags of an ImageRepository that are present, in bytewise order, with the time at which each was first seen.
    pub async fn load_tags(&self, repository: &ObjectKey) -> Result<Vec<(Tag, Timestamp)>, StoreError> {
        let repository = column::key_text(repository).map_err(|cause| self.failed(cause))?;
        self.inner.readers.read(move |db| ledger::load_tags(db, &repository)).await
    }

    /// When these tags of an ImageRepository were first seen, also those that are gone since. What is not remembered is
    /// left out: tags that were never seen, or that have been gone for longer than [`Retention::history`](crate::Retention::history).
    pub async fn first_seen(
        &self,
        repository: &ObjectKey,
        tags: Vec<Tag>,
    ) -> Result<Vec<(Tag, Timestamp)>, StoreError> {
        let repository = column::key_text(repository).map_err(|cause| self.failed(cause))?;
        self.inner.readers.read(move |db| ledger::first_seen(db, &repository, tags)).await
    }

    /// When this content of an ImageRepository was first seen, if it is remembered.
    pub async fn digest_first_seen(
        &self,
        repository: &ObjectKey,
        digest: Digest,
    ) -> Result<Option<Timestamp>, StoreError> {
        let repository = column::key_text(repository).map_err(|cause| self.failed(cause))?;
        self.inner.readers.read(move |db| digests::first_seen(db, &repository, &digest)).await
    }

    /// Every policy's choice.
    pub async fn load_latest(&self) -> Result<Vec<LatestImage>, StoreError> {
        self.inner.readers.read(ledger::load_latest).await
    }

    /// The last commit of every automation that made one.
    pub async fn load_commits(&self) -> Result<Vec<Commit>, StoreError> {
        self.inner.readers.read(ledger::load_commits).await
    }

    /// The health of every object, as it was last reported.
    pub async fn load_states(&self) -> Result<Vec<ReportedState>, StoreError> {
        self.inner.readers.read(ledger::load_states).await
    }

    /// What an automation and its policies agreed upon, by file and policy.
    pub async fn load_agreed(&self, automation: &ObjectKey) -> Result<Vec<Agreement>, StoreError> {
        let automation = column::key_text(automation).map_err(|cause| self.failed(cause))?;
        self.inner.readers.read(move |db| agreement::load_agreed(db, &automation)).await
    }

    /// The intents of a lane that are not settled, the oldest first.
    pub async fn load_intents(&self, lane: &str) -> Result<Vec<Intent>, StoreError> {
        let lane = lane.to_owned();
        self.inner.readers.read(move |db| ledger::load_intents(db, &lane)).await
    }

    /// Up to `limit` audit entries, the newest first, of one object or of all.
    pub async fn audit_recent(
        &self,
        object: Option<&ObjectRef>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.reader().audit_recent(object, limit).await
    }

    /// The reading side alone: what is committed at the time of each read.
    pub fn reader(&self) -> ReadOnly {
        ReadOnly::new(Arc::clone(&self.inner.readers))
    }
}

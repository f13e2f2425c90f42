//! Looking into a store that another process may be running on. It takes no lock and writes nothing.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use windlass_model::{ObjectKey, ObjectRef, Tag};

use crate::audit::{self, AuditEntry};
use crate::column;
use crate::database;
use crate::error::{Cause, StoreError};
use crate::folder::{OpenError, database_path};
use crate::ledger::{self, Commit, LatestImage, ReportedState};
use crate::outbox::{self, DeadNotice, OutboxDepth};
use crate::queue::{self, QueueDepth, QueuedWork};
use crate::readers::Readers;

/// The last committed state of a store, for `windlass status` and the like. The methods are those of
/// [`Store`](crate::Store).
#[derive(Debug, Clone)]
pub struct ReadOnly {
    readers: Arc<Readers>,
}

impl ReadOnly {
    /// Opens the store in `dir` for reading, whether or not a process runs on it.
    ///
    /// # Errors
    /// There is no store, or this version cannot read it; see [`OpenError`].
    pub async fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = database_path(dir);
        if !path.is_file() {
            return Err(OpenError::Missing { path: dir.to_owned() });
        }
        let opened = tokio::task::spawn_blocking(move || {
            let connection = database::check_readable(&path)?;
            Ok(Self { readers: Readers::new(path, vec![connection]) })
        });
        opened.await.unwrap_or_else(|error| {
            let source = std::io::Error::other(error);
            Err(OpenError::Io { action: "read", path: dir.to_owned(), source })
        })
    }

    /// Writes a copy of the last committed state into the folder `to`, which exists and has no store. A
    /// [`Store`](crate::Store) may then be opened on it; nothing that happens there reaches this one.
    ///
    /// # Errors
    /// The copy could not be written.
    pub async fn copy(&self, to: &Path) -> Result<(), StoreError> {
        let copy = database_path(to).to_string_lossy().into_owned();
        self.readers.read(move |db| db.execute("VACUUM INTO ?1", [copy]).map(drop)).await
    }

    /// How much is queued. Claims are known to the running process alone, so claimed keys count as waiting.
    pub async fn depth(&self) -> Result<QueueDepth, StoreError> {
        self.readers.read(|db| queue::depth(db, 0)).await
    }

    /// See [`Store::queued`](crate::Store::queued).
    pub async fn queued(&self, limit: usize) -> Result<Vec<QueuedWork>, StoreError> {
        self.readers.read(move |db| queue::list(db, limit)).await
    }

    /// See [`Store::load_tags`](crate::Store::load_tags).
    pub async fn load_tags(&self, repository: &ObjectKey) -> Result<Vec<(Tag, Timestamp)>, StoreError> {
        let repository = column::key_text(repository).map_err(|cause| self.failed(cause))?;
        self.readers.read(move |db| ledger::load_tags(db, &repository)).await
    }

    /// See [`Store::load_latest`](crate::Store::load_latest).
    pub async fn load_latest(&self) -> Result<Vec<LatestImage>, StoreError> {
        self.readers.read(ledger::load_latest).await
    }

    /// See [`Store::load_commits`](crate::Store::load_commits).
    pub async fn load_commits(&self) -> Result<Vec<Commit>, StoreError> {
        self.readers.read(ledger::load_commits).await
    }

    /// See [`Store::load_states`](crate::Store::load_states).
    pub async fn load_states(&self) -> Result<Vec<ReportedState>, StoreError> {
        self.readers.read(ledger::load_states).await
    }

    /// See [`Store::outbox_depth`](crate::Store::outbox_depth).
    pub async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError> {
        self.readers.read(outbox::depth).await
    }

    /// See [`Store::outbox_dead`](crate::Store::outbox_dead).
    pub async fn outbox_dead(&self, limit: usize) -> Result<Vec<DeadNotice>, StoreError> {
        self.readers.read(move |db| outbox::dead(db, limit)).await
    }

    /// See [`Store::audit_recent`](crate::Store::audit_recent).
    pub async fn audit_recent(
        &self,
        object: Option<&ObjectRef>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let object = object.map(column::object_text).transpose().map_err(|cause| self.failed(cause))?;
        self.readers.read(move |db| audit::recent(db, object.as_deref(), limit)).await
    }

    fn failed(&self, cause: Cause) -> StoreError {
        StoreError::new(self.readers.path(), cause)
    }
}

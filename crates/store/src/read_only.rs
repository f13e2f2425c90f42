//! Looking into a store that another process may be running on. It takes no lock and writes nothing.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use windlass_model::{Clock, ObjectKey, ObjectRef, Tag};

use crate::audit::{self, AuditEntry};
use crate::backlog::{self, Backlog, Claims};
use crate::column;
use crate::database;
use crate::error::{Cause, StoreError};
use crate::folder::{OpenError, database_path};
use crate::ledger::{self, Commit, LatestImage, ReportedState};
use crate::outbox::{self, DeadNotice, OutboxDepth};
use crate::queue::{self, QueueDepth, QueuedWork};
use crate::readers::Readers;
use crate::shared::{ConnectError, NatsOptions, Shared};
use crate::subject::Subject;

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
            Ok(Self { readers: Readers::new(path, vec![connection], Arc::default()) })
        });
        opened.await.unwrap_or_else(|error| {
            let source = std::io::Error::other(error);
            Err(OpenError::Io { action: "read", path: dir.to_owned(), source })
        })
    }

    /// Reads a state that is shared over NATS JetStream, as it is now, into an empty folder, and opens that. No process
    /// hears of it, and nothing is published.
    ///
    /// # Errors
    /// The server, the stream or the folder; see [`ConnectError`].
    pub async fn observe(
        scratch: &Path,
        options: &NatsOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        Shared::observe(scratch, options, clock).await?;
        Ok(Self::open(scratch).await?)
    }

    pub(crate) fn new(readers: Arc<Readers>) -> Self {
        Self { readers }
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

    /// See [`Store::backlog`](crate::Store::backlog). Claims of an embedded store are known to the running process alone,
    /// so claimed keys count as waiting there.
    pub async fn backlog(&self, now: Timestamp, limit: usize) -> Result<Backlog, StoreError> {
        self.readers.read(move |db| backlog::read(db, Claims::of(db)?, now, limit)).await
    }

    /// Whether this is a process's copy of a state that is shared over NATS: without a process that follows the others,
    /// it is of an earlier day.
    pub async fn is_copy(&self) -> Result<bool, StoreError> {
        self.readers.read(|db| Ok(Claims::of(db)? == Claims::Here)).await
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

    /// Up to `limit` audit entries that are about any of these subjects (or about anything, for `None`) and happened at
    /// `since` or later, the newest first.
    pub async fn audit_about(
        &self,
        subjects: Option<Vec<Subject>>,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.readers.read(move |db| audit::about(db, subjects.as_deref(), since, limit)).await
    }

    /// Up to `limit` ids of commits in the audit that begin with these lower-case hexadecimal digits, in order.
    pub async fn audit_commits(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let prefix = prefix.to_owned();
        self.readers.read(move |db| audit::commits(db, &prefix, limit)).await
    }

    /// When the oldest entry of the audit happened that is still kept; `None` where it is empty.
    pub async fn audit_begins(&self) -> Result<Option<Timestamp>, StoreError> {
        self.readers.read(audit::begins).await
    }

    fn failed(&self, cause: Cause) -> StoreError {
        StoreError::new(self.readers.path(), cause)
    }
}

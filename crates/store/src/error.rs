//! What can go wrong in an open store. Errors of opening live in [`crate::OpenError`].

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rusqlite::ErrorCode;
use windlass_failpoint::Injected;

use crate::folder::{DELETE_ADVICE, OpenError};

/// Why the store could not do what was asked. It names the database file; [`Self::kind`] and
/// [`Self::disposition`] are for the caller.
#[derive(Debug, Clone)]
pub struct StoreError {
    path: Arc<Path>,
    cause: Cause,
}

impl StoreError {
    pub(crate) fn new(path: &Arc<Path>, cause: Cause) -> Self {
        Self { path: Arc::clone(path), cause }
    }

    /// What went wrong, for metrics and tests.
    pub fn kind(&self) -> StoreErrorKind {
        self.cause.kind()
    }

    /// What the caller does next.
    pub fn disposition(&self) -> Disposition {
        match self.kind() {
            StoreErrorKind::Full
            | StoreErrorKind::Io
            | StoreErrorKind::Busy
            | StoreErrorKind::Unavailable => Disposition::Retry,
            StoreErrorKind::Stale | StoreErrorKind::Invalid | StoreErrorKind::Internal => Disposition::Reject,
            StoreErrorKind::Corrupt | StoreErrorKind::Closed => Disposition::Fatal,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match (&self.cause, self.kind()) {
            (Cause::Closed, _) => write!(f, "the store {path} is closed"),
            (Cause::Unavailable(why) | Cause::Files(why), _) => f.write_str(why),
            (Cause::Stale(what), _) => write!(f, "the store {path} refused a report: {what}"),
            (Cause::Invalid(what), _) => write!(f, "the store {path} cannot hold {what}"),
            (Cause::Sqlite(_), StoreErrorKind::Full) => {
                write!(f, "the disk that holds {path} is full: free some space, nothing else needs doing")
            }
            (Cause::Sqlite(_), StoreErrorKind::Busy) => {
                write!(f, "another program locks {path}: close it")
            }
            (Cause::Sqlite(_), StoreErrorKind::Corrupt) => write!(f, "{path} is corrupt: {DELETE_ADVICE}"),
            (Cause::Sqlite(_), StoreErrorKind::Io) => {
                write!(f, "{path} cannot be read or written: check its disk and its permissions")
            }
            (Cause::Sqlite(_), _) => write!(f, "a statement on {path} failed"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Sqlite(error) => Some(&**error),
            Cause::Closed | Cause::Files(_) | Cause::Unavailable(_) | Cause::Stale(_) | Cause::Invalid(_) => {
                None
            }
        }
    }
}

/// What went wrong, coarsely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// No space is left on the disk.
    Full,
    /// The disk or its permissions.
    Io,
    /// The file's content is damaged.
    Corrupt,
    /// Another program holds a lock on the database for longer than the store waits.
    Busy,
    /// The server of a shared queue does not answer, or refuses.
    Unavailable,
    /// The store was closed, or its writer ended.
    Closed,
    /// The caller reported on work or a notice that it does not hold.
    Stale,
    /// The value cannot be stored.
    Invalid,
    /// A defect of the store itself.
    Internal,
}

impl StoreErrorKind {
    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            StoreErrorKind::Full => "full",
            StoreErrorKind::Io => "io",
            StoreErrorKind::Corrupt => "corrupt",
            StoreErrorKind::Busy => "busy",
            StoreErrorKind::Unavailable => "unavailable",
            StoreErrorKind::Closed => "closed",
            StoreErrorKind::Stale => "stale",
            StoreErrorKind::Invalid => "invalid",
            StoreErrorKind::Internal => "internal",
        }
    }
}

/// What the caller of a failed operation does next. Nothing of a failed operation was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The same call may work later, without a change here.
    Retry,
    /// The same call fails again: drop it.
    Reject,
    /// Nothing works any more: end the process.
    Fatal,
}

/// A [`StoreError`] before it knows its file.
#[derive(Debug, Clone)]
pub(crate) enum Cause {
    Sqlite(Arc<rusqlite::Error>),
    /// The database's files are gone and cannot be written anew.
    Files(String),
    Closed,
    Unavailable(String),
    Stale(String),
    Invalid(String),
}

impl Cause {
    pub(crate) fn kind(&self) -> StoreErrorKind {
        match self {
            Cause::Sqlite(error) => kind_of(error),
            Cause::Files(_) => StoreErrorKind::Io,
            Cause::Closed => StoreErrorKind::Closed,
            Cause::Unavailable(_) => StoreErrorKind::Unavailable,
            Cause::Stale(_) => StoreErrorKind::Stale,
            Cause::Invalid(_) => StoreErrorKind::Invalid,
        }
    }
}

impl From<rusqlite::Error> for Cause {
    fn from(error: rusqlite::Error) -> Self {
        Cause::Sqlite(Arc::new(error))
    }
}

impl From<OpenError> for Cause {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Database { source, .. } | OpenError::Corrupt { source, .. } => source.into(),
            OpenError::Io { ref source, .. } => Cause::Files(format!("{error}: {source}")),
            error => Cause::Files(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Cause {
    fn from(error: serde_json::Error) -> Self {
        Cause::Invalid(format!("a value without a JSON form ({error})"))
    }
}

impl From<Injected> for Cause {
    fn from(injected: Injected) -> Self {
        Cause::Unavailable(injected.to_string())
    }
}

/// Sorts SQLite's result codes (sqlite.org/rescode.html).
pub(crate) fn kind_of(error: &rusqlite::Error) -> StoreErrorKind {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreErrorKind::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreErrorKind::Corrupt,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            StoreErrorKind::Busy
        }
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory,
        ) => StoreErrorKind::Io,
        _ => StoreErrorKind::Internal,
    }
}

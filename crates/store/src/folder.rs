//! The folder that holds the database: its files, their permissions, and the lock that keeps a second process out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The database; SQLite keeps `-wal` and `-shm` beside it.
const DATABASE: &str = "windlass.db";
/// Empty; the OS lock on it says that a process runs on the folder.
const LOCK: &str = "windlass.lock";

/// What to do about a database that cannot be read.
pub(crate) const DELETE_ADVICE: &str = "stop windlass and delete windlass.db, windlass.db-wal and windlass.db-shm; \
     this is safe, the next resync converges from the registry and Git";

/// Why the store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A process holds the folder's lock.
    #[error("{} is in use: another windlass runs on it", .path.display())]
    AlreadyOpen {
        /// The folder.
        path: PathBuf,
    },
    /// Only for reading: there is no database in the folder.
    #[error("{} holds no store: no windlass has run on it yet", .path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The folder's state is a copy of a shared one.
    #[error("{} is a copy of a queue on NATS: run with `--queue`, or choose another folder", .path.display())]
    Shared {
        /// The database file.
        path: PathBuf,
    },
    /// The folder's state is an embedded store's, which shares nothing.
    #[error("{} is the state of a windlass without `--queue`: choose another folder", .path.display())]
    Embedded {
        /// The database file.
        path: PathBuf,
    },
    /// A later windlass wrote the database.
    #[error("{} has schema {found}, this windlass knows schemas up to {supported}: run the newer windlass", .path.display())]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest version that this program knows.
        supported: i64,
    },
    /// Only for reading: an earlier windlass wrote the database.
    #[error("{} has schema {found}, this windlass reads schema {supported}: start `windlass run` on it once", .path.display())]
    OlderSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The version that this program reads.
        supported: i64,
    },
    /// A database of another program.
    #[error("{} is not a windlass store: choose another folder", .path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// The file is damaged, or no database at all.
    #[error("{} is corrupt: {DELETE_ADVICE}", .path.display())]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What SQLite found.
        source: rusqlite::Error,
    },
    /// The file system lacks what write-ahead logging needs.
    #[error("{} is on a file system without shared memory: choose a folder on a local disk", .path.display())]
    NoWriteAheadLog {
        /// The database file.
        path: PathBuf,
    },
    /// Another failure of SQLite.
    #[error("{} cannot be opened", .path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A failure of the file system.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried: `create`, `lock`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The database file of a store's folder.
pub(crate) fn database_path(folder: &Path) -> Arc<Path> {
    folder.join(DATABASE).into()
}

/// A folder that this process alone may write. The lock ends with this value, or with the process.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Creates the folder where it is missing (mode 0700) and takes its lock.
    pub(crate) fn hold(path: &Path) -> Result<Self, OpenError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { action, path, source }
        };
        create_private_folder(path).map_err(failed("create", path))?;
        let lock_path = path.join(LOCK);
        let lock = open_private(&lock_path).map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::AlreadyOpen { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => {
                Err(OpenError::Io { action: "lock", path: lock_path, source })
            }
        }
    }

    /// The database file, present and private (mode 0600). SQLite gives `-wal` and `-shm` the same mode.
    pub(crate) fn database(&self) -> Result<Arc<Path>, OpenError> {
        let path = database_path(&self.path);
        open_private(&path).map_err(|source| OpenError::Io {
            action: "open",
            path: path.to_path_buf(),
            source,
        })?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that is just being started still has a copy of it, and the
        // lock with it.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(folder = %self.path.display(), %error, "the store's lock could not be released");
        }
    }
}

/// Creates the folder and its parents. One that exists keeps its mode: it is its owner's choice, and the files
/// in it are private in any case.
fn create_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens or creates a file that only its owner can read, and takes wider rights away from an existing one.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(file)
}

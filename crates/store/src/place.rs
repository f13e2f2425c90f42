//! The database's files in their place. SQLite goes on with files that were deleted under it, and what it acknowledges
//! then ends with the process. So the writer looks before and after each transaction, and writes the database anew from
//! what it still has open: nothing is lost by a deletion while a process runs.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::database;
use crate::folder::{OpenError, open_private};
use crate::writer::Use;

/// Which files lie in the database's place: itself and its log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place([Option<(u64, u64)>; 2]);

impl Place {
    pub(crate) fn of(database: &Path) -> Self {
        Self([identity(database), identity(&beside(database, "-wal"))])
    }
}

/// Tells a file from any other that has, or had, the same name.
#[cfg(unix)]
fn identity(file: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(file).ok().map(|found| (found.dev(), found.ino()))
}

/// An open file cannot be deleted here.
#[cfg(not(unix))]
fn identity(_: &Path) -> Option<(u64, u64)> {
    None
}

/// Writes the state of an open database into its place, and opens it there, with the claims and leases that are held.
pub(crate) fn write_anew(open: &Connection, path: &Path, use_of: Use) -> Result<Connection, OpenError> {
    let copy = beside(path, "-anew");
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { action, path, source }
    };
    remove(&copy).map_err(failed("remove", &copy))?;
    let file = open_private(&copy).map_err(failed("create", &copy))?;
    open.execute("VACUUM INTO ?1", [copy.to_string_lossy()])
        .map_err(|source| database::explain(path, source))?;
    file.sync_all().map_err(failed("write", &copy))?;
    // A log that is left is of another file: it would be taken for the new one's.
    for other in ["-wal", "-shm"].map(|end| beside(path, end)) {
        remove(&other).map_err(failed("remove", &other))?;
    }
    fs::rename(&copy, path).map_err(failed("write", path))?;
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("write", folder))?;
    }
    database::reopen_writer(path, use_of, open)
}

fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(end);
    name.into()
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

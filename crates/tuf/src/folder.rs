//! The files of one repository on disk. Owns how they are read and written: no file is larger than it may be, no
//! symbolic link is followed, and a file is replaced as a whole. What they say is not believed here.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{Error, Repository};

/// Largest file that is read: the largest metadata that a mirror may send.
pub(crate) const MAX_FILE: u64 = 5_000_000;

/// A folder, which need not exist.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder `name` in `parent`.
    pub(crate) fn new(parent: &Path, name: &str) -> Self {
        Self { path: parent.join(name) }
    }

    /// A file's content; `None` where there is none.
    ///
    /// # Errors
    /// It is too large, a symbolic link or no file, or it cannot be read.
    pub(crate) fn read(&self, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
        match self.try_read(name, max) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn try_read(&self, name: &str, max: u64) -> io::Result<Vec<u8>> {
        self.is_plain()?;
        // A pipe must not make anybody wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(self.path.join(file_name(name)), flags, Mode::empty())?;
        let file = File::from(file);
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::other("is not a file"));
        }
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max {
            return Err(io::Error::other(format!("has more than {max} bytes")));
        }
        Ok(bytes)
    }

    /// Puts a file in place of what stands there; a link is replaced, not followed.
    ///
    /// # Errors
    /// It cannot be written, or the folder is a symbolic link.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        self.is_plain()?;
        let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
        file.write_all(bytes)?;
        file.persist(self.path.join(file_name(name)))?;
        Ok(())
    }

    /// Neither the folder nor the one that it lies in leads elsewhere.
    fn is_plain(&self) -> io::Result<()> {
        for path in [Some(&*self.path), self.path.parent()].into_iter().flatten() {
            if !fs::symlink_metadata(path)?.is_dir() {
                return Err(io::Error::other(format!("{} is not a folder", path.display())));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// The names of stored files have at most one folder, and names of roles are encoded: `+` is in neither.
fn file_name(name: &str) -> String {
    name.replace('/', "+")
}

impl Repository for Folder {
    /// Under the names by which a mirror has them: with the version in front, but for `timestamp.json`.
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        let versioned =
            name.split_once('.').filter(|(version, _)| version.bytes().all(|b| b.is_ascii_digit()));
        let stored = match versioned {
            Some((_, "root.json")) => format!("root_history/{name}"),
            Some((_, rest)) => rest.to_owned(),
            None => name.to_owned(),
        };
        let read = self.fetch(&stored, max_length);
        Box::pin(async move { read })
    }

    /// Under the names by which a mirror has them: with the hash in front of the last component.
    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        let (folder, file) = path.rsplit_once('/').map_or(("", path), |(folder, file)| (folder, file));
        let hashed = file
            .split_once('.')
            .filter(|(hash, _)| hash.len() >= 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
        let file = hashed.map_or(file, |(_, rest)| rest);
        let separator = if folder.is_empty() { "" } else { "/" };
        let read = self.fetch(&format!("targets/{folder}{separator}{file}"), max_length);
        Box::pin(async move { read })
    }
}

impl Folder {
    fn fetch(&self, name: &str, max: u64) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        self.read(name, max.min(MAX_FILE)).map_err(|error| in_folder(&self.path, name, error))
    }

    /// As the crate tells of it.
    pub(crate) fn load(&self, name: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        self.fetch(name, MAX_FILE)
    }
}

fn in_folder(folder: &Path, name: &str, source: io::Error) -> Error {
    Error::Io { context: folder.join(file_name(name)).display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_are_bounded_replaced_whole_and_never_links() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(parent.path(), "a");
        assert_eq!(folder.read("timestamp.json", 9).unwrap(), None, "nothing is there yet");
        folder.write("timestamp.json", b"0123456789").unwrap();
        folder.write("targets/a/b.json", b"x").unwrap();
        assert_eq!(folder.read("timestamp.json", 10).unwrap().as_deref(), Some(&b"0123456789"[..]));
        assert_eq!(folder.read("targets/a/b.json", 1).unwrap().as_deref(), Some(&b"x"[..]));
        assert!(folder.read("timestamp.json", 9).is_err());

        let outside = parent.path().join("outside");
        fs::write(&outside, "secret").unwrap();
        symlink(&outside, parent.path().join("a/snapshot.json")).unwrap();
        assert!(folder.read("snapshot.json", 100).is_err(), "a link is not followed");
        folder.write("snapshot.json", b"new").unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "secret");
        assert_eq!(folder.read("snapshot.json", 100).unwrap().as_deref(), Some(&b"new"[..]));

        symlink(parent.path().join("a"), parent.path().join("b")).unwrap();
        let linked = Folder::new(parent.path(), "b");
        assert!(linked.read("timestamp.json", 100).is_err() && linked.write("timestamp.json", b"").is_err());
        fs::create_dir(parent.path().join("a/targets.json")).unwrap();
        assert!(folder.read("targets.json", 100).is_err(), "a folder is not a file");
    }
}

//! Whether files changed. Owns stamps and content hashes; it never keeps a content.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::directory;

/// For so many looks after a change, a file is read even if its stamp is the same: a second write within one tick of
/// the file system's clock (up to two seconds on FAT) leaves no trace in the stamp.
const FRESH_LOOKS: u8 = 3;

/// A file's content, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Print {
    /// SHA-256.
    Content([u8; 32]),
    /// The error's text.
    Unreadable(String),
}

impl Print {
    pub(super) fn of<E: ToString>(content: &Result<Vec<u8>, E>) -> Self {
        match content {
            Ok(bytes) => Print::Content(Sha256::digest(bytes).into()),
            Err(error) => Print::Unreadable(error.to_string()),
        }
    }
}

/// What a file system tells about a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    identity: (u64, i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok(), len: metadata.len(), identity: identity(&metadata) })
    }
}

/// The inode and its time of change: a file that was moved into place keeps the other stamps.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> (u64, i64, i64) {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> (u64, i64, i64) {
    (0, 0, 0)
}

/// Prints of files, kept fresh.
#[derive(Debug, Default)]
pub(super) struct Prints {
    known: BTreeMap<PathBuf, Known>,
}

#[derive(Debug)]
struct Known {
    stamp: Option<Stamp>,
    print: Print,
    fresh: u8,
}

impl Prints {
    /// Looks at these files, reads those that may have changed, and forgets all others.
    pub(super) fn look<'p>(&mut self, paths: impl Iterator<Item = (&'p Path, u64)>) {
        let mut next = BTreeMap::new();
        for (path, max) in paths {
            let stamp = Stamp::of(path);
            let known = match self.known.remove(path) {
                Some(known) if known.stamp == stamp && known.fresh == 0 => known,
                Some(known) => {
                    let fresh = if known.stamp == stamp { known.fresh - 1 } else { FRESH_LOOKS };
                    Known { stamp, print: Print::of(&directory::read(path, max)), fresh }
                }
                None => Known { stamp, print: Print::of(&directory::read(path, max)), fresh: FRESH_LOOKS },
            };
            next.insert(path.to_path_buf(), known);
        }
        self.known = next;
    }

    /// The print of the last look.
    pub(super) fn get(&self, path: &Path) -> Option<&Print> {
        self.known.get(path).map(|known| &known.print)
    }

    /// Takes over what was really read, which can be newer than the last look.
    pub(super) fn set(&mut self, path: &Path, print: Print) {
        let fresh = Known { stamp: None, print: print.clone(), fresh: FRESH_LOOKS };
        self.known.entry(path.to_path_buf()).or_insert(fresh).print = print;
    }

    /// All prints as one.
    pub(super) fn fold(&self, hash: &mut Sha256) {
        for (path, known) in &self.known {
            hash.update(path.as_os_str().as_encoded_bytes());
            match &known.print {
                Print::Content(content) => hash.update([&[0, 1], content.as_slice()].concat()),
                Print::Unreadable(why) => hash.update([&[0, 2], why.as_bytes(), &[0]].concat()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_content_is_seen_even_with_an_equal_stamp() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yaml");
        let mut prints = Prints::default();
        let mut look = || {
            prints.look([(path.as_path(), 100)].into_iter());
            prints.get(&path).cloned().unwrap()
        };
        assert!(matches!(look(), Print::Unreadable(_)));
        let mut seen = Vec::new();
        for content in ["a", "b", "c", "dd"] {
            let modified = fs::metadata(&path).and_then(|m| m.modified()).ok();
            fs::write(&path, content).unwrap();
            if let Some(modified) = modified {
                fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
            }
            seen.push(look());
            assert_eq!(seen.last(), Some(&look()));
        }
        seen.dedup();
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn an_unchanged_file_is_not_read_for_ever() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yaml");
        fs::write(&path, "a").unwrap();
        let mut prints = Prints::default();
        for _ in 0..=FRESH_LOOKS {
            prints.look([(path.as_path(), 100)].into_iter());
        }
        assert_eq!(prints.known[&path].fresh, 0);
    }

    #[test]
    fn files_that_are_not_looked_at_are_forgotten() {
        let mut prints = Prints::default();
        prints.set(Path::new("x"), Print::Unreadable("y".into()));
        prints.look(std::iter::empty());
        assert_eq!(prints.get(Path::new("x")), None);
    }
}

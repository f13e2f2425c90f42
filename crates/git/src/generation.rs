//! The mirror's folder. It holds numbered bare repositories ("generations"), of which the newest complete one counts,
//! and a lock file. Replacing a mirror is writing a new generation beside the old one, so a crash at any point leaves
//! one that works.
//!
//! A generation is laid out so that the `git` program can read it: `packed-refs` and `shallow` are Git's own files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix::ObjectId;
use gix::hash::Kind as Hash;

use crate::fetch::Boundary;
use crate::id;
use crate::store::PackStore;

const PACKED_REFS: &str = "packed-refs";
const SHALLOW: &str = "shallow";
/// How the names of folders for a single use start.
const SCRATCH: &str = "scratch-";

/// Why the mirror's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Another process, or another mirror of this one, has it open.
    #[error("the mirror's folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file system refuses.
    #[error("the mirror's folder {} cannot be read or written", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The mirror's folder, held for one writer. The lock dies with the process.
pub(crate) struct Folder {
    path: PathBuf,
    lock: File,
}

/// One bare repository with its tracked branches.
#[derive(Clone)]
pub(crate) struct Generation {
    number: u32,
    path: PathBuf,
    pub(crate) store: Arc<PackStore>,
    /// Contents of files are fetched when they are read. Decided when the generation is made, for what the server
    /// takes as known in a later fetch depends on it.
    pub(crate) partial: bool,
    /// The last fetched or landed commit per ref; all of their trees are here, and unless `partial` all of their files.
    pub(crate) tips: BTreeMap<String, ObjectId>,
    /// Commits whose parents are not here.
    pub(crate) shallow: BTreeSet<ObjectId>,
}

impl Folder {
    /// Takes the folder, creating it if needed.
    pub(crate) fn take(path: &Path) -> Result<Self, LayoutError> {
        let failed = |source| LayoutError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(LayoutError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The newest usable generation. Other generations and scratch folders are removed: a mirror can be
    /// fetched again at any time.
    pub(crate) fn open(&self, object_bytes: usize) -> Result<Option<Generation>, LayoutError> {
        let failed = |source| LayoutError::Io { path: self.path.clone(), source };
        let mut found: Vec<(u32, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_str().unwrap_or_default();
            // Only names that this program gives are touched, in case the folder is not ours alone after all.
            if let Some(Ok(number)) = name.strip_suffix(".git").map(str::parse) {
                found.push((number, path));
            } else if name.starts_with(SCRATCH) {
                fs::remove_dir_all(&path).map_err(failed)?;
            }
        }
        found.sort_unstable();
        let mut newest = None;
        for (number, path) in found.into_iter().rev() {
            if newest.is_none() {
                newest = load(number, &path, object_bytes);
                if newest.is_some() {
                    continue;
                }
            }
            fs::remove_dir_all(&path).map_err(failed)?;
        }
        Ok(newest)
    }

    /// An empty folder for packs that are looked at once.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir, LayoutError> {
        let failed = |source| LayoutError::Io { path: self.path.clone(), source };
        // It may hold a key.
        let private = fs::Permissions::from_mode(0o700);
        let builder = tempfile::Builder::new().prefix(SCRATCH).permissions(private).tempdir_in(&self.path);
        builder.map_err(failed)
    }

    /// An empty generation that counts once it is saved.
    pub(crate) fn create(
        &self,
        number: u32,
        hash: Hash,
        partial: bool,
        object_bytes: usize,
    ) -> Result<Generation, LayoutError> {
        let path = self.path.join(format!("{number}.git"));
        let failed = |source| LayoutError::Io { path: path.clone(), source };
        let packs = packs(&path);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::create_dir_all(&packs).map_err(failed)?;
        fs::create_dir_all(path.join("refs/heads")).map_err(failed)?;
        fs::write(path.join("HEAD"), "ref: refs/heads/main\n").map_err(failed)?;
        fs::write(path.join("config"), config(hash, partial)).map_err(failed)?;
        let store =
            PackStore::open(&packs, hash, object_bytes).map_err(|error| failed(io::Error::other(error)))?;
        let (tips, shallow) = (BTreeMap::new(), BTreeSet::new());
        Ok(Generation { number, path, store: Arc::new(store), partial, tips, shallow })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing alone would leave the lock with a child process that was started at this moment and still shares
        // the open file. It also ends with the last of them, so a failure here needs no answer.
        drop(self.lock.unlock());
    }
}

impl Generation {
    pub(crate) fn hash(&self) -> Hash {
        self.store.hash()
    }

    /// The number that follows.
    pub(crate) fn next(&self) -> u32 {
        self.number.wrapping_add(1)
    }

    /// The bare repository.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Records a ref whose tip is now complete in `store`, and saves.
    pub(crate) fn track(
        &mut self,
        store: PackStore,
        name: &str,
        tip: ObjectId,
        boundary: &Boundary,
    ) -> Result<(), LayoutError> {
        self.store = Arc::new(store);
        self.tips.insert(name.to_owned(), tip);
        let before = self.shallow.len();
        self.shallow.extend(&boundary.shallow);
        boundary.unshallow.iter().for_each(|id| {
            self.shallow.remove(id);
        });
        if self.shallow.len() != before || !boundary.unshallow.is_empty() {
            let lines = self.shallow.iter().fold(String::new(), |text, id| text + &format!("{id}\n"));
            self.write(SHALLOW, &lines)?;
        }
        self.save()
    }

    /// Writes the tips. This comes last, so that what they need is there.
    pub(crate) fn save(&self) -> Result<(), LayoutError> {
        let mut refs = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
        for (name, tip) in &self.tips {
            writeln!(refs, "{tip} {name}").expect("writing to a String cannot fail");
        }
        self.write(PACKED_REFS, &refs)
    }

    /// Removes the folder. Open files stay readable until they are dropped.
    pub(crate) fn discard(self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "an old mirror could not be removed");
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), LayoutError> {
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
            file.write_all(text.as_bytes())?;
            file.persist(self.path.join(name)).map_err(|error| error.error)
        };
        write().map(drop).map_err(|source| LayoutError::Io { path: self.path.clone(), source })
    }
}

/// Reads a generation; `None`, with a warning, when it is incomplete or damaged.
fn load(number: u32, path: &Path, object_bytes: usize) -> Option<Generation> {
    let read = || -> Result<Generation, Box<dyn std::error::Error>> {
        let text = fs::read_to_string(path.join("config"))?;
        let kinds = [Hash::Sha1, Hash::Sha256].map(|hash| [(hash, false), (hash, true)]);
        let kind = kinds.as_flattened().iter().find(|(hash, partial)| config(*hash, *partial) == text);
        let (hash, partial) = *kind.ok_or("an unknown configuration")?;
        let tips = read_tips(&fs::read_to_string(path.join(PACKED_REFS))?)?;
        let shallow = read_shallow(path)?;
        let store = Arc::new(PackStore::open(&packs(path), hash, object_bytes)?);
        if let Some(missing) = tips.values().find(|tip| !store.contains(tip)) {
            return Err(format!("commit {missing} is missing").into());
        }
        Ok(Generation { number, path: path.to_owned(), store, partial, tips, shallow })
    };
    match read() {
        Ok(generation) => Some(generation),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a mirror is not usable and will be fetched again");
            None
        }
    }
}

/// Makes a folder a repository to the `git` program that has all that the lender has, without a copy of its objects.
pub(crate) fn borrow(path: &Path, hash: Hash, lender: Option<&Path>) -> Result<(), LayoutError> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(packs(path))?;
        fs::create_dir_all(path.join("refs/heads"))?;
        fs::write(path.join("HEAD"), "ref: refs/heads/main\n")?;
        fs::write(path.join("config"), config(hash, false))?;
        let Some(lender) = lender else { return Ok(()) };
        fs::create_dir_all(path.join("objects/info"))?;
        let mut objects = std::path::absolute(lender.join("objects"))?.into_os_string().into_encoded_bytes();
        objects.push(b'\n');
        fs::write(path.join("objects/info/alternates"), objects)?;
        for name in [PACKED_REFS, SHALLOW] {
            match fs::copy(lender.join(name), path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    };
    write().map_err(|source| LayoutError::Io { path: path.to_owned(), source })
}

/// The commits whose parents are not in a repository.
pub(crate) fn read_shallow(path: &Path) -> Result<BTreeSet<ObjectId>, LayoutError> {
    let path = path.join(SHALLOW);
    let read = match fs::read_to_string(&path) {
        Ok(text) => text.lines().map(parse).collect::<Result<_, _>>().map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    };
    read.map_err(|source| LayoutError::Io { path, source })
}

fn read_tips(text: &str) -> Result<BTreeMap<String, ObjectId>, Box<dyn std::error::Error>> {
    let mut tips = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (digits, name) = line.split_once(' ').ok_or("a ref without a name")?;
        tips.insert(name.to_owned(), parse(digits)?);
    }
    Ok(tips)
}

fn parse(digits: &str) -> Result<ObjectId, id::InvalidId> {
    id::parse(digits.as_bytes()).ok_or(id::InvalidId)
}

fn packs(path: &Path) -> PathBuf {
    path.join("objects").join("pack")
}

/// The `config` file that makes the folder a repository to the `git` program, which must know that missing contents
/// are no damage (partial-clone, "promisor").
fn config(hash: Hash, partial: bool) -> String {
    let extended = partial || hash == Hash::Sha256;
    let mut text = format!("[core]\n\trepositoryformatversion = {}\n\tbare = true\n", u8::from(extended));
    if extended {
        text.push_str("[extensions]\n");
    }
    if hash == Hash::Sha256 {
        text.push_str("\tobjectformat = sha256\n");
    }
    if partial {
        text.push_str("\tpartialclone = origin\n");
        text.push_str("[remote \"origin\"]\n\tpromisor = true\n\tpartialclonefilter = blob:none\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::take(dir.path()).unwrap();
        assert!(matches!(Folder::take(dir.path()), Err(LayoutError::InUse(_))));
        drop(first);
        Folder::take(dir.path()).unwrap();
    }

    #[test]
    fn the_newest_complete_generation_counts_and_the_others_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::take(dir.path()).unwrap();
        assert!(folder.open(1).unwrap().is_none());
        for number in 1..=3 {
            let generation = folder.create(number, Hash::Sha256, number == 2, 1).unwrap();
            if number < 3 {
                generation.save().unwrap();
            }
        }
        let generation = folder.open(1).unwrap().unwrap();
        assert_eq!((generation.number, generation.hash(), generation.partial), (2, Hash::Sha256, true));
        assert!(!dir.path().join("1.git").exists() && !dir.path().join("3.git").exists());
    }

    #[test]
    fn a_generation_whose_tip_is_missing_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::take(dir.path()).unwrap();
        let mut generation = folder.create(1, Hash::Sha1, false, 1).unwrap();
        generation.tips.insert("refs/heads/main".into(), ObjectId::empty_blob(Hash::Sha1));
        generation.save().unwrap();
        assert!(folder.open(1).unwrap().is_none());
    }
}

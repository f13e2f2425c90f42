//! Listing files of a commit. Trees are remembered by their id, so that after a commit by somebody else only the
//! changed ones are read from the store.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use gix::hash::Kind as Hash;
use gix::objs::{Kind, TreeRefIter};

use crate::edit::EditError;
use crate::error::GitError;
use crate::id::BlobId;
use crate::store::{Reader, StoreError};

/// Deepest nesting that is followed; also bounds the stack.
pub(crate) const MAX_DEPTH: usize = 256;
/// Most files that one listing returns: shared subtrees can make a tiny repository list astronomically many.
const MAX_FILES: usize = 2_000_000;
/// Bytes of trees that are remembered: about a million files.
const MAX_MEMO: usize = 64 << 20;

/// A regular file in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// From the repository's root, separated by `/`.
    pub path: String,
    /// Its content.
    pub blob: BlobId,
}

/// Raw tree objects by id.
#[derive(Default)]
pub(crate) struct TreeMemo(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    trees: HashMap<ObjectId, Arc<[u8]>>,
    bytes: usize,
    /// How many trees were reachable at the last pruning.
    kept: usize,
}

impl TreeMemo {
    /// The tree's raw content.
    pub(crate) fn tree(&self, reader: &mut Reader<'_>, id: &ObjectId) -> Result<Arc<[u8]>, StoreError> {
        if let Some(tree) = self.lock().trees.get(id) {
            return Ok(Arc::clone(tree));
        }
        // Git knows the empty tree without storing it.
        if *id == ObjectId::empty_tree(reader.store().hash()) {
            return Ok(Arc::from([]));
        }
        let mut content = Vec::new();
        reader.read(id, Kind::Tree, &mut content)?;
        let tree: Arc<[u8]> = content.into();
        let mut remembered = self.lock();
        if remembered.bytes + tree.len() <= MAX_MEMO
            && remembered.trees.insert(*id, Arc::clone(&tree)).is_none()
        {
            remembered.bytes += tree.len();
        }
        Ok(tree)
    }

    /// Forgets what is no longer reachable from `roots`, once that may be half of everything.
    pub(crate) fn prune(&self, hash: Hash, roots: impl FnOnce() -> Vec<ObjectId>) {
        let mut remembered = self.lock();
        if remembered.trees.len() <= 2 * remembered.kept {
            return;
        }
        let mut reachable = HashSet::new();
        let mut pending = roots();
        while let Some(id) = pending.pop() {
            if let Some(tree) = remembered.trees.get(&id)
                && reachable.insert(id)
            {
                let entries = TreeRefIter::from_bytes(tree, hash).filter_map(Result::ok);
                pending.extend(entries.filter(|e| e.mode.is_tree()).map(|e| ObjectId::from(e.oid)));
            }
        }
        remembered.trees.retain(|id, _| reachable.contains(id));
        remembered.bytes = remembered.trees.values().map(|tree| tree.len()).sum();
        remembered.kept = remembered.trees.len();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The regular files at or below `prefix` whose path is wanted, in Git's order. Symbolic links and submodules are
/// passed over, and so are names that are not UTF-8.
pub(crate) fn files(
    memo: &TreeMemo,
    reader: &mut Reader<'_>,
    root: ObjectId,
    prefix: &str,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<FileEntry>, GitError> {
    let mut walk = Walk { memo, reader, wanted, found: Vec::new() };
    let mut id = root;
    let mut path = String::new();
    let mut components = components(prefix)?.into_iter().peekable();
    while let Some(name) = components.next() {
        let tree = walk.memo.tree(walk.reader, &id)?;
        let Some(entry) = find(&tree, id, name)? else { return Ok(Vec::new()) };
        path.push_str(name);
        if entry.mode.is_tree() {
            id = entry.oid.into();
            path.push('/');
            continue;
        }
        if entry.mode.is_blob() && components.peek().is_none() {
            walk.file(&path, entry.oid.into())?;
        }
        return Ok(walk.found);
    }
    walk.folder(id, &mut path, 0)?;
    Ok(walk.found)
}

/// The parts of a relative path. Empty parts and `.` are passed over; `..` is refused.
pub(crate) fn components(path: &str) -> Result<Vec<&str>, EditError> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") { Err(EditError::Path(path.to_owned())) } else { Ok(parts) }
}

struct Walk<'w, 's> {
    memo: &'w TreeMemo,
    reader: &'w mut Reader<'s>,
    wanted: &'w dyn Fn(&str) -> bool,
    found: Vec<FileEntry>,
}

impl Walk<'_, '_> {
    fn folder(&mut self, id: ObjectId, path: &mut String, depth: usize) -> Result<(), StoreError> {
        if depth > MAX_DEPTH {
            return Err(StoreError::TreeTooLarge { what: "levels of folders", limit: MAX_DEPTH });
        }
        let tree = self.memo.tree(self.reader, &id)?;
        let start = path.len();
        for entry in TreeRefIter::from_bytes(&tree, id.kind()) {
            let entry = entry.map_err(|error| malformed(&id, error))?;
            let Ok(name) = std::str::from_utf8(entry.filename) else {
                tracing::debug!(folder = %path, "a name that is not UTF-8 is passed over");
                continue;
            };
            path.push_str(name);
            if entry.mode.is_tree() {
                path.push('/');
                self.folder(entry.oid.into(), path, depth + 1)?;
            } else if entry.mode.is_blob() {
                self.file(path, entry.oid.into())?;
            }
            path.truncate(start);
        }
        Ok(())
    }

    fn file(&mut self, path: &str, blob: ObjectId) -> Result<(), StoreError> {
        if (self.wanted)(path) {
            if self.found.len() >= MAX_FILES {
                return Err(StoreError::TreeTooLarge { what: "files", limit: MAX_FILES });
            }
            self.found.push(FileEntry { path: path.to_owned(), blob: BlobId(blob) });
        }
        Ok(())
    }
}

fn find<'a>(
    tree: &'a [u8],
    id: ObjectId,
    name: &str,
) -> Result<Option<gix::objs::tree::EntryRef<'a>>, StoreError> {
    for entry in TreeRefIter::from_bytes(tree, id.kind()) {
        let entry = entry.map_err(|error| malformed(&id, error))?;
        if entry.filename == name.as_bytes() {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

pub(crate) fn malformed(id: &ObjectId, error: gix::Error) -> StoreError {
    StoreError::Damaged { id: id.to_string(), source: Some(error.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_normalised_and_never_climb() {
        for (prefix, parts) in [
            ("", &[][..]),
            (".", &[]),
            ("./", &[]),
            ("/a//b/", &["a", "b"]),
            ("./clusters/prod", &["clusters", "prod"]),
        ] {
            assert_eq!(components(prefix).unwrap(), parts, "{prefix}");
        }
        assert!(components("a/../b").is_err());
    }
}

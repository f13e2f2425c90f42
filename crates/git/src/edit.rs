//! Changing files of a tree without a work tree: new blobs, and new trees on the path to the root. New objects stay in
//! memory. Modes are kept; symbolic links, submodules and anything that is not a regular file are never replaced.

use std::collections::BTreeMap;
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::tree::{Entry, EntryKind};
use gix::objs::{Kind, Tree, TreeRefIter, WriteTo as _};

use crate::commit::Prepared;
use crate::error::GitError;
use crate::store::{Reader, StoreError, hash_object};
use crate::tree::{self, MAX_DEPTH, TreeMemo};

/// An edit that the tree does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Empty, absolute, or with a part that Git does not allow in a tree.
    #[error("`{0}` is not a path inside a repository")]
    Path(String),
    /// A symbolic link, a submodule or a folder.
    #[error("`{0}` is not a regular file in the repository")]
    NotAFile(String),
    /// A part of the path is a file, a symbolic link or a submodule.
    #[error("`{0}` is not a folder in the repository")]
    NotAFolder(String),
    /// One path twice, or a path below another.
    #[error("two changes contradict each other at `{0}`")]
    Conflict(String),
}

/// An object that exists in memory alone until it lands.
#[derive(Debug, Clone)]
pub(crate) struct NewObject {
    pub(crate) kind: Kind,
    pub(crate) content: Arc<[u8]>,
    /// What it replaces: likely similar, so a delta against it is small.
    pub(crate) replaces: Option<ObjectId>,
}

pub(crate) type NewObjects = BTreeMap<ObjectId, NewObject>;

/// The objects that an edit sees: those that it made, those of the commits that it builds on, and the store's.
pub(crate) struct Workbench<'a> {
    pub(crate) reader: Reader<'a>,
    pub(crate) memo: &'a TreeMemo,
    pub(crate) chain: Option<&'a Prepared>,
    pub(crate) added: NewObjects,
}

impl Workbench<'_> {
    /// The root after the changes; equal to `root` when they change nothing.
    pub(crate) fn apply(
        &mut self,
        root: ObjectId,
        changes: &[(String, Vec<u8>)],
    ) -> Result<ObjectId, GitError> {
        let mut plan = Folder::default();
        for (path, content) in changes {
            plan.add(path, content)?;
        }
        self.rewrite(Some(root), &plan, "")
    }

    /// Adds an object to those made here.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        content: Vec<u8>,
        replaces: Option<ObjectId>,
    ) -> Result<ObjectId, StoreError> {
        let id = hash_object(self.reader.store().hash(), kind, &content).map_err(|source| {
            StoreError::Damaged { id: "of a new object".to_owned(), source: Some(source.into()) }
        })?;
        if replaces != Some(id) {
            self.added.entry(id).or_insert_with(|| NewObject { kind, content: content.into(), replaces });
        }
        Ok(id)
    }

    fn rewrite(&mut self, old: Option<ObjectId>, plan: &Folder<'_>, at: &str) -> Result<ObjectId, GitError> {
        let mut entries = match old {
            Some(id) => self.entries(id)?,
            None => Vec::new(),
        };
        for (name, content) in &plan.files {
            let place = position(&entries, name);
            let replaces = place.map(|i| entries[i].oid);
            if place.is_some_and(|i| !entries[i].mode.is_blob()) {
                return Err(EditError::NotAFile(join(at, name)).into());
            }
            let id = self.add(Kind::Blob, content.to_vec(), replaces)?;
            set(&mut entries, place, name, EntryKind::Blob, id);
        }
        for (name, folder) in &plan.folders {
            let place = position(&entries, name);
            if place.is_some_and(|i| !entries[i].mode.is_tree()) {
                return Err(EditError::NotAFolder(join(at, name)).into());
            }
            let id = self.rewrite(place.map(|i| entries[i].oid), folder, &join(at, name))?;
            set(&mut entries, place, name, EntryKind::Tree, id);
        }
        entries.sort();
        let mut content = Vec::new();
        Tree { entries }.write_to(&mut content).map_err(|_| EditError::Path(at.to_owned()))?;
        Ok(self.add(Kind::Tree, content, old)?)
    }

    fn entries(&mut self, id: ObjectId) -> Result<Vec<Entry>, StoreError> {
        let tree = match self.new_object(&id) {
            Some(object) => Arc::clone(&object.content),
            None => self.memo.tree(&mut self.reader, &id)?,
        };
        let entries = TreeRefIter::from_bytes(&tree, id.kind()).map(|entry| entry.map(Entry::from));
        entries.collect::<Result<_, _>>().map_err(|error| tree::malformed(&id, error))
    }

    fn new_object(&self, id: &ObjectId) -> Option<&NewObject> {
        self.added.get(id).or_else(|| self.chain?.object(id))
    }
}

/// The changes below one folder.
#[derive(Default)]
struct Folder<'a> {
    files: BTreeMap<&'a str, &'a [u8]>,
    folders: BTreeMap<&'a str, Folder<'a>>,
}

impl<'a> Folder<'a> {
    fn add(&mut self, path: &'a str, content: &'a [u8]) -> Result<(), EditError> {
        let mut parts: Vec<&str> = path.split('/').collect();
        if parts.len() > MAX_DEPTH || !parts.iter().all(|part| is_safe(part)) {
            return Err(EditError::Path(path.to_owned()));
        }
        let name = parts.pop().expect("split yields at least one part");
        let conflict = || EditError::Conflict(path.to_owned());
        let mut folder = self;
        for part in parts {
            if folder.files.contains_key(part) {
                return Err(conflict());
            }
            folder = folder.folders.entry(part).or_default();
        }
        if folder.folders.contains_key(name) || folder.files.insert(name, content).is_some() {
            return Err(conflict());
        }
        Ok(())
    }
}

/// Whether Git allows the name in a tree. `.git` is refused in any case, as `git fsck` does.
fn is_safe(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains('\0') && !name.eq_ignore_ascii_case(".git")
}

fn position(entries: &[Entry], name: &str) -> Option<usize> {
    entries.iter().position(|entry| entry.filename == name.as_bytes())
}

fn set(entries: &mut Vec<Entry>, place: Option<usize>, name: &str, kind: EntryKind, oid: ObjectId) {
    match place {
        Some(place) => entries[place].oid = oid,
        None => entries.push(Entry { mode: kind.into(), filename: name.into(), oid }),
    }
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_git_forbids_are_refused() {
        for path in ["", "/a", "a/", "a//b", "../a", "a/./b", ".git/config", "a/.GIT/b", "a\0b"] {
            assert_eq!(Folder::default().add(path, b""), Err(EditError::Path(path.to_owned())), "{path:?}");
        }
        assert_eq!(Folder::default().add("a/.gitignore", b""), Ok(()));
    }

    #[test]
    fn changes_that_contradict_each_other_are_refused() {
        for (first, second) in [("a", "a"), ("a", "a/b"), ("a/b", "a")] {
            let mut plan = Folder::default();
            plan.add(first, b"").unwrap();
            assert_eq!(plan.add(second, b""), Err(EditError::Conflict(second.to_owned())));
        }
    }
}

//! The mirror: one repository's recent state on disk, and every operation on it. It owns the folder and the order of
//! operations, and takes one writer at a time; what is read or written is the caller's decision.

mod ahead;
mod land;
mod partial;
mod sync;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gix::ObjectId;
use gix::objs::{CommitRefIter, Kind};

pub use self::ahead::{Ahead, AheadCommit};
pub use self::land::{PushOutcome, PushRequest, Refusal};
use crate::commit::{Base, CommitText, Prepared};
use crate::edit::{NewObjects, Workbench};
use crate::error::GitError;
use crate::generation::{Folder, Generation};
use crate::id::{BlobId, CommitId};
use crate::lsrefs::HEADS;
use crate::remote::Remote;
use crate::store::{Blob, PackStore, Reader, StoreError};
use crate::tree::{self, FileEntry, TreeMemo};

/// What a server may make us read, hold and keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one pack on the wire. 1 GiB by default.
    pub pack_bytes: u64,
    /// Bytes that decoding one object of a pack may need; about three times the largest file. 512 MiB by default.
    pub object_bytes: usize,
    /// Bytes of a file that is read. 16 MiB by default.
    pub blob_bytes: u64,
    /// Packs before a fetch makes a fresh mirror. Every fetch and every landed push adds one, and each takes two
    /// memory maps of the 65,530 that Linux allows a process. 200 by default.
    pub packs: usize,
    /// Refs that one look at the server reads; servers without protocol version 2 list all that they have. 250,000 by
    /// default: kept, they take about 25 MB, and on the wire a third of an advertisement's 64 MiB.
    pub refs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pack_bytes: 1 << 30, object_bytes: 512 << 20, blob_bytes: 16 << 20, packs: 200, refs: 250_000 }
    }
}

/// A bare, shallow mirror of a repository.
pub struct Mirror {
    folder: Arc<Folder>,
    remote: Remote,
    limits: Limits,
    memo: Arc<TreeMemo>,
    /// `None` until the first fetch.
    current: Option<Generation>,
    /// Set when an object turned out missing or damaged: the next fetch starts over.
    damaged: AtomicBool,
    /// Set when the server offers filters, yet refuses the contents that it left out: mirrors are whole from then on.
    whole: AtomicBool,
    /// Held while contents are fetched, so that they are asked for once.
    completing: tokio::sync::Mutex<()>,
}

impl Mirror {
    /// Opens the mirror in `dir`, which it owns from now on, or prepares an empty one. It makes no request.
    pub async fn open(dir: &Path, remote: Remote, limits: Limits) -> Result<Self, GitError> {
        let dir = dir.to_owned();
        let object_bytes = limits.object_bytes;
        let (folder, current) = blocking(move || {
            let folder = Folder::take(&dir)?;
            let current = folder.open(object_bytes)?;
            Ok((Arc::new(folder), current))
        })
        .await?;
        // The `git` program needs all contents, so a mirror that the built-in code made without them is fetched again.
        let lacking = remote.program().is_some() && current.as_ref().is_some_and(|mirror| mirror.partial);
        Ok(Self {
            folder,
            remote,
            limits,
            memo: Arc::default(),
            current,
            damaged: AtomicBool::new(lacking),
            whole: AtomicBool::new(false),
            completing: tokio::sync::Mutex::default(),
        })
    }

    /// The repository that is mirrored.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The bare repository, readable by the `git` program; `None` until the first fetch. A rebuild changes it.
    pub fn path(&self) -> Option<PathBuf> {
        self.current.as_ref().map(|generation| generation.path().to_owned())
    }

    /// Where each branch points on the server now, `None` for those that do not exist (an empty repository has none).
    /// One request, except the first time.
    pub async fn ls_refs(&self, branches: &[&str]) -> Result<BTreeMap<String, Option<CommitId>>, GitError> {
        for branch in branches {
            ref_name(branch)?;
        }
        let tips = self.tips(branches).await?;
        Ok(tips.into_iter().map(|(branch, tip)| (branch, tip.map(CommitId))).collect())
    }

    /// Where refs point on the server now, by their full names; those that do not exist are left out. Annotated tags
    /// are peeled to what they mark. A name that ends in a slash, such as `refs/tags/`, stands for every ref below it.
    /// One request, except the first time.
    pub async fn refs(&self, names: &[&str]) -> Result<BTreeMap<String, CommitId>, GitError> {
        for name in names {
            checked_name(name.strip_suffix('/').unwrap_or(name))
                .ok_or_else(|| GitError::RefName(shown(name)))?;
        }
        let found = self.look(names).await?;
        Ok(found.into_iter().map(|(name, id)| (name, CommitId(id))).collect())
    }

    /// The regular files of a fetched commit, at or below `prefix` (a folder, a file, or empty for all), whose path is
    /// wanted; in Git's order. A prefix that does not exist has none. Symbolic links, submodules and names that are
    /// not UTF-8 are passed over.
    pub async fn files(
        &self,
        commit: CommitId,
        prefix: &str,
        wanted: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Vec<FileEntry>, GitError> {
        let store = self.store_with(commit)?;
        let (memo, prefix) = (Arc::clone(&self.memo), prefix.to_owned());
        self.reading(move || {
            let mut reader = store.reader();
            let root = root_tree(&mut reader, commit.0)?;
            tree::files(&memo, &mut reader, root, &prefix, &wanted)
        })
        .await
    }

    /// A file's content.
    pub async fn read_blob(&self, id: BlobId) -> Result<Vec<u8>, GitError> {
        let fold = |content: &mut Result<Vec<u8>, u64>, _, blob: Blob<'_>| {
            *content = match blob {
                Blob::Content(bytes) => Ok(bytes.to_vec()),
                Blob::TooLarge { size } => Err(size),
            };
        };
        let limit = self.limits.blob_bytes;
        let content = self.read_blobs(vec![id], Ok(Vec::new()), fold).await?;
        content.map_err(|size| StoreError::TooLarge { id: id.to_string(), size, limit }.into())
    }

    /// Visits files' contents in the order in which they are stored, which is much faster than reading them one by
    /// one, and hands back `state`. Contents that the mirror left out are fetched first.
    pub async fn read_blobs<T: Send + 'static>(
        &self,
        ids: Vec<BlobId>,
        mut state: T,
        mut visit: impl FnMut(&mut T, BlobId, Blob<'_>) + Send + 'static,
    ) -> Result<T, GitError> {
        let Some(generation) = &self.current else {
            return match ids.first() {
                Some(id) => Err(StoreError::Missing(id.to_string()).into()),
                None => Ok(state),
            };
        };
        self.complete(&ids).await?;
        let _turn = self.remote.0.bulk.turn(ids.len()).await;
        let store = Arc::clone(&generation.store);
        let limit = self.limits.blob_bytes;
        self.reading(move || {
            store.visit_blobs(&ids, limit, |id, blob| visit(&mut state, id, blob))?;
            Ok(state)
        })
        .await
    }

    /// Makes a commit that sets files to the given contents, in memory. `None` when that changes nothing. Existing
    /// files keep their mode; new ones are plain files.
    pub async fn commit(
        &self,
        base: impl Into<Base<'_>>,
        changes: Vec<(String, Vec<u8>)>,
        text: &CommitText,
    ) -> Result<Option<Prepared>, GitError> {
        let (start, chain) = match base.into() {
            Base::Commit(id) => (id, None),
            Base::Prepared(prepared) => (prepared.start(), Some(prepared.clone())),
        };
        let store = self.store_with(start)?;
        let (memo, text) = (Arc::clone(&self.memo), text.clone());
        self.reading(move || prepare(&store, &memo, start, chain, &changes, &text)).await
    }

    /// The store, if the commit is in it.
    fn store_with(&self, commit: CommitId) -> Result<Arc<PackStore>, StoreError> {
        match &self.current {
            Some(generation) if generation.store.contains(&commit.0) => Ok(Arc::clone(&generation.store)),
            _ => Err(StoreError::NotFetched(commit.to_string())),
        }
    }

    /// Runs a reading operation off the async threads and remembers when it finds damage.
    async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let result = blocking(work).await;
        if let Err(error) = &result
            && error.is_damage()
        {
            self.damaged.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("remote", &self.remote)
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

fn prepare(
    store: &PackStore,
    memo: &TreeMemo,
    start: CommitId,
    chain: Option<Prepared>,
    changes: &[(String, Vec<u8>)],
    text: &CommitText,
) -> Result<Option<Prepared>, GitError> {
    let mut reader = store.reader();
    let (parent, root) = match &chain {
        Some(prepared) => (prepared.id().0, prepared.tree()),
        None => (start.0, root_tree(&mut reader, start.0)?),
    };
    let mut bench = Workbench { reader, memo, chain: chain.as_ref(), added: NewObjects::new() };
    let tree = bench.apply(root, changes)?;
    if tree == root {
        return Ok(None);
    }
    let id = bench.add(Kind::Commit, text.object(tree, parent)?, None)?;
    let added = bench.added;
    Ok(Some(Prepared::new(id, tree, added, start, chain)))
}

/// The tree of a commit in the store.
fn root_tree(reader: &mut Reader<'_>, commit: ObjectId) -> Result<ObjectId, StoreError> {
    let mut content = Vec::new();
    reader.read(&commit, Kind::Commit, &mut content)?;
    CommitRefIter::from_bytes(&content, commit.kind())
        .tree_id()
        .map_err(|error| tree::malformed(&commit, error))
}

/// The branch's full ref name, if it is one (git-check-ref-format).
fn ref_name(branch: &str) -> Result<String, GitError> {
    let name = format!("{HEADS}{branch}");
    checked_name(&name).ok_or_else(|| GitError::Branch(shown(branch)))?;
    Ok(name)
}

/// The full name of a ref, if it is one. The limit keeps a request's line within one packet.
fn checked_name(name: &str) -> Option<&str> {
    (name.len() <= 1024 && gix::validate::reference::name(name.into()).is_ok()).then_some(name)
}

/// A name as an error shows it.
fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
) -> Result<T, GitError> {
    tokio::task::spawn_blocking(work).await.map_err(GitError::Task)?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lanes run on a multi-threaded runtime; this only has to compile.
    #[expect(dead_code, reason = "the compiler is the test")]
    fn operations_can_move_between_threads(
        mirror: &mut Mirror,
        id: CommitId,
        prepared: &Prepared,
        text: &CommitText,
    ) {
        fn movable<T: Send>(_: T) {}
        movable(mirror.ls_refs(&["main"]));
        movable(mirror.refs(&["refs/tags/"]));
        movable(mirror.fetch_commit(id));
        movable(mirror.complete(&[]));
        movable(mirror.fetch("main", id));
        movable(mirror.maintain("main", id));
        movable(mirror.files(id, "", |_| true));
        movable(mirror.commit(prepared, Vec::new(), text));
        let request = PushRequest::new("main", None, prepared);
        movable(mirror.push(request));
    }

    #[test]
    fn branch_names_are_checked_before_they_reach_the_wire() {
        for good in ["main", "release/1.0", "windlass/update", "ü"] {
            assert_eq!(ref_name(good).unwrap(), format!("refs/heads/{good}"));
        }
        for bad in ["", "a b", "a..b", "/a", "a/", "a\nb", "a~1", "a.lock", &"a".repeat(2000)] {
            assert!(matches!(ref_name(bad), Err(GitError::Branch(_))), "{bad}");
        }
    }
}

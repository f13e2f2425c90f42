//! Bringing the mirror up to date, replacing it when it is damaged or has piled up, and asking about ancestry.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gix::ObjectId;
use gix::objs::{CommitRefIter, Kind};

use super::{Mirror, blocking, ref_name, root_tree};
use crate::error::GitError;
use crate::fetch::{Boundary, Filter, Negotiation};
use crate::generation::Generation;
use crate::id::CommitId;
use crate::lsrefs::HEADS;
use crate::program::ProgramError;
use crate::store::{PackStore, StoreError};
use crate::transport::RemoteError;

/// Commits behind a branch's tip among which ours is looked for. A commit that others have buried deeper within the
/// time of one push is reported as not found, and the next observation shows what it wrote.
pub(super) const ANCESTRY_DEPTH: u32 = 256;
/// The mirror's own name for a commit that is checked out and is no branch's tip.
const CHECKOUT: &str = "refs/windlass/checkout";

/// Whether a commit that another one is compared with is on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    Certainly,
    Perhaps,
}

impl Mirror {
    /// Makes a commit available, and remembers it as the branch's tip. Where the server allows, contents of files come
    /// when they are read. Incremental where possible; without history in any case, so a rewritten branch costs no
    /// more than its changed files. A damaged mirror, or one with too many packs, is replaced.
    pub async fn fetch(&mut self, branch: &str, tip: CommitId) -> Result<(), GitError> {
        self.fetch_as(&ref_name(branch)?, tip).await
    }

    /// As [`Self::fetch`], for a commit that a tag or another ref names, or nothing but its id. The last one is kept.
    pub async fn fetch_commit(&mut self, commit: CommitId) -> Result<(), GitError> {
        match self.fetch_as(CHECKOUT, commit).await {
            Err(GitError::Remote(
                RemoteError::Server { message }
                | RemoteError::Program(ProgramError::Failed { words: message, .. }),
            )) => Err(GitError::CommitRefused { commit: commit.to_string(), message }),
            result => result,
        }
    }

    async fn fetch_as(&mut self, name: &str, tip: CommitId) -> Result<(), GitError> {
        let damaged = self.damaged.load(Ordering::Relaxed);
        let Some(generation) = self.current.clone().filter(|g| !damaged && g.hash() == tip.0.kind()) else {
            return self.rebuild(name, tip).await;
        };
        if generation.store.contains(&tip.0) {
            return self.note_tip(generation, name, tip).await;
        }
        if generation.store.pack_count() >= self.limits.packs {
            match self.rebuild(name, tip).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "a mirror with many packs could not be renewed"),
            }
        }
        match self.extend(generation, name, tip.0).await {
            Ok(next) => {
                self.current = Some(next);
                self.prune_memo().await;
                Ok(())
            }
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "a mirror is damaged and will be fetched again");
                self.rebuild(name, tip).await
            }
            Err(error) => Err(error),
        }
    }

    /// Renews the mirror while nobody waits, when a quarter of the allowed packs has piled up. `tip` must be the
    /// branch's tip. Returns whether it did.
    pub async fn maintain(&mut self, branch: &str, tip: CommitId) -> Result<bool, GitError> {
        let packs = self.current.as_ref().map_or(0, |generation| generation.store.pack_count());
        if packs <= self.limits.packs / 4 {
            return Ok(false);
        }
        self.rebuild(&ref_name(branch)?, tip).await.map(|()| true)
    }

    /// Whether `commit` is `tip` or one of its ancestors, as the server sees it; looks at the last 256 generations.
    pub async fn contains(&self, tip: CommitId, commit: CommitId) -> Result<bool, GitError> {
        if tip == commit {
            return Ok(true);
        }
        self.between(tip, Some(commit), Other::Perhaps, move |store| {
            Ok(history(store, tip.0)?.contains(&commit.0))
        })
        .await
    }

    /// Looks at the commits that `tip` has and `commit`, if one is named, does not, as the server sees it, and some more
    /// around them; at most 256 generations.
    pub(super) async fn between<T: Send + 'static>(
        &self,
        tip: CommitId,
        commit: Option<CommitId>,
        other: Other,
        look: impl FnOnce(&PackStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, GitError> {
        let folder = Arc::clone(&self.folder);
        let (hash, object_bytes) = (tip.0.kind(), self.limits.object_bytes);
        let (scratch, store) = blocking(move || {
            let scratch = folder.scratch()?;
            let store = PackStore::open(scratch.path(), hash, object_bytes)?;
            Ok((scratch, store))
        })
        .await?;
        // Without `shallow` lines the server takes our commit's history as known, so what it sends is the commits
        // between the two, and no files where it can leave them out.
        let negotiation = Negotiation {
            wants: vec![tip.0],
            haves: commit.iter().map(|commit| commit.0).collect(),
            shallow: Vec::new(),
            depth: ANCESTRY_DEPTH,
            thin: false,
            filter: Filter::Trees,
        };
        let store = self.receive_history(Arc::new(store), negotiation, other).await?;
        blocking(move || {
            let found = look(&store)?;
            drop(scratch);
            Ok(found)
        })
        .await
    }

    /// Fetches a fresh mirror beside the old one and swaps. On failure the old one stays.
    async fn rebuild(&mut self, name: &str, tip: CommitId) -> Result<(), GitError> {
        let partial = self.may_be_partial().await?;
        // How many contents will come is not known before they do.
        let _turn = self.remote.0.bulk.turn(if partial { 0 } else { usize::MAX }).await;
        let mut fresh = match self.fresh(name, tip, partial).await {
            Err(GitError::Remote(RemoteError::Server { .. })) if partial => {
                // A server may know filters and allow none of them (uploadpackfilter.allow).
                let fresh = self.fresh(name, tip, false).await?;
                self.whole.store(true, Ordering::Relaxed);
                fresh
            }
            result => result?,
        };
        let others = self.current.as_ref().map(|old| old.tips.clone()).unwrap_or_default();
        for (other, tip) in others.into_iter().filter(|(other, _)| other != name) {
            match self.extend(fresh.clone(), &other, tip).await {
                Ok(next) => fresh = next,
                // It may be gone; if it is not, its next fetch brings it back.
                Err(error) => tracing::debug!(name = other, %error, "a ref is not carried over"),
            }
        }
        self.damaged.store(false, Ordering::Relaxed);
        if let Some(old) = self.current.replace(fresh) {
            discard(old).await?;
        }
        self.prune_memo().await;
        Ok(())
    }

    /// A new generation that has `tip` alone.
    async fn fresh(&self, name: &str, tip: CommitId, partial: bool) -> Result<Generation, GitError> {
        let number = self.current.as_ref().map_or(1, Generation::next);
        let (folder, object_bytes) = (Arc::clone(&self.folder), self.limits.object_bytes);
        let empty = blocking(move || Ok(folder.create(number, tip.0.kind(), partial, object_bytes)?)).await?;
        match self.extend(empty.clone(), name, tip.0).await {
            Ok(fresh) => Ok(fresh),
            Err(error) => {
                discard(empty).await?;
                Err(error)
            }
        }
    }

    /// A generation that also has `tip`.
    async fn extend(
        &self,
        generation: Generation,
        name: &str,
        tip: ObjectId,
    ) -> Result<Generation, GitError> {
        let mut haves: Vec<ObjectId> = generation.tips.values().copied().collect();
        haves.sort_unstable();
        haves.dedup();
        // A partial mirror asks without contents every time: with them, deltas could refer to contents that were left
        // out here, and a pack that is not thin holds the whole snapshot again (a shallow tip has no known parent).
        let negotiation = Negotiation {
            wants: vec![tip],
            thin: !haves.is_empty(),
            haves,
            shallow: generation.shallow.iter().copied().collect(),
            depth: 1,
            filter: if generation.partial { Filter::Blobs } else { Filter::Nothing },
        };
        let (store, boundary) = self.receive(&generation, &negotiation).await?;
        record(generation, store, name.to_owned(), tip, boundary).await
    }

    async fn note_tip(
        &mut self,
        mut generation: Generation,
        name: &str,
        tip: CommitId,
    ) -> Result<(), GitError> {
        if generation.tips.get(name) != Some(&tip.0) {
            let name = name.to_owned();
            let noted = blocking(move || {
                expect_commit(&generation.store, tip.0)?;
                generation.tips.insert(name, tip.0);
                generation.save()?;
                Ok(generation)
            });
            self.current = Some(noted.await?);
        }
        Ok(())
    }

    /// Forgets the trees that no tracked branch has any more. It cannot fail in a way that matters here.
    pub(super) async fn prune_memo(&self) {
        let Some(generation) = self.current.clone() else { return };
        let memo = Arc::clone(&self.memo);
        let prune = move || {
            memo.prune(generation.hash(), || {
                let mut reader = generation.store.reader();
                generation.tips.values().filter_map(|tip| root_tree(&mut reader, *tip).ok()).collect()
            });
        };
        if let Err(error) = tokio::task::spawn_blocking(prune).await {
            tracing::debug!(%error, "the memory of trees was not pruned");
        }
    }
}

async fn discard(generation: Generation) -> Result<(), GitError> {
    blocking(move || {
        generation.discard();
        Ok(())
    })
    .await
}

/// Checks that a branch's tip is there, and records it.
pub(super) async fn track(
    generation: Generation,
    store: PackStore,
    branch: &str,
    tip: ObjectId,
    boundary: Boundary,
) -> Result<Generation, GitError> {
    record(generation, store, format!("{HEADS}{branch}"), tip, boundary).await
}

async fn record(
    mut generation: Generation,
    store: PackStore,
    name: String,
    tip: ObjectId,
    boundary: Boundary,
) -> Result<Generation, GitError> {
    blocking(move || {
        if !store.contains(&tip) {
            return Err(GitError::NotSent(tip.to_string()));
        }
        expect_commit(&store, tip)?;
        let mut reader = store.reader();
        let root = root_tree(&mut reader, tip)?;
        if root != ObjectId::empty_tree(tip.kind()) {
            reader.read(&root, Kind::Tree, &mut Vec::new())?;
        }
        drop(reader);
        generation.track(store, &name, tip, &boundary)?;
        Ok(generation)
    })
    .await
}

/// A ref of another kind of object is not damage.
fn expect_commit(store: &PackStore, id: ObjectId) -> Result<(), GitError> {
    match store.reader().find(&id, &mut Vec::new())? {
        Some(Kind::Commit) => Ok(()),
        _ => Err(GitError::NotACommit(id.to_string())),
    }
}

/// A commit and its ancestors, as far as they are in the store, whose last ones name parents that are not.
pub(super) fn history(store: &PackStore, commit: ObjectId) -> Result<HashSet<ObjectId>, StoreError> {
    let mut reader = store.reader();
    let mut content = Vec::new();
    let mut seen = HashSet::from([commit]);
    let mut pending = vec![commit];
    while let Some(id) = pending.pop() {
        if reader.find(&id, &mut content)? == Some(Kind::Commit) {
            let parents = CommitRefIter::from_bytes(&content, id.kind()).parent_ids();
            pending.extend(parents.filter(|parent| seen.insert(*parent)));
        }
    }
    Ok(seen)
}

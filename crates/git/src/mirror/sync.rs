//! Bringing the mirror up to date, replacing it when it is damaged or has piled up, and asking about ancestry.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gix::ObjectId;
use gix::objs::{CommitRefIter, Kind};

use super::{Mirror, blocking, ref_name, root_tree};
use crate::error::GitError;
use crate::fetch::{Boundary, Negotiation, PackStream};
use crate::generation::Generation;
use crate::id::CommitId;
use crate::store::{self, PackStore, StoreError};

/// Commits behind a branch's tip among which ours is looked for. A commit that others have buried deeper within the
/// time of one push is reported as not found, and the next observation shows what it wrote.
pub(super) const ANCESTRY_DEPTH: u32 = 256;

impl Mirror {
    /// Makes a commit with all of its files available, and remembers it as the branch's tip. Incremental where
    /// possible; without history in any case, so a rewritten branch costs no more than its changed files. A damaged
    /// mirror, or one with too many packs, is replaced.
    pub async fn fetch(&mut self, branch: &str, tip: CommitId) -> Result<(), GitError> {
        ref_name(branch)?;
        let damaged = self.damaged.load(Ordering::Relaxed);
        let Some(generation) = self.current.clone().filter(|g| !damaged && g.hash() == tip.0.kind()) else {
            return self.rebuild(branch, tip).await;
        };
        if generation.store.contains(&tip.0) {
            return self.note_tip(generation, branch, tip).await;
        }
        if generation.store.pack_count() >= self.limits.packs {
            match self.rebuild(branch, tip).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "a mirror with many packs could not be renewed"),
            }
        }
        match self.extend(generation, branch, tip.0).await {
            Ok(next) => {
                self.current = Some(next);
                self.prune_memo().await;
                Ok(())
            }
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "a mirror is damaged and will be fetched again");
                self.rebuild(branch, tip).await
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
        self.rebuild(branch, tip).await.map(|()| true)
    }

    /// Whether `commit` is `tip` or one of its ancestors, as the server sees it; looks at the last 256 generations.
    pub async fn contains(&self, tip: CommitId, commit: CommitId) -> Result<bool, GitError> {
        if tip == commit {
            return Ok(true);
        }
        self.between(tip, commit, move |store| is_ancestor(store, tip.0, commit.0)).await
    }

    /// Looks at the commits that `tip` has and `commit` does not, as the server sees it, and some more around them; at
    /// most 256 generations.
    pub(super) async fn between<T: Send + 'static>(
        &self,
        tip: CommitId,
        commit: CommitId,
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
            want: tip.0,
            haves: vec![commit.0],
            shallow: Vec::new(),
            depth: ANCESTRY_DEPTH,
            thin: false,
            commits_only: true,
        };
        let stream = PackStream::open(&self.remote, &negotiation, self.limits.pack_bytes).await?;
        let store = store::receive(Arc::new(store), stream, false).await?;
        blocking(move || {
            let found = look(&store)?;
            drop(scratch);
            Ok(found)
        })
        .await
    }

    /// Fetches a fresh mirror beside the old one and swaps. On failure the old one stays.
    async fn rebuild(&mut self, branch: &str, tip: CommitId) -> Result<(), GitError> {
        let number = self.current.as_ref().map_or(1, Generation::next);
        let (folder, object_bytes) = (Arc::clone(&self.folder), self.limits.object_bytes);
        let empty = blocking(move || Ok(folder.create(number, tip.0.kind(), object_bytes)?)).await?;
        let mut fresh = match self.extend(empty.clone(), branch, tip.0).await {
            Ok(fresh) => fresh,
            Err(error) => {
                discard(empty).await?;
                return Err(error);
            }
        };
        let others = self.current.as_ref().map(|old| old.tips.clone()).unwrap_or_default();
        for (other, tip) in others.into_iter().filter(|(other, _)| other != branch) {
            match self.extend(fresh.clone(), &other, tip).await {
                Ok(next) => fresh = next,
                // The branch may be gone; if it is not, its next fetch brings it back.
                Err(error) => tracing::debug!(branch = other, %error, "a branch is not carried over"),
            }
        }
        self.damaged.store(false, Ordering::Relaxed);
        if let Some(old) = self.current.replace(fresh) {
            discard(old).await?;
        }
        self.prune_memo().await;
        Ok(())
    }

    /// A generation that also has `tip`.
    async fn extend(
        &self,
        generation: Generation,
        branch: &str,
        tip: ObjectId,
    ) -> Result<Generation, GitError> {
        let mut haves: Vec<ObjectId> = generation.tips.values().copied().collect();
        haves.sort_unstable();
        haves.dedup();
        let negotiation = Negotiation {
            want: tip,
            thin: !haves.is_empty(),
            haves,
            shallow: generation.shallow.iter().copied().collect(),
            depth: 1,
            commits_only: false,
        };
        let mut stream = PackStream::open(&self.remote, &negotiation, self.limits.pack_bytes).await?;
        let boundary = std::mem::take(&mut stream.boundary);
        let store = store::receive(Arc::clone(&generation.store), stream, negotiation.thin).await?;
        track(generation, store, branch, tip, boundary).await
    }

    async fn note_tip(
        &mut self,
        generation: Generation,
        branch: &str,
        tip: CommitId,
    ) -> Result<(), GitError> {
        if generation.tips.get(branch) != Some(&tip.0) {
            let mut next = generation;
            next.tips.insert(branch.to_owned(), tip.0);
            self.current = Some(blocking(move || next.save().map(|()| next).map_err(GitError::from)).await?);
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

/// Checks that the tip arrived, and records it.
pub(super) async fn track(
    mut generation: Generation,
    store: PackStore,
    branch: &str,
    tip: ObjectId,
    boundary: Boundary,
) -> Result<Generation, GitError> {
    let branch = branch.to_owned();
    blocking(move || {
        if !store.contains(&tip) {
            return Err(GitError::NotSent(tip.to_string()));
        }
        let mut reader = store.reader();
        let root = root_tree(&mut reader, tip)?;
        if root != ObjectId::empty_tree(tip.kind()) {
            reader.read(&root, Kind::Tree, &mut Vec::new())?;
        }
        drop(reader);
        generation.track(store, &branch, tip, &boundary)?;
        Ok(generation)
    })
    .await
}

/// Walks from `tip` through the commits in the store, whose last ones name parents that are not in it.
fn is_ancestor(store: &PackStore, tip: ObjectId, commit: ObjectId) -> Result<bool, StoreError> {
    let mut reader = store.reader();
    let mut content = Vec::new();
    let mut seen = HashSet::from([tip]);
    let mut pending = vec![tip];
    while let Some(id) = pending.pop() {
        if id == commit {
            return Ok(true);
        }
        if reader.find(&id, &mut content)? == Some(Kind::Commit) {
            let parents = CommitRefIter::from_bytes(&content, id.kind()).parent_ids();
            pending.extend(parents.filter(|parent| seen.insert(*parent)));
        }
    }
    Ok(false)
}

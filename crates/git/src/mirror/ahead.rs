//! What one branch has and another does not. It reads commits and never judges whose they are.

use std::collections::{BinaryHeap, HashMap, HashSet};

use gix::ObjectId;
use gix::objs::{CommitRef, Kind};

use super::Mirror;
use super::sync::{ANCESTRY_DEPTH, Other, history};
use crate::error::GitError;
use crate::id::CommitId;
use crate::store::{PackStore, StoreError};
use crate::tree;

/// How a commit stands to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// The other one is among its ancestors.
    pub contains: bool,
    /// What it has and the other one does not, itself included, each before its parents; empty where the other one has it.
    pub commits: Vec<AheadCommit>,
    /// There may be more than `commits`: the branches went apart long ago.
    pub more: bool,
}

/// A commit that another branch does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AheadCommit {
    /// Its committer's address.
    pub committer: String,
    /// Subject, body and trailers.
    pub message: String,
}

impl Mirror {
    /// What `tip` has that `other` does not, as the server sees it. One request; the last 256 generations are looked at.
    pub async fn ahead(&self, tip: CommitId, other: CommitId) -> Result<Ahead, GitError> {
        if tip == other {
            return Ok(Ahead { contains: true, commits: Vec::new(), more: false });
        }
        let walk = move |store: &PackStore| walk(store, tip.0, Some(other.0));
        self.between(tip, Some(other), Other::Certainly, walk).await
    }

    /// The commits of the last 256 generations up to `tip`, each before its parents. One request.
    pub async fn recent(&self, tip: CommitId) -> Result<Vec<AheadCommit>, GitError> {
        let walk = move |store: &PackStore| walk(store, tip.0, None);
        Ok(self.between(tip, None, Other::Certainly, walk).await?.commits)
    }
}

/// A commit on the walk.
struct Step {
    parents: Vec<ObjectId>,
    seconds: i64,
    /// How many commits of the walk that name it as their parent are not given out yet.
    children: usize,
    commit: AheadCommit,
}

/// What the other one has is left out by the server, or it is in the store too.
fn walk(store: &PackStore, tip: ObjectId, other: Option<ObjectId>) -> Result<Ahead, StoreError> {
    let known = other.map_or_else(|| Ok(HashSet::new()), |other| history(store, other))?;
    let mut reader = store.reader();
    let mut content = Vec::new();
    let mut contains = false;
    let mut steps = HashMap::new();
    let mut seen = HashSet::from([tip]);
    let mut pending = vec![tip];
    while let Some(id) = pending.pop() {
        contains |= other == Some(id);
        if known.contains(&id) || reader.find(&id, &mut content)? != Some(Kind::Commit) {
            continue;
        }
        let commit =
            CommitRef::from_bytes(&content, id.kind()).map_err(|error| tree::malformed(&id, error))?;
        let committer = commit.committer().map_err(|error| tree::malformed(&id, error))?;
        let parents: Vec<ObjectId> = commit.parents().collect();
        pending.extend(parents.iter().copied().filter(|parent| seen.insert(*parent)));
        let seconds = committer.seconds();
        let (committer, message) = (committer.email.to_string(), commit.message.to_string());
        steps.insert(id, Step { parents, seconds, children: 0, commit: AheadCommit { committer, message } });
    }
    let commits = in_order(tip, steps);
    let more = commits.len() >= ANCESTRY_DEPTH as usize;
    Ok(Ahead { contains, commits, more })
}

/// Each commit before its parents, whatever the clocks of those who made them say; between lines, the newest first.
fn in_order(tip: ObjectId, mut steps: HashMap<ObjectId, Step>) -> Vec<AheadCommit> {
    let named: Vec<ObjectId> = steps.values().flat_map(|step| step.parents.clone()).collect();
    for parent in named {
        if let Some(step) = steps.get_mut(&parent) {
            step.children += 1;
        }
    }
    let mut commits = Vec::with_capacity(steps.len());
    let mut next: BinaryHeap<(i64, ObjectId)> =
        steps.get(&tip).map(|step| (step.seconds, tip)).into_iter().collect();
    while let Some((_, id)) = next.pop() {
        let Some(Step { parents, commit, .. }) = steps.remove(&id) else { continue };
        commits.push(commit);
        for parent in parents {
            let Some(step) = steps.get_mut(&parent) else { continue };
            step.children -= 1;
            if step.children == 0 {
                next.push((step.seconds, parent));
            }
        }
    }
    commits
}

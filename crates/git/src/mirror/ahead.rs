//! What one branch has and another does not. It reads commits and never judges whose they are.

use std::cmp::Reverse;
use std::collections::HashSet;

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
    /// What it has and the other one does not, itself included, the newest first; empty where the other one has it.
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

    /// The commits of the last 256 generations up to `tip`, the newest first. One request.
    pub async fn recent(&self, tip: CommitId) -> Result<Vec<AheadCommit>, GitError> {
        let walk = move |store: &PackStore| walk(store, tip.0, None);
        Ok(self.between(tip, None, Other::Certainly, walk).await?.commits)
    }
}

/// What the other one has is left out by the server, or it is in the store too.
fn walk(store: &PackStore, tip: ObjectId, other: Option<ObjectId>) -> Result<Ahead, StoreError> {
    let known = other.map_or_else(|| Ok(HashSet::new()), |other| history(store, other))?;
    let mut reader = store.reader();
    let mut content = Vec::new();
    let mut ahead = Ahead { contains: false, commits: Vec::new(), more: false };
    let mut commits = Vec::new();
    let mut seen = HashSet::from([tip]);
    let mut pending = vec![tip];
    while let Some(id) = pending.pop() {
        ahead.contains |= other == Some(id);
        if known.contains(&id) || reader.find(&id, &mut content)? != Some(Kind::Commit) {
            continue;
        }
        let commit =
            CommitRef::from_bytes(&content, id.kind()).map_err(|error| tree::malformed(&id, error))?;
        let committer = commit.committer().map_err(|error| tree::malformed(&id, error))?;
        let seconds = committer.seconds();
        let (committer, message) = (committer.email.to_string(), commit.message.to_string());
        commits.push((seconds, AheadCommit { committer, message }));
        pending.extend(commit.parents().filter(|parent| seen.insert(*parent)));
    }
    // Where lines come together; on one line, the walk's order is that already.
    commits.sort_by_key(|(seconds, _)| Reverse(*seconds));
    ahead.commits = commits.into_iter().map(|(_, commit)| commit).collect();
    ahead.more = ahead.commits.len() >= ANCESTRY_DEPTH as usize;
    Ok(ahead)
}

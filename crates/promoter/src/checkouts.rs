//! Where a lane's branch is, or what it is made from when it does not exist yet: any ref of the repository, the tag
//! with the highest version in a range, or a commit.

use std::collections::BTreeMap;

use windlass_git::{CommitId, GitError, Mirror};
use windlass_model::checkout::Checkout;
use windlass_policy::constraint::Constraint;

use crate::lane::{Job, Lane};
use crate::rebuild::Apart;

const HEADS: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";

/// Where the branch is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) base: CommitId,
    /// `None` where the push creates the branch.
    pub(crate) expected: Option<CommitId>,
    /// What the push takes off the branch, where the branch is rebuilt.
    pub(crate) replaces: Option<CommitId>,
    /// The branch is behind what is checked out, and stays so: it has commits of others.
    pub(crate) shared: bool,
    pub(crate) sight: Sight,
}

/// How it is known where the branch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It was there when it was last seen. A push from here has that as its condition; whoever has nothing to push looks.
    Remembered,
    /// It was looked at, and nobody had moved it since it was last seen.
    Still,
    /// It was looked at, and somebody else had moved it.
    Moved,
}

impl Lane {
    /// Where the branch is, with everything fetched, and the commit that is checked out where the branch is to be
    /// rebuilt on it; or why there is nothing to build on. On a branch that others leave alone this asks for nothing:
    /// the push finds out.
    pub(crate) async fn observe(
        &mut self,
        job: Job<'_>,
        mirror: &mut Mirror,
    ) -> Result<Result<(Head, Option<CommitId>), String>, GitError> {
        let own = Checkout::Branch(self.key.branch.clone());
        let checkout = job.targets.first().map_or(&own, |target| &target.checkout);
        let start = |base, expected, sight| Head { base, expected, replaces: None, shared: false, sight };
        let settled = std::mem::take(&mut self.quiet) && !self.unsettled;
        if let Some(tip) = self.tip.filter(|_| settled && *checkout == own) {
            return Ok(Ok((start(tip, Some(tip), Sight::Remembered), None)));
        }
        let branch = format!("{HEADS}{}", self.key.branch);
        let other = wanted(checkout);
        let names: Vec<&str> = [Some(branch.as_str()), other.as_deref()].into_iter().flatten().collect();
        let refs = mirror.refs(&names).await?;
        let Some(tip) = refs.get(&branch).copied() else {
            let base = match resolve(checkout, &refs) {
                Ok(base) => base,
                Err(reason) => return Ok(Err(reason)),
            };
            fetch(mirror, checkout, base).await?;
            return Ok(Ok((start(base, None, Sight::Still), None)));
        };
        mirror.fetch(&self.key.branch, tip).await?;
        let moved = self.tip.is_some_and(|last| last != tip);
        let mut head = start(tip, Some(tip), if moved { Sight::Moved } else { Sight::Still });
        let mut onto = None;
        // A commit that is named by its id does not move, so the branch cannot fall behind it.
        let moving = resolve(checkout, &refs).ok().filter(|_| !matches!(checkout, Checkout::Commit(_)));
        if let Some(commit) = moving.filter(|commit| *commit != tip) {
            let apart = self.compare(job.spec, mirror, tip, commit).await?;
            head.shared = apart == Apart::Shared;
            onto = (apart == Apart::Behind).then_some(commit);
        }
        Ok(Ok((head, onto)))
    }
}

/// Makes what is checked out available.
pub(crate) async fn fetch(
    mirror: &mut Mirror,
    checkout: &Checkout,
    commit: CommitId,
) -> Result<(), GitError> {
    match checkout.branch() {
        Some(branch) => mirror.fetch(branch, commit).await,
        None => mirror.fetch_commit(commit).await,
    }
}

/// The ref to ask for, or all of a folder of refs; a commit needs none.
fn wanted(checkout: &Checkout) -> Option<String> {
    match checkout {
        Checkout::Branch(branch) => Some(format!("{HEADS}{branch}")),
        Checkout::Tag(tag) => Some(format!("{TAGS}{tag}")),
        Checkout::Semver(_) => Some(TAGS.to_owned()),
        Checkout::Name(name) => Some(name.clone()),
        Checkout::Commit(_) => None,
    }
}

fn resolve(checkout: &Checkout, refs: &BTreeMap<String, CommitId>) -> Result<CommitId, String> {
    match checkout {
        Checkout::Commit(id) => id.parse().map_err(|_| format!("`{id}` is not a commit id")),
        Checkout::Semver(range) => {
            let constraint = Constraint::parse(range).map_err(|error| error.to_string())?;
            let tags = refs.keys().filter_map(|name| name.strip_prefix(TAGS));
            let newest = constraint.newest(tags).and_then(|tag| refs.get(&format!("{TAGS}{tag}")));
            newest.copied().ok_or_else(|| {
                format!("no tag of the repository is a version in the range `{range}`: push one, or widen the range")
            })
        }
        Checkout::Branch(branch) => found(checkout, refs).ok_or_else(|| {
            format!(
                "branch {branch} does not exist in the repository: create it, or name another one in \
                 spec.git.checkout.ref.branch"
            )
        }),
        Checkout::Tag(_) | Checkout::Name(_) => found(checkout, refs).ok_or_else(|| {
            format!("{checkout} does not exist in the repository: push it, or name another one")
        }),
    }
}

fn found(checkout: &Checkout, refs: &BTreeMap<String, CommitId>) -> Option<CommitId> {
    refs.get(&wanted(checkout)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    #[test]
    fn each_kind_of_checkout_finds_its_commit_or_says_what_is_missing() {
        let refs = [
            ("refs/heads/main", '1'),
            ("refs/tags/v1.0.0", '2'),
            ("refs/tags/v1.2.0", '3'),
            ("refs/tags/v1.10.0", '4'),
            ("refs/tags/v2.0.0-rc.1", '5'),
            ("refs/tags/latest", '6'),
            ("refs/pull/7/head", '7'),
        ];
        let refs: BTreeMap<String, CommitId> =
            refs.iter().map(|(name, digit)| ((*name).to_owned(), commit(*digit))).collect();
        let text = |text: &str| text.to_owned();
        for (checkout, expected) in [
            (Checkout::Branch(text("main")), Ok('1')),
            (Checkout::Branch(text("dev")), Err("branch dev does not exist")),
            (Checkout::Tag(text("v1.0.0")), Ok('2')),
            (Checkout::Tag(text("main")), Err("tag main does not exist")),
            (Checkout::Semver(text(">=1.0.0")), Ok('4')),
            (Checkout::Semver(text("~1.2")), Ok('3')),
            (Checkout::Semver(text(">=1.0.0-0")), Ok('5')),
            (Checkout::Semver(text(">=3")), Err("no tag of the repository is a version in the range `>=3`")),
            (Checkout::Name(text("refs/pull/7/head")), Ok('7')),
            (Checkout::Name(text("refs/pull/8/head")), Err("ref refs/pull/8/head does not exist")),
            (Checkout::Commit("9".repeat(40)), Ok('9')),
        ] {
            let resolved = resolve(&checkout, &refs);
            match expected {
                Ok(digit) => assert_eq!(resolved, Ok(commit(digit)), "{checkout}"),
                Err(reason) => assert!(resolved.unwrap_err().contains(reason), "{checkout}"),
            }
        }
    }
}

//! What a repository is checked out at: `spec.ref` of a GitRepository and `spec.git.checkout.ref` of an
//! ImageUpdateAutomation. Values alone; the loader reads them, and where they point to is found elsewhere.

use std::fmt;

/// Flux's branch where neither the automation nor the GitRepository names a ref (image-automation-controller 1.2).
pub const DEFAULT_BRANCH: &str = "master";

/// A way to name a commit. Where several are given the last one of these counts, as in Flux (fluxcd/pkg
/// `git/gogit` `Client.Clone`; the text of its API puts `semver` before `tag`, its code does not).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checkout {
    /// `branch`, without `refs/heads/`.
    Branch(String),
    /// `semver`: the tag with the highest version in this range.
    Semver(String),
    /// `tag`, without `refs/tags/`.
    Tag(String),
    /// `name`: a ref by its full name.
    Name(String),
    /// `commit`: an object id, in lower case.
    Commit(String),
}

impl Checkout {
    /// The branch, where it is one: its own commits are what follows, so it needs no other to push to.
    pub fn branch(&self) -> Option<&str> {
        match self {
            Self::Branch(branch) => Some(branch),
            Self::Semver(_) | Self::Tag(_) | Self::Name(_) | Self::Commit(_) => None,
        }
    }
}

impl Default for Checkout {
    fn default() -> Self {
        Self::Branch(DEFAULT_BRANCH.to_owned())
    }
}

impl fmt::Display for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(branch) => write!(f, "branch {branch}"),
            Self::Semver(range) => write!(f, "the tags in the range `{range}`"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Name(name) => write!(f, "ref {name}"),
            Self::Commit(commit) => write!(f, "commit {commit}"),
        }
    }
}

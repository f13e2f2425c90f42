//! Trust roots: whose certificates, logs and timestamps are believed. Owns their hash, by which a verdict can name the
//! root that it rests on, and what is said of roots that somebody else fetches.

use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use windlass_model::Spec;
use windlass_model::guard::TufRepository;

use crate::bounds;
use crate::sigstore::Roots;

/// A trust root that was checked as a whole. Cheap to clone.
#[derive(Clone)]
pub struct TrustRoot {
    pub(crate) roots: Arc<Roots>,
    sha256: String,
}

impl TrustRoot {
    /// Reads a `trusted_root.json`.
    pub fn from_json(json: &str) -> Result<Self, RootError> {
        if json.len() > bounds::ROOT_BYTES {
            return Err(RootError::TooLarge);
        }
        let roots = Roots::from_json(json).map_err(RootError::Invalid)?;
        Ok(Self { roots: Arc::new(roots), sha256: hex::encode(Sha256::digest(json)) })
    }

    /// Sigstore's public good root, as it was when this version was built.
    pub fn public_good() -> Result<Self, RootError> {
        Self::from_json(Roots::PUBLIC_GOOD)
    }

    /// Sigstore's staging root, which is good for tests alone.
    pub fn staging() -> Result<Self, RootError> {
        Self::from_json(Roots::STAGING)
    }

    /// SHA-256 of its text, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

impl std::fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustRoot").field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

impl PartialEq for TrustRoot {
    /// By their texts.
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256
    }
}

impl Eq for TrustRoot {}

/// Trust roots that lie outside the configuration. Nothing is fetched here: whoever does lends what there is.
pub trait FetchedRoots {
    /// The last trust root of a TUF repository. The configuration has the repository's first root.
    ///
    /// # Errors
    /// There is none at present.
    fn latest(&self, repository: &TufRepository, spec: &Spec) -> Result<FetchedRoot, NotFetched>;
}

/// A trust root that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedRoot {
    /// The root.
    pub root: TrustRoot,
    /// When the first of the signatures that vouch for it expires: from then on it is none.
    pub until: Timestamp,
    /// Why it could not be fetched anew since.
    pub failure: Option<String>,
}

/// Why there is no trust root of a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFetched {
    /// It is on its way.
    #[error("the trust root was not fetched yet")]
    Pending,
    /// It could not be fetched, or it expired.
    #[error("there is no trust root: {0}")]
    Failed(String),
    /// What the Guard says of the repository cannot be used.
    #[error("{0}")]
    Unusable(String),
}

/// Where nobody fetches.
#[derive(Debug, Clone, Copy, Default)]
pub struct NothingFetched;

impl FetchedRoots for NothingFetched {
    fn latest(&self, _: &TufRepository, _: &Spec) -> Result<FetchedRoot, NotFetched> {
        Err(NotFetched::Pending)
    }
}

/// Why there is no trust root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Past the size limit.
    #[error("the trust root has more than {} bytes", bounds::ROOT_BYTES)]
    TooLarge,
    /// It does not parse, or what it holds is contradictory.
    #[error("the trust root cannot be used: {0}")]
    Invalid(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_roots_are_whole_and_different() {
        let (good, staging) = (TrustRoot::public_good().unwrap(), TrustRoot::staging().unwrap());
        assert_ne!(good.sha256(), staging.sha256());
        assert_eq!(good.sha256().len(), 64);
    }

    #[test]
    fn broken_and_huge_roots_are_refused() {
        assert!(matches!(TrustRoot::from_json("{"), Err(RootError::Invalid(_))));
        assert_eq!(TrustRoot::from_json(&" ".repeat((1 << 20) + 1)).unwrap_err(), RootError::TooLarge);
    }
}

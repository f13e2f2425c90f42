//! One repository to follow: where it is, and whom to believe at first.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use sigstore_tuf::TrustedMetadataSet;
use windlass_model::Spec;
use windlass_model::guard::{TufAnchor, TufRepository};

use crate::update::chain;

/// The root of Sigstore's public good repository, version 16: later ones are followed from here, also after it expired.
/// It is the one that sigstore-trust-root 0.15.1 carries.
const PUBLIC_GOOD: &str = include_str!("public_good_root.json");
/// Characters of a folder's name: 128 bits of a hash.
const NAME: usize = 32;

/// A repository with its first root. Two that differ in that have nothing in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) repository: TufRepository,
    pub(crate) anchor: Arc<str>,
}

impl Source {
    /// Reads the first root.
    ///
    /// # Errors
    /// It is missing, or not a root that its own keys signed.
    pub(crate) fn of(repository: &TufRepository, spec: &Spec) -> Result<Self, String> {
        let (anchor, place) = match &repository.anchor {
            TufAnchor::PublicGood => (PUBLIC_GOOD, String::new()),
            TufAnchor::Inline(json) => (json.as_str(), String::new()),
            TufAnchor::Secret(key) => {
                let secret = spec.secrets.get(key).ok_or_else(|| format!("Secret/{key} does not exist"))?;
                let name = TufRepository::ROOT;
                let json = secret.text(name).ok_or_else(|| format!("Secret/{key} has no key `{name}`"))?;
                (json, format!("Secret/{key}: "))
            }
        };
        TrustedMetadataSet::from_root(anchor.as_bytes()).map_err(|error| {
            format!("{place}the first root of a TUF repository cannot be used: {}", chain(&error))
        })?;
        Ok(Self { repository: repository.clone(), anchor: anchor.into() })
    }

    /// All that a configuration names and that can be used.
    pub(crate) fn all(spec: &Spec) -> BTreeSet<Self> {
        let repositories = spec.guards.values().flat_map(|guard| guard.tuf_repositories());
        repositories.filter_map(|repository| Self::of(repository, spec).ok()).collect()
    }

    /// The name of its folder: of those that differ in mirror or first root, no two have the same.
    pub(crate) fn folder(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&*self.repository.mirror, &*self.anchor] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut name = hex::encode(hash.finalize());
        name.truncate(NAME);
        name
    }
}

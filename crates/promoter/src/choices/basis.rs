//! What a choice rests on, beside the tags: the policy's rule, the repository, the Guards.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use windlass_model::resource::{DigestReflection, ImagePolicy, ImageRepository};
use windlass_model::{ImageRef, Tag};
use windlass_policy::exclusion::Exclusions;
use windlass_policy::rank::FirstSeen;
use windlass_policy::selection::Selector;

use crate::guards::Guards;

/// Everything that a choice rests on, beside the tags.
#[derive(Debug)]
pub(super) struct Basis {
    pub(super) policy: Arc<ImagePolicy>,
    pub(super) repository: Arc<ImageRepository>,
    pub(super) guards: Guards,
    pub(super) selector: Arc<Selector>,
    pub(super) excluded: Arc<Exclusions>,
}

impl Basis {
    /// Whether a choice for these is made by the same rule, among the tags of the same image. Where and under which
    /// labels the policy was written does not matter.
    pub(super) fn is_of(
        &self,
        policy: &Arc<ImagePolicy>,
        repository: &Arc<ImageRepository>,
        guards: &Guards,
    ) -> bool {
        let same_policy = || {
            let meta = self.policy.meta.clone();
            *self.policy == ImagePolicy { meta, ..ImagePolicy::clone(policy) }
        };
        let same_repository = || {
            self.repository.spec_image == repository.spec_image
                && self.repository.exclusion_list == repository.exclusion_list
        };
        (Arc::ptr_eq(&self.policy, policy) || same_policy())
            && (Arc::ptr_eq(&self.repository, repository) || same_repository())
            && self.guards == *guards
    }

    /// The best of these by the policy's order.
    pub(super) fn best_of<'t>(
        &self,
        tags: impl Iterator<Item = &'t Tag>,
        first_seen: &'t FirstSeen,
        denied: &BTreeSet<Tag>,
    ) -> Result<Tag, String> {
        let usable = |tag: &&Tag| !self.excluded.excludes(tag.as_str()) && !denied.contains(*tag);
        let chosen = self.selector.select(tags.filter(usable).map(|tag| first_seen.candidate(tag)));
        Tag::parse(chosen.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }

    /// Whether the image could be this basis's choice.
    pub(super) fn admits(&self, image: &ImageRef) -> bool {
        image.name == self.repository.spec_image
            && image.digest.is_some() == (reflects(&self.policy) || self.guards.pins())
            && !self.excluded.excludes(image.tag.as_str())
            && matches!(self.selector.rank(image.tag.as_str()), Ok(Some(_)))
    }
}

pub(super) fn reflects(policy: &ImagePolicy) -> bool {
    policy.digest != DigestReflection::Never
}

/// What a policy chooses by, in a few characters: equal rules have equal fingerprints, in every process.
pub(super) fn fingerprint(policy: &ImagePolicy, exclusions: &[String]) -> Arc<str> {
    let ImagePolicy { rule, filter, order, variant_lock, .. } = policy;
    let rule = format!("{rule:?} {filter:?} {order:?} {variant_lock} {exclusions:?}");
    hex::encode(&Sha256::digest(rule)[..12]).into()
}

//! The configuration that the promoter works with: the resources, and why some of them cannot work. Always both of one
//! moment, so that no work runs with a permission that the resources beside it do not give.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use windlass_model::git::SIGNING_SECRET;
use windlass_model::resource::{ImagePolicy, ImageRepository, Resource as _};
use windlass_model::status::Readiness;
use windlass_model::{Kind, ObjectKey, ObjectRef, Spec, load};
use windlass_tuf::Roots;

use crate::guards::{Guards, Judges};
use crate::lanes;
use crate::signing::Signers;

/// A configuration with its verdicts. It reads as a [`Spec`].
#[derive(Debug, Default)]
pub(crate) struct Adopted {
    spec: Arc<Spec>,
    roots: Arc<Roots>,
    not_ready: BTreeMap<ObjectRef, String>,
    signers: Signers,
    judges: Judges,
    /// By the ImageRepository that they read: asked for with every event.
    policies: HashMap<ObjectKey, Vec<Arc<ImagePolicy>>>,
}

impl Adopted {
    /// Adopts `spec` in place of this configuration, with the trust roots that were fetched.
    pub(crate) fn replaced_by(&self, spec: Arc<Spec>, roots: Arc<Roots>) -> Self {
        let mut not_ready = load::readiness(&spec);
        let signers = Signers::open(&spec, &self.signers);
        for (automation, problem) in signers.problems(&spec) {
            let reasons = not_ready.entry(lanes::object(&automation)).or_default();
            let separator = if reasons.is_empty() { "" } else { "; " };
            *reasons = format!("{reasons}{separator}{SIGNING_SECRET}: {problem}");
        }
        let judges = Judges::open(&spec, &roots);
        for (guard, problem) in judges.problems() {
            let object = ObjectRef::new(Kind::Guard, guard.clone());
            not_ready.entry(object).or_insert(problem);
        }
        let mut policies: HashMap<ObjectKey, Vec<Arc<ImagePolicy>>> = HashMap::new();
        for policy in spec.image_policies.values() {
            policies.entry(policy.repository.clone()).or_default().push(policy.clone());
        }
        Self { spec, roots, not_ready, signers, judges, policies }
    }

    /// Whether it was made of this very configuration and these trust roots.
    pub(crate) fn is_of(&self, spec: &Arc<Spec>, roots: &Arc<Roots>) -> bool {
        Arc::ptr_eq(&self.spec, spec) && Arc::ptr_eq(&self.roots, roots)
    }

    /// The state of a Guard that is ready as far as its document goes.
    pub(crate) fn guard_state(&self, guard: &ObjectKey) -> (Readiness, String) {
        self.judges.state(guard)
    }

    /// The policies that other Guards concern than before, or Guards that judge by something else.
    pub(crate) fn guarded_otherwise_than(&self, before: &Self) -> Vec<ObjectRef> {
        let guards = |adopted: &Self, policy: &ImagePolicy| {
            let repository = adopted.spec.image_repositories.get(&policy.repository)?;
            Some(adopted.guards_of(policy, repository))
        };
        let is_changed = |policy: &&Arc<ImagePolicy>| {
            before.spec.image_policies.contains_key(&policy.meta.key)
                && guards(self, policy.as_ref()) != guards(before, policy.as_ref())
        };
        self.spec.image_policies.values().filter(is_changed).map(|policy| policy.object_ref()).collect()
    }

    /// The policies that read an ImageRepository.
    pub(crate) fn policies_of(&self, repository: &ObjectKey) -> &[Arc<ImagePolicy>] {
        self.policies.get(repository).map_or(&[], Vec::as_slice)
    }

    /// The Guards that concern what a policy of an ImageRepository chooses.
    pub(crate) fn guards_of(&self, policy: &ImagePolicy, repository: &ImageRepository) -> Guards {
        self.judges.of(&self.spec, policy, &repository.image)
    }

    /// The keys that sign commits.
    pub(crate) fn signers(&self) -> &Signers {
        &self.signers
    }

    /// Why a resource cannot work, whatever the outside says.
    pub(crate) fn why_not_ready(&self, object: &ObjectRef) -> Option<&str> {
        self.not_ready.get(object).map(String::as_str)
    }
}

impl Deref for Adopted {
    type Target = Spec;

    fn deref(&self) -> &Spec {
        &self.spec
    }
}

//! The configuration that the promoter works with: the resources, and why some of them cannot work. Always both of one
//! moment, so that no work runs with a permission that the resources beside it do not give.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use windlass_model::resource::ImagePolicy;
use windlass_model::{ObjectKey, ObjectRef, Spec, load};

/// A configuration with its verdicts. It reads as a [`Spec`].
#[derive(Debug, Default)]
pub(crate) struct Adopted {
    spec: Arc<Spec>,
    not_ready: BTreeMap<ObjectRef, String>,
    /// By the ImageRepository that they read: asked for with every event.
    policies: HashMap<ObjectKey, Vec<Arc<ImagePolicy>>>,
}

impl Adopted {
    pub(crate) fn new(spec: Arc<Spec>) -> Self {
        let not_ready = load::readiness(&spec);
        let mut policies: HashMap<ObjectKey, Vec<Arc<ImagePolicy>>> = HashMap::new();
        for policy in spec.image_policies.values() {
            policies.entry(policy.repository.clone()).or_default().push(policy.clone());
        }
        Self { spec, not_ready, policies }
    }

    /// Whether it was made of this very configuration.
    pub(crate) fn is_of(&self, spec: &Arc<Spec>) -> bool {
        Arc::ptr_eq(&self.spec, spec)
    }

    /// The policies that read an ImageRepository.
    pub(crate) fn policies_of(&self, repository: &ObjectKey) -> &[Arc<ImagePolicy>] {
        self.policies.get(repository).map_or(&[], Vec::as_slice)
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

//! The configuration that the promoter works with: the resources, and why some of them cannot work. Always both of one
//! moment, so that no work runs with a permission that the resources beside it do not give.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use windlass_model::{ObjectRef, Spec, load};

/// A configuration with its verdicts. It reads as a [`Spec`].
#[derive(Debug, Default)]
pub(crate) struct Adopted {
    spec: Arc<Spec>,
    not_ready: BTreeMap<ObjectRef, String>,
}

impl Adopted {
    pub(crate) fn new(spec: Arc<Spec>) -> Self {
        let not_ready = load::readiness(&spec);
        Self { spec, not_ready }
    }

    /// Whether it was made of this very configuration.
    pub(crate) fn is_of(&self, spec: &Arc<Spec>) -> bool {
        Arc::ptr_eq(&self.spec, spec)
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

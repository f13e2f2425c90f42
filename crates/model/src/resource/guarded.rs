//! Which Guards concern what, among all resources.

use std::sync::Arc;

use super::{ImagePolicy, Spec};
use crate::guard::Guard;
use crate::image::ImageName;

impl Spec {
    /// The Guards that concern an image which is written on behalf of a namespace.
    pub fn guards_of(&self, image: &ImageName, namespace: &str) -> impl Iterator<Item = &Arc<Guard>> {
        self.guards.values().filter(move |guard| guard.scope.concerns(image, namespace))
    }

    /// The policies whose image no Guard concerns.
    pub fn unguarded(&self) -> impl Iterator<Item = &Arc<ImagePolicy>> {
        self.image_policies.values().filter(|policy| {
            let repository = self.image_repositories.get(&policy.repository);
            let guarded =
                |image: &ImageName| self.guards_of(image, &policy.meta.key.namespace).next().is_some();
            repository.is_some_and(|repository| !guarded(&repository.image))
        })
    }
}

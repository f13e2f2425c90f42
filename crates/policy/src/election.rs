//! Whether a place in Git may take the image that a policy chose.
//!
//! The election goes from the policy's choice down to the value in Git and never below it: a policy that suddenly
//! chooses lower (a partial tag list, a registry outage) does not roll anything back. A value that the policy cannot
//! rank (`latest`, a tag that its filter drops, a tag that the registry says is gone) is below every candidate.

use std::collections::BTreeSet;
use std::sync::Arc;

use windlass_model::place::Current;
use windlass_model::{ImageRef, Tag};

use crate::exclusion::Exclusions;
use crate::selection::Selector;

/// A policy's choice, and what is needed to compare a present value with it.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The chosen image.
    pub image: ImageRef,
    /// The policy's order.
    pub selector: Arc<Selector>,
    /// What its repository excludes.
    pub excluded: Arc<Exclusions>,
    /// Tags of which the registry said that they do not exist.
    pub gone: BTreeSet<Tag>,
}

impl Choice {
    /// The present tag, if it is above the chosen one in the policy's own order and so must stay.
    ///
    /// A value that names another image says nothing about this one's tags.
    pub fn ahead<'a>(&self, current: &'a Current) -> Option<&'a Tag> {
        let tag = current.tag.as_ref()?;
        let other_image = current.name.as_ref().is_some_and(|name| *name != self.image.name);
        if other_image || self.gone.contains(tag) || self.excluded.excludes(tag.as_str()) {
            return None;
        }
        let present = self.selector.rank(tag.as_str()).ok().flatten()?;
        match self.selector.rank(self.image.tag.as_str()).ok().flatten() {
            Some(chosen) if present <= chosen => None,
            _ => Some(tag),
        }
    }
}

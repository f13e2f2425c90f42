//! Whether a place in Git may take the image that a policy chose.
//!
//! The election goes from the policy's choice down to the value in Git and never below it: a policy that suddenly
//! chooses lower (a partial tag list, a registry outage) does not roll anything back. A value that the policy cannot
//! rank (`latest`, a tag that its filter drops, a tag that the registry says is gone) is below every candidate.

use std::collections::BTreeSet;
use std::sync::Arc;

use windlass_model::guard::Pin;
use windlass_model::place::Current;
use windlass_model::{ImageRef, Tag};

use crate::exclusion::Exclusions;
use crate::rank::{FirstSeen, Rank};
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
    /// Where the order is that of first-seen times: those of the chosen tag and of the tags in Git.
    pub first_seen: FirstSeen,
    /// Under Guards, whether the digest that was verified is to be written.
    pub pin: Option<Pin>,
    /// Changes with the policy: order, filter, exclusions. A person who changes the policy speaks again.
    pub rule: Arc<str>,
}

/// What Git and a policy last agreed upon in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The tag that we wrote, or found to be right.
    pub tag: Tag,
    /// The one that was agreed upon before it.
    pub before: Option<Tag>,
    /// [`Choice::rule`] at that time.
    pub rule: Arc<str>,
}

impl Choice {
    /// The present tag, if it is above the chosen one in the policy's own order and so must stay.
    ///
    /// Where first-seen times are compared, so does one that they do not show to be older: tags that were there when the
    /// image was first looked at are of one time. A value that names another image says nothing about this one's tags.
    pub fn ahead<'a>(&self, current: &'a Current) -> Option<&'a Tag> {
        let tag = current.tag.as_ref()?;
        let other_image = current.name.as_ref().is_some_and(|name| *name != self.image.name);
        if other_image || self.gone.contains(tag) {
            return None;
        }
        let present = self.rank(tag)?;
        match self.rank(&self.image.tag) {
            _ if *tag == self.image.tag => None,
            Some(chosen) if present <= chosen && !present.may_be_as_new_as(&chosen) => None,
            _ => Some(tag),
        }
    }

    /// The present tag, if a person set it in place of a higher one that was agreed upon. It stays until the policy
    /// chooses something newer than what the person rejected, or the policy itself is changed.
    pub fn held<'a>(&self, current: &'a Current, agreed: &Agreed) -> Option<&'a Tag> {
        let tag = current.tag.as_ref()?;
        if *tag == agreed.tag || *tag == self.image.tag || agreed.rule != self.rule {
            return None;
        }
        let rejected = self.rank(&agreed.tag)?;
        let older = self.rank(tag).is_none_or(|present| present < rejected);
        let newer = self.rank(&self.image.tag).is_some_and(|chosen| chosen > rejected);
        (older && !newer).then_some(tag)
    }

    /// What was agreed upon before it was forgotten, by the tags that were written of the image, the last one first: the
    /// first that this policy could have chosen.
    pub fn recalled<'t>(&self, written: impl IntoIterator<Item = &'t Tag>) -> Option<Agreed> {
        let tag = written.into_iter().find(|tag| self.rank(tag).is_some())?.clone();
        Some(Agreed { tag, before: None, rule: self.rule.clone() })
    }

    /// Whether the choice would bring back what was replaced before, without a person: the tag that replaced it is
    /// gone, or is offered no more.
    pub fn flaps(&self, current: &Current, agreed: &Agreed) -> bool {
        current.tag.as_ref() == Some(&agreed.tag)
            && agreed.tag != self.image.tag
            && agreed.before.as_ref() == Some(&self.image.tag)
            && agreed.rule == self.rule
    }

    fn rank(&self, tag: &Tag) -> Option<Rank> {
        if self.excluded.excludes(tag.as_str()) {
            return None;
        }
        self.selector.rank(self.first_seen.candidate(tag)).ok().flatten()
    }
}

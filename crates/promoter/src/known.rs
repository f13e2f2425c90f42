//! The tags of one image, as far as they are known: from events and from lists.
//!
//! It answers two questions cheaply: which tags are new since the last look, and which of those that a list found had
//! been announced by no event.

use std::collections::BTreeSet;

use windlass_model::{ImageName, Tag};

/// The known tags of one ImageRepository.
#[derive(Debug)]
pub(crate) struct KnownTags {
    image: ImageName,
    /// Sorted; a vector of boxed texts is half the size of a tree, and there may be millions.
    tags: Vec<Tag>,
    /// Whether a full list was ever read, in this process or an earlier one.
    listed: bool,
    /// Found by the last list and announced by no event so far.
    unannounced: BTreeSet<Tag>,
    /// Whether the last list lacked so much that it was not believed.
    doubted: bool,
}

/// What one look changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Tags that were not known before.
    pub(crate) added: Vec<Tag>,
    /// Tags that are known no more.
    pub(crate) removed: Vec<Tag>,
    /// How many tags an earlier list had found that no event has announced since.
    pub(crate) missed: usize,
    /// How many known tags the list lacks although they are kept: it is believed when the next one lacks them too.
    pub(crate) doubted: usize,
}

impl Change {
    /// Whether tags came or went.
    pub(crate) fn is_news(&self) -> bool {
        !self.added.is_empty() || !self.removed.is_empty()
    }
}

impl KnownTags {
    /// The tags that the ledger remembers; none means that the image was never listed.
    pub(crate) fn new(image: ImageName, mut remembered: Vec<Tag>) -> Self {
        remembered.sort_unstable();
        remembered.dedup();
        let listed = !remembered.is_empty();
        Self { image, listed, tags: remembered, unannounced: BTreeSet::new(), doubted: false }
    }

    /// The image that these are the tags of.
    pub(crate) fn image(&self) -> &ImageName {
        &self.image
    }

    /// Whether a full list was ever read.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed
    }

    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.tags.len()
    }

    /// Every known tag, in bytewise order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.tags.iter()
    }

    /// Whether the tag is known.
    pub(crate) fn contains(&self, tag: &Tag) -> bool {
        self.tags.binary_search(tag).is_ok()
    }

    /// An event named this tag, and the registry has it.
    pub(crate) fn announce(&mut self, tag: &Tag, change: &mut Change) {
        self.unannounced.remove(tag);
        if let Err(position) = self.tags.binary_search(tag) {
            self.tags.insert(position, tag.clone());
            change.added.push(tag.clone());
        }
    }

    /// An event named this tag, and the registry does not have it.
    pub(crate) fn forget(&mut self, tag: &Tag, change: &mut Change) {
        if let Ok(position) = self.tags.binary_search(tag) {
            self.tags.remove(position);
            change.removed.push(tag.clone());
        }
    }

    /// A full list: it replaces what is known. Tags in `confirmed` were seen by a newer request than the list.
    ///
    /// A list that lacks more than half of what is known may be a registry's mistake (an index that is rebuilt, a page
    /// that is missing): nothing is forgotten by it, unless the list before it was such a one too.
    pub(crate) fn list(&mut self, mut listed: Vec<Tag>, confirmed: &BTreeSet<Tag>, change: &mut Change) {
        listed.extend(confirmed.iter().cloned());
        listed.sort_unstable();
        listed.dedup();
        let missing_from = |sorted: &[Tag], tags: &[Tag]| -> Vec<Tag> {
            tags.iter().filter(|tag| sorted.binary_search(tag).is_err()).cloned().collect()
        };
        let added = missing_from(&self.tags, &listed);
        let removed = missing_from(&listed, &self.tags);
        self.doubted = removed.len() > self.tags.len() / 2 && !self.doubted;
        if self.doubted {
            change.doubted = removed.len();
            listed.extend(removed);
            listed.sort_unstable();
        } else {
            change.removed.extend(removed);
        }
        change.missed = std::mem::take(&mut self.unannounced).len();
        if self.listed {
            self.unannounced = added.iter().filter(|tag| !confirmed.contains(tag)).cloned().collect();
        }
        change.added.extend(added);
        self.listed = true;
        self.tags = listed;
        self.tags.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(texts: &[&str]) -> Vec<Tag> {
        texts.iter().map(|text| Tag::parse(text).unwrap()).collect()
    }

    fn known(texts: &[&str]) -> KnownTags {
        KnownTags::new(ImageName::parse("ghcr.io/org/app").unwrap(), tags(texts))
    }

    #[test]
    fn events_and_lists_report_only_what_changed() {
        let mut known = known(&["1.0.0", "1.1.0"]);
        let mut change = Change::default();
        known.announce(&tags(&["1.1.0"])[0], &mut change);
        known.announce(&tags(&["1.2.0"])[0], &mut change);
        assert_eq!(change.added, tags(&["1.2.0"]));
        let mut change = Change::default();
        known.list(tags(&["1.1.0", "1.3.0"]), &BTreeSet::from_iter(tags(&["1.2.0"])), &mut change);
        assert_eq!(
            change,
            Change { added: tags(&["1.3.0"]), removed: tags(&["1.0.0"]), ..Change::default() }
        );
        assert_eq!(known.len(), 3);
    }

    #[test]
    fn a_tag_counts_as_missed_when_no_event_names_it_before_the_next_list() {
        let mut known = known(&["1.0.0"]);
        let none = BTreeSet::new();
        known.list(tags(&["1.0.0", "1.1.0", "1.2.0"]), &none, &mut Change::default());
        known.announce(&tags(&["1.1.0"])[0], &mut Change::default());
        let mut change = Change::default();
        known.list(tags(&["1.0.0", "1.1.0", "1.2.0"]), &none, &mut change);
        assert_eq!(change.missed, 1, "1.2.0 came without an event");
        let mut change = Change::default();
        known.list(tags(&["1.0.0", "1.1.0", "1.2.0"]), &none, &mut change);
        assert_eq!(change.missed, 0, "and is counted once");
    }

    #[test]
    fn a_list_that_lacks_most_tags_is_believed_when_the_next_one_does_too() {
        let list = |known: &mut KnownTags, texts: &[&str]| {
            let mut change = Change::default();
            known.list(tags(texts), &BTreeSet::new(), &mut change);
            (change.added.len(), change.removed.len(), change.doubted)
        };
        let mut known = known(&["1.0.0", "1.1.0", "1.2.0"]);
        assert_eq!(list(&mut known, &[]), (0, 0, 3), "an empty list forgets nothing");
        assert_eq!(list(&mut known, &["1.0.0", "1.1.0", "1.2.0"]), (0, 0, 0), "the tags are back");
        assert_eq!(list(&mut known, &["1.0.0", "1.3.0"]), (1, 0, 2), "what is new counts at once");
        assert_eq!(known.len(), 4);
        assert_eq!(list(&mut known, &["1.0.0", "1.3.0"]), (0, 2, 0), "seen twice");
        assert_eq!(list(&mut known, &["1.3.0"]), (0, 1, 0), "half is no more than half");
        assert_eq!(list(&mut known, &[]), (0, 0, 1), "each loss is doubted anew");
        assert_eq!(list(&mut known, &[]), (0, 1, 0));
    }

    #[test]
    fn the_first_list_announces_nothing_as_missed() {
        let mut known = known(&[]);
        known.list(tags(&["1.0.0"]), &BTreeSet::new(), &mut Change::default());
        let mut change = Change::default();
        known.list(tags(&["1.0.0"]), &BTreeSet::new(), &mut change);
        assert_eq!(change.missed, 0);
    }
}

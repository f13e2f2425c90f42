//! What an automation wrote before the ledger was lost, by the trailers of its commits: a value that a person set back
//! then is still theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use windlass_git::{AheadCommit, CommitId, ErrorKind, GitError, Mirror};
use windlass_model::{ObjectKey, Tag};
use windlass_policy::election::Agreed;
use windlass_policy::plan::{Facts, PlaceFacts};

use crate::agreements::{Agreements, Group};
use crate::commit_text;
use crate::lane::Lane;

/// The images that one automation set.
#[derive(Debug)]
pub(crate) struct History {
    /// By the image's name, the last one first.
    written: BTreeMap<String, Vec<Tag>>,
    /// What stood in Git when the history was read. What came later is no older decision.
    groups: OnceLock<BTreeSet<Group>>,
}

impl History {
    /// Reads the messages of commits, the last one first. `None` where the automation made none of them.
    fn read<'m>(messages: impl Iterator<Item = &'m str>, automation: &ObjectKey) -> Option<Self> {
        let mut written: BTreeMap<String, Vec<Tag>> = BTreeMap::new();
        for message in messages {
            let value = |line: &'m str| line.strip_prefix(commit_text::AUTOMATION);
            if message.lines().find_map(value).map(str::trim) != Some(&automation.to_string()) {
                continue;
            }
            for image in message.lines().filter_map(|line| line.strip_prefix(commit_text::IMAGE)) {
                let image = image.split_once('@').map_or(image, |(image, _)| image);
                let parts = image.trim().rsplit_once(':');
                if let Some((name, tag)) = parts.and_then(|(name, tag)| Some((name, Tag::parse(tag).ok()?))) {
                    written.entry(name.to_owned()).or_default().push(tag);
                }
            }
        }
        (!written.is_empty()).then(|| Self { written, groups: OnceLock::new() })
    }

    /// What was agreed upon where nothing is known to be.
    pub(crate) fn recall(&self, facts: &Facts) -> Vec<(Group, Agreed)> {
        let group_of = |place: &PlaceFacts| Some((place.file.clone(), place.track()?));
        let groups = self.groups.get_or_init(|| facts.places.iter().filter_map(group_of).collect());
        let mut recalled = BTreeMap::new();
        for place in &facts.places {
            let (Some(group), Some(choice)) = (group_of(place), facts.choice(place)) else { continue };
            if facts.agreed.contains_key(&group) || !groups.contains(&group) {
                continue;
            }
            let written = self.written.get(choice.image.name.as_str());
            if let Some(agreed) = written.and_then(|written| choice.recalled(written)) {
                recalled.insert(group, agreed);
            }
        }
        recalled.into_iter().collect()
    }
}

impl Lane {
    /// What the automation wrote, where the ledger knew nothing of it when this lane first asked.
    pub(crate) async fn history_of(
        &mut self,
        automation: &ObjectKey,
        known: &Agreements,
        mirror: &Mirror,
        tip: CommitId,
    ) -> Result<Option<Arc<History>>, GitError> {
        if let Some(history) = self.histories.get(automation) {
            return Ok(history.clone());
        }
        let mut history = None;
        if known.is_empty() {
            let recent = self.recent(mirror, tip).await?;
            let messages = recent.iter().map(|commit| commit.message.as_str());
            history = History::read(messages, automation).map(Arc::new);
        }
        self.histories.insert(automation.clone(), history.clone());
        Ok(history)
    }

    /// The commits up to the tip, read once for all automations of a batch.
    async fn recent(&mut self, mirror: &Mirror, tip: CommitId) -> Result<Arc<[AheadCommit]>, GitError> {
        if let Some((of, recent)) = &self.recent
            && *of == tip
        {
            return Ok(recent.clone());
        }
        let recent: Arc<[AheadCommit]> = match mirror.recent(tip).await {
            Ok(recent) => recent.into(),
            // A server without filters has a history that is too long for us: it would stand in the way of every push.
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                tracing::warn!(%tip, %error, "earlier commits cannot be read; what people had set back by hand before the data was lost is not known");
                Arc::default()
            }
            Err(error) => return Err(error),
        };
        self.recent = Some((tip, recent.clone()));
        Ok(recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    #[test]
    fn only_the_automations_own_commits_count_and_the_last_one_first() {
        let messages = [
            "By hand: 1.0.0\n",
            "Update\n\nWindlass-Image: registry.example:5000/team/app:1.2.0@sha256:00\nWindlass-Automation: apps/all\n",
            "Update\n\nWindlass-Image: registry.example:5000/team/app:9.0.0\nWindlass-Automation: apps/other\n",
            "Update\n\nWindlass-Image: registry.example:5000/team/app:1.1.0\nWindlass-Image: db:16\n\
             Windlass-Image: no tag\nWindlass-Automation: apps/all\nWindlass-Event: 7\n",
        ];
        let history = History::read(messages.into_iter(), &key("all")).expect("it made two of them");
        let tags = |name: &str| history.written[name].iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(tags("registry.example:5000/team/app"), ["1.2.0", "1.1.0"]);
        assert_eq!((tags("db"), history.written.len()), (vec!["16".to_owned()], 2));
        assert!(History::read(messages.into_iter(), &key("new")).is_none());
    }
}

//! One look at a registry: what the events named, each by one request, and the whole list where it was asked for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use windlass_model::signal::Received;
use windlass_model::{Digest, Hint, Tag};
use windlass_registry::{RegistryError, Repository, Retry};

use crate::known::{Change, KnownTags};

/// An event may be faster than its tag: the distribution registry sends it before it moves the tag, and a replica may
/// lag behind (registries.md: ACR's regions). For this long the tag is asked for again, and one that was known before is
/// not taken for deleted. A resync finds it all the same.
const PATIENCE: SignedDuration = SignedDuration::from_secs(15);

/// What the registry said.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) change: Change,
    pub(crate) digests: BTreeMap<Tag, Digest>,
    /// Tags that an event named just now and that the registry does not have (yet), or not with the digest that the
    /// event states.
    pub(crate) awaited: BTreeSet<Tag>,
    /// Whether the whole list was read.
    pub(crate) listed: bool,
    pub(crate) failure: Option<RegistryError>,
}

/// Looks, and brings what is known up to date.
pub(crate) async fn look(
    client: &Repository,
    known: &mut KnownTags,
    hints: &[Received],
    now: Timestamp,
) -> Seen {
    let mut seen = Seen::default();
    let (named, list) = sort(hints);
    for (tag, answer) in resolve_all(client, named.keys().cloned()).await {
        match answer {
            Ok(Some(digest)) => {
                known.announce(&tag, &mut seen.change);
                if named.get(&tag).is_some_and(|named| named.is_recent(now) && !named.states(&digest)) {
                    seen.awaited.insert(tag.clone());
                }
                seen.digests.insert(tag, digest);
            }
            Ok(None) if named.get(&tag).is_some_and(|named| named.is_recent(now)) => {
                seen.awaited.insert(tag);
            }
            Ok(None) => {
                tracing::warn!(image = %client.image(), %tag, "an event named a tag that the registry does not have");
                known.forget(&tag, &mut seen.change);
            }
            Err(error) => seen.failure = Some(error),
        }
    }
    // A registry that is down is not asked for the list too. One that refuses a single tag is: the others are fine.
    let is_down = seen.failure.as_ref().is_some_and(|failure| failure.retry() != Retry::NextInterval);
    if list && !is_down {
        match client.tags().await {
            Ok(listed) => {
                let confirmed = seen.digests.keys().cloned().collect();
                known.list(listed.tags, &confirmed, &mut seen.change);
                seen.listed = true;
            }
            Err(error) => seen.failure = Some(error),
        }
    }
    seen
}

/// What events said of one tag.
#[derive(Debug, Default)]
struct Named {
    /// When the latest of them was accepted.
    at: Timestamp,
    /// The digest that it states; several where it was accepted together with others. Never trusted: a digest that the
    /// registry does not confirm only means another look.
    digests: BTreeSet<Digest>,
}

impl Named {
    fn is_recent(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) < PATIENCE
    }

    /// Whether this is what the latest event was about, as far as it says.
    fn states(&self, digest: &Digest) -> bool {
        self.digests.is_empty() || self.digests.contains(digest)
    }
}

/// What events named, and whether the whole list is wanted. Tags of signatures are no candidates, so they are not asked
/// for.
fn sort(hints: &[Received]) -> (BTreeMap<Tag, Named>, bool) {
    let mut named: BTreeMap<Tag, Named> = BTreeMap::new();
    let mut list = false;
    for Received { hint, at, .. } in hints {
        match hint {
            Hint::TagPushed { tag, digest } if tag.referrer_subject().is_none() => {
                let latest =
                    named.entry(tag.clone()).or_insert_with(|| Named { at: *at, ..Named::default() });
                if *at > latest.at {
                    *latest = Named { at: *at, ..Named::default() };
                }
                if *at == latest.at {
                    latest.digests.extend(digest.clone());
                }
            }
            Hint::Rescan { .. } => list = true,
            Hint::TagPushed { .. }
            | Hint::ReferrerPushed { .. }
            | Hint::ManifestPushed { .. }
            | Hint::VariantFound
            | Hint::Resume { .. } => {}
        }
    }
    (named, list)
}

/// Asks for all tags at once; the registry's budget decides how many requests are under way.
async fn resolve_all(
    client: &Repository,
    tags: impl Iterator<Item = Tag>,
) -> Vec<(Tag, Result<Option<Digest>, RegistryError>)> {
    let mut requests = JoinSet::new();
    for tag in tags {
        let client = client.clone();
        requests.spawn(async move {
            let answer = client.resolve(&tag).await;
            (tag, answer)
        });
    }
    requests.join_all().await
}

#[cfg(test)]
mod tests;

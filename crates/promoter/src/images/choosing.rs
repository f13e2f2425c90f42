//! The choices of one ImageRepository's policies, after the registry was looked at: tags, and the digests that they
//! reflect. Owns no state: `choices.rs` does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use windlass_model::resource::{DigestReflection, ImagePolicy, Resource as _};
use windlass_model::{Digest, ImageRef, Tag};
use windlass_policy::lock::Track;
use windlass_registry::RegistryError;
use windlass_store::LedgerWrite;

use super::{Run, automations_of};
use crate::board::Severity;
use crate::choices::Tags;
use crate::known::KnownTags;
use crate::look::Seen;
use crate::work::{registry_pause, registry_severity};

impl Run<'_> {
    /// One policy: its choice, or where it has a variant lock, that for each variant in Git.
    pub(super) async fn choose_for(
        &self,
        policy: &Arc<ImagePolicy>,
        known: &KnownTags,
        seen: &mut Seen,
        now: Timestamp,
    ) -> Chosen {
        let (choices, lanes, key) = (&self.shared.choices, &self.shared.lanes, &policy.meta.key);
        if policy.variant_lock
            && let Some(standing) = lanes.standing(automations_of(self.spec, policy), key)
        {
            choices.only_stand(key, &standing);
        }
        let mut chosen = Chosen::default();
        for track in choices.tracks(policy) {
            match self.choose(&track, policy, known, seen, now).await {
                Ok((image, write)) => {
                    chosen.writes.extend(write);
                    chosen.images.insert(track, image);
                }
                Err(Undecided::Nothing(why)) => chosen.nothing.push(why),
                Err(Undecided::Unknown(unknown)) => chosen.unknown = Some(unknown),
            }
        }
        chosen
    }

    /// Shows what a policy chose. A place in Git for which nothing is chosen is shown by its automation.
    pub(super) async fn show(
        &self,
        policy: &ImagePolicy,
        images: &BTreeMap<Track, ImageRef>,
        nothing: &[String],
        unknown: Option<&Unknown>,
    ) {
        let object = policy.object_ref();
        match (unknown, images.is_empty(), nothing) {
            (Some(unknown), ..) => {
                self.shared.failing(&object, unknown.reason.clone(), unknown.severity).await;
            }
            (None, true, [_, ..]) => {
                self.shared.failing(&object, nothing.join("; "), Severity::Lasting).await;
            }
            (None, ..) => {
                let tags: Vec<_> = images.values().map(|image| image.tag.as_str()).collect();
                let name = &self.repository.spec_image;
                let mut message = match &tags[..] {
                    [] => "no place in Git is marked with it, as far as was seen".to_owned(),
                    tags => format!("Latest image tag for {name} resolved to {}", tags.join(", ")),
                };
                message.extend(nothing.iter().map(|why| format!("; {why}")));
                let shown: Vec<_> = images.values().map(ToString::to_string).collect();
                let shown = (!shown.is_empty()).then(|| shown.join(", "));
                self.shared.succeeded(&object, message, |details| details.latest = shown).await;
            }
        }
    }

    /// One choice: the best tag and that tag's digest.
    async fn choose(
        &self,
        track: &Track,
        policy: &Arc<ImagePolicy>,
        known: &KnownTags,
        seen: &mut Seen,
        now: Timestamp,
    ) -> Result<(ImageRef, Option<LedgerWrite>), Undecided> {
        let choices = &self.shared.choices;
        let tags = Tags { known, change: &seen.change, first_seen: &self.first_seen };
        let tag = choices.choose(track, policy, self.repository, &tags).map_err(Undecided::Nothing)?;
        let previous = choices.latest(track);
        let digest = self.digest(policy, &tag, previous.as_ref(), seen).await.map_err(|error| {
            let (severity, pause) = (registry_severity(&error), registry_pause(&error));
            Undecided::Unknown(Unknown { reason: error.to_string(), severity, pause })
        })?;
        if digest.is_none() && policy.digest != DigestReflection::Never {
            let reason = format!("the registry lists tag {tag} but does not have it (yet)");
            return Err(Undecided::Unknown(Unknown { reason, severity: Severity::Passing, pause: None }));
        }
        let image = ImageRef { name: self.repository.spec_image.clone(), tag, digest };
        choices.brought_by(track, &image, self.cause(&image.tag));
        let changed = choices.set_latest(track, image.clone(), now);
        let write = changed.then(|| LedgerWrite::Latest {
            policy: track.policy.clone(),
            variant: track.variant.to_string(),
            image: image.clone(),
            at: now,
        });
        Ok((image, write))
    }

    /// The digest that the policy reflects (image-reflector-controller 1.2: `Never` clears it, `IfNotPresent` keeps
    /// the one that belongs to the same name and tag, `Always` asks each time). `None` beside another policy than
    /// `Never` means that the registry does not have the tag.
    async fn digest(
        &self,
        policy: &ImagePolicy,
        tag: &Tag,
        previous: Option<&ImageRef>,
        seen: &mut Seen,
    ) -> Result<Option<Digest>, RegistryError> {
        let kept = previous
            .filter(|image| image.tag == *tag && image.name == self.repository.spec_image)
            .and_then(|image| image.digest.clone());
        match policy.digest {
            DigestReflection::Never => return Ok(None),
            DigestReflection::IfNotPresent if kept.is_some() => return Ok(kept),
            DigestReflection::IfNotPresent | DigestReflection::Always(_) => {}
        }
        if let Some(digest) = seen.digests.get(tag) {
            return Ok(Some(digest.clone()));
        }
        // Boxed: it is seldom needed here, and would enlarge each of the thousands of runs under way.
        let digest = Box::pin(self.client.resolve(tag)).await?;
        if let Some(digest) = &digest {
            seen.digests.insert(tag.clone(), digest.clone());
        }
        Ok(digest)
    }
}

/// What came of one policy.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) images: BTreeMap<Track, ImageRef>,
    pub(super) writes: Vec<LedgerWrite>,
    /// Why there is no choice on a track: no tag fits. Another try finds the same.
    pub(super) nothing: Vec<String>,
    /// The registry did not answer.
    pub(super) unknown: Option<Unknown>,
}

/// Why there is no choice.
enum Undecided {
    Nothing(String),
    Unknown(Unknown),
}

/// A registry did not say what it was asked.
pub(super) struct Unknown {
    pub(super) reason: String,
    severity: Severity,
    pub(super) pause: Option<Duration>,
}

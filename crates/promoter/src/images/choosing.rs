//! The choices of one ImageRepository's policies, after the registry was looked at: tags, and the digests that they
//! reflect. Owns no state: `choices.rs` does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use windlass_failpoint::{self as failpoint, Point};
use windlass_model::resource::{DigestReflection, ImagePolicy, Resource as _};
use windlass_model::signal::Received;
use windlass_model::{Digest, Hint, ImageRef, Tag};
use windlass_policy::lock::Track;
use windlass_registry::RegistryError;
use windlass_store::{AuditEntry, LedgerWrite, Record, StoreError};
use windlass_verify::{Freshness, Outcome as Verdicts, Subject, Verdict};

use super::{Run, automations_of, ledger_key};
use crate::board::Severity;
use crate::choices::Tags;
use crate::electing::{Denied, EvidenceAccess, MAX_DENIED, Prospects};
use crate::guards::Guards;
use crate::known::KnownTags;
use crate::look::Seen;
use crate::shared::{registry_pause, registry_severity};
use crate::trail;

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
        let guards = self.spec.guards_of(policy, self.repository);
        let mut chosen = Chosen::default();
        for track in choices.tracks(policy) {
            let contest = Contest { track: &track, policy, guards: &guards, known, now };
            match self.choose(contest, seen).await {
                Ok(Elected { image, news, blocked }) => {
                    if let Some((write, entry)) = news.map(|news| *news) {
                        chosen.news.ledger.push(write);
                        chosen.news.audit.push(entry);
                    }
                    chosen.block(blocked);
                    chosen.images.insert(track, image);
                }
                Err(Undecided::Nothing(why)) => chosen.nothing.push(why),
                Err(Undecided::Denied(blocked)) => {
                    choices.refuse(&track, &blocked.reason);
                    chosen.block(Some(blocked));
                }
                Err(Undecided::Unknown(unknown)) => chosen.unknown = Some(unknown),
            }
        }
        chosen
    }

    /// Shows what a policy chose. A place in Git for which nothing is chosen is shown by its automation.
    pub(super) async fn show(&self, policy: &ImagePolicy, chosen: &Chosen) {
        let Chosen { images, nothing, blocked, unknown, .. } = chosen;
        let object = policy.object_ref();
        if let Some(unknown) = unknown {
            self.shared.failing(&object, unknown.reason.clone(), unknown.severity).await;
            return;
        }
        let tags: Vec<_> = images.values().map(|image| image.tag.as_str()).collect();
        let tags = tags.join(", ");
        let denied: Vec<&str> = blocked.iter().map(|blocked| blocked.reason.as_str()).collect();
        if blocked.iter().any(|blocked| blocked.prospects.told) {
            let stays =
                if tags.is_empty() { String::new() } else { format!("; {tags} is chosen until then") };
            let why = format!("{}{stays}", denied.join("; "));
            self.shared.failing(&object, why, Severity::Lasting).await;
            return;
        }
        if images.is_empty() && !nothing.is_empty() {
            self.shared.failing(&object, nothing.join("; "), Severity::Lasting).await;
            return;
        }
        if images.is_empty() && !denied.is_empty() {
            self.shared.board.waiting(&object, denied.join("; "), self.shared.now());
            return;
        }
        let name = &self.repository.spec_image;
        let mut message = if images.is_empty() {
            "no place in Git is marked with it, as far as was seen".to_owned()
        } else {
            format!("Latest image tag for {name} resolved to {tags}")
        };
        message.extend(nothing.iter().map(|why| format!("; {why}")));
        message.extend(denied.iter().map(|why| format!("; {why}")));
        let shown: Vec<_> = images.values().map(ToString::to_string).collect();
        let shown = (!shown.is_empty()).then(|| shown.join(", "));
        self.shared.succeeded(&object, message, |details| details.latest = shown).await;
    }

    /// One choice: the best tag that every Guard allows, and that tag's digest.
    async fn choose(&self, contest: Contest<'_>, seen: &mut Seen) -> Result<Elected, Undecided> {
        let Contest { track, policy, guards, known, now } = contest;
        let choices = &self.shared.choices;
        let tags = Tags { known, change: &seen.change, first_seen: &self.first_seen };
        let best =
            choices.choose(track, policy, self.repository, guards, &tags).map_err(Undecided::Nothing)?;
        let mut denied = Denied::default();
        let elected = self.elect(contest, seen, best, &mut denied).await;
        let passed = failpoint::pass(Point::Verified).await;
        let passed = passed.map_err(|error| Undecided::Unknown(Unknown::passing(error.to_string())));
        let elected = passed.and(elected);
        let since = choices.denied(track, &denied.tags, now).unwrap_or(now);
        let blocked = denied.tags.first().zip(denied.reason()).map(|(best, reason)| {
            let event = || self.cause(&best.0).event;
            let refused = || trail::refused(track, self.repository, best, &reason, event(), now);
            let news = (since == now).then(|| Box::new(refused()));
            Blocked { prospects: denied.prospects(since, now), reason, news }
        });
        let (image, verdict) = match (elected?, blocked.clone()) {
            (Some(elected), _) => elected,
            (None, Some(blocked)) => return Err(Undecided::Denied(blocked)),
            (None, None) => return Err(Undecided::Nothing("there is no candidate".to_owned())),
        };
        let cause = self.cause(&image.tag);
        let (event, from) = (cause.event.clone(), choices.latest(track));
        choices.brought_by(track, &image, cause);
        let changed = choices.set_latest(track, image.clone(), verdict.clone(), now);
        let news = changed.then(|| {
            let write = LedgerWrite::Latest {
                policy: track.policy.clone(),
                variant: track.variant.to_string(),
                image: image.clone(),
                at: now,
            };
            let verdict = verdict.as_deref();
            let entry = trail::selected(track, self.repository, from.as_ref(), &image, verdict, event, now);
            Box::new((write, entry))
        });
        Ok(Elected { image, news, blocked })
    }

    /// From the policy's best tag down, the first that every Guard allows; without Guards, the best. `None` if all are
    /// denied. A value in Git that is higher than what is found stays where it is: the plan sees to that.
    async fn elect(
        &self,
        contest: Contest<'_>,
        seen: &mut Seen,
        best: Tag,
        denied: &mut Denied,
    ) -> Result<Option<(ImageRef, Option<Arc<Verdict>>)>, Undecided> {
        let Contest { track, policy, guards, known, now } = contest;
        let choices = &self.shared.choices;
        let previous = choices.latest(track);
        let mut tag = best;
        loop {
            let digest = self.resolve(contest, &tag, previous.as_ref(), seen).await?;
            let name = self.repository.spec_image.clone();
            let Some(judged) = digest.clone().filter(|_| !guards.is_empty()) else {
                return Ok(Some((ImageRef { name, tag, digest }, None)));
            };
            let verdict = Arc::new(self.verdict(guards, &tag, &judged, now).await?);
            match verdict.outcome {
                Verdicts::Allowed => {
                    let reflects = policy.digest != DigestReflection::Never;
                    let digest = digest.filter(|_| reflects || guards.pins());
                    return Ok(Some((ImageRef { name, tag, digest }, Some(verdict))));
                }
                Verdicts::Unknown => {
                    let reason = format!("{tag} cannot be verified: {}", verdict.reasons().join("; "));
                    return Err(Undecided::Unknown(Unknown::passing(reason)));
                }
                Verdicts::Denied => denied.push(tag, verdict),
            }
            if denied.tags.len() >= MAX_DENIED {
                return Ok(None);
            }
            let tags = Tags { known, change: &seen.change, first_seen: &self.first_seen };
            match choices.choose_beside(track, &tags, &denied.names()) {
                Ok(next) => tag = next,
                Err(_) => return Ok(None),
            }
        }
    }

    /// What the Guards say of a tag's content.
    async fn verdict(
        &self,
        guards: &Guards,
        tag: &Tag,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Verdict, Undecided> {
        let first_seen = if guards.ask_for_age() { self.first_sight(digest, now).await? } else { None };
        let (tenant, image) = (&self.repository.meta.key.namespace, &self.repository.image);
        let subject = Subject { tenant, image, digest, tag: Some(tag), first_seen };
        let access = EvidenceAccess { pool: &self.shared.pool, spec: self.spec, repository: self.repository };
        let announced =
            |received: &Received| matches!(received.hint, Hint::ReferrerPushed { .. } | Hint::Rescan { .. });
        let again = self.work.attempts > 0 || self.work.hints.iter().any(announced);
        let freshness = if again { Freshness::Since(now) } else { Freshness::Recent };
        Ok(self.shared.verifier.verify(subject, guards.judges(), &access, now, freshness).await)
    }

    /// When this content was first seen: now, unless the ledger knows better.
    async fn first_sight(&self, digest: &Digest, now: Timestamp) -> Result<Option<Timestamp>, Undecided> {
        let (store, repository) = (&self.shared.store, ledger_key(self.repository));
        let seen =
            LedgerWrite::DigestSeen { repository: repository.clone(), digest: digest.clone(), at: now };
        let unknown = |error: StoreError| Undecided::Unknown(Unknown::passing(error.to_string()));
        store.record(Record { ledger: vec![seen], ..Record::default() }).await.map_err(unknown)?;
        store.digest_first_seen(&repository, digest.clone()).await.map_err(unknown)
    }

    /// The digest that is judged and written.
    async fn resolve(
        &self,
        contest: Contest<'_>,
        tag: &Tag,
        previous: Option<&ImageRef>,
        seen: &mut Seen,
    ) -> Result<Option<Digest>, Undecided> {
        let Contest { policy, guards, .. } = contest;
        let digest = self.digest(policy, guards, tag, previous, seen).await.map_err(|error| {
            let (severity, pause) = (registry_severity(&error), registry_pause(&error));
            Undecided::Unknown(Unknown { reason: error.to_string(), severity, pause })
        })?;
        let needed = policy.digest != DigestReflection::Never || !guards.is_empty();
        if digest.is_none() && needed {
            let reason = format!("the registry lists tag {tag} but does not have it (yet)");
            return Err(Undecided::Unknown(Unknown::passing(reason)));
        }
        Ok(digest)
    }

    /// The digest that the policy reflects (image-reflector-controller 1.2: `Never` clears it, `IfNotPresent` keeps
    /// the one that belongs to the same name and tag, `Always` asks each time). What a Guard pins is kept likewise, and
    /// what it does not pin is asked for each time, for the tag may move. `None` beside another policy than `Never`, or
    /// under Guards, means that the registry does not have the tag.
    async fn digest(
        &self,
        policy: &ImagePolicy,
        guards: &Guards,
        tag: &Tag,
        previous: Option<&ImageRef>,
        seen: &mut Seen,
    ) -> Result<Option<Digest>, RegistryError> {
        let kept = previous
            .filter(|image| image.tag == *tag && image.name == self.repository.spec_image)
            .and_then(|image| image.digest.clone());
        match policy.digest {
            DigestReflection::Never if guards.is_empty() => return Ok(None),
            DigestReflection::Never | DigestReflection::IfNotPresent if kept.is_some() => return Ok(kept),
            DigestReflection::Never | DigestReflection::IfNotPresent | DigestReflection::Always(_) => {}
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

/// What one election is about.
#[derive(Clone, Copy)]
struct Contest<'c> {
    track: &'c Track,
    policy: &'c Arc<ImagePolicy>,
    guards: &'c Guards,
    known: &'c KnownTags,
    now: Timestamp,
}

/// What came of one policy.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) images: BTreeMap<Track, ImageRef>,
    /// What the ledger and the audit are told.
    pub(super) news: Record,
    /// Why there is no choice on a track: no tag fits. Another try finds the same.
    pub(super) nothing: Vec<String>,
    /// Better tags that the Guards deny.
    pub(super) blocked: Vec<Blocked>,
    /// The registry did not answer.
    pub(super) unknown: Option<Unknown>,
}

impl Chosen {
    fn block(&mut self, blocked: Option<Blocked>) {
        let Some(mut blocked) = blocked else { return };
        self.news.audit.extend(blocked.news.take().map(|entry| *entry));
        self.blocked.push(blocked);
    }
}

/// What was chosen on a track.
struct Elected {
    image: ImageRef,
    /// Where it is another image than before.
    news: Option<Box<(LedgerWrite, AuditEntry)>>,
    /// What would have been chosen but for the Guards.
    blocked: Option<Blocked>,
}

/// Tags that are denied, and what is to be expected of the best of them.
#[derive(Debug, Clone)]
pub(super) struct Blocked {
    pub(super) reason: String,
    pub(super) prospects: Prospects,
    /// For the audit, where it was not denied before.
    news: Option<Box<AuditEntry>>,
}

/// Why there is no choice.
enum Undecided {
    Nothing(String),
    Denied(Blocked),
    Unknown(Unknown),
}

/// A registry did not say what it was asked.
pub(super) struct Unknown {
    pub(super) reason: String,
    severity: Severity,
    pub(super) pause: Option<Duration>,
}

impl Unknown {
    fn passing(reason: String) -> Self {
        Self { reason, severity: Severity::Passing, pause: None }
    }
}

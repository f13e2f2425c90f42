//! What the audit is told on the way from a look at a registry to a commit. What is said to people otherwise (status,
//! notices) is said elsewhere; here it is put so that it can be found again: by image, by event, by commit.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_model::message::ChangeNotice;
use windlass_model::resource::{ImageRepository, Resource as _};
use windlass_model::signal::{Received, RescanReason};
use windlass_model::{Digest, Hint, ImageName, ImageRef, Kind, ObjectKey, ObjectRef, Tag};
use windlass_policy::lock::Track;
use windlass_store::{AuditEntry, AuditKind, Subject};
use windlass_verify::Verdict;

use crate::known::KnownTags;
use crate::look::Seen;

/// Tags, digests and events of one entry; more are counted only.
const MAX_NAMES: usize = 20;

/// A look at a registry, where it is worth an entry: it found news, or an event or a person led to it that named
/// something. A poll that finds nothing leaves no trace, or ten thousand images would leave nothing else.
pub(crate) fn scanned(
    repository: &ImageRepository,
    known: &KnownTags,
    seen: &Seen,
    hints: &[Received],
    choices: &BTreeMap<String, String>,
    at: Timestamp,
) -> Option<AuditEntry> {
    let change = &seen.change;
    let named: Vec<&Received> = hints.iter().filter(|received| asks_for_itself(&received.hint)).collect();
    if named.is_empty() && !change.is_news() {
        return None;
    }
    let some = |tags: &[Tag]| tags.iter().take(MAX_NAMES).map(ToString::to_string).collect::<Vec<_>>();
    let digests: BTreeMap<_, _> =
        seen.digests.iter().take(MAX_NAMES).map(|(tag, digest)| (tag.as_str(), digest.as_str())).collect();
    let leading = if named.is_empty() { hints.iter().collect() } else { named };
    let mut events = leading.iter().map(|received| received.event.clone());
    let event = events.next();
    let about = iter::once(Subject::Image(repository.image.clone()));
    let others = events.filter(|other| Some(other) != event.as_ref()).take(MAX_NAMES).map(Subject::Event);
    Some(AuditEntry {
        at,
        kind: AuditKind::Scanned,
        object: repository.object_ref(),
        detail: json!({
            "image": repository.image.to_string(), "tags": known.len(), "listed": seen.listed,
            "new": some(&change.added), "new_count": change.added.len(),
            "gone": some(&change.removed), "gone_count": change.removed.len(),
            "digests": digests, "choices": choices,
        }),
        about: about.chain(others).collect(),
        event,
    })
}

fn asks_for_itself(hint: &Hint) -> bool {
    match hint {
        Hint::TagPushed { .. } | Hint::ReferrerPushed { .. } | Hint::ManifestPushed { .. } => true,
        Hint::Rescan { reason } => *reason == RescanReason::Requested,
        Hint::VariantFound | Hint::Resume { .. } => false,
    }
}

/// A policy chose another image.
pub(crate) fn selected(
    track: &Track,
    repository: &ImageRepository,
    from: Option<&ImageRef>,
    to: &ImageRef,
    verdict: Option<&Verdict>,
    event: Option<String>,
    at: Timestamp,
) -> AuditEntry {
    let mut detail = json!({
        "image": to.name, "tag": to.tag.as_str(), "digest": to.digest, "to": to.to_string(),
        "from": from.map(ToString::to_string), "repository": repository.meta.key.to_string(),
        "verified": verdict.map(signers).unwrap_or_default(),
    });
    if !track.variant.is_empty() {
        detail["variant"] = (*track.variant).into();
    }
    of_policy(AuditKind::Selected, track, repository, detail, event, at)
}

/// The Guards deny an image that the policy would choose.
pub(crate) fn refused(
    track: &Track,
    repository: &ImageRepository,
    (tag, digest): &(Tag, Digest),
    reason: &str,
    event: Option<String>,
    at: Timestamp,
) -> AuditEntry {
    let detail = json!({
        "image": repository.spec_image, "tag": tag.as_str(), "digest": digest, "reason": reason,
        "repository": repository.meta.key.to_string(),
    });
    of_policy(AuditKind::Refused, track, repository, detail, event, at)
}

fn of_policy(
    kind: AuditKind,
    track: &Track,
    repository: &ImageRepository,
    detail: Value,
    event: Option<String>,
    at: Timestamp,
) -> AuditEntry {
    let object = ObjectRef::new(Kind::ImagePolicy, track.policy.clone());
    let about = [Subject::Image(repository.image.clone()), Subject::Object(repository.object_ref())].into();
    AuditEntry { at, kind, object, detail, event, about }
}

/// Who vouched for the image, each once.
fn signers(verdict: &Verdict) -> Vec<Value> {
    let proofs = verdict.guards.iter().flat_map(|guard| {
        guard
            .evidence
            .iter()
            .map(|proof| (guard.guard.as_str(), proof.authority.as_str(), proof.signer.as_str()))
    });
    let distinct: BTreeSet<_> = proofs.collect();
    let shown = distinct.into_iter();
    shown.map(|(guard, by, signer)| json!({ "guard": guard, "authority": by, "signer": signer })).collect()
}

/// A person's value stays.
pub(crate) fn held(automation: &ObjectRef, policy: &ObjectKey, text: &str, at: Timestamp) -> AuditEntry {
    AuditEntry {
        at,
        kind: AuditKind::Refused,
        object: automation.clone(),
        detail: json!({ "reason": text, "policy": policy.to_string() }),
        event: None,
        about: [Subject::Object(ObjectRef::new(Kind::ImagePolicy, policy.clone()))].into(),
    }
}

/// What a commit is found by: its id, the policies and images that moved, and every event behind it.
pub(crate) fn of_commit(id: &str, changes: &[ChangeNotice], events: &BTreeSet<String>) -> BTreeSet<Subject> {
    let policy = |change: &ChangeNotice| {
        let (namespace, name) = change.policy.split_once('/')?;
        Some(Subject::Object(ObjectRef::new(Kind::ImagePolicy, ObjectKey::new(namespace, name))))
    };
    let image = |change: &ChangeNotice| ImageName::parse(&change.image).ok().map(Subject::Image);
    iter::once(Subject::Commit(id.to_owned()))
        .chain(changes.iter().filter_map(policy))
        .chain(changes.iter().filter_map(image))
        .chain(events.iter().cloned().map(Subject::Event))
        .collect()
}

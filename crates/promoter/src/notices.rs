//! Who is told what: from something that happened to notices in the outbox, one for each Notifier that asked.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use windlass_model::message::{CommitNotice, Notice};
use windlass_model::resource::{NoticeKind, Notifier};
use windlass_model::{Kind, ObjectRef, Spec};
use windlass_store::{AuditEntry, AuditKind, Health, LedgerWrite, NewNotice, Record, Subject};

/// A commit landed. The notice's id is the commit's, so that a repeat is recognised.
pub(crate) fn committed(
    spec: &Spec,
    object: &ObjectRef,
    commit: CommitNotice,
    at: Timestamp,
) -> Vec<NewNotice> {
    let summary = match commit.changes.as_slice() {
        [only] => format!("{} moved from {} to {}", only.image, only.from, only.to),
        several => format!("{} values moved", several.len()),
    };
    let notice = Notice {
        id: commit.id.clone(),
        kind: NoticeKind::Committed,
        object: object.clone(),
        at,
        commit: Some(commit),
        summary,
    };
    addressed(spec, &notice)
}

/// A person's value stays. `what` tells one hold from another.
pub(crate) fn held(spec: &Spec, object: &ObjectRef, what: &str, text: &str, at: Timestamp) -> Vec<NewNotice> {
    let id = hex::encode(&Sha256::digest(format!("{object} {what}"))[..12]);
    let kind = NoticeKind::Held;
    let notice = Notice { id, kind, object: object.clone(), at, commit: None, summary: text.to_owned() };
    addressed(spec, &notice)
}

/// A failure began or ended. The state is recorded with the notices, so that a restart does not tell it again.
pub(crate) fn episode(
    spec: &Spec,
    object: &ObjectRef,
    kind: NoticeKind,
    since: Timestamp,
    message: &str,
) -> Record {
    let id = hex::encode(&Sha256::digest(format!("{object} {} {since}", kind.as_str()))[..12]);
    let notice =
        Notice { id, kind, object: object.clone(), at: since, commit: None, summary: message.to_owned() };
    let (health, audited) = match kind {
        NoticeKind::Failed => (Health::Failing, AuditKind::Failed),
        _ => (Health::Ok, AuditKind::Recovered),
    };
    let state = LedgerWrite::State { object: object.clone(), health, reason: message.to_owned(), at: since };
    let image = spec.image_repositories.get(&object.key).filter(|_| object.kind == Kind::ImageRepository);
    let entry = AuditEntry {
        at: since,
        kind: audited,
        object: object.clone(),
        detail: serde_json::json!({ "reason": message }),
        event: None,
        about: image.map(|repository| Subject::Image(repository.image.clone())).into_iter().collect(),
    };
    Record { ledger: vec![state], outbox: addressed(spec, &notice), audit: vec![entry] }
}

fn addressed(spec: &Spec, notice: &Notice) -> Vec<NewNotice> {
    let interested = spec.notifiers.values().filter(|notifier| wants(spec, notifier, notice));
    let address = |notifier: &std::sync::Arc<Notifier>| NewNotice {
        id: format!("{}/{}", notice.id, notifier.meta.key),
        notifier: notifier.meta.key.clone(),
        notice: notice.clone(),
    };
    interested.map(address).collect()
}

fn wants(spec: &Spec, notifier: &Notifier, notice: &Notice) -> bool {
    let key = &notice.object.key;
    let namespace = match notifier.namespaces.as_slice() {
        [] => notifier.meta.key.namespace == key.namespace,
        named => {
            named.contains(&key.namespace)
                && spec.admits_notifiers(&key.namespace, &notifier.meta.key.namespace)
        }
    };
    let automation = notifier.automations.is_empty()
        || (notice.object.kind == Kind::ImageUpdateAutomation && notifier.automations.contains(&key.name));
    let event = notifier.events.is_empty() || notifier.events.contains(&notice.kind);
    !notifier.suspend && notifier.meta.unsupported.is_empty() && namespace && automation && event
}

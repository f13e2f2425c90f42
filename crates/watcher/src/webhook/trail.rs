//! What the audit says of a delivery: who sent it, by which ids it is known, and what it claims of which image.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_model::{Hint, Kind, ObjectKey, ObjectRef, Signal};
use windlass_store::{AuditEntry, AuditKind};

use crate::routes::Route;

/// A delivery that names more than this many images is told of its Receiver alone, once.
const MAX_ENTRIES: usize = 10;

/// One entry for each image that the delivery is a hint about.
pub(super) fn received(
    route: &Route,
    delivery_id: Option<&str>,
    event: &str,
    at: Timestamp,
    signals: &[Signal],
) -> Vec<AuditEntry> {
    let of_the_sender = json!({
        "receiver": route.receiver, "sender": route.sender.as_str(), "delivery": delivery_id,
    });
    let entry = |object: ObjectRef, detail: Value| AuditEntry {
        at,
        kind: AuditKind::Received,
        object,
        detail,
        event: Some(event.to_owned()),
        about: BTreeSet::new(),
    };
    if signals.len() > MAX_ENTRIES {
        let mut detail = of_the_sender;
        detail["images"] = signals.len().into();
        return receiver(route).map(|object| entry(object, detail)).into_iter().collect();
    }
    let of_one = |signal: &Signal| {
        let mut detail = of_the_sender.clone();
        claim(&signal.hint, &mut detail);
        entry(signal.target.clone(), detail)
    };
    signals.iter().map(of_one).collect()
}

fn receiver(route: &Route) -> Option<ObjectRef> {
    let (namespace, name) = route.receiver.split_once('/')?;
    Some(ObjectRef::new(Kind::Receiver, ObjectKey::new(namespace, name)))
}

/// What the sender says was pushed. It is shown, and never believed.
fn claim(hint: &Hint, detail: &mut Value) {
    detail["claim"] = hint.to_string().into();
    match hint {
        Hint::TagPushed { tag, digest } => {
            detail["tag"] = tag.as_str().into();
            detail["digest"] = digest.as_ref().map(ToString::to_string).into();
        }
        Hint::ReferrerPushed { subject: digest } | Hint::ManifestPushed { digest } => {
            detail["digest"] = digest.to_string().into();
        }
        Hint::VariantFound | Hint::Resume { .. } | Hint::Rescan { .. } => {}
    }
}

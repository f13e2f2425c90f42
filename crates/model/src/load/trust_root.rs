//! `trustRoot` of a Guard's authority. Owns its fields; what a root says is read by `windlass-verify` and `windlass-tuf`.

use std::time::Duration;

use super::duration::Units;
use super::fields::{Fields, Slot};
use super::guard::{loosened, secret_reference};
use crate::guard::{TrustRootSource, TufAnchor, TufRepository};

const TUF: &[&str] = &["mirror", "root", "target", "refreshInterval", "offline", "insecureHTTP"];
/// Longest metadata of the role `root`, as other clients of TUF have it.
const MAX_ROOT: usize = 512_000;
/// Longest name of a target: it is a file's name too.
const MAX_TARGET: usize = 200;
/// A mirror is not asked more often.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn trust_root(slot: &Slot<'_>) -> Option<TrustRootSource> {
    let fields = slot.fields(&["secretRef", "tuf"])?;
    match (fields.slot("secretRef"), fields.slot("tuf")) {
        (Some(slot), None) => secret_reference(&slot).map(TrustRootSource::Secret),
        (None, Some(slot)) => tuf(&slot).map(TrustRootSource::Tuf),
        _ => {
            fields.error(
                "needs exactly one of `secretRef`, `tuf`; without `trustRoot` it is the built-in root",
            );
            None
        }
    }
}

fn tuf(slot: &Slot<'_>) -> Option<TufRepository> {
    let fields = slot.fields(TUF)?;
    let http = loosened(
        &fields,
        "insecureHTTP",
        "whoever stands between can keep news from arriving, until what is known expires",
    );
    let mirror = match fields.slot("mirror") {
        Some(slot) => slot.filled_text().and_then(|text| slot.check(TufRepository::mirror(text, http))),
        None => Some(TufRepository::SIGSTORE.to_owned()),
    };
    let anchor = anchor(&fields, mirror.as_deref());
    let target = match fields.slot("target") {
        Some(slot) => target(&slot),
        None => Some(TufRepository::TRUSTED_ROOT.to_owned()),
    };
    let refresh_interval = match fields.slot("refreshInterval") {
        Some(slot) => {
            let interval = slot.duration(Units::WithHours);
            if interval.is_some_and(|interval| interval < MIN_INTERVAL) {
                slot.error("must be at least 1s");
                return None;
            }
            interval
        }
        None => Some(TufRepository::REFRESH_INTERVAL),
    };
    let offline = fields.flag("offline");
    Some(TufRepository {
        mirror: mirror?,
        anchor: anchor?,
        target: target?,
        refresh_interval: refresh_interval?,
        offline,
    })
}

fn anchor(fields: &Fields<'_>, mirror: Option<&str>) -> Option<TufAnchor> {
    let Some(slot) = fields.slot("root") else {
        if mirror.is_some_and(|mirror| mirror != TufRepository::SIGSTORE) {
            fields.error(
                "needs `root`, the first root of this mirror's repository: only that of Sigstore's own mirror is built in",
            );
            return None;
        }
        return Some(TufAnchor::PublicGood);
    };
    let root = slot.fields(&["json", "secretRef"])?;
    match (root.slot("json"), root.slot("secretRef")) {
        (Some(slot), None) => {
            let text = slot.filled_text()?;
            if text.len() > MAX_ROOT {
                slot.error(format_args!("has more than {MAX_ROOT} bytes"));
                return None;
            }
            Some(TufAnchor::Inline(text.to_owned()))
        }
        (None, Some(slot)) => secret_reference(&slot).map(TufAnchor::Secret),
        _ => {
            root.error("needs exactly one of `json`, `secretRef`");
            None
        }
    }
}

/// A path below the mirror's `targets/`, of characters that mean themselves in a URL and in a file's name.
fn target(slot: &Slot<'_>) -> Option<String> {
    let text = slot.filled_text()?;
    let component = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if text.len() > MAX_TARGET || !text.split('/').all(component) {
        slot.error(format_args!(
            "must be a target's name: letters, digits, `-`, `_`, `.`, and `/` between them, at most {MAX_TARGET} bytes"
        ));
        return None;
    }
    Some(text.to_owned())
}

#[cfg(test)]
#[path = "trust_root_tests.rs"]
mod tests;

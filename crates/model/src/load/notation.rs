//! `notation` of a Guard's authority. Owns its fields; the trust policy document lies in a Secret and is read by
//! `windlass-verify`.

use std::collections::BTreeMap;

use super::fields::{Fields, Slot, quoted};
use super::guard::{MAX_ITEMS, secret_reference};
use crate::guard::NotationTrust;

/// Fields of an authority that are about Sigstore alone.
const FOREIGN: [&str; 6] =
    ["formats", "insecureIgnoreTlog", "insecureIgnoreSCT", "timestamps", "annotations", "trustRoot"];

pub(super) fn notation(authority: &Fields<'_>, slot: &Slot<'_>) -> Option<NotationTrust> {
    let fields = slot.fields(&["secretRef", "trustStores"])?;
    for name in FOREIGN {
        if let Some(slot) = authority.slot(name) {
            slot.error("does not belong to `notation`: the trust policy document says what is asked");
        }
    }
    let secret = fields.required("secretRef").and_then(|slot| secret_reference(&slot));
    let mut trust_stores = BTreeMap::new();
    if let Some(slot) = fields.slot("trustStores") {
        for (store, files) in slot.pairs() {
            trust_stores.insert(store.to_owned(), self::store(store, &files)?);
        }
        if trust_stores.is_empty() {
            slot.error(
                "must not be empty: without this field all certificates are in the one store of the document",
            );
            return None;
        }
    }
    Some(NotationTrust { secret: secret?, trust_stores })
}

/// The keys of one store's certificates.
fn store(name: &str, files: &Slot<'_>) -> Option<Vec<String>> {
    const TYPES: [&str; 2] = ["ca", "signingAuthority"];
    if !matches!(name.split_once(':'), Some((kind, rest)) if TYPES.contains(&kind) && !rest.is_empty()) {
        let kinds = quoted(TYPES.into_iter());
        files.error(format_args!("is not the name of a trust store: write `TYPE:NAME` with one of {kinds}"));
        return None;
    }
    let keys = files.list(MAX_ITEMS)?;
    if keys.is_empty() {
        files.error("must not be empty");
        return None;
    }
    let key = |slot: &Slot<'_>| {
        let text = slot.filled_text()?;
        if !NotationTrust::is_certificates(text) {
            slot.error("must be a key of the Secret that ends in `.crt` or `.pem`");
            return None;
        }
        Some(text.to_owned())
    };
    keys.iter().map(key).collect()
}

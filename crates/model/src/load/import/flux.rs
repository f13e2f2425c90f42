//! Flux's `spec.verify` of OCIRepository and HelmChart (source.toolkit.fluxcd.io). Semantics: source-controller: any
//! `*.pub` of the Secret is enough and the log is not asked; expressions match any part.

use std::collections::BTreeMap;

use super::super::fields::{Fields, Slot, shown};
use super::super::node::Node;
use super::parts::{MAX_ITEMS, authority, expression, identity, keys};
use super::policy::{Draft, Policy};
use crate::guard::{
    Authority, Formats, GuardRules, ImageGlob, NotationTrust, Quorum, Trust, TrustRootSource,
};
use crate::image::ImageName;
use crate::name::ObjectKey;

/// What the authority is called.
const NAME: &str = "flux";

pub(super) fn oci_repository(policy: &Policy<'_>) -> Option<Vec<Draft>> {
    let spec = policy.spec.open_fields()?;
    let Some(verify) = spec.slot("verify") else { return Some(Vec::new()) };
    let url = spec.required("url")?;
    let image = image(&url, url.filled_text()?)?;
    draft(policy, &verify, &image)
}

pub(super) fn helm_chart(policy: &Policy<'_>) -> Option<Vec<Draft>> {
    let spec = policy.spec.open_fields()?;
    let Some(verify) = spec.slot("verify") else { return Some(Vec::new()) };
    let chart = spec.required("chart")?;
    let source = spec.required("sourceRef")?;
    let reference = source.fields(&["apiVersion", "kind", "name"])?;
    let (kind, name) =
        (reference.required("kind")?.filled_text()?, reference.required("name")?.filled_text()?);
    if kind != "HelmRepository" {
        policy.refuse(&source, "only charts of a HelmRepository are verified");
        return None;
    }
    let Some(url) = policy.given.repositories.get(&(policy.namespace.clone(), name.to_owned())) else {
        let (namespace, name) = (shown(&policy.namespace), shown(name));
        let wanted = format!("give the HelmRepository {namespace}/{name} in one of the files, for its URL");
        policy.refuse(&source, wanted);
        return None;
    };
    let image = image(&source, &format!("{}/{}", url.trim_end_matches('/'), chart.filled_text()?))?;
    draft(policy, &verify, &image)
}

/// A HelmRepository's namespace and name, and its URL.
pub(super) fn repository(node: &Node) -> Option<((String, String), String)> {
    let text = |map: &str, key| node.get(map).and_then(|map| map.get(key)).and_then(Node::scalar);
    let is_one = node.get("kind").and_then(Node::scalar) == Some("HelmRepository");
    let namespace = text("metadata", "namespace").unwrap_or("default").to_owned();
    let key = (namespace, text("metadata", "name").filter(|_| is_one)?.to_owned());
    Some((key, text("spec", "url")?.to_owned()))
}

fn image(slot: &Slot<'_>, url: &str) -> Option<ImageGlob> {
    let Some(name) = url.strip_prefix("oci://") else {
        slot.error(format_args!("`{}` must start with `oci://`", shown(url)));
        return None;
    };
    let name = slot.check(ImageName::parse(name.trim_end_matches('/')))?;
    slot.check(name.to_string().parse::<ImageGlob>())
}

fn draft(policy: &Policy<'_>, verify: &Slot<'_>, image: &ImageGlob) -> Option<Vec<Draft>> {
    let fields = verify.fields(&["provider", "secretRef", "matchOIDCIdentity", "trustedRootSecretRef"])?;
    let provider = fields.required("provider")?.choice(&[("cosign", false), ("notation", true)])?;
    let authority = if provider { notation(policy, &fields) } else { cosign(policy, verify, &fields) }?;
    let rules = GuardRules {
        authorities: BTreeMap::from([(NAME.to_owned(), authority)]),
        signatures: Some(Quorum::AnyOf { authorities: vec![NAME.to_owned()], minimum: 1 }),
        ..GuardRules::default()
    };
    Some(vec![Draft { name: policy.name.clone(), images: vec![image.clone()], rules }])
}

fn cosign(policy: &Policy<'_>, verify: &Slot<'_>, fields: &Fields<'_>) -> Option<Authority> {
    let root = match fields.slot("trustedRootSecretRef") {
        Some(slot) => Some(secret(policy, &slot)?),
        None => None,
    };
    if root.is_some() {
        policy.note(verify, "the Secret with `trusted_root.json` must be in Windlass' configuration too");
    }
    let found = match (fields.slot("secretRef"), fields.slot("matchOIDCIdentity")) {
        (Some(slot), None) => {
            policy.note(&slot, "signatures by key need not be in the transparency log, as in Flux");
            Authority { tlog: false, ..authority(public_keys(policy, &slot)?, Formats::default()) }
        }
        (None, Some(slot)) => authority(identities(policy, &slot)?, Formats::default()),
        (None, None) => {
            policy
                .refuse(verify, "takes a signature by anybody: it needs `secretRef`, or `matchOIDCIdentity`");
            return None;
        }
        (Some(_), Some(_)) => {
            fields.error("may have only one of `secretRef`, `matchOIDCIdentity`");
            return None;
        }
    };
    Some(Authority { trust_root: root.map(TrustRootSource::Secret), ..found })
}

/// Every `*.pub`, written out where the Secret is there.
fn public_keys(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<Trust> {
    let key = secret(policy, slot)?;
    let Some(secret) = policy.given.spec.secret(&key.namespace, &key.name) else {
        policy.note(slot, "the Secret must be in Windlass' configuration too, or be given here for its keys");
        return Some(Trust::KeySecret(key));
    };
    let mut all = String::new();
    for name in secret.values.keys().filter(|name| name.strip_suffix(".pub").is_some()) {
        // One that cannot be read is left out: fewer signers count.
        for trust in secret.text(name).and_then(|text| keys(policy, slot, text)).unwrap_or_default() {
            if let Trust::Keys(pem) = trust {
                all.push_str(&pem);
            }
        }
    }
    if all.is_empty() {
        policy.refuse(
            slot,
            format_args!("the Secret {}/{} has no public key (`*.pub`)", key.namespace, key.name),
        );
        return None;
    }
    Some(Trust::Keys(all))
}

fn identities(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<Trust> {
    let items = slot.list(MAX_ITEMS)?;
    if items.is_empty() {
        policy.refuse(slot, "takes a signature by anybody: it must not be empty");
        return None;
    }
    let read = |slot: &Slot<'_>| {
        let fields = slot.fields(&["issuer", "subject"])?;
        let issuer = fields.required("issuer").and_then(|slot| expression(policy, &slot));
        let subject = fields.required("subject").and_then(|slot| expression(policy, &slot));
        Some(identity(policy, slot, issuer?, subject?))
    };
    items.iter().map(read).collect::<Option<_>>().map(Trust::Keyless)
}

fn notation(policy: &Policy<'_>, fields: &Fields<'_>) -> Option<Authority> {
    for name in ["matchOIDCIdentity", "trustedRootSecretRef"] {
        if let Some(slot) = fields.slot(name) {
            slot.error("does not belong to `notation`");
        }
    }
    let slot = fields.required("secretRef")?;
    let trust = NotationTrust { secret: secret(policy, &slot)?, trust_stores: BTreeMap::new() };
    policy.note(
        &slot,
        "the Secret must be in Windlass' configuration too; where its trust policy names several stores, write `trustStores`",
    );
    Some(authority(Trust::Notation(trust), Formats::default()))
}

fn secret(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<ObjectKey> {
    Some(ObjectKey::new(policy.namespace.clone(), slot.local_reference()?))
}

#[cfg(test)]
#[path = "flux_tests.rs"]
mod tests;

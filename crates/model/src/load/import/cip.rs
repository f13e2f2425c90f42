//! policy-controller's `ClusterImagePolicy` (policy.sigstore.dev). Semantics: its `pkg/webhook/validator.go`: any
//! authority is enough; one with `attestations` is judged by them alone; a key without `ctlog` ignores the log.

use super::super::fields::{Fields, Slot};
use super::glob::Dialect;
use super::parts::{
    BUNDLE, FULCIO, LEGACY, MAX_ITEMS, REKOR, add_globs, authority, identities, is_public, is_sha256, key,
    repository, secret_keys, without,
};
use super::policy::{Draft, Policy};
use crate::guard::{AttestationRule, Authority, GuardRules, ImageGlob, Quorum, Trust, predicate_type};

const AUTHORITY: &[&str] = &[
    "name",
    "key",
    "keyless",
    "static",
    "source",
    "ctlog",
    "attestations",
    "rfc3161timestamp",
    "signatureFormat",
];
/// Where policy-controller looks for Secrets.
const NAMESPACE: &str = "cosign-system";
/// What is told about a `TrustRoot`.
const TRUST_ROOT: &str = "write its `trusted_root.json` into a Secret, as `trustRoot` of the authority";

/// One authority that can be carried over.
struct Kept {
    name: String,
    authority: Authority,
    /// The predicate types that it must attest.
    attestations: Vec<String>,
}

pub(super) fn drafts(policy: &Policy<'_>) -> Option<Vec<Draft>> {
    let spec = policy.spec.fields(&["images", "authorities", "policy", "mode", "match"])?;
    if let Some(slot) = spec.slot("policy") {
        policy.refuse(&slot, "CUE and Rego are not evaluated: state what it asks in the Guard's own terms");
    }
    if let Some(slot) = spec.slot("mode")
        && slot.choice(&[("enforce", false), ("warn", true)])?
    {
        policy.note(&slot, "the Guard refuses what the policy only warns of");
    }
    if let Some(slot) = spec.slot("match") {
        policy.note(&slot, "the Guard is for these images whatever resource they are in");
    }
    let images = spec.required("images").and_then(|slot| images(policy, &slot));
    let authorities = spec.required("authorities")?;
    let items = authorities.list(MAX_ITEMS)?;
    let mut kept: Vec<Kept> = Vec::new();
    for (at, slot) in items.iter().enumerate() {
        kept.extend(self::kept(policy, slot, at));
    }
    let rules = rules(policy, &authorities, kept)?;
    Some(vec![Draft { name: policy.name.clone(), images: images?, rules }])
}

/// Every pattern must be carried over: the policy covers all of them.
fn images(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<Vec<ImageGlob>> {
    let mut all = Vec::new();
    for item in slot.list(MAX_ITEMS)? {
        let glob = item.fields(&["glob"])?.required("glob")?;
        add_globs(policy, &glob, Dialect::PolicyController, &mut all)?;
    }
    Some(all)
}

fn kept(policy: &Policy<'_>, slot: &Slot<'_>, at: usize) -> Option<Kept> {
    let fields = slot.fields(AUTHORITY)?;
    let name = match fields.slot("name") {
        Some(slot) => slot.filled_text()?.to_owned(),
        None => format!("authority-{at}"),
    };
    let formats = match fields.slot("signatureFormat") {
        Some(slot) => slot.choice(&[("legacy", LEGACY), ("bundle", BUNDLE)])?,
        None => LEGACY,
    };
    let logged = fields.slot("ctlog");
    let mut found = match (fields.slot("key"), fields.slot("keyless"), fields.slot("static")) {
        (Some(slot), None, None) => {
            let mut found = authority(key_of(policy, &slot)?, formats);
            if logged.is_none() {
                policy.note(&slot, "has no `ctlog`, so signatures need not be in the transparency log");
                found.tlog = false;
            }
            found
        }
        (None, Some(slot), None) => keyless(policy, &slot, formats)?,
        (None, None, Some(slot)) => {
            fixed(policy, &slot);
            return None;
        }
        _ => {
            fields.error("needs exactly one of `key`, `keyless`, `static`");
            return None;
        }
    };
    if let Some(slot) = &logged {
        let log = slot.fields(&["url", "trustRootRef"])?;
        without(policy, &log, &[("trustRootRef", TRUST_ROOT)])?;
        is_public(policy, &log, "url", REKOR)?;
    }
    without(
        policy,
        &fields,
        &[(
            "rfc3161timestamp",
            "its timestamp authorities are in a TrustRoot: write their `trusted_root.json` into a Secret, as `trustRoot` of the authority, with `timestamps: required`",
        )],
    )?;
    if let Some(slot) = fields.slot("source") {
        found.source = source(policy, &slot)?;
    }
    let attestations = attestations(policy, &fields)?;
    Some(Kept { name, authority: found, attestations })
}

fn key_of(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<Trust> {
    let fields = slot.fields(&["secretRef", "data", "kms", "hashAlgorithm"])?;
    is_sha256(policy, &fields, "hashAlgorithm")?;
    without(policy, &fields, &[("kms", "keys are not fetched from a KMS: write the public key, as `data`")])?;
    match (fields.slot("data"), fields.slot("secretRef")) {
        (Some(slot), None) => key(policy, &slot, slot.filled_text()?),
        (None, Some(slot)) => {
            let reference = slot.fields(&["name", "namespace"])?;
            let name = reference.required("name")?.filled_text()?;
            let namespace = reference.text("namespace").unwrap_or(NAMESPACE);
            let keys = secret_keys(policy, &slot, namespace, name, |secret| {
                let mut names = secret.values.keys();
                match (names.next(), names.next()) {
                    (Some(only), None) => secret.text(only).ok_or("is not text"),
                    _ => Err("must have exactly one key"),
                }
            })?;
            if let [only] = keys.as_slice() {
                return Some(only.clone());
            }
            policy.leave_out(&slot, "is not carried over: the Secret has several keys");
            None
        }
        _ => {
            fields.error("needs exactly one of `data`, `secretRef`, `kms`");
            None
        }
    }
}

fn keyless(policy: &Policy<'_>, slot: &Slot<'_>, formats: crate::guard::Formats) -> Option<Authority> {
    let fields = slot.fields(&["url", "identities", "ca-cert", "trustRootRef", "insecureIgnoreSCT"])?;
    let trust = fields.required("identities").and_then(|slot| identities(policy, &slot));
    let ca = "a certificate authority of one's own belongs into a `trusted_root.json`, as `trustRoot`";
    without(policy, &fields, &[("ca-cert", ca), ("trustRootRef", TRUST_ROOT)])?;
    is_public(policy, &fields, "url", FULCIO)?;
    Some(Authority { sct: !fields.flag("insecureIgnoreSCT"), ..authority(trust?, formats) })
}

/// `static`: an authority that looks at nothing.
fn fixed(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<()> {
    let fields = slot.fields(&["action", "message"])?;
    if fields.required("action")?.choice(&[("pass", true), ("fail", false)])? {
        policy.refuse(slot, "lets every image through: the policy asks for nothing");
    } else {
        policy.note(slot, "lets no image through, and is not needed beside other authorities");
    }
    Some(())
}

#[expect(clippy::option_option, reason = "the outer one is a source that is not carried over")]
fn source(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<Option<crate::image::ImageName>> {
    let items = slot.list(MAX_ITEMS)?;
    let [item] = items.as_slice() else {
        if items.is_empty() {
            return Some(None);
        }
        policy.leave_out(slot, "is not carried over: signatures are looked for in one place");
        return None;
    };
    let fields = item.fields(&["oci", "signaturePullSecrets", "tagPrefix"])?;
    without(policy, &fields, &[("tagPrefix", "signatures are found by cosign's own tags")])?;
    if let Some(slot) = fields.slot("signaturePullSecrets") {
        policy.note(&slot, "credentials are those of the ImageRepository");
    }
    match fields.slot("oci") {
        Some(slot) => repository(&slot).map(Some),
        None => Some(None),
    }
}

fn attestations(policy: &Policy<'_>, fields: &Fields<'_>) -> Option<Vec<String>> {
    let items = fields.slot("attestations").map_or(Some(Vec::new()), |slot| slot.list(MAX_ITEMS))?;
    let mut types = Vec::new();
    for item in items {
        let fields = item.fields(&["name", "predicateType", "policy"])?;
        without(policy, &fields, &[("policy", "CUE and Rego are not evaluated: write it as `cel`")])?;
        let slot = fields.required("predicateType")?;
        match predicate_type(slot.filled_text()?) {
            Ok(found) if types.contains(&found) => {}
            Ok(found) => types.push(found),
            Err(why) => {
                policy.leave_out(&slot, format_args!("is not carried over: {why}"));
                return None;
            }
        }
    }
    Some(types)
}

/// Any authority is enough. A Guard's rules are all to be met, so that is said by one rule alone.
fn rules(policy: &Policy<'_>, slot: &Slot<'_>, kept: Vec<Kept>) -> Option<GuardRules> {
    let mut rules = GuardRules::default();
    let (attesting, signing): (Vec<_>, Vec<_>) =
        kept.into_iter().partition(|kept| !kept.attestations.is_empty());
    let chosen = if signing.is_empty() {
        attesting
    } else {
        for kept in attesting {
            let why = "asks for attestations where others ask for signatures, and a Guard cannot ask for one of both";
            policy
                .leave_out(slot, format_args!("the authority `{}` is not carried over: it {why}", kept.name));
        }
        signing
    };
    let Some(first) = chosen.first() else {
        policy.refuse(slot, "no authority can be carried over");
        return None;
    };
    let types = first.attestations.clone();
    let names: Vec<String> = chosen.iter().map(|kept| kept.name.clone()).collect();
    if chosen.len() > 1 && chosen.iter().any(|kept| kept.attestations.len() > 1 || kept.attestations != types)
    {
        policy.refuse(
            slot,
            "its authorities ask for different attestations, and any of them is enough: split it",
        );
        return None;
    }
    for kept in chosen {
        if rules.authorities.insert(kept.name.clone(), kept.authority).is_some() {
            slot.error(format_args!("the name `{}` is taken by another authority", kept.name));
        }
    }
    if types.is_empty() {
        rules.signatures = Some(Quorum::AnyOf { authorities: names, minimum: 1 });
    } else {
        let rule =
            |predicate_type| AttestationRule { predicate_type, authorities: names.clone(), condition: None };
        rules.attestations = types.into_iter().map(rule).collect();
    }
    Some(rules)
}

#[cfg(test)]
#[path = "cip_tests.rs"]
mod tests;

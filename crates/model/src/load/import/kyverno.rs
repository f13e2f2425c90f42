//! Kyverno's `verifyImages` rules (kyverno.io). Semantics: its `pkg/imageverify` and `pkg/cosign`: every attestor set
//! must be met, by all of its entries or by `count` of them; signatures must be in the log unless `ignoreTlog` says no.

use std::collections::BTreeMap;

use super::super::fields::{Fields, Slot};
use super::super::node::Value;
use super::glob::Dialect;
use super::parts::{
    BUNDLE, LEGACY, MAX_ITEMS, REKOR, add_globs, authority, expression, identity, is_public, is_sha256, keys,
    repository, secret_keys, without,
};
use super::policy::{Draft, Policy};
use crate::guard::{
    AttestationRule, Authority, Formats, GuardRules, ImageGlob, Quorum, TextRule, Trust, predicate_type,
};
use crate::image::ImageName;

const VERIFY: &[&str] = &[
    "failureAction",
    "type",
    "image",
    "imageReferences",
    "skipImageReferences",
    "key",
    "roots",
    "subject",
    "issuer",
    "additionalExtensions",
    "attestors",
    "attestations",
    "annotations",
    "repository",
    "cosignOCI11",
    "mutateDigest",
    "verifyDigest",
    "validate",
    "required",
    "imageRegistryCredentials",
    "useCache",
];
const ENTRY: &[&str] =
    &["keys", "certificates", "keyless", "attestor", "annotations", "repository", "signatureAlgorithm"];
const CERTIFICATES: &str = "certificates are verified against a trust root: write it as `trustRoot`";

/// What holds for every entry of one `verifyImages`.
struct Defaults {
    formats: Formats,
    repository: Option<ImageName>,
    annotations: BTreeMap<String, String>,
}

/// How many of an attestor set's authorities are needed.
enum Needed {
    All,
    Count(usize),
}

/// An attestor set.
struct Set {
    authorities: BTreeMap<String, Authority>,
    needed: Needed,
}

pub(super) fn drafts(policy: &Policy<'_>) -> Option<Vec<Draft>> {
    let spec = policy.spec.open_fields()?;
    let rules = spec.slot("rules").map_or(Some(Vec::new()), |slot| slot.list(MAX_ITEMS))?;
    let mut drafts = Vec::new();
    for rule in rules {
        let fields = rule.open_fields()?;
        let Some(verify) = fields.slot("verifyImages") else { continue };
        for name in ["match", "exclude", "preconditions", "celPreconditions"] {
            if let Some(slot) = fields.slot(name) {
                policy.note(&slot, "the Guard is for these images whatever resource they are in");
            }
        }
        let name = fields.required("name")?.filled_text()?;
        for item in verify.list(MAX_ITEMS)? {
            drafts
                .extend(self::verify(policy, &item, &format!("{}-{name}", policy.name)).unwrap_or_default());
        }
    }
    if let (Some(slot), false) = (spec.slot("validationFailureAction"), drafts.is_empty()) {
        audit(policy, &slot);
    }
    Some(drafts)
}

fn audit(policy: &Policy<'_>, slot: &Slot<'_>) {
    if slot.text().is_some_and(|text| !text.eq_ignore_ascii_case("enforce")) {
        policy.note(slot, "the Guard refuses what the policy only reports");
    }
}

fn verify(policy: &Policy<'_>, slot: &Slot<'_>, name: &str) -> Option<Vec<Draft>> {
    let fields = slot.fields(VERIFY)?;
    let formats = match fields.slot("type") {
        Some(slot) => {
            let known = [("Cosign", Some(LEGACY)), ("SigstoreBundle", Some(BUNDLE)), ("Notary", None)];
            let Some(formats) = slot.choice(&known)? else {
                policy.refuse(&slot, "write the certificates and a trust policy document as `notation`");
                return None;
            };
            formats
        }
        None => LEGACY,
    };
    switches(policy, &fields)?;
    let images = images(policy, &fields)?;
    let defaults = Defaults {
        formats,
        repository: fields.slot("repository").and_then(|slot| repository(&slot)),
        annotations: fields.text_map("annotations"),
    };
    let mut drafts = Vec::new();
    let sets = fields.slot("attestors").map_or(Some(Vec::new()), |slot| slot.list(MAX_ITEMS))?;
    for slot in &sets {
        let Set { authorities, needed } = set(policy, slot, &defaults)?;
        let names = authorities.keys().cloned().collect();
        let quorum = match needed {
            Needed::All => Quorum::AllOf(names),
            Needed::Count(minimum) => Quorum::AnyOf { authorities: names, minimum },
        };
        let rules = GuardRules { authorities, signatures: Some(quorum), ..GuardRules::default() };
        drafts.push(Draft { name: name.to_owned(), images: images.clone(), rules });
    }
    let attestations = fields.slot("attestations").map_or(Some(Vec::new()), |slot| slot.list(MAX_ITEMS))?;
    for slot in &attestations {
        for rules in attestation(policy, slot, &defaults)? {
            drafts.push(Draft { name: format!("{name}-attestations"), images: images.clone(), rules });
        }
    }
    if drafts.is_empty() {
        policy.refuse(slot, "asks for nothing: it has neither `attestors` nor `attestations`");
    }
    Some(drafts)
}

/// What is about Kyverno's own working, and what cannot be said by a Guard.
fn switches(policy: &Policy<'_>, fields: &Fields<'_>) -> Option<()> {
    for name in ["key", "roots", "subject", "issuer", "additionalExtensions"] {
        if let Some(slot) = fields.slot(name) {
            policy.refuse(&slot, "is the old form: write `attestors`");
        }
    }
    if let Some(slot) = fields.slot("validate") {
        let validate = slot.fields(&["message", "deny"])?;
        if let Some(slot) = validate.slot("deny") {
            policy.refuse(&slot, "conditions are not evaluated: state what it asks in the Guard's own terms");
        }
    }
    if let Some(slot) = fields.slot("skipImageReferences") {
        policy.leave_out(&slot, "the Guard is for these images too: a Guard has no exceptions");
    }
    if let Some(slot) = fields.slot("failureAction") {
        audit(policy, &slot);
    }
    for (name, why) in [
        ("required", "the Guard asks for the signature all the same"),
        ("mutateDigest", "the Guard writes the verified digest: with `pin: never` it would not"),
    ] {
        if let Some(slot) = fields.slot(name)
            && !slot.flag()?
        {
            policy.note(&slot, why);
        }
    }
    if fields.flag("cosignOCI11")
        && let Some(slot) = fields.slot("cosignOCI11")
    {
        policy.leave_out(
            &slot,
            "signatures are looked for under cosign's tags: Kyverno's referrers are not read",
        );
    }
    if let Some(slot) = fields.slot("imageRegistryCredentials") {
        policy.note(&slot, "credentials are those of the ImageRepository");
    }
    fields.flag("verifyDigest");
    fields.flag("useCache");
    Some(())
}

fn images(policy: &Policy<'_>, fields: &Fields<'_>) -> Option<Vec<ImageGlob>> {
    let mut slots: Vec<Slot<'_>> = fields.slot("image").into_iter().collect();
    if let Some(slot) = fields.slot("imageReferences") {
        slots.extend(slot.list(MAX_ITEMS)?);
    } else if slots.is_empty() {
        fields.required("imageReferences");
    }
    let mut all = Vec::new();
    for slot in slots {
        add_globs(policy, &slot, Dialect::Kyverno, &mut all)?;
    }
    Some(all)
}

/// An attestor set. An entry that cannot be carried over is missed where all are needed.
fn set(policy: &Policy<'_>, slot: &Slot<'_>, defaults: &Defaults) -> Option<Set> {
    let fields = slot.fields(&["count", "entries"])?;
    let needed = match fields.slot("count") {
        Some(slot) => count(&slot)?,
        None => Needed::All,
    };
    let entries = fields.required("entries")?;
    let mut authorities = BTreeMap::new();
    let mut missing = false;
    for (at, slot) in entries.list(MAX_ITEMS)?.iter().enumerate() {
        let Some(found) = entry(policy, slot, defaults) else {
            missing = true;
            continue;
        };
        let several = found.len() > 1;
        for (key, found) in found.into_iter().enumerate() {
            let name = if several { format!("attestor-{at}-{key}") } else { format!("attestor-{at}") };
            authorities.insert(name, found);
        }
    }
    let enough = match needed {
        Needed::All => !missing && !authorities.is_empty(),
        Needed::Count(count) => authorities.len() >= count,
    };
    if !enough {
        policy.refuse(
            &entries,
            "too few of its entries can be carried over: without them the Guard would be weaker",
        );
        return None;
    }
    Some(Set { authorities, needed })
}

/// Zero is all, as is no number.
fn count(slot: &Slot<'_>) -> Option<Needed> {
    let number = match &slot.node.value {
        Value::Scalar { text, plain: true } => text.parse().ok(),
        _ => None,
    };
    match number {
        Some(0) => Some(Needed::All),
        Some(count) => Some(Needed::Count(count)),
        None => {
            slot.error("must be a whole number");
            None
        }
    }
}

/// One entry: an authority, or one for each of several keys.
fn entry(policy: &Policy<'_>, slot: &Slot<'_>, defaults: &Defaults) -> Option<Vec<Authority>> {
    let fields = slot.fields(ENTRY)?;
    let nested = "attestors within attestors have no place in a Guard";
    without(policy, &fields, &[("certificates", CERTIFICATES), ("attestor", nested)])?;
    is_sha256(policy, &fields, "signatureAlgorithm")?;
    let mut found = match (fields.slot("keys"), fields.slot("keyless")) {
        (Some(slot), None) => by_keys(policy, &slot, defaults)?,
        (None, Some(slot)) => vec![keyless(policy, &slot, defaults)?],
        _ => {
            fields.error("needs exactly one of `keys`, `keyless`");
            return None;
        }
    };
    let source = fields.slot("repository").map_or(defaults.repository.clone(), |slot| repository(&slot));
    let annotations = fields.text_map("annotations");
    if annotations
        .iter()
        .any(|(key, value)| defaults.annotations.get(key).is_some_and(|other| other != value))
    {
        slot.error("states other annotations than the rule: both cannot be met");
    }
    for authority in &mut found {
        authority.source.clone_from(&source);
        authority.annotations = defaults.annotations.clone().into_iter().chain(annotations.clone()).collect();
    }
    Some(found)
}

fn by_keys(policy: &Policy<'_>, slot: &Slot<'_>, defaults: &Defaults) -> Option<Vec<Authority>> {
    let fields = slot.fields(&["publicKeys", "signatureAlgorithm", "kms", "secret", "rekor", "ctlog"])?;
    let kms = "keys are not fetched from a KMS: write the public key, as `publicKeys`";
    without(policy, &fields, &[("kms", kms)])?;
    is_sha256(policy, &fields, "signatureAlgorithm")?;
    let trusts = match (fields.slot("publicKeys"), fields.slot("secret")) {
        (Some(slot), None) => {
            let text = slot.filled_text()?;
            match text.strip_prefix("k8s://").map(|rest| rest.split_once('/')) {
                Some(Some((namespace, name))) => from_secret(policy, &slot, namespace, name)?,
                _ => keys(policy, &slot, text)?,
            }
        }
        (None, Some(slot)) => {
            let reference = slot.fields(&["name", "namespace"])?;
            let (name, namespace) = (reference.required("name"), reference.required("namespace"));
            from_secret(policy, &slot, namespace?.filled_text()?, name?.filled_text()?)?
        }
        _ => {
            fields.error("needs exactly one of `publicKeys`, `secret`, `kms`");
            return None;
        }
    };
    let of = |trust| authority(trust, defaults.formats);
    let mut found: Vec<Authority> = trusts.into_iter().map(of).collect();
    for authority in &mut found {
        logs(policy, &fields, authority)?;
    }
    Some(found)
}

/// Kyverno reads `cosign.pub`.
fn from_secret(policy: &Policy<'_>, slot: &Slot<'_>, namespace: &str, name: &str) -> Option<Vec<Trust>> {
    secret_keys(policy, slot, namespace, name, |secret| {
        secret.text("cosign.pub").ok_or("has no `cosign.pub`")
    })
}

fn keyless(policy: &Policy<'_>, slot: &Slot<'_>, defaults: &Defaults) -> Option<Authority> {
    let fields = slot.fields(&[
        "rekor",
        "ctlog",
        "issuer",
        "issuerRegExp",
        "subject",
        "subjectRegExp",
        "roots",
        "additionalExtensions",
    ])?;
    let extensions = "a Guard asks for issuer and subject alone";
    without(policy, &fields, &[("roots", CERTIFICATES), ("additionalExtensions", extensions)])?;
    let issuer = rule(policy, slot, &fields, "issuer", "issuerRegExp");
    let subject = rule(policy, slot, &fields, "subject", "subjectRegExp");
    let identity = identity(policy, slot, issuer?, subject?);
    let mut found = authority(Trust::Keyless(vec![identity]), defaults.formats);
    logs(policy, &fields, &mut found)?;
    Some(found)
}

/// A text with Kyverno's wildcards, or an expression for any part. Without either, anybody is meant.
fn rule(
    policy: &Policy<'_>,
    slot: &Slot<'_>,
    fields: &Fields<'_>,
    exact: &str,
    pattern: &str,
) -> Option<TextRule> {
    match (fields.slot(exact), fields.slot(pattern)) {
        (Some(slot), None) => {
            let text = slot.filled_text()?;
            if !text.contains(['*', '?']) {
                return Some(TextRule::Exact(text.to_owned()));
            }
            let expression = regex::escape(text).replace(r"\*", ".*").replace(r"\?", ".");
            Some(TextRule::Pattern { expression, anchored: true })
        }
        (None, Some(slot)) => expression(policy, &slot),
        (Some(_), Some(_)) => {
            fields.error(format_args!("may have only one of `{exact}`, `{pattern}`"));
            None
        }
        (None, None) => {
            policy.leave_out(
                slot,
                format_args!("is not carried over: it has no `{exact}`, so anybody is meant"),
            );
            None
        }
    }
}

fn logs(policy: &Policy<'_>, fields: &Fields<'_>, authority: &mut Authority) -> Option<()> {
    let own = "keys of one's own services belong into a `trusted_root.json`, as `trustRoot`";
    if let Some(rekor) = fields.slot("rekor") {
        let rekor = rekor.fields(&["url", "pubkey", "ignoreTlog"])?;
        without(policy, &rekor, &[("pubkey", own)])?;
        authority.tlog = !rekor.flag("ignoreTlog");
        if authority.tlog {
            is_public(policy, &rekor, "url", REKOR)?;
        }
    }
    if let Some(ctlog) = fields.slot("ctlog") {
        let ctlog = ctlog.fields(&["ignoreSCT", "pubkey", "tsaCertChain"])?;
        without(policy, &ctlog, &[("pubkey", own), ("tsaCertChain", own)])?;
        authority.sct = !ctlog.flag("ignoreSCT");
    }
    Some(())
}

/// An attestation that every attestor set must have made: one rule for any of them, or one for each.
fn attestation(policy: &Policy<'_>, slot: &Slot<'_>, defaults: &Defaults) -> Option<Vec<GuardRules>> {
    let fields = slot.fields(&["name", "predicateType", "type", "attestors", "conditions"])?;
    if let Some(slot) = fields.slot("conditions") {
        policy.refuse(
            &slot,
            "conditions are not evaluated: write them as `cel`, `slsa` or `vuln` of the attestation",
        );
    }
    let kind = fields.slot("type").or_else(|| fields.slot("predicateType"));
    let Some(kind) = kind else {
        fields.error("needs `type`");
        return None;
    };
    let predicate_type = kind.check(predicate_type(kind.filled_text()?))?;
    let sets = fields.required("attestors")?;
    let mut all = Vec::new();
    for slot in sets.list(MAX_ITEMS)? {
        let Set { authorities, needed } = set(policy, &slot, defaults)?;
        let names: Vec<String> = authorities.keys().cloned().collect();
        let groups = match needed {
            Needed::Count(1) => vec![names],
            Needed::Count(count) if count < names.len() => {
                policy.refuse(
                    &slot,
                    "some of several attestors cannot be asked for: a Guard takes any, or each",
                );
                return None;
            }
            _ => names.into_iter().map(|name| vec![name]).collect(),
        };
        let rule = |authorities| AttestationRule {
            predicate_type: predicate_type.clone(),
            authorities,
            condition: None,
        };
        let attestations = groups.into_iter().map(rule).collect();
        all.push(GuardRules { authorities, attestations, ..GuardRules::default() });
    }
    if all.is_empty() {
        policy.refuse(&sets, "is empty, so anybody may attest");
    }
    Some(all)
}

#[cfg(test)]
#[path = "kyverno_tests.rs"]
mod tests;

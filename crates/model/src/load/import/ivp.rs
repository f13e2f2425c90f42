//! Kyverno's `ImageValidatingPolicy` (policies.kyverno.io). What it asks is an expression; those of the one form that its
//! documentation teaches are understood, and every other is refused.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::super::fields::{Slot, shown};
use super::glob::Dialect;
use super::parts::{
    LEGACY, MAX_ITEMS, REKOR, add_globs, authority, identities, is_public, is_sha256, key, repository,
    without,
};
use super::policy::{Draft, Policy};
use crate::guard::{AttestationRule, Authority, GuardRules, ImageGlob, Quorum, Trust, predicate_type};

const SPEC: &[&str] = &[
    "matchConstraints",
    "failurePolicy",
    "auditAnnotations",
    "validationActions",
    "matchConditions",
    "variables",
    "validationConfigurations",
    "matchImageReferences",
    "credentials",
    "images",
    "attestors",
    "attestations",
    "validations",
    "webhookConfiguration",
    "evaluation",
    "autogen",
];

/// `images.X.map(i, verifyImageSignatures(i, [attestors.a, …])).all(e, e > 0)`, or with `verifyAttestationSignatures` and
/// `attestations.b`; without its white space. The crate's expressions have no back references.
static FORM: LazyLock<Regex> = LazyLock::new(|| {
    let form = r"^images\.\w+\.map\((\w+),verify(?:ImageSignatures\((\w+)|AttestationSignatures\((\w+),attestations\.(\w+)),\[(attestors\.\w+(?:,attestors\.\w+)*)\]\)\)\.all\((\w+),(\w+)>0\)$";
    Regex::new(form).expect("it is an expression")
});

/// What one validation asks: a signature or an attestation of any of these attestors.
struct Asked<'t> {
    attestation: Option<&'t str>,
    attestors: Vec<&'t str>,
}

fn asked(expression: &str) -> Option<Asked<'_>> {
    let parts = FORM.captures(expression)?;
    let part = |at| parts.get(at).map(|part| part.as_str());
    let image = part(2).or(part(3));
    let same = part(1) == image && part(6) == part(7);
    let attestors = part(5)?.split(',').filter_map(|name| name.strip_prefix("attestors.")).collect();
    same.then_some(Asked { attestation: part(4), attestors })
}

pub(super) fn drafts(policy: &Policy<'_>) -> Option<Vec<Draft>> {
    let spec = policy.spec.fields(SPEC)?;
    for name in ["matchConstraints", "matchConditions", "images"] {
        if let Some(slot) = spec.slot(name) {
            policy.note(&slot, "the Guard is for these images whatever resource they are in");
        }
    }
    if let Some(slot) = spec.slot("validationActions")
        && !slot.texts(MAX_ITEMS).iter().any(|action| action == "Deny")
    {
        policy.note(&slot, "the Guard refuses what the policy only reports");
    }
    if let Some(slot) = spec.slot("credentials") {
        policy.note(&slot, "credentials are those of the ImageRepository");
    }
    let images = images(policy, &spec.required("matchImageReferences")?)?;
    let attestors = spec.required("attestors")?;
    let mut known = BTreeMap::new();
    for slot in attestors.list(MAX_ITEMS)? {
        known.extend(attestor(policy, &slot));
    }
    let mut types = BTreeMap::new();
    for slot in spec.slot("attestations").map_or(Some(Vec::new()), |slot| slot.list(MAX_ITEMS))? {
        types.extend(attestation(policy, &slot));
    }
    let validations = spec.required("validations")?;
    let mut drafts = Vec::new();
    for slot in validations.list(MAX_ITEMS)? {
        let rules = validation(policy, &slot, &known, &types)?;
        drafts.push(Draft { name: policy.name.clone(), images: images.clone(), rules });
    }
    if drafts.is_empty() {
        policy.refuse(&validations, "is empty: the policy asks for nothing");
    }
    Some(drafts)
}

fn images(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<Vec<ImageGlob>> {
    let mut all = Vec::new();
    for item in slot.list(MAX_ITEMS)? {
        let fields = item.fields(&["glob", "expression"])?;
        if let Some(slot) = fields.slot("expression") {
            policy.refuse(&slot, "expressions that choose images are not evaluated: write a `glob`");
            continue;
        }
        let glob = fields.required("glob")?;
        add_globs(policy, &glob, Dialect::Kyverno, &mut all)?;
    }
    Some(all)
}

fn attestor(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<(String, Authority)> {
    let fields = slot.fields(&["name", "cosign", "notary"])?;
    let name = fields.required("name")?.filled_text()?;
    without(
        policy,
        &fields,
        &[("notary", "write the certificates and a trust policy document as `notation`")],
    )?;
    let cosign = fields.required("cosign")?.fields(&[
        "key",
        "keyless",
        "certificate",
        "source",
        "ctlog",
        "tuf",
        "annotations",
    ])?;
    let root = "a trust root of one's own belongs into a `trusted_root.json`, as `trustRoot`";
    without(policy, &cosign, &[("certificate", root), ("tuf", root)])?;
    let mut found = match (cosign.slot("key"), cosign.slot("keyless")) {
        (Some(slot), None) => authority(by_key(policy, &slot)?, LEGACY),
        (None, Some(slot)) => {
            let keyless = slot.fields(&["identities", "roots"])?;
            without(policy, &keyless, &[("roots", root)])?;
            authority(identities(policy, &keyless.required("identities")?)?, LEGACY)
        }
        _ => {
            cosign.error("needs exactly one of `key`, `keyless`, `certificate`");
            return None;
        }
    };
    if let Some(slot) = cosign.slot("source") {
        let source = slot.fields(&["repository", "PullSecrets", "tagPrefix"])?;
        without(policy, &source, &[("tagPrefix", "signatures are found by cosign's own tags")])?;
        found.source = match source.slot("repository") {
            Some(slot) => Some(repository(&slot)?),
            None => None,
        };
    }
    if let Some(slot) = cosign.slot("ctlog") {
        let log = slot.fields(&[
            "url",
            "rekorPubKey",
            "ctLogPubKey",
            "tsaCertChain",
            "insecureIgnoreTlog",
            "insecureIgnoreSCT",
        ])?;
        without(policy, &log, &[("rekorPubKey", root), ("ctLogPubKey", root), ("tsaCertChain", root)])?;
        found.tlog = !log.flag("insecureIgnoreTlog");
        found.sct = !log.flag("insecureIgnoreSCT");
        if found.tlog && is_public(policy, &log, "url", REKOR).is_none() {
            return None;
        }
    }
    found.annotations = cosign.text_map("annotations");
    Some((name.to_owned(), found))
}

fn by_key(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<Trust> {
    let fields = slot.fields(&["data", "kms", "hashAlgorithm", "expression"])?;
    let kms = "keys are not fetched from a KMS: write the public key, as `data`";
    without(
        policy,
        &fields,
        &[("kms", kms), ("expression", "expressions are not evaluated: write the key as `data`")],
    )?;
    is_sha256(policy, &fields, "hashAlgorithm")?;
    let data = fields.required("data")?;
    key(policy, &data, data.filled_text()?)
}

fn attestation(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<(String, String)> {
    let fields = slot.fields(&["name", "intoto", "referrer"])?;
    let name = fields.required("name")?.filled_text()?;
    without(
        policy,
        &fields,
        &[("referrer", "referrers that nobody signed as statements are not looked at")],
    )?;
    let kind = fields.required("intoto")?.fields(&["type"])?.required("type")?;
    match predicate_type(kind.filled_text()?) {
        Ok(found) => Some((name.to_owned(), found)),
        Err(why) => {
            policy.leave_out(&kind, format_args!("is not carried over: {why}"));
            None
        }
    }
}

fn validation(
    policy: &Policy<'_>,
    slot: &Slot<'_>,
    known: &BTreeMap<String, Authority>,
    types: &BTreeMap<String, String>,
) -> Option<GuardRules> {
    let fields = slot.fields(&["expression", "message", "messageExpression", "reason"])?;
    let slot = fields.required("expression")?;
    let text: String = slot.filled_text()?.split_whitespace().collect();
    let Some(asked) = asked(&text) else {
        policy.refuse(
            &slot,
            "this expression is not understood: only `images.X.map(i, verifyImageSignatures(i, [attestors.A])).all(e, e > 0)` \
             and the same with `verifyAttestationSignatures(i, attestations.B, [attestors.A])`",
        );
        return None;
    };
    let authorities: BTreeMap<String, Authority> = asked
        .attestors
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), known.get(*name)?.clone())))
        .collect();
    if authorities.is_empty() {
        policy.refuse(&slot, "none of its attestors can be carried over");
        return None;
    }
    let names: Vec<String> = authorities.keys().cloned().collect();
    let mut rules = GuardRules { authorities, ..GuardRules::default() };
    match asked.attestation {
        None => rules.signatures = Some(Quorum::AnyOf { authorities: names, minimum: 1 }),
        Some(name) => {
            let Some(predicate_type) = types.get(name).cloned() else {
                policy
                    .refuse(&slot, format_args!("the attestation `{}` cannot be carried over", shown(name)));
                return None;
            };
            rules.attestations =
                vec![AttestationRule { predicate_type, authorities: names, condition: None }];
        }
    }
    Some(rules)
}

#[cfg(test)]
#[path = "ivp_tests.rs"]
mod tests;

//! What the formats have in common: keys, identities, logs. Each reader answers `None` where a part cannot be carried
//! over, which it has told then.

use std::collections::BTreeMap;

use super::super::fields::{Fields, Slot, shown};
use super::glob::{Dialect, globs};
use super::policy::Policy;
use crate::guard::{Authority, Formats, Identity, ImageGlob, TextRule, Trust};
use crate::image::ImageName;
use crate::resource::Secret;

/// More entries of one list are a mistake.
pub(super) const MAX_ITEMS: usize = 1_000;
/// Sigstore's public log, which is in the built-in trust root.
pub(super) const REKOR: &str = "https://rekor.sigstore.dev";
/// Sigstore's public certificate authority.
pub(super) const FULCIO: &str = "https://fulcio.sigstore.dev";
/// How a public key starts.
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// cosign's first format alone.
pub(super) const LEGACY: Formats = Formats { legacy: true, bundle: false };
/// Sigstore bundles alone.
pub(super) const BUNDLE: Formats = Formats { legacy: false, bundle: true };

/// An authority with everything else at its strict default.
pub(super) fn authority(trust: Trust, formats: Formats) -> Authority {
    Authority {
        trust,
        source: None,
        formats,
        tlog: true,
        sct: true,
        timestamps: false,
        annotations: BTreeMap::new(),
        trust_root: None,
    }
}

/// The public keys of a PEM text, each on its own; `None` where there is anything else in it.
pub(super) fn keys(policy: &Policy<'_>, slot: &Slot<'_>, text: &str) -> Option<Vec<Trust>> {
    let mut keys = Vec::new();
    let mut rest = text.trim();
    while let Some((key, after)) = rest.strip_prefix(BEGIN).and_then(|inner| inner.split_once(END)) {
        let lines: Vec<&str> = key.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        keys.push(Trust::Keys(format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))));
        rest = after.trim_start();
    }
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=\n".contains(c);
    let strange = |key: &Trust| matches!(key, Trust::Keys(text) if !text[BEGIN.len()..text.len() - END.len() - 1].chars().all(base64));
    if keys.is_empty() || !rest.is_empty() || keys.iter().any(strange) {
        policy
            .leave_out(slot, "is not carried over: it is not public keys in PEM (`BEGIN PUBLIC KEY`) alone");
        return None;
    }
    Some(keys)
}

/// The one public key of a PEM text. A Guard takes any of several keys, which some tools do not.
pub(super) fn key(policy: &Policy<'_>, slot: &Slot<'_>, text: &str) -> Option<Trust> {
    let mut keys = keys(policy, slot, text)?;
    if keys.len() > 1 {
        policy.leave_out(slot, "is not carried over: it has several keys; write an authority for each");
        return None;
    }
    keys.pop()
}

/// A Secret's key, written out: a Guard would take every `*.pub` of the Secret.
pub(super) fn secret_keys(
    policy: &Policy<'_>,
    slot: &Slot<'_>,
    namespace: &str,
    name: &str,
    choose: impl Fn(&Secret) -> Result<&str, &'static str>,
) -> Option<Vec<Trust>> {
    let Some(secret) = policy.given.spec.secret(namespace, name) else {
        policy.leave_out(
            slot,
            format_args!(
                "is not carried over: give the Secret {namespace}/{name} in one of the files, for its key"
            ),
        );
        return None;
    };
    match choose(secret) {
        Ok(text) => keys(policy, slot, text),
        Err(why) => {
            policy.leave_out(slot, format_args!("is not carried over: the Secret {namespace}/{name} {why}"));
            None
        }
    }
}

/// `identities[]` of cosign: any of them; expressions match any part.
pub(super) fn identities(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<Trust> {
    let items = slot.list(MAX_ITEMS)?;
    let read = |slot: &Slot<'_>| {
        let fields = slot.fields(&["issuer", "issuerRegExp", "subject", "subjectRegExp"])?;
        let issuer = rule(policy, &fields, "issuer", "issuerRegExp");
        let subject = rule(policy, &fields, "subject", "subjectRegExp");
        Some(identity(policy, slot, issuer?, subject?))
    };
    let identities: Option<Vec<Identity>> = items.iter().map(read).collect();
    let identities = identities?;
    if identities.is_empty() {
        slot.error("must not be empty: anybody can get a certificate for a name of their own");
        return None;
    }
    Some(Trust::Keyless(identities))
}

fn rule(policy: &Policy<'_>, fields: &Fields<'_>, exact: &str, pattern: &str) -> Option<TextRule> {
    match (fields.slot(exact), fields.slot(pattern)) {
        (Some(slot), None) => Some(TextRule::Exact(slot.filled_text()?.to_owned())),
        (None, Some(slot)) => expression(policy, &slot),
        _ => {
            fields.error(format_args!("needs exactly one of `{exact}`, `{pattern}`"));
            None
        }
    }
}

/// An expression that matches any part of a text.
pub(super) fn expression(policy: &Policy<'_>, slot: &Slot<'_>) -> Option<TextRule> {
    let expression = slot.filled_text()?;
    slot.check(policy.given.semantics.filter_pattern(expression))?;
    Some(TextRule::Pattern { expression: expression.to_owned(), anchored: is_whole(expression) })
}

/// An identity whose expressions are both anchored, or both not, as a Guard states it.
pub(super) fn identity(
    policy: &Policy<'_>,
    slot: &Slot<'_>,
    issuer: TextRule,
    subject: TextRule,
) -> Identity {
    let loose = |rule: &TextRule| matches!(rule, TextRule::Pattern { anchored: false, .. });
    if !loose(&issuer) && !loose(&subject) {
        return Identity { issuer, subject };
    }
    policy.note(
        slot,
        "its expressions match any part of a text, which `insecureUnanchored` says: better write `^…$` around them",
    );
    let loosen = |rule| match rule {
        TextRule::Pattern { expression, .. } => TextRule::Pattern { expression, anchored: false },
        exact @ TextRule::Exact(_) => exact,
    };
    Identity { issuer: loosen(issuer), subject: loosen(subject) }
}

/// Whether an expression can only match a whole text. In doubt it is not.
fn is_whole(expression: &str) -> bool {
    let inner = expression.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
    inner.is_some_and(|inner| !inner.ends_with('\\') && !inner.contains('|') && !inner.contains("(?"))
}

/// Whether a service is the public one, which is all that the built-in trust root knows.
pub(super) fn is_public(policy: &Policy<'_>, fields: &Fields<'_>, name: &str, public: &str) -> Option<()> {
    let Some(slot) = fields.slot(name) else { return Some(()) };
    let url = slot.text()?;
    if url.trim_end_matches('/') == public || url.is_empty() {
        return Some(());
    }
    policy.leave_out(
        &slot,
        format_args!(
            "is not carried over: `{}` needs a `trusted_root.json` in a Secret, as `trustRoot` of the authority",
            shown(url)
        ),
    );
    None
}

/// That none of these fields is there; the first that is leaves out what it belongs to.
pub(super) fn without(policy: &Policy<'_>, fields: &Fields<'_>, refused: &[(&str, &str)]) -> Option<()> {
    for (name, why) in refused {
        if let Some(slot) = fields.slot(name) {
            policy.leave_out(&slot, format_args!("is not carried over: {why}"));
            return None;
        }
    }
    Some(())
}

/// Only SHA-256 is verified.
pub(super) fn is_sha256(policy: &Policy<'_>, fields: &Fields<'_>, name: &str) -> Option<()> {
    let Some(slot) = fields.slot(name) else { return Some(()) };
    if slot.text()?.eq_ignore_ascii_case("sha256") {
        return Some(());
    }
    policy.leave_out(&slot, "is not carried over: only sha256 is");
    None
}

/// A pattern's images. One that cannot be carried over refuses the document: the policy covers its images too.
pub(super) fn add_globs(
    policy: &Policy<'_>,
    slot: &Slot<'_>,
    dialect: Dialect,
    all: &mut Vec<ImageGlob>,
) -> Option<()> {
    match globs(slot.filled_text()?, dialect) {
        Ok(found) => {
            for glob in found {
                if !all.contains(&glob) {
                    all.push(glob);
                }
            }
        }
        Err(why) => policy.refuse(slot, why),
    }
    Some(())
}

/// Another repository for signatures.
pub(super) fn repository(slot: &Slot<'_>) -> Option<ImageName> {
    slot.check(ImageName::parse(slot.filled_text()?))
}

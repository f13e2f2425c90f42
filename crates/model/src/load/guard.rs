//! Guards. Owns their fields; what is not readable becomes a Guard without rules, never no Guard.

use super::attestation::attestations;
use super::duration::Units;
use super::fields::{Fields, Sink, Slot, quoted, shown};
use super::nearest::nearest;
use super::node::{Node, Value};
use super::notation::notation;
use super::object::{MAX_LABEL, Object, check_name, meta_of_broken};
use super::trust_root::trust_root;
use crate::guard::{
    Authority, Denial, Denied, Formats, Guard, GuardRules, Identity, ImageGlob, Pin, Quorum, Scope, TextRule,
    Trust,
};
use crate::image::{Digest, ImageName, Tag};
use crate::name::{Kind, ObjectKey};
use crate::resource::Origin;

const SPEC: &[&str] = &["match", "authorities", "require", "deny", "pin"];
const MATCH: &[&str] = &["images", "namespaces"];
const AUTHORITY: &[&str] = &[
    "name",
    "key",
    "keyless",
    "notation",
    "source",
    "formats",
    "insecureIgnoreTlog",
    "insecureIgnoreSCT",
    "timestamps",
    "annotations",
    "trustRoot",
];
const IDENTITY: &[&str] = &["issuer", "issuerRegExp", "subject", "subjectRegExp", "insecureUnanchored"];
/// More entries of one list are a mistake.
pub(super) const MAX_ITEMS: usize = 1_000;
/// Authorities and identities are each tried on each signature.
const MAX_AUTHORITIES: usize = 64;
/// Longest key text: a Secret holds 1 MiB, one RSA-4096 key takes 800 bytes.
const MAX_PEM: usize = 64 * 1024;

/// What is left of a document that holds a Guard and cannot be loaded. It concerns what its `match` says, where that
/// is without fault itself, and everything otherwise.
pub(super) fn broken(root: &Node, origin: &Origin, why: &str) -> Guard {
    let sink = Sink::new(origin.file.clone(), None);
    let spec = root.get("spec");
    let scope = spec
        .and_then(|spec| spec.get("match"))
        .and_then(|node| scope(&Slot::new(node, String::new(), node.line, &sink)))
        .filter(|_| !sink.failed())
        .unwrap_or_default();
    Guard { meta: meta_of_broken(root, origin), scope, rules: Err(why.to_owned()) }
}

/// Whether a document that is not loaded for its `apiVersion` or `kind` seems to be meant as a Guard.
pub(super) fn is_meant(root: &Node) -> bool {
    let text = |key| root.get(key).and_then(Node::scalar).unwrap_or_default();
    let kind = text("kind");
    let ours = text("apiVersion").starts_with("windlass.dev/");
    kind == Kind::Guard.as_str() || ours && (kind.is_empty() || nearest(kind, &["Guard"]).is_some())
}

/// Whether a text that does not parse may hold a Guard.
pub(super) fn may_be_in(text: &str) -> bool {
    text.contains("windlass.dev") && text.contains(Kind::Guard.as_str())
}

pub(super) fn decode(object: &Object<'_>) -> Option<Guard> {
    let spec = object.spec(SPEC)?;
    let scope = spec.required("match").and_then(|slot| scope(&slot));
    let mut rules = GuardRules::default();
    for slot in spec.slot("authorities").and_then(|slot| slot.list(MAX_AUTHORITIES)).unwrap_or_default() {
        if let Some((name, authority)) = authority(object, &slot)
            && rules.authorities.insert(name.clone(), authority).is_some()
        {
            slot.error(format_args!("the name `{name}` is taken by another authority"));
        }
    }
    if let Some(require) = spec.fields("require", &["signatures", "attestations", "minAge", "platforms"]) {
        rules.signatures = require.slot("signatures").and_then(|slot| quorum(&slot, &rules));
        rules.attestations = attestations(object, &require, &rules);
        rules.min_age = require.duration("minAge", Units::WithHours);
        rules.platforms = platforms(&require);
    }
    rules.deny = spec
        .slot("deny")
        .and_then(|slot| slot.list(MAX_ITEMS))
        .unwrap_or_default()
        .iter()
        .filter_map(denial)
        .collect();
    if let Some(slot) = spec.slot("pin") {
        rules.pin = slot
            .choice(&[
                ("whereverPossible", Pin::WhereverPossible),
                ("required", Pin::Required),
                ("never", Pin::Never),
            ])
            .unwrap_or_default();
    }
    if !spec.has("require") && rules.deny.is_empty() {
        spec.error("asks for nothing: it needs `require`, or `deny`");
    }
    Some(Guard { meta: object.meta(), scope: scope?, rules: Ok(rules) })
}

fn scope(slot: &Slot<'_>) -> Option<Scope> {
    let fields = slot.fields(MATCH)?;
    let globs = fields.required("images")?;
    let items = globs.list(MAX_ITEMS)?;
    if items.is_empty() {
        globs.error("must not be empty: `**` is every image");
    }
    let parsed = |slot: &Slot<'_>| slot.check(slot.filled_text()?.parse::<ImageGlob>());
    let images: Option<Vec<_>> = items.iter().map(parsed).collect();
    let namespaces = match fields.slot("namespaces") {
        None => None,
        Some(slot) => {
            let items = slot.list(MAX_ITEMS)?;
            if items.is_empty() {
                slot.error("must not be empty: without this field it is every namespace");
            }
            let name = |slot: &Slot<'_>| {
                let text = slot.text()?;
                slot.check(check_name(text, MAX_LABEL, false)).map(|()| text.to_owned())
            };
            Some(items.iter().map(name).collect::<Option<Vec<_>>>()?)
        }
    };
    Some(Scope { images: Some(images?), namespaces })
}

fn authority(object: &Object<'_>, slot: &Slot<'_>) -> Option<(String, Authority)> {
    let fields = slot.fields(AUTHORITY)?;
    let name = fields.required("name").and_then(|slot| slot.filled_text().map(str::to_owned));
    let trust = trust(object, &fields);
    let source = match fields.slot("source") {
        Some(slot) => Some(source(&slot)?),
        None => None,
    };
    let tlog = !loosened(&fields, "insecureIgnoreTlog", "signatures need not be in the transparency log");
    let sct = !loosened(&fields, "insecureIgnoreSCT", "certificates need not be publicly logged");
    let timestamps = match fields.slot("timestamps") {
        Some(slot) => slot.choice(&[("optional", false), ("required", true)])?,
        None => false,
    };
    let trust_root = match fields.slot("trustRoot") {
        Some(slot) => Some(trust_root(&slot)?),
        None => None,
    };
    let authority = Authority {
        trust: trust?,
        source,
        formats: formats(&fields)?,
        tlog,
        sct,
        timestamps,
        annotations: fields.text_map("annotations"),
        trust_root,
    };
    Some((name?, authority))
}

/// A default that is loosened is told, whoever looks.
pub(super) fn loosened(fields: &Fields<'_>, name: &str, means: &str) -> bool {
    let Some(slot) = fields.slot(name) else { return false };
    let on = slot.flag().unwrap_or_default();
    if on {
        slot.warning(format_args!("loosens this Guard: {means}"));
    }
    on
}

fn trust(object: &Object<'_>, fields: &Fields<'_>) -> Option<Trust> {
    const CHOICES: [&str; 3] = ["key", "keyless", "notation"];
    match (fields.slot("key"), fields.slot("keyless"), fields.slot("notation")) {
        (Some(slot), None, None) => key(&slot),
        (None, Some(slot), None) => keyless(object, &slot),
        (None, None, Some(slot)) => notation(fields, &slot).map(Trust::Notation),
        _ => {
            fields.error(format_args!("needs exactly one of {}", quoted(CHOICES.into_iter())));
            None
        }
    }
}

fn key(slot: &Slot<'_>) -> Option<Trust> {
    let fields = slot.fields(&["pem", "secretRef"])?;
    match (fields.slot("pem"), fields.slot("secretRef")) {
        (Some(slot), None) => {
            let text = slot.filled_text()?;
            if text.len() > MAX_PEM || !text.contains("-----BEGIN PUBLIC KEY-----") {
                slot.error("must be a public key in PEM, which starts with `-----BEGIN PUBLIC KEY-----`");
                return None;
            }
            Some(Trust::Keys(text.to_owned()))
        }
        (None, Some(slot)) => secret_reference(&slot).map(Trust::KeySecret),
        _ => {
            fields.error("needs exactly one of `pem`, `secretRef`");
            None
        }
    }
}

fn keyless(object: &Object<'_>, slot: &Slot<'_>) -> Option<Trust> {
    let list = slot.fields(&["identities"])?.required("identities")?;
    let items = list.list(MAX_AUTHORITIES)?;
    if items.is_empty() {
        list.error("must not be empty: anybody can get a certificate for a name of their own");
        return None;
    }
    let identities: Vec<_> = items.iter().filter_map(|slot| identity(object, slot)).collect();
    (identities.len() == items.len()).then_some(Trust::Keyless(identities))
}

fn identity(object: &Object<'_>, slot: &Slot<'_>) -> Option<Identity> {
    let fields = slot.fields(IDENTITY)?;
    let unanchored =
        loosened(&fields, "insecureUnanchored", "its patterns match any part of an issuer or a subject");
    let issuer = text_rule(object, &fields, "issuer", "issuerRegExp", !unanchored);
    let subject = text_rule(object, &fields, "subject", "subjectRegExp", !unanchored);
    Some(Identity { issuer: issuer?, subject: subject? })
}

fn text_rule(
    object: &Object<'_>,
    fields: &Fields<'_>,
    exact: &str,
    pattern: &str,
    anchored: bool,
) -> Option<TextRule> {
    match (fields.slot(exact), fields.slot(pattern)) {
        (Some(slot), None) => Some(TextRule::Exact(slot.filled_text()?.to_owned())),
        (None, Some(slot)) => {
            let expression = slot.filled_text()?;
            slot.check(object.semantics.filter_pattern(expression))?;
            Some(TextRule::Pattern { expression: expression.to_owned(), anchored })
        }
        _ => {
            fields.error(format_args!("needs exactly one of `{exact}`, `{pattern}`"));
            None
        }
    }
}

fn source(slot: &Slot<'_>) -> Option<ImageName> {
    let slot = slot.fields(&["repository"])?.required("repository")?;
    slot.check(ImageName::parse(slot.filled_text()?))
}

fn formats(fields: &Fields<'_>) -> Option<Formats> {
    let Some(slot) = fields.slot("formats") else { return Some(Formats::default()) };
    let mut formats = Formats { legacy: false, bundle: false };
    for item in slot.list(MAX_ITEMS)? {
        let found = item.choice(&[
            ("legacy", Formats { legacy: true, bundle: false }),
            ("bundle", Formats { legacy: false, bundle: true }),
        ])?;
        formats.legacy |= found.legacy;
        formats.bundle |= found.bundle;
    }
    if formats == (Formats { legacy: false, bundle: false }) {
        slot.error("must not be empty: without this field both are looked for");
        return None;
    }
    Some(formats)
}

/// A Guard has no namespace that a reference could default to.
pub(super) fn secret_reference(slot: &Slot<'_>) -> Option<ObjectKey> {
    let fields = slot.fields(&["name", "namespace"])?;
    let (name, namespace) = (fields.required("name"), fields.required("namespace"));
    Some(ObjectKey::new(namespace?.filled_text()?, name?.filled_text()?))
}

/// Names of authorities that exist.
pub(super) fn named(slot: &Slot<'_>, rules: &GuardRules) -> Option<Vec<String>> {
    let items = slot.list(MAX_AUTHORITIES)?;
    if items.is_empty() {
        slot.error("must not be empty");
        return None;
    }
    let known: Vec<&str> = rules.authorities.keys().map(String::as_str).collect();
    let mut names = Vec::new();
    for item in &items {
        let name = item.filled_text()?;
        if !known.contains(&name) {
            let hint =
                nearest(name, &known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            item.error(format_args!("`{}` is not the name of an authority here{hint}", shown(name)));
        } else if names.iter().any(|taken| taken == name) {
            item.error(format_args!("`{name}` is named twice"));
        }
        names.push(name.to_owned());
    }
    Some(names)
}

fn quorum(slot: &Slot<'_>, rules: &GuardRules) -> Option<Quorum> {
    let fields = slot.fields(&["anyOf", "allOf", "minimum"])?;
    let minimum = match fields.slot("minimum") {
        Some(slot) => Some((number(&slot)?, slot)),
        None => None,
    };
    match (fields.slot("anyOf"), fields.slot("allOf"), minimum) {
        (Some(slot), None, minimum) => {
            let minimum = minimum.map_or(1, |(number, _)| number);
            Some(Quorum::AnyOf { authorities: named(&slot, rules)?, minimum })
        }
        (None, Some(slot), None) => named(&slot, rules).map(Quorum::AllOf),
        (None, Some(_), Some((_, slot))) => {
            slot.error("belongs to `anyOf`: `allOf` asks for each authority");
            None
        }
        _ => {
            fields.error("needs exactly one of `anyOf`, `allOf`");
            None
        }
    }
}

/// A number of signers.
fn number(slot: &Slot<'_>) -> Option<usize> {
    let number = match &slot.node.value {
        Value::Scalar { text, plain: true } => text.parse().ok(),
        _ => None,
    };
    let number = number.filter(|number| (1..=MAX_AUTHORITIES).contains(number));
    if number.is_none() {
        slot.error(format_args!("must be a whole number from 1 to {MAX_AUTHORITIES}"));
    }
    number
}

fn platforms(require: &Fields<'_>) -> Vec<String> {
    let items = require.slot("platforms").and_then(|slot| slot.list(MAX_ITEMS)).unwrap_or_default();
    let platform = |slot: &Slot<'_>| {
        let text = slot.filled_text()?;
        let parts = text.split('/').count();
        if !(2..=3).contains(&parts) || text.split('/').any(str::is_empty) {
            slot.error(format_args!(
                "`{}` is not a platform: write `linux/amd64` or `linux/arm/v7`",
                shown(text)
            ));
            return None;
        }
        Some(text.to_owned())
    };
    items.iter().filter_map(platform).collect()
}

fn denial(slot: &Slot<'_>) -> Option<Denial> {
    let fields = slot.fields(&["tag", "digest", "reason"])?;
    let reason = fields.required("reason").and_then(|slot| slot.filled_text());
    let what = match (fields.slot("tag"), fields.slot("digest")) {
        (Some(slot), None) => {
            let text = slot.filled_text()?;
            slot.check(Tag::parse(text)).map(|_| Denied::Tag(text.to_owned()))
        }
        (None, Some(slot)) => slot.check(Digest::parse(slot.filled_text()?)).map(Denied::Digest),
        _ => {
            fields.error("needs exactly one of `tag`, `digest`");
            None
        }
    };
    Some(Denial { what: what?, reason: reason?.to_owned() })
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;

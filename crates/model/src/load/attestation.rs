//! The rules for attestations of a Guard. Owns their fields; conditions that do not fit the type that they are asked
//! of are errors here, and what only `windlass-verify` can judge is lent by [`super::Semantics`].

use super::duration::Units;
use super::fields::{Fields, Slot, quoted};
use super::guard::{MAX_ITEMS, named};
use super::object::Object;
use crate::guard::{
    AttestationRule, Condition, GuardRules, Severity, SlsaCondition, TextRule, VulnCondition, predicate_type,
};

const RULE: &[&str] = &["predicateType", "authorities", "slsa", "vuln", "sbom", "vex", "cel"];
const CONDITIONS: [&str; 5] = ["slsa", "vuln", "sbom", "vex", "cel"];
const SLSA: &[&str] =
    &["builder", "builderRegExp", "source", "sourceRegExp", "ref", "refRegExp", "buildType"];

/// `require.attestations`
pub(super) fn attestations(
    object: &Object<'_>,
    require: &Fields<'_>,
    rules: &GuardRules,
) -> Vec<AttestationRule> {
    let items = require.slot("attestations").and_then(|slot| slot.list(MAX_ITEMS)).unwrap_or_default();
    items.iter().filter_map(|slot| attestation(object, slot, rules)).collect()
}

fn attestation(object: &Object<'_>, slot: &Slot<'_>, rules: &GuardRules) -> Option<AttestationRule> {
    let fields = slot.fields(RULE)?;
    let predicate =
        fields.required("predicateType").and_then(|slot| slot.check(predicate_type(slot.filled_text()?)));
    let authorities = fields.required("authorities").and_then(|slot| named(&slot, rules));
    let given: Vec<Slot<'_>> = CONDITIONS.iter().filter_map(|name| fields.slot(name)).collect();
    let [condition_slot] = given.as_slice() else {
        if !given.is_empty() {
            fields.error(format_args!(
                "may have only one of {}: list another attestation for the other",
                quoted(CONDITIONS.into_iter())
            ));
            return None;
        }
        return Some(AttestationRule {
            predicate_type: predicate?,
            authorities: authorities?,
            condition: None,
        });
    };
    let condition = condition(object, &fields, condition_slot)?;
    let predicate_type = predicate?;
    if !condition.fits(&predicate_type) {
        let types = quoted(condition.for_types().iter().copied());
        condition_slot
            .error(format_args!("is not for attestations of type `{predicate_type}`: it is for {types}"));
        return None;
    }
    let rule = AttestationRule { predicate_type, authorities: authorities?, condition: Some(condition) };
    condition_slot.check(object.semantics.attestation(&rule))?;
    Some(rule)
}

fn condition(object: &Object<'_>, rule: &Fields<'_>, slot: &Slot<'_>) -> Option<Condition> {
    if rule.has("slsa") {
        slsa(object, slot).map(Condition::Slsa)
    } else if rule.has("vuln") {
        vuln(slot).map(Condition::Vuln)
    } else if rule.has("sbom") {
        slot.fields(&[]).map(|_| Condition::Sbom)
    } else if rule.has("vex") {
        let fields = slot.fields(&["maxAge"])?;
        Some(Condition::Vex { max_age: age(&fields)? })
    } else {
        slot.filled_text().map(|text| Condition::Cel(text.to_owned()))
    }
}

fn slsa(object: &Object<'_>, slot: &Slot<'_>) -> Option<SlsaCondition> {
    let fields = slot.fields(SLSA)?;
    let builder = text_rule(object, &fields, "builder", "builderRegExp");
    let source = text_rule(object, &fields, "source", "sourceRegExp");
    let reference = text_rule(object, &fields, "ref", "refRegExp");
    let build_type = match fields.slot("buildType") {
        Some(slot) => Some(slot.filled_text()?.to_owned()),
        None => None,
    };
    let condition = SlsaCondition { builder: builder?, source: source?, reference: reference?, build_type };
    if condition == SlsaCondition::default() {
        fields.error(format_args!("must not be empty: it needs one of {}", quoted(SLSA.iter().copied())));
        return None;
    }
    Some(condition)
}

/// A text or an expression for the whole text, or neither.
#[expect(clippy::option_option, reason = "the outer one is a field that cannot be read, which was reported")]
fn text_rule(
    object: &Object<'_>,
    fields: &Fields<'_>,
    exact: &str,
    pattern: &str,
) -> Option<Option<TextRule>> {
    match (fields.slot(exact), fields.slot(pattern)) {
        (None, None) => Some(None),
        (Some(slot), None) => Some(Some(TextRule::Exact(slot.filled_text()?.to_owned()))),
        (None, Some(slot)) => {
            let expression = slot.filled_text()?;
            slot.check(object.semantics.filter_pattern(expression))?;
            Some(Some(TextRule::Pattern { expression: expression.to_owned(), anchored: true }))
        }
        (Some(_), Some(_)) => {
            fields.error(format_args!("may have only one of `{exact}`, `{pattern}`"));
            None
        }
    }
}

fn vuln(slot: &Slot<'_>) -> Option<VulnCondition> {
    let fields = slot.fields(&["maxAge", "maxSeverity"])?;
    let max_age = age(&fields);
    let max_severity = match fields.slot("maxSeverity") {
        Some(slot) => Some(slot.choice(&Severity::WORDS)?),
        None => None,
    };
    let condition = VulnCondition { max_age: max_age?, max_severity };
    if condition == VulnCondition::default() {
        fields.error("must not be empty: it needs `maxAge`, or `maxSeverity`");
        return None;
    }
    Some(condition)
}

#[expect(clippy::option_option, reason = "the outer one is a field that cannot be read, which was reported")]
fn age(fields: &Fields<'_>) -> Option<Option<std::time::Duration>> {
    match fields.slot("maxAge") {
        Some(slot) => slot.duration(Units::WithHours).map(Some),
        None => Some(None),
    }
}

#[cfg(test)]
#[path = "attestation_tests.rs"]
mod tests;

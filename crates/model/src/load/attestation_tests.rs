use std::time::Duration;

use super::super::testing::{found, only, problems};
use super::*;

/// A Guard with these rules for attestations, each on a line of its own from line 9 on.
fn with(rules: &[&str]) -> String {
    let rules: Vec<String> =
        rules.iter().map(|rule| format!("    - {{authorities: [a], {rule}}}\n")).collect();
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: Guard\nmetadata: {{name: g}}\nspec:\n  match: {{images: ['**']}}\n  \
         authorities: [{{name: a, key: {{secretRef: {{namespace: s, name: k}}}}}}]\n  require:\n    attestations:\n{}",
        rules.concat()
    )
}

fn rules(text: &str) -> Vec<AttestationRule> {
    let spec = only(text);
    spec.guards.values().next().unwrap().rules.clone().unwrap().attestations
}

#[test]
fn every_condition_is_read_and_several_rules_may_have_one_type() {
    let exact = |text: &str| Some(TextRule::Exact(text.to_owned()));
    let rules = rules(&with(&[
        "predicateType: slsaprovenance1, slsa: {builderRegExp: 'https://b/.*', source: https://s, ref: refs/heads/main, \
         buildType: t}",
        "predicateType: slsaprovenance1, cel: 'predicate.a == 1'",
        "predicateType: vuln, vuln: {maxAge: 24h, maxSeverity: high}",
        "predicateType: 'https://spdx.dev/Document/v2.3', sbom: {}",
        "predicateType: openvex, vex: {}",
        "predicateType: 'https://example.com/review'",
    ]));
    let Some(Condition::Slsa(slsa)) = &rules[0].condition else { panic!("slsa") };
    assert_eq!((&slsa.source, &slsa.reference), (&exact("https://s"), &exact("refs/heads/main")));
    let pattern = TextRule::Pattern { expression: "https://b/.*".into(), anchored: true };
    assert_eq!((&slsa.builder, slsa.build_type.as_deref()), (&Some(pattern), Some("t")));
    assert_eq!(rules[0].predicate_type, "https://slsa.dev/provenance/v1");
    assert_eq!(rules[1].condition, Some(Condition::Cel("predicate.a == 1".into())));
    let vuln = VulnCondition { max_age: Some(Duration::from_hours(24)), max_severity: Some(Severity::High) };
    assert_eq!(rules[2].condition, Some(Condition::Vuln(vuln)));
    assert_eq!(rules[3].condition, Some(Condition::Sbom));
    assert_eq!(rules[4].condition, Some(Condition::Vex { max_age: None }));
    assert_eq!(rules[5].condition, None);
}

#[test]
fn every_wrong_field_is_named_with_its_line() {
    for (rule, field, message) in [
        ("predicateType: slsa", ".predicateType", "one of the short names `slsaprovenance`"),
        ("sbom: {}", ".predicateType", "is required"),
        ("predicateType: spdx, sbom: {}, cel: 'true'", "", "may have only one of `slsa`"),
        ("predicateType: spdx, slsa: {source: s}", ".slsa", "it is for `slsaprovenance`, `slsaprovenance1`"),
        ("predicateType: vuln, sbom: {}", ".sbom", "it is for `spdx`, `cyclonedx`"),
        ("predicateType: spdx, vuln: {maxAge: 1h}", ".vuln", "it is for `vuln`"),
        ("predicateType: vuln, vex: {}", ".vex", "it is for `openvex`"),
        ("predicateType: slsaprovenance, slsa: {}", ".slsa", "must not be empty"),
        ("predicateType: slsaprovenance, slsa: {sorce: s}", ".slsa.sorce", "did you mean `source`?"),
        ("predicateType: slsaprovenance, slsa: {source: ''}", ".slsa.source", "must not be empty"),
        ("predicateType: slsaprovenance, slsa: {ref: a, refRegExp: b}", ".slsa", "only one of `ref`"),
        ("predicateType: slsaprovenance, slsa: {refRegExp: '('}", ".slsa.refRegExp", ""),
        ("predicateType: vuln, vuln: {}", ".vuln", "must not be empty"),
        ("predicateType: vuln, vuln: {maxAge: 1d}", ".vuln.maxAge", ""),
        ("predicateType: vuln, vuln: {maxSeverity: HIGH}", ".vuln.maxSeverity", "is not one of `none`"),
        ("predicateType: spdx, sbom: {a: 1}", ".sbom.a", "is not a known field"),
        ("predicateType: openvex, vex: {maxAge: -1h}", ".vex.maxAge", ""),
        ("predicateType: custom, cel: ''", ".cel", "must not be empty"),
        ("predicateType: custom, cel: '%'", ".cel", "is not an expression"),
        ("predicateType: custom, cell: 'true'", ".cell", "did you mean `cel`?"),
    ] {
        let text = with(&["predicateType: 'https://example.com/review'", rule]);
        let field = format!("spec.require.attestations[1]{field}");
        assert!(found(&text, 10, &field, message), "{rule}\n{:#?}", problems(&text));
    }
}

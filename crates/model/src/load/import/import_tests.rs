use proptest::prelude::*;

use super::testing::{KEY, imported, quoted, told};
use super::*;

/// What a policy may say, right or wrong.
fn part() -> impl Strategy<Value = String> {
    let pem = quoted(KEY);
    prop::sample::select(vec![
        format!("{{key: {{data: {pem}}}}}"),
        format!("{{name: 'a: b', key: {{data: {pem}}}, ctlog: {{}}, signatureFormat: bundle}}"),
        "{name: '1', keyless: {insecureIgnoreSCT: true, identities: [{issuer: 'x\u{1}\"', subjectRegExp: '^é[\"]$'}]}}".to_owned(),
        "{keyless: {identities: [{issuerRegExp: a, subject: 'true'}, {issuer: '# x', subject: '- y'}]}}".to_owned(),
        format!("{{name: att, key: {{data: {pem}}}, source: [{{oci: nginx}}], attestations: [{{predicateType: vuln}}]}}"),
        "{key: {kms: x}}".to_owned(),
        "{static: {action: pass}}".to_owned(),
        "{static: {action: fail}}".to_owned(),
        "[]".to_owned(),
        "{keyless: 5}".to_owned(),
    ])
}

fn policies() -> impl Strategy<Value = String> {
    let glob = prop::sample::select(vec!["**", "ghcr.io/a*/**", "*", "nginx", "x?", ""]);
    (prop::collection::vec(part(), 0..4), glob, "[a-z]{1,3}").prop_map(|(parts, glob, name)| {
        format!(
            "apiVersion: policy.sigstore.dev/v1beta1\nkind: ClusterImagePolicy\nmetadata: {{name: {name}}}\nspec: {{images: [{{glob: \
             '{glob}'}}], authorities: [{}]}}\n",
            parts.join(", ")
        )
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same_guard(texts in prop::collection::vec(policies(), 1..4)) {
        let found = imported(&texts.join("---\n"));
        let printed: Vec<&str> = found.guards.iter().map(|guard| guard.yaml.as_str()).collect();
        let file = read("printed.yaml", &printed.join("---\n"), &super::super::testing::TestSemantics);
        prop_assert!(!file.broken, "{:#?}", file.problems);
        let spec = assemble([&file], &BTreeMap::new()).spec;
        prop_assert_eq!(spec.guards.len(), found.guards.len());
        for guard in &found.guards {
            let there = &spec.guards[&guard.guard.meta.key];
            prop_assert_eq!((&there.scope, &there.rules), (&guard.guard.scope, &guard.guard.rules));
        }
        let refused = found.remarks.iter().any(|remark| remark.weight == Weight::Refused);
        prop_assert_eq!(found.guards.len() < texts.len(), refused, "{:#?}", told(&found));
    }

    #[test]
    fn nothing_panics(
        kind in prop::sample::select(KINDS.to_vec()),
        body in "[a-z{}\\[\\],:'\\-* \n0-9]{0,80}",
        key in prop::sample::select(vec!["rules", "authorities", "verify", "validations", "images", "attestors"]),
    ) {
        let head = format!("apiVersion: {}/{}\nkind: {}\nmetadata: {{name: a}}\nspec:\n", kind.0, kind.1[0], kind.2);
        drop(imported(&format!("{head}  {key}: {body}\n")));
        drop(imported(&format!("{head}{body}")));
    }
}

#[test]
fn documents_in_a_list_are_policies_and_broken_text_is_told() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: policy.sigstore.dev/v1beta1\n  kind: ClusterImagePolicy\n  metadata: \
                {name: a}\n  spec: {images: [{glob: '**'}], authorities: [{keyless: {identities: [{issuer: i, subject: s}]}}]}\n---\na: [1\n";
    let found = imported(text);
    assert_eq!(found.guards[0].guard.meta.key.name, "a");
    assert!(
        told(&found)[0].contains("f.yaml:") && told(&found)[0].contains("is not valid YAML"),
        "{:?}",
        told(&found)
    );
    assert_eq!(found.remarks[0].weight, Weight::Refused);
}

#[test]
fn two_policies_of_one_name_are_two_guards() {
    let policy = "apiVersion: policy.sigstore.dev/v1alpha1\nkind: ClusterImagePolicy\nmetadata: {name: a}\nspec: {images: [{glob: '**'}], \
                  authorities: [{keyless: {identities: [{issuer: i, subject: s}]}}]}\n";
    let found = imported(&format!("{policy}---\n{policy}"));
    let names: Vec<_> = found.guards.iter().map(|guard| guard.guard.meta.key.name.as_str()).collect();
    assert_eq!(names, ["a", "a-2"]);
}

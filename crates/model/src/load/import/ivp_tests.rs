use super::super::testing::{KEY, quoted, rules, says};
use super::asked;
use crate::guard::{Quorum, Trust};

fn with(validations: &[&str]) -> String {
    let validations: Vec<_> = validations
        .iter()
        .map(|text| format!("  - expression: >-\n      {text}\n    message: no\n"))
        .collect();
    let validations = validations.concat();
    format!(
        "apiVersion: policies.kyverno.io/v1beta1\nkind: ImageValidatingPolicy\nmetadata: {{name: signed}}\nspec:\n  \
         validationActions: [Deny]\n  matchConstraints: {{}}\n  matchImageReferences: [{{glob: 'ghcr.io/acme/*'}}]\n  attestors:\n  - name: key\n    \
         cosign: {{key: {{data: {}}}, ctlog: {{insecureIgnoreTlog: true}}}}\n  - name: ci\n    cosign: {{keyless: {{identities: \
         [{{issuer: i, subject: s}}]}}}}\n  - {{name: notary, notary: {{}}}}\n  attestations: [{{name: sbom, intoto: {{type: cyclonedx}}}}, \
         {{name: raw, referrer: {{type: x}}}}]\n  validations:\n{validations}",
        quoted(KEY)
    )
}

#[test]
fn the_one_form_of_expression_is_understood() {
    let signed = "images.containers.map(image, verifyImageSignatures(image, [attestors.key, attestors.ci])).all(e, e > 0)";
    let attested = "images.containers.map(i, verifyAttestationSignatures(i, attestations.sbom, [attestors.ci])).all(n, n > 0)";
    let rules = rules(&with(&[signed, attested]));
    let names = vec!["ci".to_owned(), "key".to_owned()];
    assert_eq!(rules[0].signatures, Some(Quorum::AnyOf { authorities: names, minimum: 1 }));
    let key = &rules[0].authorities["key"];
    assert_eq!((&key.trust, key.tlog), (&Trust::Keys(KEY.into()), false));
    assert_eq!(rules[1].attestations[0].predicate_type, "https://cyclonedx.org/bom");
    assert_eq!(rules[1].attestations[0].authorities, ["ci"]);
}

#[test]
fn every_other_expression_is_refused() {
    for text in [
        "",
        "true",
        "images.c.map(i,verifyImageSignatures(j,[attestors.a])).all(e,e>0)",
        "images.c.map(i,verifyImageSignatures(i,[attestors.a])).all(e,f>0)",
        "images.c.map(i,verifyImageSignatures(i,[attestors.a])).all(e,e>=0)",
        "images.c.map(i,verifyImageSignatures(i,[attestors.a])).exists(e,e>0)",
        "images.c.map(i,verifyImageSignatures(i,[attestors.a])).all(e,e>0)||true",
        "images.c.map(i,verifyImageSignatures(i,[])).all(e,e>0)",
    ] {
        assert!(asked(text).is_none(), "{text}");
    }
    let one = "images.containers.map(i, verifyImageSignatures(i, [attestors.ci])).all(e, e > 0)";
    says(
        &with(&[one, "object.x == 1"]),
        0,
        "spec.validations[1].expression: this expression is not understood",
    );
    says(&with(&[&one.replace("ci", "notary")]), 0, "none of its attestors can be carried over");
    let raw = "images.containers.map(i, verifyAttestationSignatures(i, attestations.raw, [attestors.ci])).all(e, e > 0)";
    says(&with(&[raw]), 0, "the attestation `raw` cannot be carried over");
    says(&with(&[one]).replace("{glob: 'ghcr.io/acme/*'}", "{expression: 'true'}"), 0, "write a `glob`");
    says(&with(&[one]).replace("[Deny]", "[Audit]"), 1, "only reports");
}

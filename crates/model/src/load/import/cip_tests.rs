use super::super::testing::{KEY, imported, quoted, rules, says, secret, told};
use crate::guard::{Formats, Identity, Quorum, TextRule, Trust};

/// A policy with these authorities, each on a line from line 7 on.
fn with(rest: &str, authorities: &[&str]) -> String {
    let authorities: Vec<_> = authorities.iter().map(|authority| format!("  - {authority}\n")).collect();
    let authorities = authorities.concat();
    format!(
        "apiVersion: policy.sigstore.dev/v1beta1\nkind: ClusterImagePolicy\nmetadata: {{name: signed}}\nspec:\n  images: [{{glob: \
         'ghcr.io/acme/**'}}]\n  authorities:\n{authorities}{rest}"
    )
}

fn by_key(rest: &str) -> String {
    format!("{{key: {{data: {}}}{rest}}}", quoted(KEY))
}

const KEYLESS: &str = "{name: ci, keyless: {url: 'https://fulcio.sigstore.dev', identities: [{issuer: \
                       'https://token.actions.githubusercontent.com', subjectRegExp: '^https://github[.]com/acme/.*$'}]}, ctlog: \
                       {url: 'https://rekor.sigstore.dev'}}";

#[test]
fn keys_and_identities_are_carried_over() {
    let key = by_key("");
    let found = imported(&with("  mode: warn\n", &[KEYLESS, &key]));
    assert_eq!(
        told(&found),
        [
            "f.yaml:8: note: ClusterImagePolicy/signed: spec.authorities[1].key: has no `ctlog`, so signatures need not be in \
             the transparency log",
            "f.yaml:9: note: ClusterImagePolicy/signed: spec.mode: the Guard refuses what the policy only warns of",
        ]
    );
    let guard = &found.guards[0].guard;
    assert_eq!(guard.meta.key.name, "signed");
    assert_eq!(guard.scope.images.as_ref().unwrap()[0].to_string(), "ghcr.io/acme/**");
    let rules = guard.rules.clone().unwrap();
    let names = vec!["ci".to_owned(), "authority-1".to_owned()];
    assert_eq!(rules.signatures, Some(Quorum::AnyOf { authorities: names, minimum: 1 }));
    let ci = &rules.authorities["ci"];
    let identity = Identity {
        issuer: TextRule::Exact("https://token.actions.githubusercontent.com".into()),
        subject: TextRule::Pattern { expression: "^https://github[.]com/acme/.*$".into(), anchored: true },
    };
    assert_eq!((&ci.trust, ci.tlog, ci.sct), (&Trust::Keyless(vec![identity]), true, true));
    let key = &rules.authorities["authority-1"];
    assert_eq!((&key.trust, key.tlog), (&Trust::Keys(KEY.into()), false));
    assert_eq!(key.formats, Formats { legacy: true, bundle: false });
}

#[test]
fn expressions_that_match_any_part_stay_so_by_name() {
    for (expression, anchored) in [
        ("acme", false),
        ("^acme", false),
        ("^a|b$", false),
        ("^acme\\$", false),
        ("^(?m)a$", false),
        ("^a.*b$", true),
    ] {
        let authority =
            format!("{{keyless: {{identities: [{{issuer: i, subjectRegExp: {}}}]}}}}", quoted(expression));
        let rules = rules(&with("", &[&authority]));
        let Trust::Keyless(identities) = &rules[0].authorities["authority-0"].trust else {
            panic!("keyless")
        };
        let expected = TextRule::Pattern { expression: expression.into(), anchored };
        assert_eq!(identities[0].subject, expected, "{expression}");
    }
}

#[test]
fn a_secret_is_written_out_where_it_is_given() {
    let policy = with("", &["{key: {secretRef: {name: release}}, ctlog: {}, signatureFormat: bundle}"]);
    says(&policy, 0, "give the Secret cosign-system/release");
    let rules = rules(&format!("{policy}{}", secret("cosign-system", "release", "any.pub")));
    let authority = &rules[0].authorities["authority-0"];
    assert_eq!((&authority.trust, authority.tlog), (&Trust::Keys(KEY.into()), true));
    assert_eq!(authority.formats, Formats { legacy: false, bundle: true });
}

#[test]
fn attestations_are_carried_over_where_a_guard_can_say_the_same() {
    let both =
        by_key(", name: a, attestations: [{name: x, predicateType: vuln}, {name: y, predicateType: spdx}]");
    let rules = rules(&with("", &[&both]));
    let types: Vec<_> = rules[0].attestations.iter().map(|rule| rule.predicate_type.as_str()).collect();
    assert_eq!(types, ["https://cosign.sigstore.dev/attestation/vuln/v1", "https://spdx.dev/Document"]);
    assert_eq!(rules[0].signatures, None);
    let vuln =
        |name: &str| by_key(&format!(", name: {name}, attestations: [{{name: x, predicateType: vuln}}]"));
    let same = self::rules(&with("", &[&vuln("a"), &vuln("b")]));
    assert_eq!(same[0].attestations[0].authorities, ["a", "b"]);
    says(&with("", &[&both, &vuln("b")]), 0, "ask for different attestations");
    says(
        &with("", &[&vuln("b"), KEYLESS]),
        1,
        "the authority `b` is not carried over: it asks for attestations",
    );
}

#[test]
fn what_cannot_be_carried_over_is_named() {
    let cue = by_key(", attestations: [{name: x, predicateType: vuln, policy: {type: cue, data: 'x: 1'}}]");
    let two = by_key("")
        .replace("KEY-----\\n\"", &format!("KEY-----\\n\" {}", ""))
        .replace(&quoted(KEY), &quoted(&KEY.repeat(2)));
    for (authority, words) in [
        (
            "{key: {kms: 'gcpkms://x'}}",
            "spec.authorities[0].key.kms: is not carried over: keys are not fetched from a KMS",
        ),
        ("{key: {data: nothing}}", "it is not public keys in PEM"),
        (&two, "it has several keys"),
        (&cue, "CUE and Rego are not evaluated"),
        (&by_key(", rfc3161timestamp: {trustRootRef: x}"), "timestamp authorities are in a TrustRoot"),
        (
            &by_key(", ctlog: {url: 'https://rekor.example'}"),
            "`https://rekor.example` needs a `trusted_root.json`",
        ),
        (&by_key(", source: [{oci: ghcr.io/a/b, tagPrefix: x}]"), "cosign's own tags"),
        (
            "{keyless: {trustRootRef: x, identities: [{issuer: i, subject: s}]}}",
            "as `trustRoot` of the authority",
        ),
    ] {
        says(&with("", &[authority]), 0, words);
        says(&with("", &[authority]), 0, "no authority can be carried over");
        says(&with("", &[authority, KEYLESS]), 1, words);
    }
    for (rest, authority, words) in [
        (
            "  policy: {type: cue, data: x}\n",
            KEYLESS,
            "refused: ClusterImagePolicy/signed: spec.policy: CUE and Rego",
        ),
        ("", "{static: {action: pass}}", "lets every image through"),
        ("", "{keyless: {identities: []}}", "must not be empty"),
        ("", "{keyless: {identities: [{issuer: i}]}}", "needs exactly one of `subject`, `subjectRegExp`"),
        ("", "{keyles: {}}", "did you mean `keyless`?"),
        ("  moed: warn\n", KEYLESS, "did you mean `mode`?"),
    ] {
        says(&with(rest, &[authority]), 0, words);
    }
    says(&with("", &[KEYLESS]).replace("v1beta1", "v9"), 0, "is not a version that is imported");
    says(&with("", &[KEYLESS]).replace("/acme/**", "/a?me/*"), 0, "a pattern with `?`");
    says(&with("", &[KEYLESS]).replace("name: signed", "name: Bad_Name"), 0, "its Guard would not be loaded");
}

use super::super::testing::{KEY, imported, quoted, rules, says, secret, told};
use crate::guard::{Quorum, TextRule, Trust};

/// A policy whose only rule has these fields beside its images.
fn with(verify: &str) -> String {
    format!(
        "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {{name: signed}}\nspec:\n  validationFailureAction: Enforce\n  \
         background: false\n  rules:\n  - name: app\n    match: {{any: [{{resources: {{kinds: [Pod]}}}}]}}\n    verifyImages:\n    \
         - {{imageReferences: ['ghcr.io/acme/*'], {verify}}}\n"
    )
}

fn keys(rest: &str) -> String {
    format!("{{keys: {{publicKeys: {}{rest}}}}}", quoted(KEY))
}

const KEYLESS: &str =
    "{keyless: {issuer: 'https://token.example.org', subject: 'https://ci.example.org/acme/*'}}";

#[test]
fn every_attestor_set_is_a_guard_and_all_of_its_entries_sign() {
    let text = with(&format!(
        "attestors: [{{entries: [{}, {KEYLESS}]}}, {{count: 1, entries: [{KEYLESS}]}}]",
        keys("")
    ));
    let rules = rules(&text);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(rules[0].signatures, Some(Quorum::AllOf(names(&["attestor-0", "attestor-1"]))));
    assert_eq!(rules[1].signatures, Some(Quorum::AnyOf { authorities: names(&["attestor-0"]), minimum: 1 }));
    let key = &rules[0].authorities["attestor-0"];
    assert_eq!((&key.trust, key.tlog), (&Trust::Keys(KEY.into()), true));
    let Trust::Keyless(identities) = &rules[0].authorities["attestor-1"].trust else { panic!("keyless") };
    let subject =
        TextRule::Pattern { expression: r"https://ci\.example\.org/acme/.*".into(), anchored: true };
    assert_eq!(identities[0].subject, subject);
    let found = imported(&text);
    let guards: Vec<_> = found.guards.iter().map(|guard| guard.guard.meta.key.name.as_str()).collect();
    assert_eq!(guards, ["signed-app", "signed-app-2"]);
    assert_eq!(found.guards[0].guard.scope.images.as_ref().unwrap()[0].to_string(), "ghcr.io/acme/**");
    assert!(told(&found).iter().all(|remark| remark.contains(" note: ")), "{:#?}", told(&found));
}

#[test]
fn several_keys_in_one_text_are_several_entries() {
    let entry = |count: &str| {
        with(&format!(
            "attestors: [{{{count}entries: [{{keys: {{publicKeys: {}}}}}]}}]",
            quoted(&KEY.repeat(2))
        ))
    };
    let names = vec!["attestor-0-0".to_owned(), "attestor-0-1".to_owned()];
    assert_eq!(rules(&entry(""))[0].signatures, Some(Quorum::AllOf(names.clone())));
    let one = Some(Quorum::AnyOf { authorities: names, minimum: 1 });
    assert_eq!(rules(&entry("count: 1, "))[0].signatures, one);
}

#[test]
fn an_entry_that_is_missing_refuses_where_it_is_needed() {
    let kms = "{keys: {kms: 'awskms://x'}}";
    says(
        &with(&format!("attestors: [{{entries: [{kms}, {KEYLESS}]}}]")),
        0,
        "without them the Guard would be weaker",
    );
    says(
        &with(&format!("attestors: [{{count: 1, entries: [{kms}, {KEYLESS}]}}]")),
        1,
        "not fetched from a KMS",
    );
    says(
        &with(&format!("attestors: [{{count: 2, entries: [{kms}, {KEYLESS}]}}]")),
        0,
        "too few of its entries",
    );
}

#[test]
fn logs_annotations_and_secrets_are_carried_over() {
    let entry = "{keys: {secret: {namespace: security, name: key}, rekor: {ignoreTlog: true}}, annotations: {env: prod}, \
                 repository: ghcr.io/acme/signatures}";
    let text = with(&format!("annotations: {{team: a}}, attestors: [{{entries: [{entry}]}}]"));
    says(&text, 0, "give the Secret security/key");
    let rules = rules(&(text + &secret("security", "key", "cosign.pub")));
    let found = &rules[0].authorities["attestor-0"];
    assert_eq!((&found.trust, found.tlog), (&Trust::Keys(KEY.into()), false));
    assert_eq!(found.annotations.len(), 2);
    assert_eq!(found.source.as_ref().unwrap().to_string(), "ghcr.io/acme/signatures");
}

#[test]
fn attestations_are_rules_of_their_own() {
    let attested = |set: &str| {
        with(&format!(
            "attestations: [{{type: 'https://slsa.dev/provenance/v1', attestors: [{{{set}entries: [{KEYLESS}, {}]}}]}}]",
            keys("")
        ))
    };
    assert_eq!(rules(&attested("count: 1, "))[0].attestations[0].authorities.len(), 2);
    let each = rules(&attested(""));
    assert_eq!(each[0].attestations.len(), 2);
    assert_eq!(each[0].signatures, None);
    says(
        &attested("").replace("type: 'h", "conditions: [{all: []}], type: 'h"),
        0,
        "conditions are not evaluated",
    );
}

#[test]
fn what_cannot_be_carried_over_is_named() {
    let attestors = format!("attestors: [{{entries: [{KEYLESS}]}}]");
    for (verify, guards, words) in [
        ("type: Notary", 0, "as `notation`"),
        ("key: x", 0, "is the old form"),
        (
            "validate: {deny: {}}",
            0,
            "spec.rules[0].verifyImages[0].validate.deny: conditions are not evaluated",
        ),
        ("skipImageReferences: ['ghcr.io/acme/dev*']", 1, "a Guard has no exceptions"),
        ("required: false", 1, "all the same"),
        ("failureAction: Audit", 1, "only reports"),
        ("cosignOCI11: true", 1, "Kyverno's referrers are not read"),
        ("unknown: 1", 0, "is not a known field"),
    ] {
        says(&with(&format!("{verify}, {attestors}")), guards, words);
    }
    for (entry, words) in [
        ("{certificates: {cert: x}}", "trust root"),
        ("{attestor: {}}", "no place in a Guard"),
        ("{keyless: {subject: s}}", "it has no `issuer`, so anybody is meant"),
        ("{keyless: {issuer: i, subject: s, additionalExtensions: {a: b}}}", "issuer and subject alone"),
        ("{keyless: {issuer: i, subject: s, rekor: {pubkey: x}}}", "trusted_root.json"),
        ("{keys: {publicKeys: 'awskms:///x'}}", "it is not public keys in PEM"),
        ("{keys: {publicKeys: '{{ keys }}'}}", "it is not public keys in PEM"),
    ] {
        says(&with(&format!("attestors: [{{entries: [{entry}]}}]")), 0, words);
    }
    says(&with("required: true"), 0, "asks for nothing");
    let other = "apiVersion: kyverno.io/v1\nkind: Policy\nmetadata: {name: a}\nspec: {rules: [{name: x, validate: {}}]}\n";
    let found = imported(other);
    assert!((found.policies, found.remarks.len()) == (0, 0), "{:#?}", told(&found));
}

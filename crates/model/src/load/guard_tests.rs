use std::collections::BTreeMap;
use std::time::Duration;

use super::super::testing::{found, only, problems, read_text};
use super::super::{assemble, cross_check, readiness};
use super::*;
use crate::resource::Spec;

const PEM: &str = "-----BEGIN PUBLIC KEY-----\\nAA==\\n-----END PUBLIC KEY-----";

fn with(spec: &str) -> String {
    format!("apiVersion: windlass.dev/v1alpha1\nkind: Guard\nmetadata: {{name: signed}}\nspec:\n{spec}")
}

fn guard(spec: &str) -> Guard {
    only(&with(spec)).guards.values().next().unwrap().as_ref().clone()
}

fn spec_of(text: &str) -> Spec {
    assemble([&read_text("f.yaml", text)], &BTreeMap::new()).spec
}

const POLICY: &str = "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\nmetadata: {name: app}\nspec: \
                      {image: ghcr.io/acme/app, interval: 5m}\n---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: \
                      ImagePolicy\nmetadata: {name: app}\nspec: {imageRepositoryRef: {name: app}, policy: {semver: \
                      {range: '>=1'}}}\n";

/// Whether no Guard of this text concerns the policy for `ghcr.io/acme/app`.
fn is_unguarded(text: &str) -> bool {
    let spec = spec_of(&format!("{text}{POLICY}"));
    assert_eq!(spec.image_policies.len(), 1, "{text}");
    let image = &spec.image_repositories.values().next().unwrap().image;
    spec.guards_of(image, "default").next().is_none()
}

#[test]
fn every_field_is_read_and_defaults_are_the_strict_ones() {
    let plain = format!(
        "  match: {{images: ['**']}}\n  authorities:\n  - {{name: a, key: {{pem: \"{PEM}\"}}}}\n  require: \
         {{signatures: {{anyOf: [a]}}}}\n"
    );
    let plain = guard(&plain);
    assert_eq!(plain.meta.key, ObjectKey::new("signed", "signed"));
    let rules = plain.rules.unwrap();
    let authority = &rules.authorities["a"];
    assert!(authority.tlog && authority.sct && !authority.timestamps);
    assert_eq!(authority.formats, Formats { legacy: true, bundle: true });
    assert_eq!(rules.signatures, Some(Quorum::AnyOf { authorities: vec!["a".into()], minimum: 1 }));
    assert_eq!((rules.pin, rules.min_age), (Pin::WhereverPossible, None));

    let full = guard(
        "  match: {images: ['ghcr.io/acme/**'], namespaces: [prod]}\n  authorities:\n  - name: ci\n    keyless:\n      \
         identities:\n      - {issuer: https://i, subjectRegExp: 'https://github\\.com/acme/.*'}\n      - {issuerRegExp: \
         a, subject: b, insecureUnanchored: true}\n    source: {repository: ghcr.io/acme/signatures}\n    formats: \
         [bundle]\n    insecureIgnoreSCT: true\n    timestamps: required\n    annotations: {env: prod}\n    trustRoot: \
         {secretRef: {namespace: security, name: root}}\n  - name: k\n    key: {secretRef: {namespace: security, name: \
         keys}}\n    insecureIgnoreTlog: true\n  require:\n    signatures: {allOf: [ci, k]}\n    attestations: \
         [{predicateType: https://slsa.dev/provenance/v1, authorities: [ci]}]\n    minAge: 2h\n    platforms: \
         [linux/amd64, linux/arm/v7]\n  deny:\n  - {tag: '1.2.3', reason: recalled}\n  pin: required\n",
    );
    assert_eq!(full.scope.namespaces, Some(vec!["prod".into()]));
    let rules = full.rules.unwrap();
    let Trust::Keyless(identities) = &rules.authorities["ci"].trust else { panic!("keyless") };
    let anchored = |at: usize| match (&identities[at].issuer, &identities[at].subject) {
        (_, TextRule::Pattern { anchored, .. }) | (TextRule::Pattern { anchored, .. }, _) => *anchored,
        _ => panic!("a pattern"),
    };
    assert!(anchored(0) && !anchored(1));
    assert!(!rules.authorities["ci"].sct && rules.authorities["ci"].timestamps);
    assert!(!rules.authorities["k"].tlog);
    assert_eq!(rules.signatures, Some(Quorum::AllOf(vec!["ci".into(), "k".into()])));
    assert_eq!(rules.min_age, Some(Duration::from_hours(2)));
    assert_eq!(rules.deny[0], Denial { what: Denied::Tag("1.2.3".into()), reason: "recalled".into() });
    assert_eq!(rules.pin, Pin::Required);
}

#[test]
fn loosened_defaults_are_warnings() {
    let text = with(&format!(
        "  match: {{images: ['**']}}\n  authorities:\n  - name: a\n    key: {{pem: \"{PEM}\"}}\n    insecureIgnoreTlog: \
         true\n  require: {{signatures: {{anyOf: [a]}}}}\n"
    ));
    assert!(found(&text, 9, "spec.authorities[0].insecureIgnoreTlog", "loosens this Guard"));
    assert!(!read_text("f.yaml", &text).broken);
}

#[test]
fn every_wrong_field_is_named_with_its_line() {
    const HEAD: &str = "  match: {images: ['**']}\n";
    let authority = |rest: &str| format!("{HEAD}  authorities:\n  - name: a\n    {rest}\n  deny: []\n");
    for (spec, line, field, message) in [
        ("  require: {}\n".to_owned(), 4, "spec.match", "is required"),
        (HEAD.to_owned(), 4, "spec", "asks for nothing"),
        ("  match: {images: []}\n  require: {}\n".into(), 5, "spec.match.images", "must not be empty"),
        ("  match: {images: [nginx]}\n".into(), 5, "spec.match.images[0]", "must start with a registry"),
        ("  match: {image: ['**']}\n".into(), 5, "spec.match.image", "did you mean `images`?"),
        (authority("keyles: {}"), 8, "spec.authorities[0].keyles", "did you mean `keyless`?"),
        (
            authority("keyless: {identities: []}"),
            8,
            "spec.authorities[0].keyless.identities",
            "must not be empty",
        ),
        (
            authority("keyless: {identities: [{issuer: x}]}"),
            8,
            "spec.authorities[0].keyless.identities[0]",
            "exactly one of `subject`",
        ),
        (
            authority("keyless: {identities: [{issuer: x, subjectRegExp: '('}]}"),
            8,
            "spec.authorities[0].keyless.identities[0].subjectRegExp",
            "",
        ),
        (authority("notation: {}"), 8, "spec.authorities[0].notation.secretRef", "is required"),
        (
            authority("notation: {secretRef: {namespace: s, name: n}, trustStores: {}}"),
            8,
            "spec.authorities[0].notation.trustStores",
            "must not be empty",
        ),
        (
            authority("notation: {secretRef: {namespace: s, name: n}, trustStores: {'tsa:a': [a.crt]}}"),
            8,
            "spec.authorities[0].notation.trustStores.tsa:a",
            "with one of `ca`, `signingAuthority`",
        ),
        (
            authority("notation: {secretRef: {namespace: s, name: n}, trustStores: {'ca:a': [a.pub]}}"),
            8,
            "spec.authorities[0].notation.trustStores.ca:a[0]",
            "ends in `.crt` or `.pem`",
        ),
        (
            authority("notation: {secretRef: {namespace: s, name: n}}\n    timestamps: required"),
            9,
            "spec.authorities[0].timestamps",
            "does not belong to `notation`",
        ),
        (authority("key: {pem: x}"), 8, "spec.authorities[0].key.pem", "must be a public key"),
        (
            authority("key: {secretRef: {name: x}}"),
            8,
            "spec.authorities[0].key.secretRef.namespace",
            "is required",
        ),
        (
            format!("{HEAD}  require: {{signatures: {{anyOf: [ci]}}}}\n"),
            6,
            "spec.require.signatures.anyOf[0]",
            "is not the name of an authority",
        ),
        (
            format!("{HEAD}  require: {{signatures: {{anyOf: [ci], minimum: 0}}}}\n"),
            6,
            "spec.require.signatures.minimum",
            "a whole number from 1",
        ),
        (format!("{HEAD}  deny: [{{tag: a}}]\n"), 6, "spec.deny[0].reason", "is required"),
        (format!("{HEAD}  deny: [{{digest: a, reason: b}}]\n"), 6, "spec.deny[0].digest", "digest"),
        (format!("{HEAD}  pin: always\n"), 6, "spec.pin", "is not one of `whereverPossible`"),
    ] {
        let text = with(&spec);
        assert!(found(&text, line, field, message), "{text}\n{:#?}", problems(&text));
    }
    let namespaced =
        with("  match: {images: ['**']}\n  deny: []\n").replace("{name: signed}", "{name: s, namespace: x}");
    assert!(found(&namespaced, 3, "metadata.namespace", "belongs to no namespace"));
}

#[test]
fn a_guard_that_cannot_be_loaded_still_concerns_what_its_match_says() {
    let broken = with("  match: {images: ['ghcr.io/acme/**']}\n  require: {signatures: {}}\n");
    assert!(!is_unguarded(&broken));
    assert!(is_unguarded(&broken.replace("acme/**", "other/**")));
    let unreadable = broken.replace("['ghcr.io/acme/**']", "ghcr.io/other/**");
    assert!(!is_unguarded(&unreadable), "a match that cannot be read concerns everything");
}

#[test]
fn documents_that_are_meant_as_guards_fail_closed_too() {
    const REST: &str = "metadata: {name: g}\nspec: {match: {images: ['ghcr.io/acme/**']}}\n";
    for head in [
        "apiVersion: windlass.dev/v1alpha1\nkind: Gaurd\n",
        "apiVersion: windlass.dev/v1\nkind: Guard\n",
        "kind: Guard\n",
        "apiVersion: windlass.dev/v1alpha1\n",
        "apiVersion: windlass.dev/v1alpha1\nkind: Guard\na: [b\n",
    ] {
        assert!(!is_unguarded(&format!("{head}{REST}")), "{head}");
    }
    assert!(!is_unguarded(&with("  match: {images: ['ghcr.io/x/y']}\n  deny: [}\n")));
}

#[test]
fn a_guard_that_breaks_replaces_its_good_version_and_the_rest_of_the_file_stays() {
    let good = with("  match: {images: ['ghcr.io/other/**']}\n  require: {minAge: 1h}\n");
    let before = read_text("f.yaml", &format!("{good}{POLICY}"));
    let after = read_text("f.yaml", &good.replace("minAge: 1h", "minAge: 1").replace("other", "acme"));
    assert!(after.broken);
    let spec = assemble([&after.keeping(&before)], &BTreeMap::new()).spec;
    let guard = spec.guards.values().next().unwrap();
    assert!(guard.rules.is_err() && spec.guards.len() == 1);
    assert!(guard.scope.images.is_some() && spec.image_policies.len() == 1);
}

#[test]
fn a_guard_that_is_defined_twice_concerns_everything() {
    let one = with("  match: {images: ['ghcr.io/other/**']}\n  require: {minAge: 1h}\n");
    assert!(is_unguarded(&one));
    assert!(!is_unguarded(&format!("{one}---\n{one}")));
}

#[test]
fn secrets_that_a_guard_needs_are_looked_for() {
    let text = with(
        "  match: {images: ['**']}\n  authorities:\n  - {name: a, key: {secretRef: {namespace: s, name: k}}, trustRoot: \
         {secretRef: {namespace: s, name: r}}}\n  require: {signatures: {anyOf: [a]}}\n",
    );
    let told = |text: &str| cross_check(&spec_of(text)).iter().map(|p| p.message.clone()).collect::<Vec<_>>();
    assert_eq!(told(&text), ["Secret/s/k does not exist", "Secret/s/r does not exist"]);
    let secret = |name: &str, key: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: s}}\nstringData: {{{key}: x}}\n"
        )
    };
    let wrong = format!("{text}{}{}", secret("k", "cosign.key"), secret("r", "root.json"));
    assert_eq!(
        told(&wrong),
        ["Secret/s/k has no key that ends in `.pub`", "Secret/s/r has no key `trusted_root.json`"]
    );
    let right = format!("{text}{}{}", secret("k", "cosign.pub"), secret("r", "trusted_root.json"));
    assert!(told(&right).is_empty());
}

#[test]
fn a_secret_for_notation_holds_a_policy_and_certificates() {
    let text = with(
        "  match: {images: ['**']}\n  authorities:\n  - name: a\n    notation: {secretRef: {namespace: s, name: n}, \
         trustStores: {'ca:acme': [acme.crt]}}\n  require: {signatures: {anyOf: [a]}}\n",
    );
    let Trust::Notation(notation) =
        &guard(&text[text.find("  match").unwrap()..]).rules.unwrap().authorities["a"].trust
    else {
        panic!("notation")
    };
    assert_eq!(notation.secret, ObjectKey::new("s", "n"));
    assert_eq!(notation.trust_stores["ca:acme"], ["acme.crt"]);
    let told = |values: &str| {
        let secret = format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: n, namespace: s}}\nstringData: {{{values}}}\n"
        );
        let spec = spec_of(&format!("{text}{secret}"));
        cross_check(&spec).iter().map(|problem| problem.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        told("a: b"),
        [
            "Secret/s/n has no key `trustpolicy.json`",
            "Secret/s/n has no key that ends in `.crt` or `.pem`",
            "Secret/s/n has no key `acme.crt`"
        ]
    );
    assert!(told("trustpolicy.json: '{}', acme.crt: x").is_empty());
}

#[test]
fn an_image_that_no_guard_concerns_is_shown_and_refused_where_one_is_required() {
    let guard = |image: &str| with(&format!("  match: {{images: ['{image}']}}\n  require: {{minAge: 1h}}\n"));
    for (image, unguarded) in [("ghcr.io/acme/**", 0), ("ghcr.io/other/**", 1)] {
        let mut spec = spec_of(&format!("{}{POLICY}", guard(image)));
        assert_eq!(spec.unguarded().count(), unguarded);
        assert!(readiness(&spec).is_empty(), "unguarded is no fault by itself");
        spec.require_guard = true;
        let refused: Vec<String> = readiness(&spec).into_values().collect();
        assert_eq!(refused.len(), unguarded, "{refused:?}");
        assert!(refused.iter().all(|why| why.contains("no Guard concerns ghcr.io/acme/app")));
    }
}

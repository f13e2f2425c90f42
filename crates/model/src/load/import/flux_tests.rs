use super::super::testing::{KEY, imported, rules, says, secret, told};
use crate::guard::{TextRule, Trust, TrustRootSource};

fn repository(verify: &str) -> String {
    format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\nmetadata: {{namespace: apps, name: podinfo}}\nspec:\n  url: \
         oci://ghcr.io/acme/podinfo\n  interval: 5m\n  verify: {{{verify}}}\n"
    )
}

const CHART: &str = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmChart\nmetadata: {namespace: apps, name: app}\nspec:\n  \
                     chart: app\n  sourceRef: {kind: HelmRepository, name: charts}\n  verify: {provider: cosign, \
                     matchOIDCIdentity: [{issuer: '^https://a$', subject: b}]}\n";

#[test]
fn keys_are_referred_to_or_written_out_and_the_log_is_ignored() {
    let text = repository("provider: cosign, secretRef: {name: keys}");
    let found = &rules(&text)[0].authorities["flux"];
    assert!(matches!(&found.trust, Trust::KeySecret(key) if key.namespace == "apps" && key.name == "keys"));
    assert!(!found.tlog);
    let with_secret = rules(&(text + &secret("apps", "keys", "cosign.pub")));
    assert_eq!(with_secret[0].authorities["flux"].trust, Trust::Keys(KEY.into()));
    let found = imported(&repository("provider: cosign, secretRef: {name: keys}"));
    assert_eq!(found.guards[0].guard.meta.key.name, "apps-podinfo");
    assert_eq!(found.guards[0].guard.scope.images.as_ref().unwrap()[0].to_string(), "ghcr.io/acme/podinfo");
}

#[test]
fn identities_are_expressions_for_any_part() {
    let text = repository(
        "provider: cosign, matchOIDCIdentity: [{issuer: '^https://a$', subject: b}], trustedRootSecretRef: {name: root}",
    );
    let found = &rules(&text)[0].authorities["flux"];
    let Trust::Keyless(identities) = &found.trust else { panic!("keyless") };
    assert_eq!(identities[0].subject, TextRule::Pattern { expression: "b".into(), anchored: false });
    assert!(
        found.tlog && matches!(&found.trust_root, Some(TrustRootSource::Secret(root)) if root.name == "root")
    );
}

#[test]
fn a_chart_needs_its_repository() {
    says(CHART, 0, "give the HelmRepository apps/charts");
    let repository = "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {namespace: apps, name: charts}\n\
                      spec: {type: oci, url: URL}\n";
    let found = imported(&format!("{CHART}{}", repository.replace("URL", "oci://ghcr.io/acme/charts/")));
    assert_eq!(
        found.guards[0].guard.scope.images.as_ref().unwrap()[0].to_string(),
        "ghcr.io/acme/charts/app",
        "{:#?}",
        told(&found)
    );
    says(&format!("{CHART}{}", repository.replace("URL", "https://acme.io")), 0, "must start with `oci://`");
}

#[test]
fn what_cannot_be_carried_over_is_named() {
    for (verify, guards, words) in [
        ("provider: cosign", 0, "takes a signature by anybody"),
        ("provider: cosign, matchOIDCIdentity: []", 0, "takes a signature by anybody"),
        ("provider: gpg", 0, "is not one of `cosign`, `notation`"),
        ("provider: notation", 0, "is required"),
        ("provider: notation, secretRef: {name: notation}", 1, "write `trustStores`"),
        ("provider: cosign, secretRef: {name: k}, matchOIDCIdentity: []", 0, "may have only one"),
    ] {
        says(&repository(verify), guards, words);
    }
    assert_eq!(imported(&repository("x: 1").replace("verify", "ignore")).policies, 0);
}

use super::super::testing::{found, only, problems};
use super::*;
use crate::name::ObjectKey;

/// A Guard with this trust root, on line 7.
fn with(trust_root: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: Guard\nmetadata: {{name: g}}\nspec:\n  match: {{images: ['**']}}\n  \
         authorities:\n  - {{name: a, key: {{secretRef: {{namespace: s, name: k}}}}, trustRoot: {trust_root}}}\n  \
         require: {{signatures: {{anyOf: [a]}}}}\n"
    )
}

fn read(trust_root: &str) -> TrustRootSource {
    let spec = only(&with(trust_root));
    let rules = spec.guards.values().next().unwrap().rules.clone().unwrap();
    rules.authorities["a"].trust_root.clone().unwrap()
}

#[test]
fn sigstores_own_mirror_needs_nothing_and_others_their_first_root() {
    let TrustRootSource::Tuf(plain) = read("{tuf: {}}") else { panic!("tuf") };
    let expected = TufRepository {
        mirror: "https://tuf-repo-cdn.sigstore.dev/".into(),
        anchor: TufAnchor::PublicGood,
        target: "trusted_root.json".into(),
        refresh_interval: Duration::from_hours(24),
        offline: false,
    };
    assert_eq!(plain, expected);
    for own in ["https://tuf-repo-cdn.sigstore.dev", "https://TUF-repo-cdn.sigstore.dev:443/"] {
        assert_eq!(read(&format!("{{tuf: {{mirror: '{own}'}}}}")), TrustRootSource::Tuf(expected.clone()));
    }
    let TrustRootSource::Tuf(full) = read(
        "{tuf: {mirror: 'http://tuf.internal:8080/sigstore', insecureHTTP: true, root: {secretRef: {namespace: s, name: \
         r}}, target: acme/root.json, refreshInterval: 1h30m, offline: true}}",
    ) else {
        panic!("tuf")
    };
    let expected = TufRepository {
        mirror: "http://tuf.internal:8080/sigstore/".into(),
        anchor: TufAnchor::Secret(ObjectKey::new("s", "r")),
        target: "acme/root.json".into(),
        refresh_interval: Duration::from_mins(90),
        offline: true,
    };
    assert_eq!(full, expected);
    let inline = read("{tuf: {mirror: 'https://t.example', root: {json: '{}'}}}");
    let TrustRootSource::Tuf(TufRepository { anchor, .. }) = &inline else { panic!("tuf") };
    assert_eq!((anchor, inline.secret()), (&TufAnchor::Inline("{}".into()), None));
}

#[test]
fn every_mistake_is_named_with_its_field_and_line() {
    let tuf = "spec.authorities[0].trustRoot.tuf";
    let root = "root: {json: x}";
    for (text, field, message) in [
        (
            "{}".to_owned(),
            "spec.authorities[0].trustRoot".to_owned(),
            "needs exactly one of `secretRef`, `tuf`",
        ),
        (
            "{tuf: {}, secretRef: {namespace: s, name: r}}".into(),
            "spec.authorities[0].trustRoot".into(),
            "exactly one",
        ),
        ("{tuf: {mirrors: x}}".into(), format!("{tuf}.mirrors"), "did you mean `mirror`?"),
        (
            format!("{{tuf: {{mirror: 'http://t.example', {root}}}}}"),
            format!("{tuf}.mirror"),
            "must be an https URL",
        ),
        (
            format!("{{tuf: {{mirror: 'ftp://t.example', {root}}}}}"),
            format!("{tuf}.mirror"),
            "must be an https URL",
        ),
        (format!("{{tuf: {{mirror: tuf.example, {root}}}}}"), format!("{tuf}.mirror"), "is not a URL"),
        (
            format!("{{tuf: {{mirror: 'https://u:p@t.example', {root}}}}}"),
            format!("{tuf}.mirror"),
            "credentials",
        ),
        (
            format!("{{tuf: {{mirror: 'https://t.example/?a=b', {root}}}}}"),
            format!("{tuf}.mirror"),
            "a query",
        ),
        ("{tuf: {mirror: 'https://t.example'}}".into(), tuf.into(), "needs `root`"),
        ("{tuf: {root: {}}}".into(), format!("{tuf}.root"), "exactly one of `json`, `secretRef`"),
        ("{tuf: {root: {json: ''}}}".into(), format!("{tuf}.root.json"), "must not be empty"),
        ("{tuf: {target: ../root.json}}".into(), format!("{tuf}.target"), "must be a target's name"),
        ("{tuf: {target: /root.json}}".into(), format!("{tuf}.target"), "must be a target's name"),
        ("{tuf: {target: 'a b'}}".into(), format!("{tuf}.target"), "must be a target's name"),
        ("{tuf: {refreshInterval: 10ms}}".into(), format!("{tuf}.refreshInterval"), "at least 1s"),
        ("{tuf: {refreshInterval: daily}}".into(), format!("{tuf}.refreshInterval"), ""),
        ("{tuf: {offline: 'yes'}}".into(), format!("{tuf}.offline"), "without quotes"),
        ("{tuf: {insecureHTTP: true}}".into(), format!("{tuf}.insecureHTTP"), "loosens this Guard"),
    ] {
        assert!(found(&with(&text), 7, &field, message), "{text}\n{:#?}", problems(&with(&text)));
    }
}

//! ImageRepository (image-reflector-controller 1.2, `api/v1/imagerepository_types.go`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::duration::Units;
use super::fields::{Fields, Slot};
use super::object::{Object, REGISTRY_AUTH_HOSTS, REGISTRY_HOSTS};
use crate::image::{ImageName, canonical_registry, valid_registry};
use crate::resource::ImageRepository;

/// Fields of `spec`.
const SPEC: &[&str] = &[
    "image",
    "interval",
    "timeout",
    "secretRef",
    "proxySecretRef",
    "serviceAccountName",
    "certSecretRef",
    "suspend",
    "accessFrom",
    "exclusionList",
    "provider",
    "insecure",
];
/// The CRD's default of `exclusionList`; an empty list means it again.
const DEFAULT_EXCLUSION: &str = "^.*\\.sig$";
/// The CRD's `maxItems` of `exclusionList`.
const MAX_EXCLUSIONS: usize = 25;
/// Flux's floor of the timeout.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// More selectors or host aliases than this are a mistake.
const MAX_ITEMS: usize = 1_000;

pub(super) fn decode(object: &Object<'_>) -> Option<ImageRepository> {
    let spec = object.spec(SPEC)?;
    let image = spec.required("image").and_then(|slot| {
        let text = slot.text()?;
        Some((slot.check(ImageName::parse(text))?, text.to_owned()))
    });
    let interval = spec.required("interval").and_then(|slot| slot.duration(Units::WithHours));
    let timeout = spec.duration("timeout", Units::UpToMinutes);
    let secret = spec.local_reference("secretRef");
    let proxy_secret = spec.local_reference("proxySecretRef");
    let cert_secret = spec.local_reference("certSecretRef");
    let suspend = spec.flag("suspend");
    let insecure = spec.flag("insecure");
    let access_from = spec.slot("accessFrom").map(|slot| access_from(&slot));
    let exclusion_list = exclusion_list(&spec, object);
    let hosts = |name| object.annotation(name).map(registry_hosts).unwrap_or_default();
    let (registry_hosts, auth_hosts) = (hosts(REGISTRY_HOSTS), hosts(REGISTRY_AUTH_HOSTS));
    cloud_identity(&spec);
    let (image, spec_image) = image?;
    let interval = interval?;
    Some(ImageRepository {
        meta: object.meta(),
        image,
        spec_image,
        interval,
        timeout: timeout.unwrap_or(interval).max(MIN_TIMEOUT),
        secret,
        proxy_secret,
        cert_secret,
        suspend,
        access_from,
        exclusion_list,
        insecure,
        registry_hosts,
        auth_hosts,
    })
}

/// `accessFrom.namespaceSelectors[].matchLabels`; a selector without labels matches every namespace.
fn access_from(slot: &Slot<'_>) -> Vec<BTreeMap<String, String>> {
    slot.fields(&["namespaceSelectors"])
        .and_then(|fields| fields.required("namespaceSelectors"))
        .and_then(|slot| slot.list(MAX_ITEMS))
        .unwrap_or_default()
        .iter()
        .filter_map(|selector| Some(selector.fields(&["matchLabels"])?.text_map("matchLabels")))
        .collect()
}

fn exclusion_list(spec: &Fields<'_>, object: &Object<'_>) -> Vec<String> {
    let slots = spec.slot("exclusionList").and_then(|slot| slot.list(MAX_EXCLUSIONS)).unwrap_or_default();
    if slots.is_empty() {
        return vec![DEFAULT_EXCLUSION.to_owned()];
    }
    let checked = |slot: &Slot<'_>| {
        let pattern = slot.text()?;
        slot.check(object.semantics.exclusion(pattern)).map(|()| pattern.to_owned())
    };
    slots.iter().filter_map(checked).collect()
}

fn registry_hosts(slot: &Slot<'_>) -> Vec<String> {
    let Some(text) = slot.text() else { return Vec::new() };
    let mut hosts = Vec::new();
    for host in text.split(',').map(str::trim) {
        let canonical = canonical_registry(host);
        if valid_registry(&canonical) {
            hosts.push(canonical);
        } else {
            slot.error(format_args!("`{host}` is not a registry's host: write host[:port], comma-separated"));
        }
    }
    hosts
}

/// Fields that need a cloud's or a cluster's identity.
fn cloud_identity(spec: &Fields<'_>) {
    if let Some(slot) = spec.slot("provider") {
        match slot.choice(&[("generic", true), ("aws", false), ("azure", false), ("gcp", false)]) {
            Some(true) | None => {}
            Some(false) => slot.unsupported(
                "cloud logins are not supported yet: use `generic` with a kubernetes.io/dockerconfigjson Secret in \
                 spec.secretRef",
            ),
        }
    }
    if let Some(slot) = spec.slot("serviceAccountName")
        && let Some(name) = slot.text()
        && !name.is_empty()
    {
        slot.unsupported(
            "a ServiceAccount's pull secrets are not supported yet: name a kubernetes.io/dockerconfigjson Secret in \
             spec.secretRef",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, only, problems};
    use super::*;

    fn with(spec: &str) -> String {
        let head = "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\nmetadata:\n  name: app\n";
        format!("{head}  namespace: apps\nspec:\n{spec}")
    }

    #[test]
    fn defaults_are_those_of_flux() {
        let spec = only(&with("  image: ghcr.io/org/app\n  interval: 5m\n"));
        let repository = spec.image_repositories.values().next().unwrap();
        assert_eq!(repository.image.to_string(), "ghcr.io/org/app");
        assert_eq!(repository.interval, Duration::from_mins(5));
        assert_eq!(repository.timeout, Duration::from_mins(5));
        assert_eq!(repository.exclusion_list, [DEFAULT_EXCLUSION]);
        assert_eq!(repository.access_from, None);
        assert!(!repository.suspend && !repository.insecure && repository.meta.unsupported.is_empty());
    }

    #[test]
    fn every_field_is_read() {
        let text = "  image: alpine\n  interval: 1h\n  timeout: 500ms\n  secretRef: {name: a}\n  \
                    proxySecretRef: {name: b}\n  certSecretRef: {name: c}\n  suspend: true\n  insecure: true\n  \
                    accessFrom:\n    namespaceSelectors:\n    - matchLabels: {team: x}\n    - {}\n  \
                    exclusionList: ['^dev', '-rc$']\n  provider: generic\n";
        let spec = only(&with(text).replace(
            "metadata:\n",
            "metadata:\n  annotations:\n    windlass.dev/registry-hosts: 'Harbor.Local:8443, docker.io'\n    \
             windlass.dev/registry-auth-hosts: login.local\n",
        ));
        let repository = spec.image_repositories.values().next().unwrap();
        assert_eq!(repository.spec_image, "alpine");
        assert_eq!(repository.image.to_string(), "index.docker.io/library/alpine");
        assert_eq!(repository.timeout, Duration::from_secs(1), "the floor");
        assert_eq!(repository.secret.as_deref(), Some("a"));
        assert_eq!(repository.proxy_secret.as_deref(), Some("b"));
        assert_eq!(repository.cert_secret.as_deref(), Some("c"));
        assert!(repository.suspend && repository.insecure);
        let selectors = repository.access_from.clone().unwrap();
        assert_eq!(selectors, [BTreeMap::from([("team".into(), "x".into())]), BTreeMap::new()]);
        assert_eq!(repository.exclusion_list, ["^dev", "-rc$"]);
        assert_eq!(repository.registry_hosts, ["harbor.local:8443", "index.docker.io"]);
        assert_eq!(repository.auth_hosts, ["login.local"]);
    }

    #[test]
    fn every_wrong_field_is_named_with_its_line() {
        for (spec, line, field, message) in [
            ("  interval: 5m\n", 6, "spec.image", "is required"),
            ("  image: a/b\n", 6, "spec.interval", "is required"),
            ("  image: https://a/b\n  interval: 5m\n", 7, "spec.image", "must not have a scheme"),
            ("  image: ghcr.io/a:1\n  interval: 5m\n", 7, "spec.image", "must not have a tag"),
            ("  image: 5\n  interval: 5m\n", 7, "spec.image", "must be a string"),
            ("  image: a\n  interval: 5\n", 8, "spec.interval", "must be a string and is a number"),
            ("  image: a\n  interval: 0s\n", 8, "spec.interval", "more than zero"),
            ("  image: a\n  interval: 5m\n  timeout: 1h\n", 9, "spec.timeout", "hours are not allowed"),
            ("  image: a\n  interval: 5m\n  timeot: 1m\n", 9, "spec.timeot", "did you mean `timeout`?"),
            ("  image: a\n  interval: 5m\n  secretRef: x\n", 9, "spec.secretRef", "must be a map"),
            ("  image: a\n  interval: 5m\n  secretRef: {}\n", 9, "spec.secretRef.name", "is required"),
            (
                "  image: a\n  interval: 5m\n  secretRef:\n    namespace: x\n    name: a\n",
                10,
                "spec.secretRef.namespace",
                "is not a known field",
            ),
            ("  image: a\n  interval: 5m\n  suspend: 'no'\n", 9, "spec.suspend", "without quotes"),
            ("  image: a\n  interval: 5m\n  insecure: yes\n", 9, "spec.insecure", "`true` or `false`"),
            ("  image: a\n  interval: 5m\n  provider: ibm\n", 9, "spec.provider", "is not one of"),
            (
                "  image: a\n  interval: 5m\n  exclusionList:\n  - ok\n  - '('\n",
                11,
                "spec.exclusionList[1]",
                "regex",
            ),
            (
                "  image: a\n  interval: 5m\n  accessFrom: {}\n",
                9,
                "spec.accessFrom.namespaceSelectors",
                "is required",
            ),
            (
                "  image: a\n  interval: 5m\n  accessFrom:\n    namespaceSelectors:\n    - labels: {}\n",
                11,
                "spec.accessFrom.namespaceSelectors[0].labels",
                "is not a known field",
            ),
        ] {
            let text = with(spec);
            assert!(found(&text, line, field, message), "{spec}\n{:#?}", problems(&text));
        }
    }

    #[test]
    fn more_exclusions_than_flux_allows_are_refused() {
        let list = "  - x\n".repeat(MAX_EXCLUSIONS + 1);
        let text = with(&format!("  image: a\n  interval: 5m\n  exclusionList:\n{list}"));
        assert!(found(&text, 9, "spec.exclusionList", "has 26 items; at most 25 are allowed"));
    }

    #[test]
    fn cloud_logins_and_service_accounts_are_not_supported_and_say_so() {
        let spec = only(&with("  image: a\n  interval: 5m\n  provider: aws\n  serviceAccountName: puller\n"));
        let repository = spec.image_repositories.values().next().unwrap();
        let fields: Vec<_> = repository.meta.unsupported.iter().map(|u| u.field.as_str()).collect();
        assert_eq!(fields, ["spec.provider", "spec.serviceAccountName"]);
    }

    #[test]
    fn annotations_of_ours_are_checked() {
        let annotated = |annotation: &str| {
            with("  image: a\n  interval: 5m\n")
                .replace("metadata:\n", &format!("metadata:\n  annotations:\n    {annotation}\n"))
        };
        for (annotation, message) in [
            ("windlass.dev/registry-host: a.b", "did you mean `windlass.dev/registry-hosts`?"),
            ("windlass.dev/from-env: a=B", "has no meaning on the kind ImageRepository"),
            ("windlass.dev/registry-hosts: 'a b'", "is not a registry's host"),
            ("windlass.dev/registry-hosts: ''", "is not a registry's host"),
        ] {
            let text = annotated(annotation);
            let field = format!("metadata.annotations.{}", annotation.split(':').next().unwrap());
            assert!(found(&text, 5, &field, message), "{:#?}", problems(&text));
        }
        assert!(problems(&annotated("reconcile.fluxcd.io/requestedAt: now")).is_empty());
    }
}

//! Receiver (notification-controller 1.9, `api/v1/receiver_types.go`), and Windlass' own type `distribution`.

use super::duration::Units;
use super::fields::{Fields, Slot};
use super::object::Object;
use crate::resource::{Receiver, ReceiverResource, ReceiverSelect, SenderType};

/// Fields of `spec`.
const SPEC: &[&str] =
    &["type", "interval", "events", "resources", "resourceFilter", "secretRef", "oidcProviders", "suspend"];
/// What Windlass makes of a `spec.type`.
#[derive(Clone, Copy)]
enum Sender {
    /// It serves it.
    Served(SenderType),
    /// It is a type of Flux's that is not served yet.
    NotServed,
}

/// The words of `spec.type`.
const TYPES: [(&str, Sender); 14] = [
    ("harbor", Sender::Served(SenderType::Harbor)),
    ("generic", Sender::Served(SenderType::Generic)),
    ("generic-hmac", Sender::Served(SenderType::GenericHmac)),
    ("distribution", Sender::Served(SenderType::Distribution)),
    ("generic-oidc", Sender::NotServed),
    ("github", Sender::NotServed),
    ("gitlab", Sender::NotServed),
    ("bitbucket", Sender::NotServed),
    ("dockerhub", Sender::NotServed),
    ("quay", Sender::NotServed),
    ("gcr", Sender::NotServed),
    ("nexus", Sender::NotServed),
    ("acr", Sender::NotServed),
    ("cdevents", Sender::NotServed),
];
/// The one type that has no Secret.
const OIDC: &str = "generic-oidc";
/// `spec.resources[].kind`: whether Windlass acts on it.
const KINDS: [(&str, bool); 12] = [
    ("ImageRepository", true),
    ("ImagePolicy", false),
    ("ImageUpdateAutomation", false),
    ("Bucket", false),
    ("GitRepository", false),
    ("Kustomization", false),
    ("HelmRelease", false),
    ("HelmChart", false),
    ("HelmRepository", false),
    ("OCIRepository", false),
    ("ArtifactGenerator", false),
    ("ExternalArtifact", false),
];
/// More entries than this are a mistake.
const MAX_ITEMS: usize = 1_000;

pub(super) fn decode(object: &Object<'_>) -> Option<Receiver> {
    let spec = object.spec(SPEC)?;
    let sender = sender(&spec);
    let oidc = spec.slot("type").and_then(|slot| slot.node.scalar()) == Some(OIDC);
    let secret = secret(&spec, oidc);
    let resources = spec.required("resources").and_then(|slot| resources(&slot, object));
    if let Some(slot) = spec.slot("interval") {
        slot.duration(Units::WithHours);
    }
    if let Some(slot) = spec.slot("events")
        && !slot.texts(MAX_ITEMS).is_empty()
        && matches!(sender, Some(Sender::Served(_)))
    {
        slot.warning(
            "has no effect: senders of this type are not filtered by event, neither by Flux nor here",
        );
    }
    if let Some(slot) = spec.slot("resourceFilter") {
        slot.text();
        slot.unsupported("CEL filters are not supported yet: remove it, and name the resources");
    }
    let suspend = spec.flag("suspend");
    // A sender that is not supported is carried as the one that accepts nothing unsigned; `meta.unsupported` keeps the
    // Receiver from being served at all.
    let sender = match sender? {
        Sender::Served(sender) => sender,
        Sender::NotServed => SenderType::GenericHmac,
    };
    Some(Receiver { meta: object.meta(), sender, secret: secret?, resources: resources?, suspend })
}

fn sender(spec: &Fields<'_>) -> Option<Sender> {
    let slot = spec.required("type")?;
    let sender = slot.choice(&TYPES)?;
    if matches!(sender, Sender::NotServed) {
        slot.unsupported(
            "this type is not supported yet: use `harbor`, `distribution`, `generic-hmac` or `generic`, or rely on \
             polling",
        );
    }
    Some(sender)
}

/// The Secret's name: required, except for the one type that must not have it.
fn secret(spec: &Fields<'_>, oidc: bool) -> Option<String> {
    if let Some(slot) = spec.slot("oidcProviders") {
        if oidc {
            slot.list(MAX_ITEMS);
        } else {
            slot.error("is only accepted for the type `generic-oidc`");
        }
    }
    if oidc {
        if let Some(slot) = spec.slot("secretRef") {
            slot.error("is not accepted for the type `generic-oidc`");
        }
        return Some(String::new());
    }
    spec.required("secretRef")?.local_reference()
}

fn resources(slot: &Slot<'_>, object: &Object<'_>) -> Option<Vec<ReceiverResource>> {
    let items = slot.list(MAX_ITEMS)?;
    if items.is_empty() {
        slot.error("needs at least one resource");
    }
    Some(items.iter().filter_map(|item| resource(item, object)).collect())
}

fn resource(slot: &Slot<'_>, object: &Object<'_>) -> Option<ReceiverResource> {
    let fields = slot.fields(&["apiVersion", "kind", "name", "namespace", "matchLabels", "filter"])?;
    slot.remember_place();
    fields.text("apiVersion");
    if let Some(filter) = fields.slot("filter") {
        filter.text();
        filter.unsupported("CEL filters are not supported yet: remove it");
    }
    let kind = fields.required("kind");
    let acted_on = kind.as_ref().and_then(|kind| kind.choice(&KINDS));
    if let (Some(kind), Some(false)) = (kind, acted_on) {
        kind.unsupported("only ImageRepository can be notified: give the other kinds a Receiver of Flux's");
    }
    let namespace = fields.text("namespace").filter(|namespace| !namespace.is_empty());
    let select = select(&fields);
    acted_on.filter(|acted_on| *acted_on)?;
    Some(ReceiverResource { namespace: namespace.unwrap_or(object.namespace()).to_owned(), select: select? })
}

/// A name, or `*` with labels, which Flux requires together.
fn select(fields: &Fields<'_>) -> Option<ReceiverSelect> {
    let name = fields.required("name")?;
    let text = name.filled_text()?;
    match (text, fields.slot("matchLabels")) {
        ("*", Some(labels)) => Some(ReceiverSelect::Labels(labels.text_map())),
        ("*", None) => {
            name.error("needs matchLabels beside it when it is `*`");
            None
        }
        (_, Some(labels)) => {
            labels.error("needs the name to be `*`");
            None
        }
        (text, None) => Some(ReceiverSelect::Name(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::testing::{found, only, problems};
    use super::*;

    fn with(spec: &str) -> String {
        format!(
            "apiVersion: notification.toolkit.fluxcd.io/v1\nkind: Receiver\nmetadata: {{name: hook, namespace: \
             apps}}\nspec:\n{spec}"
        )
    }

    fn receiver(spec: &str) -> Receiver {
        only(&with(spec)).receivers.values().next().unwrap().as_ref().clone()
    }

    const SECRET: &str = "  secretRef: {name: token}\n";
    const ONE: &str = "  resources:\n  - {kind: ImageRepository, name: app}\n";

    #[test]
    fn the_four_types_and_both_ways_to_select_are_read() {
        for (name, sender) in [
            ("harbor", SenderType::Harbor),
            ("generic", SenderType::Generic),
            ("generic-hmac", SenderType::GenericHmac),
            ("distribution", SenderType::Distribution),
        ] {
            let text = format!(
                "  type: {name}\n  interval: 10m\n{SECRET}  resources:\n  - {{apiVersion: \
                 image.toolkit.fluxcd.io/v1, kind: ImageRepository, name: app}}\n  - {{kind: ImageRepository, name: \
                 '*', namespace: other, matchLabels: {{a: b}}}}\n"
            );
            let receiver = receiver(&text);
            assert_eq!((receiver.sender, receiver.secret.as_str()), (sender, "token"));
            let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
            assert_eq!(
                receiver.resources,
                [
                    ReceiverResource { namespace: "apps".into(), select: ReceiverSelect::Name("app".into()) },
                    ReceiverResource { namespace: "other".into(), select: ReceiverSelect::Labels(labels) },
                ]
            );
            assert!(receiver.meta.unsupported.is_empty());
        }
    }

    #[test]
    fn valid_fields_that_are_not_acted_on_are_named() {
        for (spec, field) in [
            (format!("  type: github\n{SECRET}{ONE}"), "spec.type"),
            (
                format!("  type: generic-oidc\n  oidcProviders: [{{issuerURL: https://x}}]\n{ONE}"),
                "spec.type",
            ),
            (format!("  type: harbor\n  resourceFilter: 'true'\n{SECRET}{ONE}"), "spec.resourceFilter"),
            (
                format!("  type: harbor\n{SECRET}{ONE}  - {{kind: HelmRepository, name: x}}\n"),
                "spec.resources[1].kind",
            ),
            (
                format!(
                    "  type: harbor\n{SECRET}  resources:\n  - {{kind: ImageRepository, name: x, filter: a}}\n"
                ),
                "spec.resources[0].filter",
            ),
        ] {
            let receiver = receiver(&spec);
            let fields: Vec<_> = receiver.meta.unsupported.iter().map(|u| u.field.as_str()).collect();
            assert_eq!(fields, [field], "{spec}");
        }
        let github = receiver(&format!("  type: github\n{SECRET}{ONE}"));
        assert_eq!(github.sender, SenderType::GenericHmac, "never one that accepts unsigned bodies");
    }

    #[test]
    fn events_are_accepted_with_a_warning() {
        let text = with(&format!("  type: harbor\n  events: [PUSH_ARTIFACT]\n{SECRET}{ONE}"));
        assert!(found(&text, 6, "spec.events", "has no effect"));
        assert_eq!(only(&text).receivers.len(), 1);
    }

    #[test]
    fn every_wrong_field_is_named_with_its_line() {
        let harbor = |rest: &str| format!("  type: harbor\n{SECRET}  resources:\n{rest}");
        for (spec, line, field, message) in [
            (format!("{SECRET}{ONE}"), 4, "spec.type", "is required"),
            (format!("  type: svn\n{SECRET}{ONE}"), 5, "spec.type", "is not one of"),
            (format!("  type: harbor\n{ONE}"), 4, "spec.secretRef", "is required"),
            (format!("  type: harbor\n{SECRET}"), 4, "spec.resources", "is required"),
            (format!("  type: harbor\n{SECRET}  resources: []\n"), 7, "spec.resources", "at least one"),
            (
                format!("  type: harbor\n{SECRET}{ONE}  interval: 1d\n"),
                9,
                "spec.interval",
                "is not a duration",
            ),
            (format!("  type: generic-oidc\n{SECRET}{ONE}"), 6, "spec.secretRef", "is not accepted"),
            (
                format!("  type: harbor\n{SECRET}{ONE}  oidcProviders: []\n"),
                9,
                "spec.oidcProviders",
                "only accepted",
            ),
            (harbor("  - {name: a}\n"), 8, "spec.resources[0].kind", "is required"),
            (harbor("  - {kind: Pod, name: a}\n"), 8, "spec.resources[0].kind", "is not one of"),
            (harbor("  - {kind: ImageRepository}\n"), 8, "spec.resources[0].name", "is required"),
            (
                harbor("  - {kind: ImageRepository, name: '*'}\n"),
                8,
                "spec.resources[0].name",
                "needs matchLabels",
            ),
            (
                harbor("  - {kind: ImageRepository, name: a, matchLabels: {x: y}}\n"),
                8,
                "spec.resources[0].matchLabels",
                "needs the name to be `*`",
            ),
        ] {
            let text = with(&spec);
            assert!(found(&text, line, field, message), "{text}\n{:#?}", problems(&text));
        }
    }
}

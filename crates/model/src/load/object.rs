//! What all kinds have in common: `metadata`, annotations, and the way to `spec`. Owns names and namespaces; it never
//! reads a field of a spec.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Semantics;
use super::fields::{Fields, Sink, Slot, shown};
use super::nearest::nearest;
use super::node::Node;
use crate::name::{Kind, ObjectKey, ObjectRef};
use crate::resource::{Meta, Origin};

/// The namespace of a manifest that states none.
pub(super) const DEFAULT_NAMESPACE: &str = "default";
/// What Windlass' own annotations start with.
const OUR_ANNOTATIONS: &str = "windlass.dev/";
/// Other hosts under which senders name an ImageRepository's registry.
pub(super) const REGISTRY_HOSTS: &str = "windlass.dev/registry-hosts";
/// Token servers that may see an ImageRepository's credentials.
pub(super) const REGISTRY_AUTH_HOSTS: &str = "windlass.dev/registry-auth-hosts";
/// An order that an ImagePolicy's tags are compared by before `spec.policy`.
pub(super) const ORDER: &str = "windlass.dev/order";
/// Whether an ImagePolicy's places keep the variant that they have.
pub(super) const VARIANT_LOCK: &str = "windlass.dev/variant-lock";
/// Places without a marker that an ImageUpdateAutomation writes to.
pub(super) const EDITS: &str = "windlass.dev/edits";
/// Files that an ImageUpdateAutomation reads as Helm templates.
pub(super) const TEMPLATES: &str = "windlass.dev/templates";
/// Other namespaces whose automations may write to a GitRepository.
pub(super) const ACCESS_FROM: &str = "windlass.dev/access-from";
/// What speaks with a GitRepository's server.
pub(super) const GIT_IMPLEMENTATION: &str = "windlass.dev/git-implementation";
/// A Secret's keys that come from environment variables.
pub(super) const FROM_ENV: &str = "windlass.dev/from-env";
/// A Secret's keys that come from files.
pub(super) const FROM_FILE: &str = "windlass.dev/from-file";

/// `metadata` of Kubernetes 1.34. All but the first four are the API server's and carry nothing for us.
const METADATA: &[&str] = &[
    "name",
    "namespace",
    "labels",
    "annotations",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "selfLink",
];

/// A document of a known kind, while it is decoded.
pub(super) struct Object<'n> {
    pub(super) root: Fields<'n>,
    pub(super) semantics: &'n dyn Semantics,
    pub(super) version: &'static str,
    sink: &'n Sink,
    head: Meta,
    annotations: Vec<(&'n str, Slot<'n>)>,
}

impl<'n> Object<'n> {
    /// Reads what is common. A name that is missing or wrong is left empty and reported, so that the rest of the
    /// document is looked at too. `None` when the document is not even a map.
    pub(super) fn open(
        root: &'n Node,
        kind: Kind,
        version: &'static str,
        origin: Origin,
        sink: &'n Sink,
        semantics: &'n dyn Semantics,
    ) -> Option<Self> {
        let fields = Slot::new(root, String::new(), root.line, sink).fields(top_level(kind))?;
        let mut head = Meta {
            key: ObjectKey::new(DEFAULT_NAMESPACE, ""),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            origin,
            unsupported: Vec::new(),
        };
        let mut ours = Vec::new();
        if let Some(metadata) = fields.required("metadata").and_then(|slot| slot.fields(METADATA)) {
            head.key = key(kind, &metadata);
            head.labels = metadata.text_map("labels");
            if let Some(slot) = metadata.slot("annotations") {
                head.annotations = slot.text_map();
                ours = slot.pairs();
                ours.retain(|(key, _)| key.starts_with(OUR_ANNOTATIONS));
                check_annotations(kind, &ours);
            }
        }
        Some(Self { root: fields, semantics, version, sink, head, annotations: ours })
    }

    /// The namespace, which references default to.
    pub(super) fn namespace(&self) -> &str {
        &self.head.key.namespace
    }

    /// Namespace and name.
    pub(super) fn key(&self) -> &ObjectKey {
        &self.head.key
    }

    /// The fields of `spec`.
    pub(super) fn spec(&self, known: &[&str]) -> Option<Fields<'n>> {
        self.root.required("spec")?.fields(known)
    }

    /// One of Windlass' annotations.
    pub(super) fn annotation(&self, name: &str) -> Option<&Slot<'n>> {
        self.annotations.iter().find(|(key, _)| *key == name).map(|(_, slot)| slot)
    }

    /// Name, labels, origin, and the unsupported fields that were found so far: call it last.
    pub(super) fn meta(&self) -> Meta {
        Meta { unsupported: self.sink.unsupported(), ..self.head.clone() }
    }
}

/// The object that a document is about, as far as it can be told before anything is checked.
pub(super) fn object_ref(root: &Node, kind: Kind) -> Option<ObjectRef> {
    let text = |key| root.get("metadata").and_then(|metadata| metadata.get(key)).and_then(Node::scalar);
    let name = shown(text("name").filter(|name| !name.is_empty() && *name != "~")?);
    let namespace = match kind {
        Kind::Namespace | Kind::Guard => name.clone(),
        _ => text("namespace")
            .filter(|namespace| *namespace != "~")
            .map_or(DEFAULT_NAMESPACE.to_owned(), shown),
    };
    Some(ObjectRef::new(kind, ObjectKey::new(namespace, name)))
}

/// What is known of a document that cannot be loaded. Where it has no name, its place is one.
pub(super) fn meta_of_broken(root: &Node, origin: &Origin) -> Meta {
    let place = || ObjectKey::new(origin.to_string(), origin.to_string());
    let key = object_ref(root, Kind::Guard).map_or_else(place, |object| object.key);
    Meta {
        key,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        origin: origin.clone(),
        unsupported: Vec::new(),
    }
}

/// Where a document starts.
pub(super) fn origin(file: &Arc<str>, root: &Node) -> Origin {
    Origin { file: Arc::clone(file), line: root.line }
}

fn key(kind: Kind, metadata: &Fields<'_>) -> ObjectKey {
    let name = metadata.required("name").and_then(|slot| {
        let text = slot.text()?;
        slot.check(check_name(text, MAX_NAME, true)).map(|()| text)
    });
    let name = name.unwrap_or_default();
    let namespace = match metadata.slot("namespace") {
        _ if kind == Kind::Namespace => Some(name),
        Some(slot) if kind == Kind::Guard => {
            slot.error("a Guard belongs to no namespace: remove it");
            Some(name)
        }
        None if kind == Kind::Guard => Some(name),
        Some(slot) => slot.text().filter(|text| slot.check(check_name(text, MAX_LABEL, false)).is_some()),
        None => Some(DEFAULT_NAMESPACE),
    };
    ObjectKey::new(namespace.unwrap_or_default(), name)
}

fn top_level(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Secret => &["apiVersion", "kind", "metadata", "data", "stringData", "type", "immutable"],
        _ => &["apiVersion", "kind", "metadata", "spec", "status"],
    }
}

fn check_annotations(kind: Kind, annotations: &[(&str, Slot<'_>)]) {
    let known: &[&str] = match kind {
        Kind::ImageRepository => &[REGISTRY_HOSTS, REGISTRY_AUTH_HOSTS],
        Kind::ImagePolicy => &[ORDER, VARIANT_LOCK],
        Kind::ImageUpdateAutomation => &[EDITS, TEMPLATES],
        Kind::GitRepository => &[ACCESS_FROM, GIT_IMPLEMENTATION],
        Kind::Secret => &[FROM_ENV, FROM_FILE],
        _ => &[],
    };
    for (key, slot) in annotations.iter().filter(|(key, _)| !known.contains(key)) {
        match nearest(key, known) {
            Some(name) => slot.error(format_args!("is not a known annotation; did you mean `{name}`?")),
            None => slot.error(format_args!("`{}` has no meaning on the kind {kind}: remove it", shown(key))),
        }
    }
}

/// Longest object name: a DNS subdomain (RFC 1123, Kubernetes "Object Names and IDs").
pub(super) const MAX_NAME: usize = 253;
/// Longest namespace: a DNS label.
pub(super) const MAX_LABEL: usize = 63;

/// Checks a DNS label, or several with dots between them.
pub(super) fn check_name(text: &str, max: usize, dots: bool) -> Result<(), InvalidName> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let valid = if dots { text.split('.').all(label) } else { label(text) };
    if valid && text.len() <= max { Ok(()) } else { Err(InvalidName(shown(text), max)) }
}

/// A name that Kubernetes refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid name: lower-case letters, digits and inner `-`, at most {1} characters")]
pub(super) struct InvalidName(String, usize);
